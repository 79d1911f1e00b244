//! A fleet of real processes over a real RabbitMQ and Redis, on a localnet: one undisturbed run, then runs with
//! faults at random moments. Each must end with the same decisions, byte for byte but for `checked_at`, and with
//! the weights of the epoch on the chain once.
//!
//! The binaries lie beside the test's own: `make fleet` builds them first, and so does a run of the whole
//! workspace, because both packages have tests of their binary. Seeds are printed; again with
//! `NEXIS_FLEET_SEED=… NEXIS_FLEET_SCHEDULES=1`. More with `NEXIS_FLEET_SCHEDULES=1000 make fleet`.

#[path = "fleet/faults.rs"]
mod faults;
#[path = "fleet/process.rs"]
mod process;
#[path = "fleet/run.rs"]
mod run;

use faults::Faults;
use nexis_testkit::{RabbitMq, Redis};
use run::{Outcome, Servers, run};
use std::time::{Duration, Instant};

/// Schedules in an ordinary run; each takes about half a minute.
const SCHEDULES: u64 = 3;
/// What the operator is promised: two thirds of it are the lease.
const TAKEOVER: Duration = Duration::from_secs(15);

fn number(name: &str, or: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => or,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn decisions_and_weights_are_those_of_an_undisturbed_run_whatever_dies() {
    let first_seed = number("NEXIS_FLEET_SEED", rand::random::<u32>().into());
    let schedules = number("NEXIS_FLEET_SCHEDULES", SCHEDULES);
    let mut servers = Servers {
        rabbit: RabbitMq::start(),
        redis: Redis::start(),
    };
    runtime().block_on(async {
        let calm: Outcome = run(&mut servers, "calm", Faults::none()).await;
        assert!(
            calm.miners_with_weight() > 0,
            "an undisturbed run gives nobody weight: {calm:?}"
        );
        for seed in (first_seed..).take(usize::try_from(schedules).expect("fits")) {
            println!("== NEXIS_FLEET_SEED={seed}");
            let started = Instant::now();
            let name = format!("seed-{seed}");
            let faulty = run(&mut servers, &name, Faults::drawn(seed)).await;
            faulty.assert_same_as(&calm);
            println!(
                "== seed {seed} ended like the undisturbed run after {} s",
                started.elapsed().as_secs()
            );
        }
    });
}

#[test]
fn a_leader_that_is_killed_or_paused_is_replaced_within_15_s() {
    let mut servers = Servers {
        rabbit: RabbitMq::start(),
        redis: Redis::start(),
    };
    runtime().block_on(async {
        for (what, took) in run::takeovers(&mut servers).await {
            println!("== leader {what}: the next one led after {took:?}");
            assert!(took <= TAKEOVER, "leader {what}: {took:?}");
        }
    });
}
