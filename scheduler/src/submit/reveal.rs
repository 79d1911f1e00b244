//! Commits until the chain has opened them. A failed reveal makes no event on the chain: whoever commits must look.
//! What cannot be read about one commit is tried again at its own pace and holds up nothing else.

use super::attempt::keep;
use super::record::Attempt;
use super::{SubmissionRecord, SubmissionState, Submitter};
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::identity::Era;
use nexis_ports::{CommitTicket, RevealState, SubmitOutcome};
use nexis_protocol::{BlockNumber, LeaderEpoch, WeightEpoch};

/// Times that one epoch's weights are committed again. A second failure has a reason that a third commit would meet
/// too, and the next epoch brings newer weights.
const COMMITS_AGAIN: u32 = 1;
/// Longest pause between two looks at a commit that cannot be read.
const LONGEST_PAUSE_BLOCKS: u64 = 32;
/// Blocks after its deadline at which a commit that cannot be read is given up.
const UNREADABLE_BLOCKS: u64 = 300;

/// A commit that waits for its reveal.
pub(super) struct Waiting {
    record: SubmissionRecord,
    /// It is not looked at before this head.
    not_before: u64,
    /// Pause after the next failure.
    pause: u64,
}

impl From<SubmissionRecord> for Waiting {
    fn from(record: SubmissionRecord) -> Self {
        Self {
            record,
            not_before: 0,
            pause: 1,
        }
    }
}

impl Waiting {
    /// Its ticket and extrinsic.
    fn commit(&self) -> Option<(&CommitTicket, &str)> {
        match &self.record.state {
            SubmissionState::Committed {
                extrinsic, ticket, ..
            } => Some((ticket, extrinsic)),
            _ => None,
        }
    }

    /// Looks at the chain. A failure is logged, and the next look comes later; the commit is given up when nothing
    /// could be read for an hour after its deadline.
    async fn look(&mut self, scheduler: &Scheduler, head: BlockNumber) -> RevealState {
        let Some((ticket, _)) = self.commit() else {
            return RevealState::Waiting;
        };
        let fault = match scheduler.ports.chain.reveal(ticket).await {
            Ok(state) => return state,
            Err(fault) => fault,
        };
        let given_up = ticket.reveal_deadline.saturating_add(UNREADABLE_BLOCKS);
        tracing::warn!(epoch = %self.record.epoch, error = %fault, again_in_blocks = self.pause,
            "whether a commit was revealed cannot be read");
        if head.get() >= given_up {
            return RevealState::Unseen;
        }
        self.not_before = head.get().saturating_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE_BLOCKS);
        RevealState::Waiting
    }
}

impl Submitter {
    /// Looks at the commits whose time has come, once per head.
    pub(super) async fn look_at_reveals(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        era: &Era,
        now: WeightEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        if self.looked_at.is_some_and(|looked| looked >= head) {
            return Ok(());
        }
        let mut at = 0;
        while let Some(waiting) = self.waiting.get_mut(at) {
            let Some((ticket, extrinsic)) = waiting.commit() else {
                self.waiting.remove(at);
                continue;
            };
            if head.get() < ticket.reveal_block.max(waiting.not_before) {
                at += 1;
                continue;
            }
            let extrinsic = extrinsic.to_owned();
            let state = waiting.look(scheduler, head).await;
            if state == RevealState::Waiting {
                at += 1;
                continue;
            }
            let record = self.waiting.remove(at).record;
            // A commit of an earlier era is never made again: this era has weights of its own.
            let newest = record.era == era.number
                && record.epoch == now
                && self.waiting.iter().all(|other| {
                    other.record.era != era.number || other.record.epoch <= record.epoch
                });
            self.revealed(scheduler, leader, head, record, (state, extrinsic, newest))
                .await?;
        }
        self.looked_at = Some(head);
        Ok(())
    }

    async fn revealed(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        head: BlockNumber,
        mut record: SubmissionRecord,
        (state, extrinsic, newest): (RevealState, String, bool),
    ) -> Result<(), SchedulerError> {
        let epoch = record.epoch;
        if state == RevealState::Revealed {
            record.state = SubmissionState::Done(SubmitOutcome::Verified {
                block: head.get(),
                extrinsic,
            });
            keep(scheduler, leader, &mut record).await?;
            scheduler.emit(&Event::Revealed { epoch, block: head });
            return Ok(());
        }
        // Newer weights supersede these: they are on their way, or will be once their turn comes.
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
                "whether commit {extrinsic} was opened cannot be read from the chain: the node has discarded those \
                 blocks or does not answer; an archive endpoint would know"
            ),
        };
        tracing::error!(%epoch, again, reason = last,
            "alert: a commit was not revealed; check permit, stake and version key with `nexis doctor`, and the clock");
        record.last_error = again.then(|| last.clone());
        if again {
            let archive = scheduler.ports.archive.as_ref();
            for mut attempt in Attempt::open(archive, record.era, epoch).await? {
                attempt.ended = Some("not revealed".to_owned());
                attempt.store(archive, record.era, epoch).await?;
            }
            record.state = SubmissionState::Armed;
            self.settled = None;
        } else {
            record.state = SubmissionState::Missed { last };
        }
        keep(scheduler, leader, &mut record).await?;
        scheduler.emit(&Event::RevealMissed { epoch, again });
        Ok(())
    }
}
