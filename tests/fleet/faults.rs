//! What goes wrong, when.

use crate::spaces::Node;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// Seats of each kind.
pub const SEATS: usize = 2;

/// A place in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Scheduler(usize),
    Worker(usize),
}

/// What a process is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Broker,
    Board,
    Chain,
}

/// What a process's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Days, hours or minutes away from the truth; a monotonic clock is not touched by that.
    Wrong(&'static str),
    /// Every clock of the process runs at this speed.
    Speed(&'static str),
}

/// One fault. Times are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9.
    Kill(Place),
    /// Asked to stop.
    Stop(Place),
    /// Sleeps for that long and then goes on as if nothing had happened; longer than the lease, half of the times.
    Pause(Place, u64),
    /// Its connections to a peer break, and new ones are refused for that long.
    Cut(Place, Peer, u64),
    /// Nothing arrives between the two for that long, and nobody is told.
    Silence(Place, Peer, u64),
    /// Killed, and its replacement has a clock of its own.
    Lie(Place, Clock),
    /// kill -9 of the broker, which then comes back with its disk.
    RestartBroker,
    /// The broker stands still for that long.
    PauseBroker(u64),
    /// kill -9 of the board, which then comes back with its disk.
    RestartBoard,
    /// The board forgets everything.
    EmptyBoard,
    /// Nothing passes between two machines for that long; only where each has a network namespace of its own.
    Part(Node, Node, u64),
}

/// Lies that clocks tell. Stores refuse signatures that are 15 minutes off.
const CLOCKS: [Clock; 8] = [
    Clock::Wrong("-3d"),
    Clock::Wrong("+40d"),
    Clock::Wrong("-20m"),
    Clock::Wrong("+2h"),
    Clock::Wrong("-20y"),
    Clock::Speed("+0 x0.4"),
    Clock::Speed("+0 x0.7"),
    Clock::Speed("+0 x3"),
];

/// The faults of a seed, each with the pause before it.
pub fn drawn(seed: u64) -> Vec<(Duration, Fault)> {
    let mut dice = StdRng::seed_from_u64(seed);
    let count = dice.random_range(2..=5);
    (0..count)
        .map(|_| {
            let pause = Duration::from_millis(dice.random_range(0..900));
            (pause, fault(&mut dice))
        })
        .collect()
}

fn fault(dice: &mut StdRng) -> Fault {
    let seat = dice.random_range(0..SEATS);
    let scheduler = Place::Scheduler(seat);
    let place = if dice.random_bool(0.5) {
        scheduler
    } else {
        Place::Worker(seat)
    };
    let peer = match (dice.random_range(0..3), place) {
        (0, _) => Peer::Broker,
        (1, Place::Scheduler(_)) => Peer::Chain,
        _ => Peer::Board,
    };
    match dice.random_range(0..32) {
        0..=5 => Fault::Kill(place),
        6..=7 => Fault::Stop(place),
        8..=12 => Fault::Pause(scheduler, dice.random_range(500..6_000)),
        13 => Fault::Pause(Place::Worker(seat), dice.random_range(500..5_000)),
        14..=17 => Fault::Cut(place, peer, dice.random_range(0..3_000)),
        18..=21 => Fault::Silence(place, peer, dice.random_range(500..6_000)),
        22..=25 => Fault::Lie(place, CLOCKS[dice.random_range(0..CLOCKS.len())]),
        26 => Fault::RestartBroker,
        27 => Fault::PauseBroker(dice.random_range(500..4_000)),
        28..=29 => Fault::RestartBoard,
        _ => Fault::EmptyBoard,
    }
}

/// Every way of the fleet cut once, some at one time: between each scheduler and worker, and broker, board and the
/// outside. One list for each interval.
pub fn partitions(seed: u64, intervals: usize) -> Vec<Vec<(Duration, Fault)>> {
    let mut dice = StdRng::seed_from_u64(seed);
    let ours = (0..SEATS).flat_map(|seat| [Node::Scheduler(seat), Node::Worker(seat)]);
    let mut pairs: Vec<(Node, Node)> = ours
        .flat_map(|node| [Node::Broker, Node::Board, Node::Outside].map(|peer| (node, peer)))
        .collect();
    pairs.shuffle(&mut dice);
    pairs
        .chunks(pairs.len().div_ceil(intervals))
        .map(|pairs| {
            let part = |(one, other): &(Node, Node)| {
                let pause = Duration::from_millis(dice.random_range(0..900));
                let fault = Fault::Part(*one, *other, dice.random_range(2_000..8_000));
                (pause, fault)
            };
            pairs.iter().map(part).collect()
        })
        .collect()
}
