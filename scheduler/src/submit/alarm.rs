//! Alerts that are repeated at a sensible rate: at once when something is wrong or wrong in another way, then every
//! half hour.

use nexis_protocol::BlockNumber;

/// Blocks between two alerts about the same.
const REPEAT_BLOCKS: u64 = 150;

#[derive(Default)]
pub(super) struct Alarm {
    last: Option<(String, u64)>,
}

impl Alarm {
    /// Whether an alert is due.
    pub(super) fn is_due(&mut self, what: &str, head: BlockNumber) -> bool {
        let due = self.last.as_ref().is_none_or(|(last, at)| {
            last != what || head.get() >= at.saturating_add(REPEAT_BLOCKS)
        });
        if due {
            self.last = Some((what.to_owned(), head.get()));
        }
        due
    }

    /// Nothing is wrong any more; true when something was.
    pub(super) fn clear(&mut self) -> bool {
        self.last.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_due_at_once_when_it_changes_and_each_half_hour() {
        let mut alarm = Alarm::default();
        let due = |alarm: &mut Alarm, what, at| alarm.is_due(what, BlockNumber::new(at));
        assert!(due(&mut alarm, "no permit", 100));
        assert!(!due(&mut alarm, "no permit", 249));
        assert!(due(&mut alarm, "no permit", 250));
        assert!(due(&mut alarm, "not registered", 251));
        assert!(alarm.clear());
        assert!(!alarm.clear());
        assert!(due(&mut alarm, "not registered", 252));
    }
}
