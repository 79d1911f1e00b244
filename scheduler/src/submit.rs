//! Weights onto the chain, once per epoch. "Submitted" means seen on the chain: an outcome that cannot be told
//! is resolved by looking there, never by sending again blindly; a commit counts when the chain has opened it.
//!
//! It runs beside the rounds, so that a submission that takes minutes neither holds them up nor costs the lease.
//! Nothing in here ends the process, and no part of a step holds up another one: weights first, then what earlier
//! epochs left.

mod alarm;
mod attempt;
mod pace;
mod record;
mod reveal;
mod standing;
mod sweep;
mod wait;

pub use record::{SubmissionRecord, SubmissionState};

use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::identity::{self, Era};
use crate::{progress, window};
use alarm::Alarm;
use nexis_ports::FaultClass;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, Hotkey, LeaderEpoch, WeightEpoch};
use pace::Pace;
use reveal::Waiting;
use std::time::Duration;
use tokio::sync::watch;
use wait::{Verdict, Wait};

/// Pause after a step that failed because something is unavailable.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What the rounds' loop tells: who leads, and the newest head.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) leader: Option<LeaderEpoch>,
    pub(crate) head: Option<BlockNumber>,
    /// Blocks, counted from the start of the process, in which rounds could be worked on.
    pub(crate) able: u64,
}

