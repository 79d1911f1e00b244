//! One attempt at an epoch's weights: look for what was signed before, compute, send, and write down how it ended.

use super::record::Attempt;
use super::{SubmissionRecord, SubmissionState, Submitter};
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::{identity, ledger};
use async_trait::async_trait;
use nexis_ports::{
    ArchiveError, BoardError, ChainError, Roster, SignedSubmission, SubmissionJournal,
    SubmitOutcome, WeightRequest,
};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::score::Excluded;
use nexis_protocol::{BlockNumber, Hotkey, LeaderEpoch, WeightEpoch, score, weights};

impl Submitter {
    pub(super) async fn attempt(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
        own: &Hotkey,
    ) -> Result<(), SchedulerError> {
        let epoch = record.epoch;
        let chain = scheduler.ports.chain.as_ref();
        match look_for_signed(scheduler, record.era, epoch).await? {
            Trace::None => {}
            Trace::Ended(outcome) => {
                return self.conclude(scheduler, leader, record, outcome).await;
            }
            // It may count: nothing more is sent in this epoch.
            Trace::Forgotten(detail) => {
                let unknown = SubmitOutcome::Unknown { detail };
                return self.conclude(scheduler, leader, record, unknown).await;
            }
        }
        let calendar = Calendar::of(&scheduler.options.rules.profile);
        let start = calendar.submission_block(epoch);
        let next = calendar.submission_block(WeightEpoch::new(epoch.get().saturating_add(1)));
        let roster = chain.roster(scheduler.netuid(), None).await?;
        self.fill(scheduler, &mut record, &roster, own).await?;
        let request = WeightRequest {
            netuid: scheduler.netuid(),
            uids: record.weights.iter().map(|(uid, ..)| *uid).collect(),
            hotkeys: record
                .weights
                .iter()
                .map(|(_, key, _)| key.clone())
                .collect(),
            weights: record.weights.iter().map(|(.., share)| *share).collect(),
            not_after: Some(BlockNumber::new(next.get().saturating_sub(1))),
        };
        let outcome = match already_there(chain, &roster, own, start, &request).await? {
            Some(outcome) => outcome,
            None => {
                record.attempts += 1;
                keep(scheduler, leader, &mut record).await?;
                let place = (record.era, epoch);
                send(scheduler, leader, place, &request).await?
            }
        };
        self.conclude(scheduler, leader, record, outcome).await
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
        let first = identity::first_interval(archive, record.era).await?;
        let rows = ledger::epoch_rows(archive, profile, epoch, first, own.as_str()).await?;
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

    pub(super) async fn conclude(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
        outcome: SubmitOutcome,
    ) -> Result<(), SchedulerError> {
        let unit = scheduler.options.retry_unit;
        match &outcome {
            SubmitOutcome::Verified { block, .. } => {
                record.state = SubmissionState::Done(outcome.clone());
                self.succeeded(&mut record);
                record.included.push(*block);
            }
            SubmitOutcome::Committed {
                block,
                extrinsic,
                ticket,
            } => {
                record.state = SubmissionState::Committed {
                    block: *block,
                    extrinsic: extrinsic.clone(),
                    ticket: ticket.clone(),
                };
                self.succeeded(&mut record);
                record.included.push(*block);
            }
            SubmitOutcome::Refused {
                error, retry_at, ..
            } => {
                record.state = SubmissionState::Armed;
                record.last_error = Some(error.clone());
                match retry_at {
                    Some(block) => self.pace.wait_for(*block, unit),
                    None => self.pace.failed(unit),
                }
                // Mapping hotkeys to slots anew is all that is needed.
                if error == "SlotsChanged" {
                    self.pace.try_at_once();
                }
            }
            SubmitOutcome::Unknown { detail } => {
                record.state = SubmissionState::Sent;
                record.last_error = Some(detail.clone());
                self.pace.failed(unit);
            }
        }
        keep(scheduler, leader, &mut record).await?;
        scheduler.emit(&Event::Submitted {
            epoch: record.epoch,
            outcome,
            weights: record.weights.clone(),
        });
        if matches!(record.state, SubmissionState::Committed { .. }) {
            self.waiting.push(record.into());
        }
        Ok(())
    }

    fn succeeded(&mut self, record: &mut SubmissionRecord) {
        record.last_error = None;
        self.settled = self.settled.max(Some(record.epoch));
        self.pace.succeeded();
    }
}

/// Learns whether we still lead: the board refuses the writes of a leader that lost its lease.
async fn fence(
    scheduler: &Scheduler,
    leader: LeaderEpoch,
    epoch: WeightEpoch,
) -> Result<(), BoardError> {
    let note = epoch.to_string().into_bytes();
    let board = scheduler.ports.board.as_ref();
    board.set_fact(leader, "submitting", note).await
}

/// Stores a record, when we still lead and nobody else has stored one since it was read.
pub(super) async fn keep(
    scheduler: &Scheduler,
    leader: LeaderEpoch,
    record: &mut SubmissionRecord,
) -> Result<(), SchedulerError> {
    fence(scheduler, leader, record.epoch).await?;
    if record.store(scheduler.ports.archive.as_ref()).await? {
        return Ok(());
    }
    Err(SchedulerError::Lost(
        "another process has written the record of this submission",
    ))
}

/// What became of signatures whose ending is not known.
pub(super) enum Trace {
    /// None of them is or can be on the chain.
    None,
    /// One of them ended in this way.
    Ended(SubmitOutcome),
    /// One of them is in a block of which the node does not know any more what it did.
    Forgotten(String),
}

pub(super) async fn look_for_signed(
    scheduler: &Scheduler,
    era: u32,
    epoch: WeightEpoch,
) -> Result<Trace, SchedulerError> {
    let archive = scheduler.ports.archive.as_ref();
    for mut attempt in Attempt::open(archive, era, epoch).await? {
        let outcome = match scheduler.ports.chain.resolve(&attempt.signed).await {
            Err(ChainError::StatePruned(_)) => {
                return Ok(Trace::Forgotten(format!(
                    "extrinsic {} is in a block of which the node has forgotten whether it counted; an archive \
                     endpoint would know",
                    attempt.signed.extrinsic
                )));
            }
            other => other?,
        };
        let SubmitOutcome::Refused { error, .. } = outcome else {
            return Ok(Trace::Ended(outcome));
        };
        attempt.ended = Some(error);
        attempt.store(archive, era, epoch).await?;
    }
    Ok(Trace::None)
}

/// Keeps each signature before it is sent.
struct Journal<'a> {
    scheduler: &'a Scheduler,
    leader: LeaderEpoch,
    era: u32,
    epoch: WeightEpoch,
    attempts: Vec<Attempt>,
    fault: Option<SchedulerError>,
}

