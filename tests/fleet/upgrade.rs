//! A fleet is upgraded while it works: first the workers, then the schedulers, each in the middle of an interval. Nobody
//! is absent, and what is decided is what a fleet of this release decides alone.

use crate::block_on;
use crate::faults::SEATS;
use crate::process::{Release, Seat};
use crate::site::{Begun, Outcome, Plan, Site};
use nexis_localnet::MinerKind;
use nexis_scheduler::ledger;
use rustix::process::Signal;
use serde_json::Value;

/// Miners on whom both releases agree: those without credentials are no candidates any more.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    plan.miners.retain(|kind| *kind != MinerKind::NoCredentials);
    plan
}

async fn opened(site: &mut Site, begun: Begun) {
    site.tended("a round to be opened", async |site| {
        let plan = ledger::load_plan(&site.archive, begun.interval).await;
        plan.expect("our own disk").map(|_| ())
    })
    .await;
}

fn signal(seats: &mut [Seat], signal: Signal) {
    for seat in seats {
        seat.signal(signal);
    }
}

/// Takes the seats of the old release away, as an operator does: nobody starts them anew.
async fn leave(seats: &mut Vec<Seat>) {
    for mut seat in seats.drain(..SEATS) {
        if let Err(how) = seat.stop().await {
            panic!("{} after SIGTERM: {how}", seat.name());
        }
        assert!(seat.surprises.is_empty(), "{:?}", seat.surprises);
    }
}

/// An interval in the middle of which new workers join and the old ones leave.
async fn workers_first(site: &mut Site) -> Outcome {
    site.declare();
    signal(&mut site.workers, Signal::STOP);
    let begun = site.begin().await;
    opened(site, begun).await;
    for number in SEATS..2 * SEATS {
        site.worker_joins(number).await;
    }
    leave(&mut site.workers).await;
    site.weather(begun.interval, begun.epoch, Vec::new()).await;
    site.outcome(begun).await
}

/// An interval that an old leader opens and a new one closes.
async fn schedulers_next(site: &mut Site) -> Outcome {
    signal(&mut site.workers, Signal::STOP);
    let begun = site.begin().await;
    opened(site, begun).await;
    for number in SEATS..2 * SEATS {
        site.scheduler_joins(number).await;
    }
    site.tended("new schedulers that wait for their turn", async |site| {
        let mut new = site.schedulers[SEATS..].iter();
        new.all(|seat| seat.times("scheduler started") > 0)
            .then_some(())
    })
    .await;
    leave(&mut site.schedulers).await;
    site.tended("a leader of this release", async |site| {
        let mut new = site.schedulers.iter();
        new.any(|seat| seat.led() > 0).then_some(())
    })
    .await;
    let decided = site.is_decided(begun.interval).await;
    assert!(!decided, "the new leader came too late to close the round");
    signal(&mut site.workers, Signal::CONT);
    site.weather(begun.interval, begun.epoch, Vec::new()).await;
    site.outcome(begun).await
}

/// All intervals of the upgraded site, and its miners.
async fn upgraded() -> (Vec<Outcome>, Vec<String>) {
    let mut site = Site::start(Plan {
        release: Release::Previous,
        ..plan("upgrade")
    })
    .await;
    let outcomes = vec![
        site.interval(Vec::new()).await,
        workers_first(&mut site).await,
        schedulers_next(&mut site).await,
        site.interval(Vec::new()).await,
    ];
    let miners = site.net().miners().iter();
    let miners = miners.map(|miner| miner.key.hotkey().to_string()).collect();
    site.end().await;
    (outcomes, miners)
}

#[test]
fn a_fleet_is_upgraded_while_it_works_workers_first() {
    std::thread::scope(|scope| {
        let calm = scope.spawn(|| {
            let nothing = (0..3).map(|_| (0, Vec::new())).collect();
            crate::live(plan("upgrade-calm"), nothing)
        });
        let (outcomes, miners) = block_on(upgraded());
        let calm = calm.join().expect("the undisturbed site");
        for (ours, (_, calm)) in outcomes.iter().zip(&calm) {
            let place = format!("interval {}", ours.interval);
            assert_eq!(absent(ours), 0, "{place}: {}", ours.decisions);
            for miner in &miners {
                let verdicts = (verdict(ours, miner), verdict(calm, miner));
                assert_eq!(verdicts.0, verdicts.1, "{place}, {miner}");
            }
            assert_eq!(ours.sent, calm.sent, "{place}");
        }
        // Those of an old leader follow older rules.
        let last = outcomes.last().zip(calm.last());
        let (ours, (_, calm)) = last.expect("four intervals");
        assert_eq!(ours.weights, calm.weights, "of interval {}", ours.interval);
    });
}

fn file(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.decisions).expect("JSON")
}

fn absent(outcome: &Outcome) -> usize {
    file(outcome)["absent"].as_array().expect("a list").len()
}

/// Whether a miner was accepted, and what failed.
fn verdict(outcome: &Outcome, miner: &str) -> (Value, Value) {
    let file = file(outcome);
    let decisions = file["decisions"].as_array().expect("a list");
    let of = decisions.iter().find(|one| one["miner_hotkey"] == miner);
    let of = of.unwrap_or_else(|| panic!("{miner} has no decision in {file}"));
    (of["accepted"].clone(), of["failures"].clone())
}
