//! Rounds that cannot go on: each is retried at its own growing pace, and none of them holds up another.

use crate::error::SchedulerError;
use nexis_ports::FaultClass;
use nexis_protocol::{BlockNumber, IntervalId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Blocks for which a fault of a server may last before an operator is alerted.
const ALERT_AFTER_BLOCKS: u64 = 10;
/// Blocks after which the alert is repeated.
const ALERT_AGAIN_BLOCKS: u64 = 50;
/// Longest pause after a fault of a server, in units of the options' `retry_unit`.
const LONGEST_PAUSE: u32 = 5;
/// The same after one that no retry is known to mend.
const LONGEST_PERMANENT_PAUSE: u32 = 60;

/// What keeps one round from going on.
#[derive(Debug)]
struct Trouble {
    /// Head at which it began.
    since: u64,
    tries: u32,
    not_before: Option<Instant>,
    /// Set by a step that failed, not by one that waits.
    failed: bool,
    alerted: Option<u64>,
}

/// What keeps rounds from going on, by interval. A new leader starts without it.
#[derive(Debug, Default)]
pub(crate) struct Troubles(BTreeMap<IntervalId, Trouble>);

impl Troubles {
    /// Whether the round may be tried now.
    pub(crate) fn is_due(&self, interval: IntervalId) -> bool {
        self.is_due_at(interval, Instant::now())
    }

    fn is_due_at(&self, interval: IntervalId, now: Instant) -> bool {
        let pause = self.0.get(&interval).and_then(|one| one.not_before);
        pause.is_none_or(|until| now >= until)
    }

    /// Whether the last step of the round failed.
    pub(crate) fn is_failing(&self, interval: IntervalId) -> bool {
        self.0.get(&interval).is_some_and(|one| one.failed)
    }

    /// A step failed. True when an operator has to hear of it now.
    pub(crate) fn failed(
        &mut self,
        interval: IntervalId,
        head: BlockNumber,
        fault: &SchedulerError,
        unit: Duration,
    ) -> bool {
        let permanent = fault.class() == FaultClass::Permanent;
        let trouble = self.begun(interval, head.get());
        trouble.failed = true;
        let longest = if permanent {
            LONGEST_PERMANENT_PAUSE
        } else {
            LONGEST_PAUSE
        };
        let pause = 1_u32 << trouble.tries.min(6);
        trouble.tries += 1;
        trouble.not_before = Some(Instant::now() + unit * pause.min(longest));
        let after = if permanent { 0 } else { ALERT_AFTER_BLOCKS };
        trouble.alert(head.get(), trouble.since + after)
    }

    /// A round waits for something that is not the miners' doing. True when an operator has to hear of it now.
    pub(crate) fn held(&mut self, interval: IntervalId, head: BlockNumber) -> bool {
        let trouble = self.begun(interval, head.get());
        trouble.failed = false;
        trouble.not_before = None;
        trouble.tries = 0;
        trouble.alert(head.get(), trouble.since + ALERT_AFTER_BLOCKS)
    }

    /// The round goes on. True when an operator has heard of its trouble.
    pub(crate) fn cleared(&mut self, interval: IntervalId) -> bool {
        let trouble = self.0.remove(&interval);
        trouble.is_some_and(|trouble| trouble.alerted.is_some())
    }

    fn begun(&mut self, interval: IntervalId, head: u64) -> &mut Trouble {
        self.0.entry(interval).or_insert(Trouble {
            since: head,
            tries: 0,
            not_before: None,
            failed: false,
            alerted: None,
        })
    }
}

impl Trouble {
    fn alert(&mut self, head: u64, from: u64) -> bool {
        let due = match self.alerted {
            None => head >= from,
            Some(last) => head >= last + ALERT_AGAIN_BLOCKS,
        };
        if due {
            self.alerted = Some(head);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_ports::{BoardError, QueueError};

    const ROUND: IntervalId = IntervalId::new(100);
    const UNIT: Duration = Duration::from_secs(1);

    fn unavailable() -> SchedulerError {
        QueueError::Unavailable("no answer".to_owned()).into()
    }

    #[tokio::test]
    async fn pauses_grow_up_to_a_bound_and_end_when_the_round_goes_on() {
        let mut troubles = Troubles::default();
        for pause in [1, 2, 4, 5, 5] {
            let before = Instant::now();
            troubles.failed(ROUND, BlockNumber::new(7), &unavailable(), UNIT);
            let after = Instant::now();
            let almost = UNIT * pause - Duration::from_nanos(1);
            assert!(!troubles.is_due_at(ROUND, before + almost), "{pause}");
            assert!(troubles.is_due_at(ROUND, after + UNIT * pause), "{pause}");
            assert!(troubles.is_due(IntervalId::new(150)), "another round");
        }
        assert!(troubles.is_failing(ROUND));
        assert!(!troubles.cleared(ROUND), "nobody was alerted");
        assert!(!troubles.is_failing(ROUND) && troubles.is_due(ROUND));
    }

    #[tokio::test]
    async fn damaged_data_is_an_alert_at_once_and_an_unavailable_server_after_some_blocks() {
        let mut troubles = Troubles::default();
        let damaged = BoardError::Corrupt("junk".to_owned()).into();
        let at = |head| BlockNumber::new(head);
        assert!(troubles.failed(ROUND, at(7), &damaged, UNIT));
        assert!(!troubles.failed(ROUND, at(8), &damaged, UNIT));
        assert!(troubles.failed(ROUND, at(57), &damaged, UNIT), "again");
        assert!(troubles.cleared(ROUND));
        assert!(!troubles.failed(ROUND, at(60), &unavailable(), UNIT));
        assert!(!troubles.failed(ROUND, at(69), &unavailable(), UNIT));
        assert!(troubles.failed(ROUND, at(70), &unavailable(), UNIT));
        assert!(troubles.cleared(ROUND));
        assert!(!troubles.held(ROUND, at(80)));
        assert!(!troubles.held(ROUND, at(89)));
        assert!(troubles.held(ROUND, at(90)));
    }
}