impl Journal<'_> {
    async fn note(&mut self, signed: &SignedSubmission) -> Result<(), SchedulerError> {
        let attempt = Attempt {
            signed: signed.clone(),
            ended: None,
        };
        let archive = self.scheduler.ports.archive.as_ref();
        attempt.store(archive, self.era, self.epoch).await?;
        self.attempts.push(attempt);
        // After the note: whoever leads instead of us finds it from here on.
        fence(self.scheduler, self.leader, self.epoch).await?;
        Ok(())
    }

    /// Notes which signatures came to nothing: of several only the last can have been taken. One that was taken
    /// stays open, because what it led to is only known once the record says so: a leader that lost its lease
    /// in between writes no record.
    async fn close(mut self, outcome: &SubmitOutcome) -> Result<(), ArchiveError> {
        let archive = self.scheduler.ports.archive.as_ref();
        let last = self.attempts.pop();
        for mut attempt in self.attempts {
            attempt.ended = Some("signed anew".to_owned());
            attempt.store(archive, self.era, self.epoch).await?;
        }
        if let (Some(mut last), SubmitOutcome::Refused { error, .. }) = (last, outcome) {
            last.ended = Some(error.clone());
            last.store(archive, self.era, self.epoch).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SubmissionJournal for Journal<'_> {
    async fn signed(&mut self, submission: &SignedSubmission) -> Result<(), ChainError> {
        let noted = self.note(submission).await;
        noted.map_err(|fault| {
            self.fault = Some(fault);
            ChainError::NotNoted
        })
    }
}

async fn send(
    scheduler: &Scheduler,
    leader: LeaderEpoch,
    (era, epoch): (u32, WeightEpoch),
    request: &WeightRequest,
) -> Result<SubmitOutcome, SchedulerError> {
    let mut journal = Journal {
        scheduler,
        leader,
        era,
        epoch,
        attempts: Vec::new(),
        fault: None,
    };
    let sent = scheduler.ports.chain.set_weights(request, &mut journal);
    match sent.await {
        Ok(outcome) => {
            journal.close(&outcome).await?;
            Ok(outcome)
        }
        Err(fault) => Err(journal.fault.unwrap_or(SchedulerError::Chain(fault))),
    }
}

/// Looks at the chain: are these very weights there already, set in this epoch by a process whose archive is lost?
/// What is sealed cannot be compared.
async fn already_there(
    chain: &dyn nexis_ports::Chain,
    roster: &Roster,
    own: &Hotkey,
    start: BlockNumber,
    request: &WeightRequest,
) -> Result<Option<SubmitOutcome>, SchedulerError> {
    let me = roster.neurons.iter().find(|neuron| neuron.hotkey == *own);
    let Some(me) = me.filter(|me| me.last_update >= start.get()) else {
        return Ok(None);
    };
    if roster.parameters.commit_reveal {
        return Ok(None);
    }
    let there = chain.weights_of(request.netuid, me.uid).await?;
    let ours = weights::scale_to_u16(&request.uids, &request.weights)?;
    Ok(
        same_weights(&there, &ours).then(|| SubmitOutcome::Verified {
            block: me.last_update,
            extrinsic: "found on the chain".to_owned(),
        }),
    )
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
