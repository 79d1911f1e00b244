//! One step of one open round. A step does one thing and stops at the first fault. The
//! loop over all rounds handles that fault; other rounds are not affected.

use crate::barrier::{self, RETRY_BLOCKS, Stores};
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::jobs::{ClipStage, StoreWait, Watch, compute};
use crate::ledger::{self, LedgerError};
use crate::pulse::{self, Pulse, route_of};
use crate::reduce;
use crate::stage_clock::{StageClock, Supply};
use nexis_ports::{Stage, Tally, Write};
use nexis_protocol::{BlockNumber, IntervalId, JobId, LeaderEpoch};
use nexis_wire::{ClipPlan, MinerOutcome, RoundPlan, Sampling, Wire, WireError};

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is to be done but to wait for results.
    Waits,
    /// Something changed; there may be more to do.
    Moved,
    /// The decisions are in the archive and the round is retired, or somebody else did that.
    Ended,
    /// It could go on, but what is there says more about us than about the miners.
    Held(String),
}

/// Whose round it is, and when.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) head: BlockNumber,
    pub(crate) interval: IntervalId,
}

/// What the leader remembers of the round and of the fleet.
pub(crate) struct Notes<'a> {
    pub(crate) watch: &'a mut Watch,
    pub(crate) clock: &'a mut StageClock,
    pub(crate) pulse: &'a mut Pulse,
    /// Whether jobs that were published after this stage's have results.
    pub(crate) overtaken: bool,
}

impl Scheduler {
    pub(crate) async fn drive(
        &self,
        at: At,
        tally: Tally,
        mut notes: Notes<'_>,
    ) -> Result<Step, SchedulerError> {
        let Some(plan) = self.round_plan(at.interval).await? else {
            return Ok(Step::Waits); // Retired since by somebody who leads in our place.
        };
        let full = tally.done >= tally.expected;
        let Some(route) = route_of(tally.stage) else {
            return self.decide(at.epoch, &plan).await;
        };
        if let Some(why) = notes.watch.waits_for_stores(at.head) {
            return Ok(Step::Held(why));
        }
        if !full && !notes.watch.is_published() {
            // A new process leads, and its queue may be a new one: whoever takes the jobs now gets time to do them.
            let anew = Supply::Starved("its jobs are published anew".to_owned());
            let (allotted, _) = self.deadline(&plan, tally.stage);
            let stage = (at.interval, tally.stage);
            notes.clock.observe(stage, at.head, allotted, &anew);
            self.republish_if_stuck(&plan, tally, notes.watch).await?;
            return Ok(Step::Waits);
        }
        if !full {
            notes.overtaken |= self.only_extra_rows_wait(&plan, tally, notes.watch).await?;
            let late = self.is_late(at, &plan, tally.stage, &mut notes);
            let hold = if late {
                self.hold_at_deadline(route, tally, notes.overtaken).await?
            } else {
                None
            };
            if !late || hold.is_some() {
                self.republish_if_stuck(&plan, tally, notes.watch).await?;
                let of_clock = || notes.clock.held(at.interval).map(str::to_owned);
                let of_stores = || notes.watch.stores.as_ref().map(|wait| wait.why.clone());
                let why = hold.or_else(of_clock).or_else(of_stores);
                return Ok(why.map_or(Step::Waits, Step::Held));
            }
        }
        // Whatever happens on the way, the next look starts from the board and publishes what is missing.
        notes.watch.seen = None;
        match tally.stage {
            Stage::Miners => self.close_miners(at, &plan, tally, &mut notes).await,
            Stage::Clips | Stage::Closed => self.close_clips(at, &plan, tally, &mut notes).await,
        }
    }

    pub(crate) fn show(&self, interval: IntervalId, tally: Tally, watch: &mut Watch) {
        let now = Some((tally.stage, tally.done));
        if watch.shown == now || tally.stage == Stage::Closed {
            return;
        }
        watch.shown = now;
        let stage = if tally.stage == Stage::Miners {
            "miners"
        } else {
            "clips"
        };
        self.emit(&Event::Progress {
            interval,
            stage,
            done: tally.done,
            expected: tally.expected,
        });
    }

