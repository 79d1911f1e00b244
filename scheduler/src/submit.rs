//! Weights onto the chain, once per epoch. "Submitted" means seen on the chain: an outcome that cannot be told
//! is resolved by looking there, never by sending again blindly; a commit counts when the chain has opened it.
//!
//! It runs beside the rounds, so that a submission that takes minutes neither holds them up nor costs the lease.

mod pace;
mod record;
mod reveal;

pub use record::{SubmissionRecord, SubmissionState};

use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::ledger;
use async_trait::async_trait;
use nexis_ports::{
    ArchiveError, BoardError, ChainError, FaultClass, Roster, SignedSubmission, SubmissionJournal,
    SubmitOutcome, WeightRequest,
};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::score::Excluded;
use nexis_protocol::{BlockNumber, Hotkey, LeaderEpoch, WeightEpoch, score, weights};
use pace::Pace;
use record::Attempt;
use std::time::Duration;
use tokio::sync::watch;

/// Blocks after the submission block during which a round of the window may still be decided before the
/// weights are computed without it.
const WAIT_FOR_ROUNDS_BLOCKS: u64 = 25;
/// Records looked through for what an earlier leader left open: more than two days of either profile.
const LOOK_BACK: usize = 64;
/// Pause after a step that failed because the outside is away.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What the rounds' loop tells: who leads, and the newest head.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) leader: Option<LeaderEpoch>,
    pub(crate) head: Option<BlockNumber>,
}

/// Looks after submissions until the other end of `looks` is gone or something cannot be mended.
pub(crate) async fn run(
    scheduler: &Scheduler,
    mut looks: watch::Receiver<Look>,
) -> Result<(), SchedulerError> {
    let mut submitter = Submitter::default();
    while looks.changed().await.is_ok() {
        let look = *looks.borrow_and_update();
        let Some(head) = look.head else { continue };
        // Every scheduler notes what it saw, leader or not.
        submitter.first_seen.get_or_insert(head);
        let Some(leader) = look.leader else { continue };
        let Err(fault) = submitter.step(scheduler, leader, head).await else {
            continue;
        };
        match fault.class() {
            FaultClass::Permanent => return Err(fault),
            FaultClass::Fenced => {
                tracing::warn!(error = %fault, "another process leads: it goes on with the weights");
            }
            FaultClass::Transient | FaultClass::Cancelled => {
                tracing::warn!(error = %fault, "a submission was held up, looking again");
                scheduler.emit(&Event::Waiting {
                    on: fault.to_string(),
                });
                tokio::time::sleep(AFTER_FAULT.min(scheduler.options.retry_unit)).await;
            }
        }
    }
    Ok(())
}

/// Submissions of one process. Everything in it may be lost: the archive and the chain know better.
#[derive(Default)]
struct Submitter {
    /// First block this process saw, to tell an epoch that began under our eyes.
    first_seen: Option<BlockNumber>,
    /// The leadership under which the rest was read.
    leader: Option<LeaderEpoch>,
    /// Epoch that is finished, as far as we know.
    settled: Option<WeightEpoch>,
    /// Newest epoch whose coming is noted in the archive.
    noted: Option<WeightEpoch>,
    /// Epoch up to which earlier ones are closed.
    swept: Option<WeightEpoch>,
    /// Commits that wait for their reveal, oldest first.
    waiting: Vec<SubmissionRecord>,
    /// Head at which reveals were last looked at.
    looked_at: Option<BlockNumber>,
    pace: Pace,
}

impl Submitter {
    async fn step(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let Some(own) = scheduler.ports.chain.own_hotkey() else {
            return Ok(());
        };
        if self.leader != Some(leader) {
            // Somebody else may have led meanwhile.
            *self = Self {
                first_seen: self.first_seen,
                leader: Some(leader),
                ..Self::default()
            };
        }
        let profile = &scheduler.options.rules.profile;
        let calendar = Calendar::of(profile);
        let epoch = calendar.weight_epoch(head);
        self.note_next(scheduler, epoch).await?;
        if self.swept != Some(epoch) {
            self.sweep(scheduler, leader, epoch).await?;
            self.swept = Some(epoch);
        }
        self.look_at_reveals(scheduler, leader, epoch, head).await?;
        if self.settled == Some(epoch) || self.pace.holds(head) {
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
            None => SubmissionRecord::new(epoch, SubmissionState::Armed),
        };
        if !matches!(record.state, SubmissionState::Armed | SubmissionState::Sent) {
            self.settled = Some(epoch);
            return Ok(());
        }
        if head.get() < start.get() + WAIT_FOR_ROUNDS_BLOCKS
            && !ledger::window_is_decided(archive, profile, epoch).await?
        {
            return Ok(());
        }
        match self.attempt(scheduler, leader, record, &own).await {
            // A runtime that we do not know must not end the verification: tell it loudly and try again.
            Err(SchedulerError::Chain(fault)) if fault.class() == FaultClass::Permanent => {
                tracing::error!(%epoch, error = %fault, "alert: weights cannot be submitted; run `nexis doctor`");
                self.pace.failed(scheduler.options.retry_unit);
                Ok(())
            }
            ended => ended,
        }
    }