/// Looks after submissions until the other end of `looks` is gone.
pub(crate) async fn run(
    scheduler: &Scheduler,
    era: &Era,
    mut looks: watch::Receiver<Look>,
) -> Result<(), SchedulerError> {
    let mut submitter = Submitter::default();
    while looks.changed().await.is_ok() {
        let look = *looks.borrow_and_update();
        let Some(head) = look.head else { continue };
        // Every scheduler notes what it saw, leader or not.
        submitter.first_seen.get_or_insert(head);
        let Some(leader) = look.leader else { continue };
        let Err(fault) = submitter
            .step(scheduler, era, leader, head, look.able)
            .await
        else {
            continue;
        };
        match fault.class() {
            FaultClass::Fenced => {
                tracing::warn!(error = %fault, "another process leads: it goes on with the weights");
                submitter.leader = None;
            }
            // Something stored cannot be read, or the chain's runtime is not one that we know: rounds go on.
            FaultClass::Permanent => {
                let what = fault.to_string();
                if submitter.faults.is_due(&what, head) {
                    scheduler.alert(&format!("weights are held up: {what}; run `nexis doctor`"));
                }
                tokio::time::sleep(AFTER_FAULT.min(scheduler.options.retry_unit)).await;
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
    /// Epoch at whose turn old objects were removed.
    tidied: Option<WeightEpoch>,
    /// Commits that wait for their reveal, oldest first.
    waiting: Vec<Waiting>,
    /// Head at which reveals were last looked at.
    looked_at: Option<BlockNumber>,
    pace: Pace,
    wait: Wait,
    /// The count of blocks in which rounds could be worked on, at the last step.
    able: Option<u64>,
    standing: standing::Watch,
    /// Windows that are hardly decided.
    windows: Alarm,
    /// Faults that no retry mends.
    faults: Alarm,
}

impl Submitter {
    async fn step(
        &mut self,
        scheduler: &Scheduler,
        era: &Era,
        leader: LeaderEpoch,
        head: BlockNumber,
        able: u64,
    ) -> Result<(), SchedulerError> {
        let Some(own) = scheduler.ports.chain.own_hotkey() else {
            return Ok(());
        };
        if self.leader != Some(leader) {
            // Somebody else may have led meanwhile.
            *self = Self {
                first_seen: self.first_seen,
                leader: Some(leader),
                standing: std::mem::take(&mut self.standing),
                faults: std::mem::take(&mut self.faults),
                ..Self::default()
            };
        }
        let calendar = Calendar::of(&scheduler.options.rules.profile);
        let epoch = calendar.weight_epoch(head);
        // Each part on its own: what cannot be done now holds up nothing else.
        let noted = self.note_next(scheduler, era, epoch).await;
        let weighed = self.weigh(scheduler, era, leader, (head, able), &own).await;
        let swept = self.turn(scheduler, era, leader, epoch, head).await;
        let revealed = self
            .look_at_reveals(scheduler, leader, era, epoch, head)
            .await;
        let stood = self.standing.look(scheduler, era.number, epoch, head).await;
        weighed.and(noted).and(swept).and(revealed).and(stood)
    }

    /// The running epoch's weights.
    async fn weigh(
        &mut self,
        scheduler: &Scheduler,
        era: &Era,
        leader: LeaderEpoch,
        (head, able): (BlockNumber, u64),
        own: &Hotkey,
    ) -> Result<(), SchedulerError> {
        let calendar = Calendar::of(&scheduler.options.rules.profile);
        let epoch = calendar.weight_epoch(head);
        let since = able.saturating_sub(self.able.replace(able).unwrap_or(able));
        if self.settled == Some(epoch) {
            return Ok(());
        }
        let archive = scheduler.ports.archive.as_ref();
        let start = calendar.submission_block(epoch);
        let mut record = match SubmissionRecord::load(archive, era.number, epoch).await? {
            Some(record) => record,
            // A validator that starts inside an epoch waits for the next one (PROTOCOL §2).
            None if self.first_seen.is_none_or(|first| first > start) => {
                self.settled = Some(epoch);
                return Ok(());
            }
            None => SubmissionRecord::new(era.number, epoch, SubmissionState::Armed),
        };
        if !matches!(record.state, SubmissionState::Armed | SubmissionState::Sent) {
            self.settled = Some(epoch);
            return Ok(());
        }
        // What was sent is looked for whatever became of the window since.
        if record.state == SubmissionState::Armed {
            let verdict = self
                .judge(scheduler, leader, &mut record, head, since)
                .await?;
            if verdict != Verdict::Submit {
                return Ok(());
            }
        }
        if self.pace.holds(head) {
            return Ok(());
        }
        match self.attempt(scheduler, leader, record, own).await {
            // Neither a runtime that we do not know nor a damaged object ends the verification.
            Err(fault) if fault.class() == FaultClass::Permanent => {
                self.pace.failed(scheduler.options.retry_unit);
                Err(fault)
            }
            ended => ended,
        }
    }

    /// Whether the window lets weights be computed now.
    async fn judge(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        record: &mut SubmissionRecord,
        head: BlockNumber,
        since: u64,
    ) -> Result<Verdict, SchedulerError> {
        let options = &scheduler.options;
        let (profile, archive) = (&options.rules.profile, scheduler.ports.archive.as_ref());
        let first = identity::first_interval(archive, record.era).await?;
        let window = progress::window_state(archive, profile, record.epoch, first).await?;
        let rules = wait::Rules {
            least_percent: options.keeping.least_window_percent,
            round_blocks: options.clips_deadline_blocks,
        };
        let calendar = Calendar::of(profile);
        let verdict = self.wait.look(calendar, &window, head, since, rules);
        match verdict {
            Verdict::Wait => {}
            Verdict::Submit => {
                record.left_out = window.undecided().map(|(interval, _)| interval).collect();
                self.report_left_out(scheduler, &window, head);
            }
            Verdict::TooLittle => self.hold(scheduler, leader, record, &window, head).await?,
        }
        Ok(verdict)
    }

    fn report_left_out(
        &mut self,
        scheduler: &Scheduler,
        window: &window::WindowState,
        head: BlockNumber,
    ) {
        if window.is_complete() {
            return;
        }
        let what = format!(
            "the weights of epoch {} leave out intervals that were not decided in time: {}",
            window.epoch,
            window.missing()
        );
        if self.windows.is_due(&what, head) {
            scheduler.alert(&what);
        }
    }

    /// Too little of the window is decided: the weights on the chain stay, and the operator hears of it.
    async fn hold(
        &mut self,
        scheduler: &Scheduler,
        leader: LeaderEpoch,
        record: &mut SubmissionRecord,
        window: &window::WindowState,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let what = format!(
            "only {} of the {} intervals of the window are decided: {}",
            window.decided(),
            window.intervals.len(),
            window.missing()
        );
        if !self.windows.is_due(&what, head) {
            return Ok(());
        }
        scheduler.alert(&format!(
            "the weights of epoch {} are not sent, those on the chain stay: {what}",
            window.epoch
        ));
        record.last_error = Some(what);
        attempt::keep(scheduler, leader, record).await
    }

    /// Notes the coming epoch while this one runs. Whoever leads then finds the note, and so knows that it takes
    /// up work and does not start anew: it submits late rather than not at all, as long as the epoch lasts.
    async fn note_next(
        &mut self,
        scheduler: &Scheduler,
        era: &Era,
        epoch: WeightEpoch,
    ) -> Result<(), SchedulerError> {
        let next = WeightEpoch::new(epoch.get().saturating_add(1));
        if self.noted == Some(next) {
            return Ok(());
        }
        let archive = scheduler.ports.archive.as_ref();
        if SubmissionRecord::load(archive, era.number, next)
            .await?
            .is_none()
        {
            let mut armed = SubmissionRecord::new(era.number, next, SubmissionState::Armed);
            // Another process may be first; its note is as good.
            armed.store(archive).await?;
        }
        self.noted = Some(next);
        Ok(())
    }

    /// The turn of an epoch.
    async fn turn(
        &mut self,
        scheduler: &Scheduler,
        era: &Era,
        leader: LeaderEpoch,
        epoch: WeightEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        if self.swept != Some(epoch) {
            self.sweep(scheduler, leader, era, epoch).await?;
            self.swept = Some(epoch);
        }
        if self.tidied != Some(epoch) {
            self.tidy(scheduler, era, head).await?;
            self.tidied = Some(epoch);
        }
        Ok(())
    }
}
