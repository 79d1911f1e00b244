//! What goes wrong, when.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// One fault. Numbers name a seat of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of a worker.
    KillWorker(usize),
    /// kill -9 of a scheduler, leader or not.
    KillScheduler(usize),
    /// A worker is asked to stop.
    StopWorker(usize),
    /// A scheduler is asked to stop.
    StopScheduler(usize),
    /// A scheduler sleeps for that many seconds and then goes on as if nothing had happened.
    PauseScheduler(usize, u64),
    /// A worker does.
    PauseWorker(usize, u64),
    /// kill -9 of the broker, which then comes back with its disk.
    RestartBroker,
    /// kill -9 of the board, which then comes back with its disk.
    RestartBoard,
    /// The board forgets everything.
    EmptyBoard,
}

/// Faults of one run, each with the pause before it.
pub struct Faults {
    left: Vec<(Duration, Fault)>,
}

/// Seats of each kind.
pub const SEATS: usize = 2;

impl Faults {
    pub fn none() -> Self {
        Self { left: Vec::new() }
    }

    /// The faults of a seed: many small ones, few that take long.
    pub fn drawn(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let count = dice.random_range(4..=8);
        let mut left: Vec<_> = (0..count)
            .map(|_| {
                let seat = dice.random_range(0..SEATS);
                let fault = match dice.random_range(0..16) {
                    0..=3 => Fault::KillWorker(seat),
                    4..=6 => Fault::KillScheduler(seat),
                    7 => Fault::StopWorker(seat),
                    8 => Fault::StopScheduler(seat),
                    9..=10 => Fault::PauseScheduler(seat, dice.random_range(1..=14)),
                    11 => Fault::PauseWorker(seat, dice.random_range(1..=5)),
                    12 => Fault::RestartBroker,
                    13..=14 => Fault::RestartBoard,
                    _ => Fault::EmptyBoard,
                };
                (Duration::from_millis(dice.random_range(100..3_000)), fault)
            })
            .collect();
        left.reverse();
        Self { left }
    }

    /// The next fault and the pause before it.
    pub fn next(&mut self) -> Option<(Duration, Fault)> {
        self.left.pop()
    }
}
