//! A fleet of real processes over a real RabbitMQ and Redis, on a localnet. Sites run side by side, interval after
//! interval: one undisturbed, the others with faults at random moments. Every interval must end with the
//! decisions of the undisturbed site, byte for byte but for `checked_at`, and with the same weights on the chain
//! for its epoch; an epoch that took more than one transaction is told.
//!
//! The binaries lie beside the test's own: `make fleet` builds them first, and so does a run of the whole
//! workspace, because both packages have tests of their binary. A schedule is the faults of one interval; its
//! seed is printed, and `NEXIS_FLEET_SEED=… NEXIS_FLEET_SCHEDULES=1 make fleet` draws the same faults again. More
//! with `NEXIS_FLEET_SCHEDULES=1000 make fleet`.

#[path = "fleet/emptied.rs"]
mod emptied;
#[path = "fleet/faults.rs"]
mod faults;
#[path = "fleet/full.rs"]
mod full;
#[path = "fleet/link.rs"]
mod link;
#[path = "fleet/process.rs"]
mod process;
#[path = "fleet/setup.rs"]
mod setup;
#[path = "fleet/site.rs"]
mod site;
#[path = "fleet/spaces.rs"]
mod spaces;
#[path = "fleet/takeover.rs"]
mod takeover;
#[path = "fleet/upgrade.rs"]
mod upgrade;

use faults::Fault;
use site::{Outcome, Plan, Site};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Schedules in an ordinary run.
const SCHEDULES: u64 = 51;
/// Sites with faults that run side by side in an ordinary run.
const SITES: u64 = 3;
/// Intervals after which a site is torn down and another one starts from nothing.
const LIFETIME: u64 = 17;

fn number(name: &str, or: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => or,
    }
}

/// Runs on threads of its own: sites must not wait for each other.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// The faults of each interval of a site, with the seed they come from.
type Schedules = Vec<(u64, Vec<(Duration, Fault)>)>;

/// One site through its first interval, without faults, and then one interval for each schedule.
fn live(plan: Plan, schedules: Schedules) -> Vec<(u64, Outcome)> {
    let name = plan.name.clone();
    block_on(async {
        let mut site = Site::start(plan).await;
        let mut outcomes = vec![(0, site.interval(Vec::new()).await)];
        for (seed, faults) in schedules {
            let started = Instant::now();
            println!("== {name}: NEXIS_FLEET_SEED={seed}");
            outcomes.push((seed, site.interval(faults).await));
            let took = started.elapsed().as_secs_f64();
            println!("== {name}: seed {seed} ended after {took:.1} s");
        }
        site.end().await;
        outcomes
    })
}

/// An undisturbed site's first interval and so many more.
fn calm(name: &str, intervals: u64) -> Vec<Outcome> {
    let nothing = (0..intervals).map(|_| (0, Vec::new())).collect();
    let outcomes = live(Plan::new(name), nothing);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The life of one site. What goes wrong in it is told together with that of the others, after theirs.
fn life(turn: usize, seeds: &[u64]) -> Result<Vec<(u64, Outcome)>, String> {
    let schedules = seeds.iter().map(|seed| (*seed, faults::drawn(*seed)));
    let plan = Plan::new(&format!("site-{turn}"));
    let lived = std::panic::catch_unwind(|| live(plan, schedules.collect()));
    lived.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        format!("site-{turn}, seeds from {:?}: {said}", seeds.first())
    })
}

/// The suite runs the same schedules each time, so that a change is judged by what it changes; a run of a chosen
/// number draws others, unless it is to be repeated.
fn first_seed() -> u64 {
    let drawn = match number("NEXIS_FLEET_SCHEDULES", 0) {
        0 => 1,
        _ => rand::random::<u32>().into(),
    };
    number("NEXIS_FLEET_SEED", drawn)
}

/// What is not as at the undisturbed site.
fn difference(ours: &(u64, Outcome), calm: &Outcome) -> Option<String> {
    let (seed, ours) = ours;
    let place = format!("seed {seed}, interval {}", ours.interval);
    if ours.sent != calm.sent {
        let (sent, one) = (ours.sent, calm.sent);
        return Some(format!(
            "{place}: {sent} transactions for one epoch's weights, not {one}"
        ));
    }
    (ours != calm).then(|| format!("{place}: {ours:#?}\nis not as undisturbed: {calm:#?}"))
}

fn assert_same(ours: &(u64, Outcome), calm: &Outcome) {
    let difference = difference(ours, calm);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

#[test]
fn decisions_and_weights_are_those_of_an_undisturbed_run_whatever_goes_wrong() {
    let first = first_seed();
    let count = number("NEXIS_FLEET_SCHEDULES", SCHEDULES);
    let sites = number("NEXIS_FLEET_SITES", SITES).max(1);
    let seeds: Vec<u64> = (first..first + count).collect();
    let length = count.div_ceil(sites).min(LIFETIME);
    let lives: Vec<&[u64]> = seeds
        .chunks(usize::try_from(length).expect("small").max(1))
        .collect();
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let (lives, next) = (&lives, &next);
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let calm = scope.spawn(move || calm("calm", length));
        let sites: Vec<_> = (0..sites)
            .map(|_| {
                scope.spawn(move || {
                    let mut ended = Vec::new();
                    loop {
                        let turn = next.fetch_add(1, Ordering::SeqCst);
                        let Some(seeds) = lives.get(turn) else {
                            return ended;
                        };
                        ended.push(life(turn, seeds));
                    }
                })
            })
            .collect();
        let calm = calm.join().expect("the undisturbed site");
        assert!(
            calm[1].weights.iter().any(|(_, share)| *share > 0),
            "an undisturbed site gives nobody weight: {calm:?}"
        );
        assert!(
            calm[1..].iter().all(|outcome| outcome.sent == 1),
            "{calm:?}"
        );
        for site in sites {
            for life in site.join().expect("a life's panic is caught") {
                match life {
                    Ok(outcomes) => {
                        let pairs = outcomes.iter().zip(&calm);
                        failures.extend(pairs.filter_map(|(ours, calm)| difference(ours, calm)));
                    }
                    Err(failure) => failures.push(failure),
                }
            }
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!(
        "== {count} schedules ended like the undisturbed site after {:.0} s",
        started.elapsed().as_secs_f64()
    );
}

#[test]
fn a_cut_between_any_two_machines_changes_no_decision_and_no_weights() {
    const INTERVALS: usize = 3;
    let seed = first_seed();
    let mut plan = Plan::new("partitions");
    plan.in_namespaces = true;
    let schedules = faults::partitions(seed, INTERVALS);
    let schedules: Schedules = schedules.into_iter().map(|faults| (seed, faults)).collect();
    std::thread::scope(|scope| {
        let calm = scope.spawn(|| calm("partitions-calm", INTERVALS as u64));
        let parted = live(plan, schedules);
        let calm = calm.join().expect("the undisturbed site");
        for (ours, calm) in parted.iter().zip(&calm) {
            assert_same(ours, calm);
        }
    });
}
