//! The score window of a weight epoch, by the calendar: which of its intervals are decided, and which are not. One
//! answer for everybody who asks: the wait before a submission, the rule that a window must be half decided, the
//! catch-up after an absence, and `nexis status`. Pure.

use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, WeightEpoch};

/// Where one interval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntervalState {
    /// Its decisions are in the archive.
    Decided,
    /// It has a plan and no decisions yet.
    Open,
    /// It was opened, failed, and is retried at its own pace.
    Quarantined,
    /// It has no plan.
    NotOpened,
}

/// The window of one epoch, from the first interval that this validator ever opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowState {
    /// The epoch.
    pub epoch: WeightEpoch,
    /// Its intervals, ascending.
    pub intervals: Vec<(IntervalId, IntervalState)>,
}

impl WindowState {
    /// Asks for the state of each interval of the epoch's window. `first` is the first interval that this validator
    /// ever opened; without one it never opened any, and the whole calendar counts.
    pub fn of(
        calendar: Calendar,
        epoch: WeightEpoch,
        first: Option<IntervalId>,
        mut state: impl FnMut(IntervalId) -> IntervalState,
    ) -> Self {
        let intervals = calendar
            .window_intervals(epoch)
            .filter(|interval| first.is_none_or(|first| *interval >= first))
            .map(|interval| (interval, state(interval)))
            .collect();
        Self { epoch, intervals }
    }

    /// Number of intervals that are decided.
    pub fn decided(&self) -> usize {
        self.count(IntervalState::Decided)
    }

    /// Number of intervals in a state.
    pub fn count(&self, wanted: IntervalState) -> usize {
        let states = self.intervals.iter().map(|(_, state)| *state);
        states.filter(|state| *state == wanted).count()
    }

    /// Whether every interval is decided.
    pub fn is_complete(&self) -> bool {
        self.decided() == self.intervals.len()
    }

    /// Whether enough is decided for weights to mean anything: at least this percentage, and never nothing
    /// (PROTOCOL §14).
    pub fn is_payable(&self, least_percent: u64) -> bool {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (decided, all) = (count(self.decided()), count(self.intervals.len()));
        decided > 0 && decided.saturating_mul(100) >= all.saturating_mul(least_percent)
    }

    /// Intervals that are not decided, with their state, ascending.
    pub fn undecided(&self) -> impl Iterator<Item = (IntervalId, IntervalState)> + '_ {
        let intervals = self.intervals.iter().copied();
        intervals.filter(|(_, state)| *state != IntervalState::Decided)
    }

    /// What is missing, for an operator: `1100 open, 1150 not opened`.
    pub fn missing(&self) -> String {
        let words: Vec<String> = self
            .undecided()
            .map(|(interval, state)| {
                let state = match state {
                    IntervalState::Decided => "decided",
                    IntervalState::Open => "open",
                    IntervalState::Quarantined => "quarantined",
                    IntervalState::NotOpened => "not opened",
                };
                format!("{interval} {state}")
            })
            .collect();
        words.join(", ")
    }
}

/// Sorts the intervals that a catch-up has to open: those of the running epoch's window first, then those of the next
/// epoch's, then older ones; ascending within each group. The window that pays next comes first.
pub fn sort_for_catch_up(calendar: Calendar, head: BlockNumber, intervals: &mut [IntervalId]) {
    let epoch = calendar.weight_epoch(head);
    let next = WeightEpoch::new(epoch.get().saturating_add(1));
    let (now, next) = (calendar.score_window(epoch), calendar.score_window(next));
    intervals.sort_unstable_by_key(|interval| {
        let group = match interval.get() {
            id if now.contains(&id) => 0,
            id if next.contains(&id) => 1,
            _ => 2,
        };
        (group, *interval)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::profile::Profile;

    fn readme() -> Calendar {
        Calendar::of(&Profile::default())
    }

    fn window(first: Option<u64>, decided: &[u64]) -> WindowState {
        WindowState::of(
            readme(),
            WeightEpoch::new(5),
            first.map(IntervalId::new),
            |interval| match interval.get() {
                id if decided.contains(&id) => IntervalState::Decided,
                1150 => IntervalState::Open,
                _ => IntervalState::NotOpened,
            },
        )
    }

    #[test]
    fn a_window_counts_every_interval_of_the_calendar_and_not_only_those_that_were_opened() {
        let some = window(Some(500), &[950, 1000, 1200]);
        assert_eq!((some.decided(), some.intervals.len()), (3, 6));
        assert!(!some.is_complete());
        assert_eq!(
            some.missing(),
            "1050 not opened, 1100 not opened, 1150 open"
        );
        assert!(some.is_payable(50));
        assert!(!some.is_payable(51));
        let all = window(None, &[950, 1000, 1050, 1100, 1150, 1200]);
        assert!(all.is_complete());
    }

    #[test]
    fn a_window_with_nothing_decided_never_pays() {
        for first in [None, Some(950), Some(1200), Some(5_000)] {
            assert!(!window(first, &[]).is_payable(0), "{first:?}");
        }
    }

    #[test]
    fn a_window_begins_with_the_first_interval_that_was_ever_opened() {
        let young = window(Some(1_160), &[1200]);
        assert_eq!((young.decided(), young.intervals.len()), (1, 1));
        assert!(young.is_complete());
    }

    #[test]
    fn a_catch_up_begins_with_the_window_that_pays_next() {
        let mut ids: Vec<IntervalId> = (0..=25).map(|n| IntervalId::new(n * 50)).collect();
        sort_for_catch_up(readme(), BlockNumber::new(1_302), &mut ids);
        let ids: Vec<u64> = ids.into_iter().map(IntervalId::get).collect();
        assert_eq!(ids[..8], [950, 1000, 1050, 1100, 1150, 1200, 1250, 0]);
        assert_eq!(ids.len(), 26);
    }
}
