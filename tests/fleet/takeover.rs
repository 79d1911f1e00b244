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
            let end = Instant::now() + PATIENCE;
            while site.schedulers.iter().all(|seat| seat.led() == 0)
                || (0..SEATS).any(|seat| site.schedulers[seat].times(STARTED) < starts[seat])
            {
                assert!(Instant::now() < end, "no leader, or no replacement");
                site.tend();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
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