    /// Blocks that a stage gets, and the block before which it does not close whoever is missing.
    fn deadline(&self, plan: &RoundPlan, stage: Stage) -> (u64, u64) {
        let (miners, clips) = (
            self.options.miners_deadline_blocks,
            self.options.clips_deadline_blocks,
        );
        match stage {
            Stage::Miners => (miners, plan.miners_deadline),
            Stage::Clips | Stage::Closed => (clips.saturating_sub(miners), plan.clips_deadline),
        }
    }

    /// Counts the blocks since the last look, and says whether the stage's deadline has passed.
    fn is_late(&self, at: At, plan: &RoundPlan, stage: Stage, notes: &mut Notes<'_>) -> bool {
        let (allotted, planned) = self.deadline(plan, stage);
        let supply = match (notes.watch.failed.take(), route_of(stage)) {
            (Some(fault), _) => Supply::Unavailable(fault),
            (None, Some(route)) => notes.pulse.supply(route, at.head, notes.overtaken),
            (None, None) => Supply::Taken,
        };
        let clock = &mut *notes.clock;
        clock.observe((at.interval, stage), at.head, allotted, &supply);
        clock.counted(at.interval, stage) >= allotted && at.head.get() >= planned
    }

    /// Why a stage stays open at its deadline: who is missing then is absent, and that may only be said of miners whose
    /// job a worker has taken while others got through.
    async fn hold_at_deadline(
        &self,
        route: nexis_ports::Route,
        tally: Tally,
        overtaken: bool,
    ) -> Result<Option<String>, SchedulerError> {
        // One miner's job may be the only one and fail whoever takes it; that all of several do is not their doing.
        if overtaken && (tally.done > 0 || tally.expected == 1) {
            return Ok(None);
        }
        let depth = self.ports.queue.depth(route).await?;
        if depth > 0 {
            let consumers = self.ports.queue.consumers(route).await.ok();
            return Ok(Some(pulse::starved(route, depth, consumers)));
        }
        Ok((tally.done == 0).then(|| {
            format!(
                "no worker has finished any of its {} {} jobs; look at the workers and their log",
                tally.expected,
                route.name()
            )
        }))
    }

    /// Under `full` sampling the protocol's own rows are published first: when more results are there than those,
    /// every one of them has been taken.
    async fn only_extra_rows_wait(
        &self,
        plan: &RoundPlan,
        tally: Tally,
        watch: &mut Watch,
    ) -> Result<bool, SchedulerError> {
        if tally.stage != Stage::Clips || plan.rules.sampling != Sampling::Full {
            return Ok(false);
        }
        if watch.protocol_rows.is_none() {
            let clips = self.clip_plan(plan.interval).await?;
            watch.protocol_rows = clips.map(|clips| {
                let sampled = clips.miners.iter().filter_map(|outcome| match outcome {
                    MinerOutcome::Judged { sampled, .. } => Some(sampled),
                    MinerOutcome::Absent | MinerOutcome::Rejected { .. } => None,
                });
                sampled.flatten().filter(|clip| clip.protocol).count() as u64
            });
        }
        Ok(watch.protocol_rows.is_some_and(|rows| tally.done > rows))
    }

    /// The plan of an open round; `None` when the round is gone meanwhile.
    async fn round_plan(&self, interval: IntervalId) -> Result<Option<RoundPlan>, SchedulerError> {
        let board = self.ports.board.as_ref();
        let Some(bytes) = board.plan(interval, Stage::Miners).await? else {
            if board.tally(interval).await?.is_none() {
                return Ok(None);
            }
            return Err(lost("its plan is gone"));
        };
        match RoundPlan::decode(&bytes) {
            Ok(plan) if plan.interval == interval => Ok(Some(plan)),
            Ok(_) => Err(lost("its plan is that of another interval")),
            Err(newer @ WireError::Newer { .. }) => Err(newer.into()),
            Err(fault) => Err(lost(&format!("its plan cannot be read: {fault}"))),
        }
    }

    /// The plan of a round's clip stage; `None` when the round is gone meanwhile.
    pub(crate) async fn clip_plan(
        &self,
        interval: IntervalId,
    ) -> Result<Option<ClipPlan>, SchedulerError> {
        let board = self.ports.board.as_ref();
        let Some(bytes) = board.plan(interval, Stage::Clips).await? else {
            if board.tally(interval).await?.is_none() {
                return Ok(None);
            }
            return Err(lost("the plan of its clip stage is gone"));
        };
        let read = compute(move || Ok(ClipPlan::decode(&bytes))).await?;
        match read {
            Ok(clips) => Ok(Some(clips)),
            Err(newer @ WireError::Newer { .. }) => Err(newer.into()),
            Err(fault) => Err(lost(&format!("the plan of its clip stage: {fault}"))),
        }
    }

