//! The turn of an epoch: closes earlier epochs, resumes pending commits, and removes records past their retention.

use super::attempt::{Trace, keep, look_for_signed};
use super::reveal::Waiting;
use super::{SubmissionRecord, SubmissionState, Submitter};
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::identity::{self, Era};
use crate::progress;
use nexis_ports::FaultClass;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch, WeightEpoch};

/// Epochs looked through for what an earlier leader left open: more than two days of either profile.
const LOOK_BACK: u64 = 64;

impl Submitter {
    /// Closes epochs that have ended, and takes up the commits that wait. A record that cannot be read or closed is
    /// reported and left for the next turn; it holds up no other one.
    pub(super) async fn sweep(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        era: &Era,
        now: WeightEpoch,
    ) -> Result<(), SchedulerError> {
        let archive = scheduler.ports.archive.as_ref();
        let oldest = now.get().saturating_sub(LOOK_BACK);
        let mut records =
            SubmissionRecord::of_epochs(archive, era.number, oldest..=now.get()).await?;
        let known: Vec<u64> = records.iter().map(|record| record.epoch.get()).collect();
        if let Some(first) = known.first() {
            for gap in (*first..now.get()).filter(|epoch| !known.contains(epoch)) {
                let epoch = WeightEpoch::new(gap);
                // One that is there and cannot be read is no gap; the log has it already.
                if let Ok(None) = SubmissionRecord::load(archive, era.number, epoch).await {
                    self.missed_unnoted(scheduler, leader, era.number, epoch)
                        .await?;
                }
            }
        }
        self.waiting.clear();
        self.waiting.extend(left_waiting(scheduler, era).await?);
        let mut failed = None;
        for record in records.drain(..) {
            if matches!(record.state, SubmissionState::Committed { .. }) {
                self.waiting.push(record.into());
            } else if record.epoch < now && !record.is_closed() {
                let epoch = record.epoch;
                if let Err(fault) = self.close(scheduler, leader, record).await {
                    if fault.class() == FaultClass::Permanent {
                        scheduler.alert(&format!("epoch {epoch} cannot be closed: {fault}"));
                    } else {
                        failed = Some(fault);
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Closes an epoch that is over.
    async fn close(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
    ) -> Result<(), SchedulerError> {
        match look_for_signed(scheduler, record.era, record.epoch).await? {
            Trace::None => {}
            Trace::Ended(outcome) => {
                return self.conclude(scheduler, leader, record, outcome).await;
            }
            Trace::Forgotten(what) => record.last_error = Some(what),
        }
        let last = record.last_error.take();
        let last = last.unwrap_or_else(|| {
            "no process of this validator was able to try while it lasted".to_owned()
        });
        let last = match record.missed_reveals {
            0 => last,
            _ => format!("a commit was not opened, and the epoch ended before another one: {last}"),
        };
        self.missed(scheduler, leader, record, last).await
    }

    async fn missed_unnoted(
        &self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        era: u32,
        epoch: WeightEpoch,
    ) -> Result<(), SchedulerError> {
        let record = SubmissionRecord::new(era, epoch, SubmissionState::Armed);
        let last = "no process of this validator was running when it began".to_owned();
        self.missed(scheduler, leader, record, last).await
    }

    async fn missed(
        &self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
        last: String,
    ) -> Result<(), SchedulerError> {
        let epoch = record.epoch;
        tracing::error!(%epoch, last, "alert: the epoch ended without weights on the chain; run `nexis doctor`");
        record.state = SubmissionState::Missed { last: last.clone() };
        keep(scheduler, leader, &mut record).await?;
        scheduler.emit(&Event::EpochMissed { epoch, last });
        Ok(())
    }

    /// Renews the mark of what is decided, and removes what is older than the retention.
    pub(super) async fn tidy(
        &self,
        scheduler: &Scheduler,
        era: &Era,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let archive = scheduler.ports.archive.as_ref();
        let profile = &scheduler.options.rules.profile;
        let mark = progress::advance_mark(archive, profile, era, head).await?;
        let Some(retention) = scheduler.options.keeping.retention_blocks else {
            return Ok(());
        };
        let Some(before) = removable(Calendar::of(profile), mark, head, retention) else {
            return Ok(());
        };
        let rounds = progress::remove_rounds(archive, before).await?;
        let epoch = Calendar::of(profile).weight_epoch(BlockNumber::new(before.get()));
        let from = WeightEpoch::new(epoch.get().saturating_sub(LOOK_BACK));
        SubmissionRecord::remove_before(archive, era.number, epoch, from).await?;
        if rounds > 0 {
            tracing::info!(rounds, %before, "removed rounds older than NEXIS_ARCHIVE_RETENTION_DAYS");
        }
        Ok(())
    }
}

/// The interval before which rounds may be removed: older than the retention, decided, and outside every window that
/// is still to be paid. Two epochs back: a commit of the last one may have to be made again.
fn removable(
    calendar: Calendar,
    mark: progress::Mark,
    head: BlockNumber,
    retention: u64,
) -> Option<IntervalId> {
    let epoch = calendar.weight_epoch(head).get();
    let window = calendar.score_window(WeightEpoch::new(epoch.saturating_sub(2)));
    let old = head.get().saturating_sub(retention);
    let before = IntervalId::new(old.min(window.start));
    Some(before.min(mark.decided_through?))
}

/// Commits of the era before that wait for their reveal: the chain opens them whatever our profile is.
async fn left_waiting(scheduler: &Scheduler, era: &Era) -> Result<Vec<Waiting>, SchedulerError> {
    let Some(before) = era.number.checked_sub(1) else {
        return Ok(Vec::new());
    };
    let archive = scheduler.ports.archive.as_ref();
    let mark = progress::mark(archive, before).await?;
    let Some(period) = identity::era_of(archive, before)
        .await?
        .map(|era| era.weight_period_blocks.max(1))
    else {
        return Ok(Vec::new());
    };
    let newest = mark.head / period + 1;
    let epochs = newest.saturating_sub(LOOK_BACK)..=newest;
    let records = SubmissionRecord::of_epochs(archive, before, epochs).await?;
    let waits =
        |record: &SubmissionRecord| matches!(record.state, SubmissionState::Committed { .. });
    Ok(records.into_iter().filter(waits).map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::profile::Profile;

    #[test]
    fn nothing_is_removed_that_is_open_or_that_a_window_still_needs() {
        let calendar = Calendar::of(&Profile::default());
        let head = BlockNumber::new(10_100);
        let mark = |through: Option<u64>| progress::Mark {
            decided_through: through.map(IntervalId::new),
            head: 10_100,
        };
        let before =
            |mark, retention| removable(calendar, mark, head, retention).map(IntervalId::get);
        assert_eq!(before(mark(Some(10_000)), 7_200), Some(2_900));
        // Epoch 40 runs: the window of epoch 38 begins at 9200.
        assert_eq!(before(mark(Some(10_000)), 0), Some(9_200));
        assert_eq!(before(mark(Some(1_050)), 7_200), Some(1_050));
        assert_eq!(before(mark(None), 7_200), None);
    }
}
