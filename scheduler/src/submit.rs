//! Weights onto the chain, once per epoch. "Submitted" means seen on the chain: an outcome that cannot be told
//! is resolved by looking there, never by sending again blindly.

use crate::drive::{Scheduler, SchedulerError};
use crate::event::Event;
use crate::ledger;
use nexis_ports::{Archive, ArchiveError, Roster, SubmitOutcome, WeightRequest};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::score::Excluded;
use nexis_protocol::{BlockNumber, Hotkey, LeaderEpoch, WeightEpoch, score, weights};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// Blocks after the submission block during which a round of the window may still be decided before the
/// weights are computed without it.
const WAIT_FOR_ROUNDS_BLOCKS: u64 = 25;

/// Where an epoch's submission stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionState {
    /// The epoch began under our eyes; nothing was sent yet.
    Armed,
    /// Something was sent and its ending is not known: look before sending again.
    Sent,
    /// On the chain.
    Done(SubmitOutcome),
    /// The epoch ended without success.
    Missed {
        /// The last reason.
        last: String,
    },
}

/// One epoch's submission, as the archive keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmissionRecord {
    /// The epoch.
    pub epoch: WeightEpoch,
    /// Where it stands.
    pub state: SubmissionState,
    /// What was or will be sent: (uid, hotkey, share).
    pub weights: Vec<(u16, Hotkey, f64)>,
    /// Scored hotkeys that are not on the subnet any more.
    pub unknown_hotkeys: Vec<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// Last refusal or failure.
    pub last_error: Option<String>,
}

impl SubmissionRecord {
    fn name(epoch: WeightEpoch) -> String {
        format!("submissions/{:012}.json", epoch.get())
    }

    fn armed(epoch: WeightEpoch) -> Self {
        Self {
            epoch,
            state: SubmissionState::Armed,
            weights: Vec::new(),
            unknown_hotkeys: Vec::new(),
            attempts: 0,
            last_error: None,
        }
    }