    /// The barrier: arbitration over what is in, then clip jobs.
    async fn close_miners(
        &self,
        at: At,
        plan: &RoundPlan,
        tally: Tally,
        notes: &mut Notes<'_>,
    ) -> Result<Step, SchedulerError> {
        let board = self.ports.board.as_ref();
        let results = board.results(at.interval, Stage::Miners).await?;
        let read = results.len() as u64;
        self.check_whole(at.interval, tally, read).await?;
        let barrier::Reports {
            reports,
            unreadable,
        } = compute(move || Ok(barrier::read_reports(results))).await?;
        if self.do_again(at, &unreadable, notes.watch).await? {
            return Ok(Step::Moved);
        }
        let unreachable: Vec<JobId> = reports
            .iter()
            .filter(|report| report.unreachable.is_some())
            .map(|report| miner_id(at.interval, report))
            .collect();
        let mut stores = Stores::of(plan);
        for report in &reports {
            if !unreadable.contains(&miner_id(at.interval, report)) {
                stores.note(&report.hotkey, report.unreachable.as_ref());
            }
        }
        if let Some(why) = stores.hold() {
            return self.hold_for_stores(at, why, &unreachable, notes).await;
        }
        let index = ledger::load_index(self.ports.archive.as_ref(), plan.index).await?;
        let plan = plan.clone();
        let (clips, ids, drawn) = compute(move || {
            let clips = reduce::arbitrate_round(&plan, &index, &reports);
            let ids = reduce::clip_ids(&plan, &clips, &reports);
            let bytes = clips.encode_checked()?;
            let drawn = ClipStage {
                plan,
                clips,
                reports,
            };
            Ok((bytes, ids, drawn))
        })
        .await?;
        let write = board
            .advance_from(at.epoch, at.interval, Some(read), Stage::Clips, clips, &ids)
            .await?;
        if write == Write::Applied {
            *notes.watch = Watch::default();
            self.publish_clips(drawn, None).await?;
            notes.watch.published_now((Stage::Clips, 0));
        }
        // A report that came between the reading and this counts: the next look has it.
        Ok(Step::Moved)
    }

    /// The end of the clip stage. What is in is counted first: the count goes into the stage's plan, and whoever decides
    /// compares.
    async fn close_clips(
        &self,
        at: At,
        plan: &RoundPlan,
        tally: Tally,
        notes: &mut Notes<'_>,
    ) -> Result<Step, SchedulerError> {
        let board = self.ports.board.as_ref();
        let Some(clips) = self.clip_plan(at.interval).await? else {
            return Ok(Step::Waits);
        };
        let (mut read, mut unreadable, mut unreachable) = (0, Vec::new(), Vec::new());
        let mut stores = Stores::of(plan);
        for hotkey in reduce::miners_with_clips(plan, &clips) {
            let results = board.results_of(at.interval, Stage::Clips, hotkey).await?;
            read += results.len() as u64;
            for (id, bytes) in results {
                let Some(verdict) = barrier::read_verdict(&id, &bytes) else {
                    unreadable.push(id);
                    continue;
                };
                stores.note(hotkey, verdict.unreachable.as_ref());
                if verdict.unreachable.is_some() {
                    unreachable.push(id);
                }
            }
        }
        self.check_whole(at.interval, tally, read).await?;
        if self.do_again(at, &unreadable, notes.watch).await? {
            return Ok(Step::Moved);
        }
        if let Some(why) = stores.hold() {
            return self.hold_for_stores(at, why, &unreachable, notes).await;
        }
        let count = read.to_string().into_bytes();
        board
            .advance_from(at.epoch, at.interval, Some(read), Stage::Closed, count, &[])
            .await?;
        Ok(Step::Moved)
    }

    /// A board that lost keys (a Redis that evicts, a hand that deleted) has fewer results or expected ids than it
    /// counted. Nothing is decided from the remainder.
    async fn check_whole(
        &self,
        interval: IntervalId,
        tally: Tally,
        read: u64,
    ) -> Result<(), SchedulerError> {
        if read < tally.done {
            let (done, stage) = (tally.done, tally.stage);
            return Err(lost(&format!(
                "{done} results of its stage {stage:?} were counted and {read} are there"
            )));
        }
        if read < tally.expected {
            let missing = self.ports.board.missing(interval, tally.stage).await?;
            self.check_known(interval, tally, missing.len() as u64)
                .await?;
        }
        Ok(())
    }

