//! How long the fleet is without a leader, with the settings that operators run.

use crate::block_on;
use crate::faults::SEATS;
use crate::process::Seat;
use crate::site::{PATIENCE, Plan, Site};
use nexis_testkit::eventually;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What the operator is promised: two thirds of it are the lease.
const TAKEOVER: Duration = Duration::from_secs(15);
/// From leading to weights in a block: a few looks at the chain, a signature and a block.
const SUBMISSION: Duration = Duration::from_secs(10);
const STARTED: &str = "scheduler started";

#[test]
fn a_leader_that_is_killed_or_paused_is_replaced_within_15_s() {
    block_on(async {
        let mut plan = Plan::new("takeover");
        // The usual lease.
        plan.env.clear();
        let mut site = Site::start(plan).await;
        let mut starts = [1; SEATS];
        for (what, signal) in [("killed", Signal::KILL), ("paused", Signal::STOP)] {
            // Everybody is there to take over, a killed one's replacement too.
            site.tended("a leader and the replacement", async |site| {
                let seats = &site.schedulers;
                let leads = seats.iter().any(|seat| seat.led() > 0);
                let mut all = seats.iter().zip(starts);
                let there = leads && all.all(|(seat, starts)| seat.times(STARTED) >= starts);
                there.then_some(())
            })
            .await;
            let leader = newest_leader(&site.schedulers);
            let other = 1 - leader;
            let led = site.schedulers[other].led();
            site.schedulers[leader].signal(signal);
            starts[leader] += usize::from(signal == Signal::KILL);
            let since = Instant::now();
            eventually(PATIENCE, async || site.schedulers[other].led() > led).await;
            let took = since.elapsed();
            println!("== leader {what}: the next one led after {took:?}");
            assert!(took <= TAKEOVER, "leader {what}: {took:?}");
        }
    });
}

/// Nothing is left of what the dead leader knew but the archive: the next one computes, signs and sends anew. It waits
/// for a block, of which this chain has two a second.
#[test]
fn weights_that_a_killed_leader_did_not_send_are_on_the_chain_soon_after_the_takeover() {
    block_on(async {
        let mut plan = Plan::new("takeover-weights");
        // The usual lease.
        plan.env.clear();
        let mut site = Site::start(plan).await;
        site.interval(Vec::new()).await;
        // The leader's own attempt is refused, and it waits ten seconds before the next one.
        site.refuse_next_submission();
        let begun = site.begin().await;
        let epoch = begun.epoch.expect("not the first interval");
        eventually(PATIENCE, async || site.was_refused(epoch).await).await;
        let leader = newest_leader(&site.schedulers);
        let other = 1 - leader;
        let led = site.schedulers[other].led();
        site.schedulers[leader].signal(Signal::KILL);
        let since = Instant::now();
        eventually(PATIENCE, async || site.schedulers[other].led() > led).await;
        let took_over = since.elapsed();
        eventually(PATIENCE, async || site.transactions() > begun.sent_before).await;
        let included = since.elapsed();
        println!(
            "== leader killed with weights to send: the next one led after {took_over:?}, they were in a block {:?} later",
            included.saturating_sub(took_over)
        );
        assert!(took_over <= TAKEOVER, "{took_over:?}");
        assert!(included - took_over <= SUBMISSION, "{included:?}");
        site.tended("final weights", async |site| {
            site.submits(epoch).await.then_some(())
        })
        .await;
        assert_eq!(site.outcome(begun).await.sent, 1);
    });
}

/// Who said last that it leads, by the time stamps that log lines begin with.
fn newest_leader(seats: &[Seat]) -> usize {
    let last = |seat: &Seat| {
        let said = seat.said();
        said.lines()
            .rfind(|line| line.contains("this process leads"))
            .map(str::to_owned)
    };
    let lines: Vec<_> = seats.iter().map(last).collect();
    (0..seats.len())
        .max_by_key(|seat| &lines[*seat])
        .expect("there are seats")
}
