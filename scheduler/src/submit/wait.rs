//! When an epoch's weights may be computed. They wait for every interval of their window, as long as the window makes
//! progress and the epoch lasts; a window that is hardly decided pays nobody (PROTOCOL §2, §14). Pure.
//!
//! Time is counted in blocks in which this validator was able to look: after an absence or an outage the wait begins
//! anew, however much of the epoch has passed.

use crate::window::{IntervalState, WindowState};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, WeightEpoch};
use std::collections::BTreeMap;

/// Blocks without progress, in which we were able to look, after which a window is taken as it is.
const WITHOUT_PROGRESS_BLOCKS: u64 = 25;
/// Blocks for a round's last step after its own deadline.
const AFTER_DEADLINE_BLOCKS: u64 = 3;
/// Blocks before the next epoch at which the wait ends: the longest life of a signature, the lag of finality, and some
/// more for a second attempt.
const LAST_CALL_BLOCKS: u64 = 24;

/// What an epoch's weights may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Wait for the window.
    Wait,
    /// Be computed from what is decided.
    Submit,
    /// Stay unsent: too little is decided for them to mean anything.
    TooLittle,
}

/// The rules of the wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Lowest share of the window that must be decided, percent.
    pub(super) least_percent: u64,
    /// Blocks within which an open round is decided, counted from when it is first seen.
    pub(super) round_blocks: u64,
}

/// The wait of one epoch.
#[derive(Debug, Default)]
pub(super) struct Wait {
    epoch: Option<WeightEpoch>,
    /// Blocks in which we were able to look, since the wait began.
    looked: u64,
    decided: usize,
    /// When the number of decided intervals last grew.
    progress: u64,
    /// When each open round was first seen.
    open: BTreeMap<IntervalId, u64>,
}

impl Wait {
    /// Looks at the window. `able` says how many blocks were looked at since the last call.
    pub(super) fn look(
        &mut self,
        calendar: Calendar,
        window: &WindowState,
        head: BlockNumber,
        able: u64,
        rules: Rules,
    ) -> Verdict {
        if self.epoch == Some(window.epoch) {
            self.looked = self.looked.saturating_add(able);
        } else {
            *self = Self {
                epoch: Some(window.epoch),
                ..Self::default()
            };
        }
        if window.decided() > self.decided {
            self.decided = window.decided();
            self.progress = self.looked;
        }
        if window.is_complete() && window.is_payable(0) {
            return Verdict::Submit;
        }
        if !self.is_over(calendar, window, head, rules) {
            return Verdict::Wait;
        }
        if window.is_payable(rules.least_percent) {
            Verdict::Submit
        } else {
            Verdict::TooLittle
        }
    }

    fn is_over(
        &mut self,
        calendar: Calendar,
        window: &WindowState,
        head: BlockNumber,
        rules: Rules,
    ) -> bool {
        if head >= last_call(calendar, window.epoch) {
            return true;
        }
        let is_undecided = |interval: IntervalId| {
            let mut states = window.intervals.iter();
            states.any(|(id, state)| *id == interval && *state != IntervalState::Decided)
        };
        self.open.retain(|interval, _| is_undecided(*interval));
        let mut in_time = false;
        for (interval, state) in &window.intervals {
            match state {
                // One that is quarantined is retried: it gets the same time.
                IntervalState::Open | IntervalState::Quarantined => {
                    let since = *self.open.entry(*interval).or_insert(self.looked);
                    let end = since
                        .saturating_add(rules.round_blocks)
                        .saturating_add(AFTER_DEADLINE_BLOCKS);
                    in_time |= self.looked < end;
                }
                IntervalState::NotOpened => in_time |= head < calendar.eligible_from(*interval),
                IntervalState::Decided => {}
            }
        }
        !in_time && self.looked.saturating_sub(self.progress) >= WITHOUT_PROGRESS_BLOCKS
    }
}