    /// The same for the ids: `missing` of them were just read.
    pub(crate) async fn check_known(
        &self,
        interval: IntervalId,
        tally: Tally,
        missing: u64,
    ) -> Result<(), SchedulerError> {
        let Some(now) = self.ports.board.tally(interval).await? else {
            return Ok(());
        };
        // Results that came in meanwhile are counted by now.
        let known = now.done + missing;
        if now.stage == tally.stage && known < now.expected {
            let (expected, stage) = (now.expected, now.stage);
            return Err(lost(&format!(
                "{expected} jobs of its stage {stage:?} are expected and {known} are known"
            )));
        }
        Ok(())
    }

    /// Has jobs done again whose result cannot be read, some times. False when there is nothing (more) to do about it.
    async fn do_again(
        &self,
        at: At,
        unreadable: &[JobId],
        watch: &mut Watch,
    ) -> Result<bool, SchedulerError> {
        let again = watch.repeats.again(unreadable);
        if again.is_empty() {
            for job in unreadable {
                tracing::error!(%job, "alert: no result of this job can be read: a miner's report counts as \
                    validation_exception, a clip's verdict as not there; check that workers and schedulers are of one \
                    release, and who else writes to the board");
            }
            return Ok(false);
        }
        tracing::warn!(jobs = again.len(), first = %again[0], "results cannot be read: the jobs are done again");
        self.ports
            .board
            .forget(at.epoch, at.interval, &again)
            .await?;
        Ok(true)
    }

    /// Holds the stage, and has the jobs of the unreachable stores done again after a while.
    async fn hold_for_stores(
        &self,
        at: At,
        why: String,
        unreachable: &[JobId],
        notes: &mut Notes<'_>,
    ) -> Result<Step, SchedulerError> {
        let (first, longest) = RETRY_BLOCKS;
        let now = at.head.get();
        let watch = &mut *notes.watch;
        let (until, pause, done_again) = match watch.stores.take() {
            Some(wait) if !wait.done_again => {
                let board = self.ports.board.as_ref();
                board.forget(at.epoch, at.interval, unreachable).await?;
                notes.clock.restart(at.interval);
                (now, wait.pause, true)
            }
            Some(wait) => {
                let pause = (2 * wait.pause).min(longest);
                (now + pause, pause, false)
            }
            None => (now + first, first, false),
        };
        watch.stores = Some(StoreWait {
            until,
            pause,
            why: why.clone(),
            done_again,
        });
        Ok(Step::Held(why))
    }

    async fn decide(&self, epoch: LeaderEpoch, plan: &RoundPlan) -> Result<Step, SchedulerError> {
        let board = self.ports.board.as_ref();
        let archive = self.ports.archive.as_ref();
        let interval = plan.interval;
        if !ledger::is_decided(archive, interval).await? && !self.store(epoch, plan).await? {
            return Ok(Step::Waits); // Retired since by somebody who leads in our place.
        }
        let file = ledger::load(archive, interval)
            .await?
            .ok_or_else(|| LedgerError::Missing(format!("decisions of interval {interval}")))?;
        let profile = &plan.rules.profile;
        let scores = ledger::stored_scores(archive, profile, interval, &file.decisions).await?;
        board.retire(epoch, interval).await?;
        self.emit(&Event::Decided {
            interval,
            decisions: file.decisions,
            scores,
            absent: file.absent,
        });
        Ok(Step::Ended)
    }
}

fn miner_id(interval: IntervalId, report: &nexis_wire::MinerReport) -> JobId {
    JobId::Miner {
        interval,
        hotkey: report.hotkey.clone(),
    }
}

/// The board holds less of the round than it did.
pub(crate) fn lost(what: &str) -> SchedulerError {
    SchedulerError::StateLost(what.to_owned())
}

impl Watch {
    /// Why the stage waits before it is looked at again.
    fn waits_for_stores(&self, head: BlockNumber) -> Option<String> {
        let wait = self.stores.as_ref()?;
        (!wait.done_again && wait.until > head.get()).then(|| wait.why.clone())
    }
}
