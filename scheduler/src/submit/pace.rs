//! When the next attempt may be made.

use nexis_protocol::{BlockNumber, weights};
use std::time::{Duration, Instant};

/// Blocks by which a final head is commonly behind the block that a submission meets.
const FINALITY_LAG: u64 = 3;

/// Pauses between the attempts of one process.
#[derive(Default)]
pub(super) struct Pace {
    not_until: Option<Instant>,
    /// Block from which the chain may take weights again, when it said so.
    not_before: Option<u64>,
    /// Failures in a row.
    failures: i64,
}

impl Pace {
    /// Whether it is too early at this final head.
    pub(super) fn holds(&self, head: BlockNumber) -> bool {
        self.not_until.is_some_and(|at| Instant::now() < at)
            || self
                .not_before
                .is_some_and(|block| head.get().saturating_add(FINALITY_LAG) < block)
    }

    /// Pauses for longer with each failure in a row; `unit` is a second, or what stands for it in tests.
    pub(super) fn failed(&mut self, unit: Duration) {
        self.not_before = None;
        self.failures += 1;
        self.pause(self.failures, unit);
    }

    /// The chain named the block to wait for. That is no failure: it makes no later pause longer.
    pub(super) fn wait_for(&mut self, block: u64, unit: Duration) {
        self.not_before = Some(block);
        // The block may have come already, where the node is ahead of our final head.
        self.pause(1, unit);
    }

    /// What stood in the way is gone when the next head comes.
    pub(super) fn try_at_once(&mut self) {
        self.not_until = None;
    }

    /// What was sent is on the chain.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn pause(&mut self, failures: i64, unit: Duration) {
        let units = u32::try_from(weights::retry_delay_sec(failures)).unwrap_or(u32::MAX);
        self.not_until = Some(Instant::now() + unit * units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds of the pause that has just begun.
    fn pause(pace: &Pace) -> f64 {
        let left = pace.not_until.unwrap().duration_since(Instant::now());
        left.as_secs_f64().round()
    }

    /// Found by seed 746741 of committed epochs: two refusals that named the block had made the pause after a lost
    /// transaction four times as long, and the epoch was over before another attempt.
    #[test]
    fn only_failures_make_pauses_longer() {
        let mut pace = Pace::default();
        pace.wait_for(900, SECOND);
        pace.wait_for(900, SECOND);
        pace.failed(SECOND);
        assert_eq!(pause(&pace), 10.0);
        pace.failed(SECOND);
        assert_eq!(pause(&pace), 20.0);
        pace.wait_for(900, SECOND);
        assert_eq!(pause(&pace), 10.0);
        pace.succeeded();
        assert!(!pace.holds(BlockNumber::new(0)));
        pace.failed(SECOND);
        assert_eq!(pause(&pace), 10.0);
        assert!(pace.holds(BlockNumber::new(1_000)));
    }

    #[test]
    fn a_block_that_the_chain_named_is_waited_for_as_long_as_it_takes() {
        let mut pace = Pace::default();
        pace.wait_for(1_222, Duration::ZERO);
        assert!(pace.holds(BlockNumber::new(1_218)));
        assert!(!pace.holds(BlockNumber::new(1_219)));
        pace.failed(Duration::ZERO);
        assert!(!pace.holds(BlockNumber::new(1_218)));
    }
}
