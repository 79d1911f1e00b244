//! The loop: look where each round stands, do the next thing, stop at the first failure, look again at the
//! next block or hint. Nothing is remembered between two looks but when jobs were last published.

use crate::event::{Event, Observer};
use crate::jobs::{ClipStage, compute, read_reports};
use crate::lead::Lead;
use crate::ledger::{self, LedgerError};
use crate::submit::{self, Look};
use crate::vigil::Vigil;
use crate::{open, reduce};
use nexis_ports::{
    Archive, ArchiveError, Board, BoardError, Bucket, BucketAccess, Chain, ChainError, FaultClass,
    Queue, QueueError, Stage, Tally,
};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch, Netuid};
use nexis_wire::{ClipPlan, ClipReport, JobRules, RoundPlan, TraceContext, Wire, WireError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The outside of a scheduler.
#[derive(Clone)]
pub struct SchedulerPorts {
    /// Where jobs go.
    pub queue: Arc<dyn Queue>,
    /// Where progress is.
    pub board: Arc<dyn Board>,
    /// Blocks, roster, weights.
    pub chain: Arc<dyn Chain>,
    /// Evidence and decisions.
    pub archive: Arc<dyn Archive>,
    /// The record-info bucket.
    pub bucket: Arc<dyn Bucket>,
}

/// Settings of a scheduler.
#[derive(Clone)]
pub struct SchedulerOptions {
    /// Name in the campaign for leadership; unique per process.
    pub name: String,
    /// Rules that go into every job.
    pub rules: JobRules,
    /// Where the global overlap index is, and its key; `None`: an empty index.
    pub record_info: Option<(BucketAccess, String)>,
    /// Hotkeys that the operator leaves out.
    pub exclude: BTreeSet<String>,
    /// Blocks after opening at which the miner stage closes whoever is missing.
    pub miners_deadline_blocks: u64,
    /// The same for the clip stage.
    pub clips_deadline_blocks: u64,
    /// How long leadership lasts without renewal.
    pub lease: Duration,
    /// Jobs without a result are published again when their stage made no progress for this long.
    pub republish_after: Duration,
    /// Longest pause between two looks.
    pub poll: Duration,
    /// Whether this validator writes weights at all.
    pub submit: bool,
    /// Rounds open at one time while catching up.
    pub max_open_rounds: usize,
    /// The second in which waits after a fault and between two attempts at a submission are counted: shorter than a real
    /// one only on a chain with a faster clock.
    pub retry_unit: Duration,
    /// Seconds since the epoch, for the time stamp of decisions.
    pub clock: fn() -> f64,
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The board failed.
    #[error("board: {0}")]
    Board(#[from] BoardError),
    /// The queue failed.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
    /// The chain failed.
    #[error("chain: {0}")]
    Chain(#[from] ChainError),
    /// The archive failed.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// Stored decisions cannot be read.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Scores cannot be computed.
    #[error("computing scores: {0}")]
    Score(#[from] nexis_protocol::score::ScoreError),
    /// Weights cannot be computed.
    #[error("computing weights: {0}")]
    Weights(#[from] nexis_protocol::weights::WeightError),
    /// Something stored by us cannot be read.
    #[error("reading back what a round stored: {0}")]
    Wire(#[from] WireError),
    /// The global index could not be read (which is not the same as there being none).
    #[error("reading the global overlap index: {0}")]
    Index(String),
    /// We lead no more; whatever was going on ends where it stands.
    #[error("leadership was lost: {0}")]
    Lost(&'static str),
    /// A computation was cut off, which happens when the process ends.
    #[error("a computation was cut off: {0}")]
    CutOff(String),
}

impl SchedulerError {
    /// What the loop may do about it.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Board(fault) => fault.class(),
            Self::Queue(fault) => fault.class(),
            Self::Chain(fault) => fault.class(),
            Self::Archive(fault) => fault.class(),
            Self::Ledger(fault) => fault.class(),
            Self::Index(_) | Self::CutOff(_) => FaultClass::Transient,
            Self::Lost(_) => FaultClass::Fenced,
            Self::Wire(_) | Self::Score(_) | Self::Weights(_) => FaultClass::Permanent,
        }
    }
}

/// The scheduler of one process.
pub struct Scheduler {
    pub(crate) ports: SchedulerPorts,
    pub(crate) options: SchedulerOptions,
    pub(crate) observe: Observer,
}

/// What the leader remembers of a round between looks; all of it may be lost.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) seen: Option<(Stage, u64)>,
    pub(crate) since: Option<Instant>,
    shown: Option<(Stage, u64)>,
}

/// What the leader remembers between looks; a new leader starts without it.
#[derive(Default)]
struct Memory {
    /// The epoch that the rest belongs to.
    epoch: Option<LeaderEpoch>,
    vigil: Vigil,
    watches: BTreeMap<IntervalId, Watch>,
    /// Newest interval with a plan in the archive, once looked up.
    newest: Option<Option<IntervalId>>,
    /// Rounds that were planned but are neither open nor decided: lost with the board.
    lost: Vec<IntervalId>,
}

impl Scheduler {
    /// Makes a scheduler; nothing starts yet.
    pub fn new(ports: SchedulerPorts, options: SchedulerOptions, observe: Observer) -> Self {
        Self {
            ports,
            options,
            observe,
        }
    }

    pub(crate) fn emit(&self, event: &Event) {
        (self.observe)(event);
    }

    pub(crate) fn netuid(&self) -> Netuid {
        self.options.rules.netuid
    }

    /// The root of an interval's trace: the same for every replica and after every restart.
    pub(crate) fn trace(&self, interval: IntervalId) -> TraceContext {
        let validator = self.ports.chain.own_hotkey();
        TraceContext::of_interval(self.netuid(), validator.as_ref(), interval)
    }

    /// The interval's span. Errors carry it too, hence its level.
    fn span(&self, interval: IntervalId) -> tracing::Span {
        let trace = self.trace(interval);
        tracing::error_span!("interval", interval.id = %interval, trace_id = trace.trace_id(),
            span_id = trace.span_id())
    }

    /// Runs until `stop`. Ends with an error only on something no retry mends.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), SchedulerError> {
        let lead = Lead::new(&self.options.name, self.options.lease);
        let (looks, seen) = watch::channel(Look::default());
        let ended = tokio::select! {
            ended = self.rounds(&lead, &looks, &stop) => ended,
            ended = submit::run(self, seen) => ended,
        };
        if ended.is_ok() {
            lead.resign(self.ports.board.as_ref()).await;
        }
        ended
    }

    async fn rounds(
        &self,
        lead: &Lead,
        looks: &watch::Sender<Look>,
        stop: &CancellationToken,
    ) -> Result<(), SchedulerError> {
        let board = self.ports.board.as_ref();
        let mut memory = Memory::default();
        let mut head = BlockNumber::new(0);
        while !stop.is_cancelled() {
            let step = Box::pin(self.step(lead, &mut memory, looks, head));
            let step = tokio::select! {
                () = stop.cancelled() => break,
                step = lead.while_leading(board, step) => step,
            };
            match step {
                Ok(newest) => head = newest,
                Err(fault) => match fault.class() {
                    FaultClass::Fenced => {
                        tracing::warn!(error = %fault, "lost leadership");
                        lead.lost();
                    }
                    FaultClass::Transient => {
                        tracing::warn!(error = %fault, "a step failed, looking again");
                        self.emit(&Event::Waiting {
                            on: fault.to_string(),
                        });
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = tokio::time::sleep(self.options.retry_unit) => {}
                        }
                    }
                    FaultClass::Permanent => return Err(fault),
                    FaultClass::Cancelled => break,
                },
            }
        }
        Ok(())
    }

    /// One look. Returns the newest head it saw.
    async fn step(
        &self,
        lead: &Lead,
        memory: &mut Memory,
        looks: &watch::Sender<Look>,
        last: BlockNumber,
    ) -> Result<BlockNumber, SchedulerError> {
        let head = self.ports.chain.head().await?;
        if head.number > last {
            self.emit(&Event::Head { block: head.number });
        }
        let epoch = lead.campaign(self.ports.board.as_ref()).await?;
        if epoch.is_some() && memory.epoch != epoch {
            *memory = Memory {
                epoch,
                vigil: Vigil::take_up(self.ports.board.as_ref(), head.number).await?,
                ..Memory::default()
            };
            self.emit(&Event::Leading);
        } else if lead.news() {
            self.emit(&Event::Following {
                holder: lead.holder(),
            });
        }
        if self.options.submit {
            looks.send_replace(Look {
                leader: epoch,
                head: Some(head.number),
            });
        }
        if let Some(epoch) = epoch {
            let moved = self.look(epoch, head.number, memory).await?;
            if moved {
                return Ok(head.number);
            }
        }
        let pause = self.options.poll.min(self.options.lease / 3);
        tokio::select! {
            () = self.ports.board.changed(pause) => {}
            newer = self.ports.chain.next_head(head.number, pause) => { newer?; }
        }
        Ok(head.number)
    }

    /// Looks at every open round and opens the next ones. True when something moved.
    async fn look(
        &self,
        epoch: LeaderEpoch,
        head: BlockNumber,
        memory: &mut Memory,
    ) -> Result<bool, SchedulerError> {
        let mut moved = false;
        let open = self.ports.board.rounds().await?;
        memory.watches.retain(|interval, _| open.contains(interval));
        for interval in &open {
            let watch = memory.watches.entry(*interval).or_default();
            let driving = self.drive(epoch, head, *interval, watch, &mut memory.vigil);
            moved |= driving.instrument(self.span(*interval)).await?;
        }
        let board = self.ports.board.as_ref();
        memory.vigil.note(board, epoch, head, &open).await?;
        if open.len() < self.options.max_open_rounds
            && let Some(interval) = self.next_interval(head, &open, memory).await?
        {
            let opening = open::open_round(self, epoch, interval, head);
            opening.instrument(self.span(interval)).await?;
            memory.lost.retain(|lost| *lost != interval);
            memory.newest = Some(memory.newest.flatten().max(Some(interval)));
            moved = true;
        }
        Ok(moved)
    }

    /// The next interval to open: one that was lost with the board, else the one after the newest that was
    /// ever opened, else (at the very first start) the newest eligible one.
    async fn next_interval(
        &self,
        head: BlockNumber,
        open: &[IntervalId],
        memory: &mut Memory,
    ) -> Result<Option<IntervalId>, SchedulerError> {
        let calendar = Calendar::of(&self.options.rules.profile);
        let archive = self.ports.archive.as_ref();
        let newest = if let Some(newest) = memory.newest {
            newest
        } else {
            let known = ledger::known(archive).await?;
            memory.lost = known.undecided;
            memory.lost.retain(|lost| !open.contains(lost));
            *memory.newest.insert(known.newest)
        };
        if let Some(lost) = memory.lost.first() {
            return Ok(Some(*lost));
        }
        let Some(eligible) = calendar.newest_eligible(head) else {
            return Ok(None);
        };
        let next = match newest {
            Some(newest) => calendar.next(newest),
            None => {
                // Kept, so that an outage right now does not move the beginning.
                let previous = calendar.previous(eligible);
                memory.newest = (previous < eligible).then_some(Some(previous));
                eligible
            }
        };
        Ok((next <= eligible).then_some(next))
    }

    async fn drive(
        &self,
        epoch: LeaderEpoch,
        head: BlockNumber,
        interval: IntervalId,
        watch: &mut Watch,
        vigil: &mut Vigil,
    ) -> Result<bool, SchedulerError> {
        let board = self.ports.board.as_ref();
        let Some(tally) = board.tally(interval).await? else {
            return Ok(false);
        };
        self.show(interval, tally, watch);
        let Some(plan) = self.round_plan(interval).await? else {
            return Ok(false); // Retired since by somebody who leads in our place.
        };
        let full = tally.done >= tally.expected;
        let late = self.is_late(&plan, tally.stage, head, vigil);
        match tally.stage {
            Stage::Miners if full || late => {
                // Whatever happens on the way, the next look starts from the board and publishes what is missing.
                watch.seen = None;
                self.close_miners(epoch, &plan).await?;
                watch.seen = Some((Stage::Clips, 0));
                watch.since = Some(Instant::now());
                Ok(true)
            }
            Stage::Clips if full || late => {
                board
                    .advance(epoch, interval, Stage::Closed, Vec::new(), &[])
                    .await?;
                Ok(true)
            }
            Stage::Closed => {
                self.decide(epoch, &plan).await?;
                Ok(true)
            }
            Stage::Miners | Stage::Clips => {
                self.republish_if_stuck(&plan, tally, watch).await?;
                Ok(false)
            }
        }
    }

    fn show(&self, interval: IntervalId, tally: Tally, watch: &mut Watch) {
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

    /// Whether a stage's deadline has passed. Waiting starts when a leader first sees the stage: blocks during
    /// which no process ran are nobody's delay.
    fn is_late(
        &self,
        plan: &RoundPlan,
        stage: Stage,
        head: BlockNumber,
        vigil: &mut Vigil,
    ) -> bool {
        let begun = vigil.since(plan.interval, stage, head);
        let (miners, clips) = (
            self.options.miners_deadline_blocks,
            self.options.clips_deadline_blocks,
        );
        let deadline = match stage {
            Stage::Miners => plan.miners_deadline.max(begun + miners),
            Stage::Clips | Stage::Closed => plan
                .clips_deadline
                .max(begun + clips.saturating_sub(miners)),
        };
        head.get() >= deadline
    }

    /// The plan of an open round; `None` when the round is gone meanwhile.
    async fn round_plan(&self, interval: IntervalId) -> Result<Option<RoundPlan>, SchedulerError> {
        let board = self.ports.board.as_ref();
        let Some(bytes) = board.plan(interval, Stage::Miners).await? else {
            if board.tally(interval).await?.is_none() {
                return Ok(None);
            }
            let what = format!("round {interval} is open but has no plan");
            return Err(BoardError::Corrupt(what).into());
        };
        Ok(Some(RoundPlan::decode(&bytes)?))
    }

    /// The barrier: arbitration over what is in, then clip jobs.
    async fn close_miners(
        &self,
        epoch: LeaderEpoch,
        plan: &RoundPlan,
    ) -> Result<(), SchedulerError> {
        let interval = plan.interval;
        let results = self.ports.board.results(interval, Stage::Miners).await?;
        let index = ledger::load_index(self.ports.archive.as_ref(), plan.index).await?;
        let plan = plan.clone();
        let (clips, ids, drawn) = compute(move || {
            let reports = read_reports(results)?;
            let clips = reduce::arbitrate_round(&plan, &index, &reports);
            let ids = reduce::clip_ids(&plan, &clips, &reports);
            let bytes = clips.encode();
            let drawn = ClipStage {
                plan,
                clips,
                reports,
            };
            Ok((bytes, ids, drawn))
        })
        .await?;
        self.ports
            .board
            .advance(epoch, interval, Stage::Clips, clips, &ids)
            .await?;
        self.publish_clips(drawn, None).await
    }

    async fn decide(&self, epoch: LeaderEpoch, plan: &RoundPlan) -> Result<(), SchedulerError> {
        let board = self.ports.board.as_ref();
        let archive = self.ports.archive.as_ref();
        let interval = plan.interval;
        if !ledger::is_decided(archive, interval).await? {
            let Some(clips) = board.plan(interval, Stage::Clips).await? else {
                if board.tally(interval).await?.is_none() {
                    return Ok(()); // Retired since by somebody who leads in our place.
                }
                let what = format!("round {interval} is closed but has no clip plan");
                return Err(BoardError::Corrupt(what).into());
            };
            let reports = board.results(interval, Stage::Miners).await?;
            let verdicts = board.results(interval, Stage::Clips).await?;
            let late = board.late(interval).await?;
            let (plan, decided_at) = (plan.clone(), (self.options.clock)());
            let evidence = compute(move || {
                Ok(nexis_wire::Evidence {
                    plan,
                    clips: ClipPlan::decode(&clips)?,
                    reports: read_reports(reports)?,
                    verdicts: verdicts
                        .iter()
                        .map(|(_, bytes)| ClipReport::decode(bytes))
                        .collect::<Result<_, WireError>>()?,
                    late: late.into_iter().map(|(id, _)| id.to_string()).collect(),
                    decided_at,
                })
            })
            .await?;
            // The archive knows no epochs, but what it holds of a round is written once; this only spares an old
            // leader's useless evidence.
            board
                .set_fact(epoch, "deciding", interval.to_string().into_bytes())
                .await?;
            ledger::store(archive, evidence).await?;
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
        Ok(())
    }
}
