//! A board that forgets everything, at each stage of an interval and after it.

use crate::faults::Fault;
use crate::site::{Begun, Outcome, Plan, Site};
use crate::{assert_same, block_on, calm};
use nexis_protocol::IntervalId;
use rustix::process::Signal;

/// Intervals in which the board may be emptied between two clip verdicts: on a busy machine that moment is over
/// before it is seen, now and then.
const TRIES: u64 = 4;

/// Lines about an interval in the logs of all schedulers.
fn said(site: &Site, interval: IntervalId, what: &str) -> usize {
    let named = format!("interval.id={interval} ");
    let about = |line: &&str| line.contains(&named) && line.contains(what);
    let logs = site.schedulers.iter().map(|seat| seat.said());
    logs.map(|log| log.lines().filter(about).count()).sum()
}

fn opened(site: &Site, interval: IntervalId) -> usize {
    said(site, interval, "round opened")
}

/// Looks until it holds, or the interval is decided; whether it held first.
async fn before_decided(site: &mut Site, begun: &Begun, holds: impl Fn(&Site) -> bool) -> bool {
    site.tended("a moment of an interval, or its end", async |site| {
        let decided = site.is_decided(begun.interval).await;
        (decided || holds(site)).then_some(!decided)
    })
    .await
}

/// Lets an interval come to its decisions and, when it has an epoch, to its weights.
async fn to_the_end(site: &mut Site, begun: Begun) -> Outcome {
    site.tended("decisions", async |site| {
        site.is_decided(begun.interval).await.then_some(())
    })
    .await;
    // Decided, and its weights may be on their way.
    site.strike(Fault::EmptyBoard);
    let epoch = begun.epoch.expect("not the first interval");
    site.tended("final weights", async |site| {
        site.submits(epoch).await.then_some(())
    })
    .await;
    site.outcome(begun).await
}

/// While the workers sleep no report can come, so the board is emptied in the first stage.
async fn in_the_first_stage(site: &mut Site) -> Outcome {
    site.workers
        .iter_mut()
        .for_each(|seat| seat.signal(Signal::STOP));
    let begun = site.begin().await;
    for times in 1..=2 {
        let open = before_decided(site, &begun, |site| opened(site, begun.interval) >= times);
        assert!(open.await, "nobody was there to report");
        site.strike(Fault::EmptyBoard);
    }
    let again = before_decided(site, &begun, |site| opened(site, begun.interval) >= 3);
    assert!(again.await, "nobody was there to report");
    site.workers
        .iter_mut()
        .for_each(|seat| seat.signal(Signal::CONT));
    to_the_end(site, begun).await
}

/// The board is emptied when some verdicts are on it and others are not; whether that moment was met.
async fn between_verdicts(site: &mut Site) -> (Outcome, bool) {
    let begun = site.begin().await;
    let interval = begun.interval;
    let clips = before_decided(site, &begun, |site| {
        said(site, interval, "stage=\"clips\"") > 0
    });
    let met = if clips.await {
        site.strike(Fault::EmptyBoard);
        let again = before_decided(site, &begun, |site| opened(site, interval) >= 2);
        again.await
    } else {
        false
    };
    (to_the_end(site, begun).await, met)
}

async fn emptied() -> Vec<Outcome> {
    let mut site = Site::start(Plan::new("emptied")).await;
    let mut outcomes = vec![site.interval(Vec::new()).await];
    outcomes.push(in_the_first_stage(&mut site).await);
    let mut met = false;
    for _ in 0..TRIES {
        let (outcome, now) = between_verdicts(&mut site).await;
        outcomes.push(outcome);
        met = now;
        if met {
            break;
        }
    }
    assert!(met, "the board was never emptied between two verdicts");
    let next = nothing_is_done_again(&mut site, &outcomes).await;
    outcomes.push(next);
    site.end().await;
    outcomes
}

/// Nothing is open: whoever leads next begins with the archive and finds everything done. It would take up what it
/// believes to be lost before it opens the next interval, so that one is let come to its end.
async fn nothing_is_done_again(site: &mut Site, outcomes: &[Outcome]) -> Outcome {
    let counts = |site: &Site| -> Vec<usize> {
        let intervals = outcomes.iter().map(|o| IntervalId::new(o.interval));
        intervals.map(|interval| opened(site, interval)).collect()
    };
    let led = |site: &Site| site.schedulers.iter().map(|seat| seat.led()).sum::<usize>();
    let (before, sent, terms) = (counts(site), site.transactions(), led(site));
    site.strike(Fault::EmptyBoard);
    site.tended("the next leader", async |site| {
        (led(site) > terms).then_some(())
    })
    .await;
    let next = site.interval(Vec::new()).await;
    assert_eq!(counts(site), before, "an interval was opened again");
    let sent = site.transactions() - sent;
    assert_eq!(sent, next.sent, "weights were sent again");
    next
}

#[test]
fn an_emptied_board_is_rebuilt_at_every_stage_and_nothing_is_scored_twice() {
    std::thread::scope(|scope| {
        let calm = scope.spawn(|| calm("emptied-calm", TRIES + 2));
        let emptied = block_on(emptied());
        let calm = calm.join().expect("the undisturbed site");
        assert!(emptied.len() <= calm.len());
        for (ours, calm) in emptied.into_iter().zip(&calm) {
            assert_same(&(0, ours), calm);
        }
    });
}