    /// Notes the coming epoch while this one runs. Whoever leads then finds the note, and so knows that it takes
    /// up work and does not start anew: it submits late rather than not at all, as long as the epoch lasts.
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
            let armed = SubmissionRecord::new(next, SubmissionState::Armed);
            armed.store(archive).await?;
        }
        self.noted = Some(next);
        Ok(())
    }

    /// Closes epochs that have ended, and takes up the commits that wait.
    async fn sweep(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        now: WeightEpoch,
    ) -> Result<(), SchedulerError> {
        let archive = scheduler.ports.archive.as_ref();
        let records = SubmissionRecord::recent(archive, LOOK_BACK).await?;
        self.waiting.clear();
        let mut expected = None;
        for mut record in records {
            let epoch = record.epoch.get();
            for gap in expected.unwrap_or(epoch)..epoch.min(now.get()) {
                self.missed_unnoted(scheduler, leader, gap).await?;
            }
            expected = Some(epoch.saturating_add(1));
            match &record.state {
                SubmissionState::Committed { .. } => self.waiting.push(record),
                SubmissionState::Armed | SubmissionState::Sent if record.epoch < now => {
                    match look_for_signed(scheduler, record.epoch).await? {
                        Trace::None => {}
                        Trace::Ended(outcome) => {
                            self.conclude(scheduler, leader, record, outcome).await?;
                            continue;
                        }
                        Trace::Forgotten(what) => record.last_error = Some(what),
                    }
                    let last = record.last_error.take();
                    let last = last.unwrap_or_else(|| {
                        "no process of this validator was able to try while it lasted".to_owned()
                    });
                    let last = match record.missed_reveals {
                        0 => last,
                        _ => format!(
                            "a commit was not opened, and the epoch ended before another one: {last}"
                        ),
                    };
                    self.missed(scheduler, leader, record, last).await?;
                }
                _ => {}
            }
        }
        for gap in expected.unwrap_or(now.get())..now.get() {
            self.missed_unnoted(scheduler, leader, gap).await?;
        }
        Ok(())
    }

    async fn missed_unnoted(
        &self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        epoch: u64,
    ) -> Result<(), SchedulerError> {
        let record = SubmissionRecord::new(WeightEpoch::new(epoch), SubmissionState::Armed);
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
        keep(scheduler, leader, &record).await?;
        scheduler.emit(&Event::EpochMissed { epoch, last });
        Ok(())
    }

    async fn attempt(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
        own: &Hotkey,
    ) -> Result<(), SchedulerError> {
        let epoch = record.epoch;
        let chain = scheduler.ports.chain.as_ref();
        match look_for_signed(scheduler, epoch).await? {
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
                keep(scheduler, leader, &record).await?;
                send(scheduler, leader, epoch, &request).await?
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
        leader: LeaderEpoch,
        mut record: SubmissionRecord,
        outcome: SubmitOutcome,
    ) -> Result<(), SchedulerError> {
        let unit = scheduler.options.retry_unit;
        match &outcome {
            SubmitOutcome::Verified { .. } => {
                record.state = SubmissionState::Done(outcome.clone());
                self.succeeded(&mut record);
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
        keep(scheduler, leader, &record).await?;
        scheduler.emit(&Event::Submitted {
            epoch: record.epoch,
            outcome,
            weights: record.weights.clone(),
        });
        if matches!(record.state, SubmissionState::Committed { .. }) {
            self.waiting.push(record);
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

/// Stores a record, when we still lead.
async fn keep(
    scheduler: &Scheduler,
    leader: LeaderEpoch,
    record: &SubmissionRecord,
) -> Result<(), SchedulerError> {
    fence(scheduler, leader, record.epoch).await?;
    Ok(record.store(scheduler.ports.archive.as_ref()).await?)
}

/// What became of signatures whose ending is not known.
enum Trace {
    /// None of them is or can be on the chain.
    None,
    /// One of them ended in this way.
    Ended(SubmitOutcome),
    /// One of them is in a block of which the node does not know any more what it did.
    Forgotten(String),
}

async fn look_for_signed(
    scheduler: &Scheduler,
    epoch: WeightEpoch,
) -> Result<Trace, SchedulerError> {
    let archive = scheduler.ports.archive.as_ref();
    for mut attempt in Attempt::open(archive, epoch).await? {
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
        attempt.store(archive, epoch).await?;
    }
    Ok(Trace::None)
}

/// Keeps each signature before it is sent.
struct Journal<'a> {
    scheduler: &'a Scheduler,
    leader: LeaderEpoch,
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
        attempt.store(archive, self.epoch).await?;
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
            attempt.store(archive, self.epoch).await?;
        }
        if let (Some(mut last), SubmitOutcome::Refused { error, .. }) = (last, outcome) {
            last.ended = Some(error.clone());
            last.store(archive, self.epoch).await?;
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
    epoch: WeightEpoch,
    request: &WeightRequest,
) -> Result<SubmitOutcome, SchedulerError> {
    let mut journal = Journal {
        scheduler,
        leader,
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
