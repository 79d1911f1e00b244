//! Commits until the chain has opened them. A failed reveal makes no event on the chain: whoever commits must look.

use super::record::Attempt;
use super::{SubmissionRecord, SubmissionState, Submitter, keep};
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use nexis_ports::{RevealState, SubmitOutcome};
use nexis_protocol::{BlockNumber, LeaderEpoch, WeightEpoch};

/// Times that one epoch's weights are committed again. A second failure has a reason that a third commit would meet
/// too, and the next epoch brings newer weights.
const COMMITS_AGAIN: u32 = 1;

impl Submitter {
    /// Looks at the commits whose time has come, once per head.
    pub(super) async fn look_at_reveals(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        now: WeightEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        if self.looked_at.is_some_and(|looked| looked >= head) {
            return Ok(());
        }
        let mut at = 0;
        while let Some(record) = self.waiting.get(at) {
            let SubmissionState::Committed {
                extrinsic, ticket, ..
            } = &record.state
            else {
                self.waiting.remove(at);
                continue;
            };
            if head.get() < ticket.reveal_block {
                at += 1;
                continue;
            }
            let extrinsic = extrinsic.clone();
            let state = scheduler.ports.chain.reveal(ticket).await?;
            if state == RevealState::Waiting {
                at += 1;
                continue;
            }
            let record = self.waiting.remove(at);
            self.revealed(scheduler, leader, now, head, record, (state, extrinsic))
                .await?;
        }
        self.looked_at = Some(head);
        Ok(())
    }

    async fn revealed(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        now: WeightEpoch,
        head: BlockNumber,
        mut record: SubmissionRecord,
        (state, extrinsic): (RevealState, String),
    ) -> Result<(), SchedulerError> {
        let epoch = record.epoch;
        if state == RevealState::Revealed {
            record.state = SubmissionState::Done(SubmitOutcome::Verified {
                block: head.get(),
                extrinsic,
            });
            keep(scheduler, leader, &record).await?;
            scheduler.emit(&Event::Revealed { epoch, block: head });
            return Ok(());
        }
        // Newer weights supersede these: they are on their way, or will be once their turn comes.
        let newest = epoch == now && self.waiting.iter().all(|other| other.epoch <= epoch);
        let again = newest && state == RevealState::Missed && record.missed_reveals < COMMITS_AGAIN;
        record.missed_reveals += 1;
        let last = match (state, newest) {
            (RevealState::Missed, _) if again => {
                format!("the chain did not open commit {extrinsic}")
            }
            (RevealState::Missed, true) => {
                format!(
                    "the chain did not open commit {extrinsic} either, made in place of another one"
                )
            }
            (RevealState::Missed, false) => {
                format!(
                    "the chain did not open commit {extrinsic}; newer weights take the place of its own"
                )
            }
            _ => format!(
                "commit {extrinsic} is gone and the node has forgotten whether it was opened"
            ),
        };
        tracing::error!(%epoch, again, reason = last,
            "alert: a commit was not revealed; check permit, stake and version key with `nexis doctor`, and the clock");
        record.last_error = again.then(|| last.clone());
        if again {
            let archive = scheduler.ports.archive.as_ref();
            for mut attempt in Attempt::open(archive, epoch).await? {
                attempt.ended = Some("not revealed".to_owned());
                attempt.store(archive, epoch).await?;
            }
            record.state = SubmissionState::Armed;
            self.settled = None;
        } else {
            record.state = SubmissionState::Missed { last };
        }
        keep(scheduler, leader, &record).await?;
        scheduler.emit(&Event::RevealMissed { epoch, again });
        Ok(())
    }
}
