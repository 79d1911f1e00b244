//! Blocks, intervals and weight epochs (PROTOCOL §2).

use crate::ids::{BlockNumber, IntervalId, WeightEpoch};
use crate::profile::{Profile, ScoreReach};
use std::ops::Range;

/// The calendar of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    length: u64,
    reserve: u64,
    period: u64,
    reach: u64,
    invalid_window: u64,
}

impl Calendar {
    /// Reads the lengths out of a profile. A length of zero, which `Profile::set` refuses, counts as one.
    pub fn of(profile: &Profile) -> Self {
        let period = profile.weight_period_blocks.max(1);
        Self {
            length: profile.interval_length_blocks.max(1),
            reserve: profile.reserve_blocks,
            period,
            reach: match profile.score_reach {
                ScoreReach::Period => period,
                ScoreReach::Blocks(blocks) => blocks,
            },
            invalid_window: profile.invalid_window_blocks,
        }
    }

    /// The interval that holds a block.
    pub const fn interval_of(&self, block: BlockNumber) -> IntervalId {
        IntervalId::new(block.get() - block.get() % self.length)
    }

    /// The newest interval that may be validated at a block.
    pub const fn newest_eligible(&self, current: BlockNumber) -> Option<IntervalId> {
        let settled = current.get().saturating_sub(self.reserve);
        if settled < self.length {
            return None;
        }
        Some(IntervalId::new(
            settled / self.length * self.length - self.length,
        ))
    }

    /// The first block at which an interval may be validated.
    pub const fn eligible_from(&self, interval: IntervalId) -> BlockNumber {
        BlockNumber::new(
            interval
                .get()
                .saturating_add(self.length)
                .saturating_add(self.reserve),
        )
    }

    /// The interval after this one.
    pub const fn next(&self, interval: IntervalId) -> IntervalId {
        IntervalId::new(interval.get().saturating_add(self.length))
    }

    /// The interval before this one, not below 0.
    pub const fn previous(&self, interval: IntervalId) -> IntervalId {
        IntervalId::new(interval.get().saturating_sub(self.length))
    }

    /// The first interval that starts at this id or later: ids that another interval length made are rounded up.
    pub const fn align_up(&self, interval: IntervalId) -> IntervalId {
        IntervalId::new(
            interval
                .get()
                .div_ceil(self.length)
                .saturating_mul(self.length),
        )
    }

    /// Whether an id is the start of an interval. Ids from outside are checked with this.
    pub const fn is_interval(&self, interval: IntervalId) -> bool {
        interval.get().is_multiple_of(self.length)
    }

    /// Where a miner that starts up begins: the interval before the current one.
    pub const fn miner_start(&self, current: BlockNumber) -> IntervalId {
        self.previous(self.interval_of(current))
    }

    /// `start-end`, as miners write it into logs.
    pub fn label(&self, interval: IntervalId) -> String {
        format!("{interval}-{}", self.next(interval))
    }

    /// The weight epoch of a block.
    pub const fn weight_epoch(&self, block: BlockNumber) -> WeightEpoch {
        WeightEpoch::new(block.get() / self.period)
    }

    /// The first epoch for which a validator that starts at this block submits: this one only on its very
    /// first block, else the next.
    pub const fn first_epoch_from(&self, start: BlockNumber) -> WeightEpoch {
        WeightEpoch::new(start.get().div_ceil(self.period))
    }

    /// The submission block `S` of an epoch.
    pub const fn submission_block(&self, epoch: WeightEpoch) -> BlockNumber {
        BlockNumber::new(epoch.get().saturating_mul(self.period))
    }

    /// Interval ids whose decisions count for an epoch.
    pub const fn score_window(&self, epoch: WeightEpoch) -> Range<u64> {
        let end = self.submission_block(epoch).get();
        end.saturating_sub(self.reach).saturating_sub(self.length)..end
    }

    /// The intervals of an epoch's score window, ascending. The last one, which ends at the submission block, becomes
    /// eligible only after it and belongs to the window all the same (PROTOCOL §2).
    pub fn window_intervals(&self, epoch: WeightEpoch) -> impl Iterator<Item = IntervalId> + use<> {
        let window = self.score_window(epoch);
        let length = self.length;
        let first = self.align_up(IntervalId::new(window.start)).get();
        std::iter::successors(Some(first), move |id| id.checked_add(length))
            .take_while(move |id| *id < window.end)
            .map(IntervalId::new)
    }

    /// Interval ids whose invalid hotkeys count for an interval: both ends belong to it.
    pub const fn invalid_window(&self, interval: IntervalId) -> (IntervalId, IntervalId) {
        (
            IntervalId::new(interval.get().saturating_sub(self.invalid_window)),
            interval,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_becomes_eligible_exactly_at_its_announced_block() {
        let calendar = Calendar::of(&Profile::default());
        for id in [0, 50, 7_756_900] {
            let at = calendar.eligible_from(IntervalId::new(id));
            let before = BlockNumber::new(at.get() - 1);
            assert_eq!(calendar.newest_eligible(at), Some(IntervalId::new(id)));
            assert_ne!(calendar.newest_eligible(before), Some(IntervalId::new(id)));
        }
    }

    #[test]
    fn the_boundary_block_still_belongs_to_a_starting_validator() {
        let calendar = Calendar::of(&Profile::default());
        assert_eq!(
            calendar.first_epoch_from(BlockNumber::new(500)),
            WeightEpoch::new(2)
        );
        assert_eq!(
            calendar.first_epoch_from(BlockNumber::new(501)),
            WeightEpoch::new(3)
        );
        assert_eq!(
            calendar.first_epoch_from(BlockNumber::new(0)),
            WeightEpoch::new(0)
        );
    }

    #[test]
    fn the_score_window_follows_the_profile_and_never_underflows() {
        let readme = Calendar::of(&Profile::default());
        assert_eq!(readme.score_window(WeightEpoch::new(10)), 2200..2500);
        assert_eq!(readme.score_window(WeightEpoch::new(0)), 0..0);
        let april = Calendar::of(&Profile::by_name("2026-04-13").unwrap());
        assert_eq!(april.score_window(WeightEpoch::new(10)), 1400..3000);
    }

    #[test]
    fn a_window_has_every_interval_that_starts_in_it_and_ends_with_the_one_before_the_submission() {
        let ids = |calendar: Calendar, epoch| -> Vec<u64> {
            let intervals = calendar.window_intervals(WeightEpoch::new(epoch));
            intervals.map(IntervalId::get).collect()
        };
        let readme = Calendar::of(&Profile::default());
        assert_eq!(ids(readme, 5), [950, 1000, 1050, 1100, 1150, 1200]);
        assert_eq!(ids(readme, 0), [0_u64; 0]);
        assert_eq!(ids(readme, 1), [0, 50, 100, 150, 200]);
        let april = Calendar::of(&Profile::by_name("2026-04-13").unwrap());
        let window = ids(april, 10);
        assert_eq!((window.len(), window[0], window[15]), (16, 1400, 2900));
    }

    #[test]
    fn ids_that_are_off_the_grid_are_rounded_up_to_it() {
        let april = Calendar::of(&Profile::by_name("2026-04-13").unwrap());
        for (id, up) in [(1050, 1100), (1100, 1100), (0, 0)] {
            assert_eq!(april.align_up(IntervalId::new(id)), IntervalId::new(up));
        }
    }
}