/// The block at which the wait of an epoch ends: there is still time to submit inside the epoch.
pub(super) fn last_call(calendar: Calendar, epoch: WeightEpoch) -> BlockNumber {
    let start = calendar.submission_block(epoch).get();
    let next = WeightEpoch::new(epoch.get().saturating_add(1));
    let end = calendar.submission_block(next).get();
    // Short epochs, as in tests, keep three quarters for the wait.
    let margin = LAST_CALL_BLOCKS.min(end.saturating_sub(start) / 4);
    BlockNumber::new(end.saturating_sub(margin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::profile::Profile;

    const EPOCH: WeightEpoch = WeightEpoch::new(6);
    const RULES: Rules = Rules {
        least_percent: 50,
        round_blocks: 45,
    };

    /// Drives a wait block by block from `head`; `decided` says how many intervals are decided at a block, the others
    /// are `rest`. Answers the first verdict that is not to wait, with its block.
    fn run(
        first: u64,
        able: impl Fn(u64) -> u64,
        decided: impl Fn(u64) -> usize,
        rest: IntervalState,
    ) -> (u64, Verdict) {
        let calendar = Calendar::of(&Profile::default());
        let mut wait = Wait::default();
        for head in first..1_750 {
            let mut number = 0;
            let window = WindowState::of(calendar, EPOCH, None, |_| {
                number += 1;
                if number <= decided(head) {
                    IntervalState::Decided
                } else {
                    rest
                }
            });
            let at = BlockNumber::new(head);
            let verdict = wait.look(calendar, &window, at, able(head), RULES);
            if verdict != Verdict::Wait {
                return (head, verdict);
            }
        }
        (1_750, Verdict::Wait)
    }

    #[test]
    fn a_complete_window_is_submitted_at_once_and_an_incomplete_one_waits_for_its_last_interval() {
        let complete = run(1_500, |_| 1, |_| 6, IntervalState::NotOpened);
        assert_eq!(complete, (1_500, Verdict::Submit));
        // The last interval becomes eligible at 1502 and is decided at 1547, long after 25 blocks.
        let last = |head| if head < 1_547 { 5 } else { 6 };
        let waited = run(1_500, |_| 1, last, IntervalState::Open);
        assert_eq!(waited, (1_547, Verdict::Submit));
    }

    #[test]
    fn a_catch_up_late_in_the_epoch_is_waited_for_as_long_as_it_makes_progress() {
        // Proof 1 of a burn: killed at 1251, started again at 1530, an interval each 9 blocks.
        let caught_up = |head: u64| usize::try_from((head - 1_530) / 9).unwrap().min(6);
        let waited = run(1_530, |_| 1, caught_up, IntervalState::NotOpened);
        assert_eq!(waited, (1_584, Verdict::Submit));
        // Started so late that the last call comes first: half of it is enough.
        let caught_up = |head: u64| usize::try_from((head - 1_695) / 9).unwrap().min(6);
        let waited = run(1_695, |_| 1, caught_up, IntervalState::NotOpened);
        assert_eq!(waited, (1_726, Verdict::Submit));
        let waited = run(1_710, |_| 1, |_| 2, IntervalState::NotOpened);
        assert_eq!(waited, (1_726, Verdict::TooLittle));
    }

    #[test]
    fn a_window_without_progress_is_taken_as_it_is_after_25_blocks_of_looking() {
        let (at, verdict) = run(1_510, |_| 1, |_| 4, IntervalState::NotOpened);
        assert_eq!((at, verdict), (1_535, Verdict::Submit));
        let (at, verdict) = run(1_510, |_| 1, |_| 2, IntervalState::NotOpened);
        assert_eq!((at, verdict), (1_535, Verdict::TooLittle));
        let (at, verdict) = run(1_510, |_| 1, |_| 0, IntervalState::Quarantined);
        assert_eq!((at, verdict), (1_510 + 48, Verdict::TooLittle));
    }

    #[test]
    fn blocks_in_which_nobody_could_look_are_not_counted() {
        let away = |head| u64::from(!(1_515..1_600).contains(&head));
        let (at, _) = run(1_510, away, |_| 4, IntervalState::NotOpened);
        assert_eq!(at, 1_535 + 85);
        let never = run(1_510, |_| 0, |_| 2, IntervalState::NotOpened);
        assert_eq!(never, (1_726, Verdict::TooLittle));
    }

    #[test]
    fn an_open_round_is_waited_for_to_the_end_of_its_own_deadlines() {
        let (at, _) = run(1_510, |_| 1, |_| 5, IntervalState::Open);
        assert_eq!(at, 1_510 + 45 + 3);
    }

    #[test]
    fn nothing_decided_is_never_submitted() {
        for first in [1_500, 1_600, 1_740] {
            for rest in [IntervalState::NotOpened, IntervalState::Open] {
                let (_, verdict) = run(first, |_| 1, |_| 0, rest);
                assert_eq!(verdict, Verdict::TooLittle, "{first}");
            }
        }
    }
}