    /// Reads one from the archive.
    pub async fn load(
        archive: &dyn Archive,
        epoch: WeightEpoch,
    ) -> Result<Option<Self>, ArchiveError> {
        let Some(bytes) = archive.get(&Self::name(epoch)).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|fault| {
            ArchiveError::Refused(format!(
                "submission record of epoch {epoch} is unreadable: {fault}"
            ))
        })
    }

    /// All that the archive holds, oldest first.
    pub async fn history(archive: &dyn Archive) -> Result<Vec<Self>, ArchiveError> {
        let mut records = Vec::new();
        for name in archive.list("submissions/").await? {
            if let Some(bytes) = archive.get(&name).await?
                && let Ok(record) = serde_json::from_slice(&bytes)
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    async fn store(&self, archive: &dyn Archive) -> Result<(), ArchiveError> {
        let bytes = serde_json::to_vec_pretty(self).expect("plain data");
        archive.put(&Self::name(self.epoch), &bytes).await
    }
}

/// Submissions of one process. Everything in it may be lost: the archive and the chain know better.
pub(crate) struct Submitter {
    /// First block this process saw, to tell an epoch that began under our eyes.
    first_seen: Option<BlockNumber>,
    /// Epoch that is finished, as far as we know.
    settled: Option<WeightEpoch>,
    /// Newest epoch whose coming is noted in the archive.
    noted: Option<WeightEpoch>,
    next_attempt: Option<Instant>,
    failures: i64,
}

impl Submitter {
    pub(crate) fn new() -> Self {
        Self {
            first_seen: None,
            settled: None,
            noted: None,
            next_attempt: None,
            failures: 0,
        }
    }

    /// Every scheduler calls this with each head, leader or not.
    pub(crate) fn witness(&mut self, head: BlockNumber) {
        self.first_seen.get_or_insert(head);
    }

    pub(crate) async fn step(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let profile = &scheduler.options.rules.profile;
        let calendar = Calendar::of(profile);
        let epoch = calendar.weight_epoch(head);
        self.note_next(scheduler, epoch).await?;
        if self.settled == Some(epoch) || self.next_attempt.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let archive = scheduler.ports.archive.as_ref();
        let start = calendar.submission_block(epoch);
        let record = match SubmissionRecord::load(archive, epoch).await? {
            Some(record) => record,
            // A validator that starts inside an epoch waits for the next one (PROTOCOL §2).
            None if self.first_seen.is_none_or(|first| first > start) => {
                self.settled = Some(epoch);
                return Ok(());
            }
            None => SubmissionRecord::armed(epoch),
        };
        if matches!(
            record.state,
            SubmissionState::Done(_) | SubmissionState::Missed { .. }
        ) {
            self.settled = Some(epoch);
            return Ok(());
        }
        if head.get() < start.get() + WAIT_FOR_ROUNDS_BLOCKS
            && !ledger::window_is_decided(archive, profile, epoch).await?
        {
            return Ok(());
        }
        self.attempt(scheduler, leader, record, start).await
    }

    /// Notes the coming epoch while this one runs. Whoever leads then finds the note, and so knows that it takes
    /// up work and does not start anew, also when every process died at the very block that the epoch began.
    async fn note_next(
        &mut self,
        scheduler: &Scheduler,
        epoch: WeightEpoch,
    ) -> Result<(), SchedulerError> {
        let next = WeightEpoch::new(epoch.get().saturating_add(1));
        if self.noted == Some(next) {
            return Ok(());
        }
        let archive = scheduler.ports.archive.as_ref();
        if SubmissionRecord::load(archive, next).await?.is_none() {
            SubmissionRecord::armed(next).store(archive).await?;
        }
        self.noted = Some(next);
        Ok(())
    }

    async fn attempt(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
        start: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let archive = scheduler.ports.archive.as_ref();
        let chain = scheduler.ports.chain.as_ref();
        let netuid = scheduler.netuid();
        let Some(own) = chain.own_hotkey() else {
            self.settled = Some(record.epoch);
            return Ok(());
        };
        let roster = chain.roster(netuid, None).await?;
        self.fill(scheduler, &mut record, &roster, &own).await?;
        let request = WeightRequest {
            netuid,
            uids: record.weights.iter().map(|(uid, _, _)| *uid).collect(),
            weights: record.weights.iter().map(|(_, _, share)| *share).collect(),
        };
        let outcome = match already_there(chain, &roster, &own, start, &request).await? {
            Some(outcome) => outcome,
            None => {
                record.state = SubmissionState::Sent;
                record.attempts += 1;
                record.store(archive).await?;
                // Fence: a leader that lost its lease learns it here, before anything is signed.
                let note = record.epoch.to_string().into_bytes();
                scheduler
                    .ports
                    .board
                    .set_fact(leader, "submitting", note)
                    .await?;
                chain.set_weights(&request).await?
            }
        };
        self.conclude(scheduler, record, outcome).await
    }

    /// Computes the weights once; later attempts of the epoch send the same (hotkeys are mapped to slots anew).
    async fn fill(
        &self,
        scheduler: &Scheduler,
        record: &mut SubmissionRecord,
        roster: &Roster,
        own: &Hotkey,
    ) -> Result<(), SchedulerError> {
        let profile = &scheduler.options.rules.profile;
        let archive = scheduler.ports.archive.as_ref();
        let epoch = record.epoch;
        let rows = ledger::epoch_rows(archive, profile, epoch, own.as_str()).await?;
        let window = Calendar::of(profile).score_window(epoch);
        let totals = score::epoch_weights(&rows, window, &Excluded::default(), profile)?;
        let uids: Vec<u16> = roster
            .neurons
            .iter()
            .map(|neuron| neuron.uid.get())
            .collect();
        let hotkeys: Vec<&str> = roster.neurons.iter().map(|n| n.hotkey.as_str()).collect();
        let payload = weights::chain_payload(&hotkeys, &uids, &totals)?;
        record.weights = payload
            .uids
            .iter()
            .zip(&payload.weights)
            .filter_map(|(uid, share)| {
                let neuron = roster
                    .neurons
                    .iter()
                    .find(|neuron| neuron.uid.get() == *uid)?;
                Some((*uid, neuron.hotkey.clone(), *share))
            })
            .collect();
        record.unknown_hotkeys = payload.unknown_hotkeys;
        Ok(())
    }

    async fn conclude(
        &mut self,
        scheduler: &Scheduler,
        mut record: SubmissionRecord,
        outcome: SubmitOutcome,
    ) -> Result<(), SchedulerError> {
        match &outcome {
            SubmitOutcome::Verified { .. } | SubmitOutcome::Committed { .. } => {
                record.state = SubmissionState::Done(outcome.clone());
                record.last_error = None;
                self.settled = Some(record.epoch);
                self.failures = 0;
                self.next_attempt = None;
            }
            SubmitOutcome::Refused { error, .. } => {
                record.state = SubmissionState::Armed;
                record.last_error = Some(error.clone());
                self.back_off();
            }
            SubmitOutcome::Unknown { detail } => {
                record.last_error = Some(detail.clone());
                self.back_off();
            }
        }
        record.store(scheduler.ports.archive.as_ref()).await?;
        scheduler.emit(&Event::Submitted {
            epoch: record.epoch,
            outcome,
            weights: record.weights.clone(),
        });
        Ok(())
    }

    fn back_off(&mut self) {
        self.failures += 1;
        let pause = Duration::from_secs(weights::retry_delay_sec(self.failures));
        self.next_attempt = Some(Instant::now() + pause);
    }
}

/// Looks at the chain: did this epoch's weights arrive already, sent by whoever led before?
async fn already_there(
    chain: &dyn nexis_ports::Chain,
    roster: &Roster,
    own: &Hotkey,
    start: BlockNumber,
    request: &WeightRequest,
) -> Result<Option<SubmitOutcome>, SchedulerError> {
    let Some(me) = roster.neurons.iter().find(|neuron| neuron.hotkey == *own) else {
        return Ok(Some(SubmitOutcome::Refused {
            error: "HotKeyNotRegisteredInSubNet".to_owned(),
            remedy: format!(
                "register {own} on subnet {} or choose another hotkey",
                request.netuid
            ),
            retry_at: None,
        }));
    };
    if me.last_update < start.get() {
        return Ok(None);
    }
    let there = chain.weights_of(request.netuid, me.uid).await?;
    let ours = weights::scale_to_u16(&request.uids, &request.weights)?;
    if roster.parameters.commit_reveal || same_weights(&there, &ours) {
        return Ok(Some(SubmitOutcome::Verified {
            block: me.last_update,
            extrinsic: "found on the chain".to_owned(),
        }));
    }
    Ok(None)
}

/// The chain scales weights up so that the largest is u16::MAX; rounding may differ by one.
fn same_weights(there: &[(u16, u16)], ours: &[(u16, u16)]) -> bool {
    there.len() == ours.len()
        && ours.iter().all(|(uid, share)| {
            there
                .iter()
                .any(|(slot, found)| slot == uid && found.abs_diff(*share) <= 1)
        })
}
