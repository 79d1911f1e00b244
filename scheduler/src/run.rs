//! The loop: look where each round stands, do the next thing, look again at the next block or hint. A fault of one
//! round is reported and retried at its own pace, and delays no other round.

use crate::backlog::Backlog;
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::identity::{self, Era, Identity};
use crate::jobs::Watch;
use crate::lead::Lead;
use crate::ledger;
use crate::open::{self, Opened};
use crate::pulse::{Pulse, route_of};
use crate::round::{At, Notes, Step};
use crate::stage_clock::{OUTAGE_BLOCKS, StageClock};
use crate::submit::{self, Look};
use crate::trouble::Troubles;
use nexis_ports::{BoardError, ChainError, FaultClass, Tally};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Failing rounds that may be open beside those that are worked on: a fault of every round must not open all of them.
const MOST_FAILING: usize = 16;
/// Times of failed looks, in units of the options' `retry_unit`, after which an operator is alerted, and again.
const ALERT_AFTER: u32 = 120;

/// What the leader remembers between looks; a new leader starts without it.
#[derive(Default)]
struct Memory {
    /// The epoch that the rest belongs to.
    epoch: Option<LeaderEpoch>,
    clock: StageClock,
    pulse: Pulse,
    watches: BTreeMap<IntervalId, Watch>,
    troubles: Troubles,
    backlog: Backlog,
    /// Rounds that were open at the last look and that we have not ended.
    was_open: BTreeSet<IntervalId>,
    /// The interval that could not be opened for a reason that holds for every other one.
    blocked_by: Option<IntervalId>,
    /// Blocks in which the rounds could be worked on, and the head of the last look: weights count their wait by them.
    able: u64,
    able_at: Option<BlockNumber>,
}

/// Whose rounds these are.
struct Ours {
    identity: Identity,
    era: Era,
}

/// Looks that failed as a whole, one after the other.
#[derive(Default)]
struct Outage {
    since: Option<Instant>,
    alerted: u32,
}

impl Scheduler {
    /// Runs until `stop`. Ends with an error only when the very first look finds something that no retry mends: wrong
    /// settings, refused credentials. Nothing that is stored or received ends it.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), SchedulerError> {
        let Some(ours) = self.establish(&stop).await? else {
            return Ok(());
        };
        let lead = Lead::new(&self.options.name, self.options.lease);
        let (looks, seen) = watch::channel(Look::default());
        let ended = tokio::select! {
            ended = self.rounds(&lead, &ours, &looks, &stop) => ended,
            ended = submit::run(self, &ours.era, seen) => ended,
        };
        if ended.is_ok() {
            lead.resign(self.ports.board.as_ref()).await;
        }
        ended
    }

    /// Finds out whose archive and board these are, before anything is written; `None` when stopped.
    async fn establish(&self, stop: &CancellationToken) -> Result<Option<Ours>, SchedulerError> {
        let mut outage = Outage::default();
        loop {
            let established = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                established = self.ours() => established,
            };
            match established {
                Err(fault) if fault.class() == FaultClass::Transient => {
                    self.wait_out(&fault, &mut outage);
                    tokio::select! {
                        () = stop.cancelled() => return Ok(None),
                        () = tokio::time::sleep(self.options.retry_unit) => {}
                    }
                }
                other => return other.map(Some),
            }
        }
    }

    async fn ours(&self) -> Result<Ours, SchedulerError> {
        let chain = self.ports.chain.as_ref();
        let identity = Identity {
            genesis: chain.genesis().await?,
            netuid: self.netuid(),
            hotkey: chain.own_hotkey().ok_or(ChainError::NoWallet)?,
        };
        let archive = self.ports.archive.as_ref();
        let era = identity::establish(archive, &identity, &self.options.rules.profile).await?;
        identity::check_board(self.ports.board.as_ref(), &identity, &era).await?;
        Ok(Ours { identity, era })
    }

    async fn rounds(
        &self,
        lead: &Lead,
        ours: &Ours,
        looks: &watch::Sender<Look>,
        stop: &CancellationToken,
    ) -> Result<(), SchedulerError> {
        let board = self.ports.board.as_ref();
        let mut memory = Memory::default();
        let (mut head, mut outage) = (None, Outage::default());
        while !stop.is_cancelled() {
            let last = head.unwrap_or(BlockNumber::new(0));
            let step = Box::pin(self.step(lead, ours, &mut memory, looks, last));
            let step = tokio::select! {
                () = stop.cancelled() => break,
                step = lead.while_leading(board, step) => step,
            };
            let fault = match step {
                Ok(newest) => {
                    head = Some(newest);
                    outage = Outage::default();
                    continue;
                }
                Err(fault) => fault,
            };
            match fault.class() {
                FaultClass::Fenced => {
                    tracing::warn!(error = %fault, "lost leadership");
                    lead.lost();
                }
                FaultClass::Cancelled => break,
                FaultClass::Permanent if head.is_none() => return Err(fault),
                FaultClass::Transient | FaultClass::Permanent => {
                    self.wait_out(&fault, &mut outage);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(self.options.retry_unit) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports that a look failed as a whole.
    fn wait_out(&self, fault: &SchedulerError, outage: &mut Outage) {
        let since = *outage.since.get_or_insert_with(Instant::now);
        let due = self.options.retry_unit * ALERT_AFTER * (outage.alerted + 1);
        if since.elapsed() >= due {
            outage.alerted += 1;
            tracing::error!(error = %fault, seconds = since.elapsed().as_secs(),
                "alert: nothing can be validated; trying again");
        } else {
            tracing::warn!(error = %fault, "a look failed, trying again");
        }
        self.emit(&Event::Waiting {
            on: fault.to_string(),
        });
    }

    /// One look. Returns the newest head it saw.
    async fn step(
        &self,
        lead: &Lead,
        ours: &Ours,
        memory: &mut Memory,
        looks: &watch::Sender<Look>,
        last: BlockNumber,
    ) -> Result<BlockNumber, SchedulerError> {
        let head = self.ports.chain.head().await?;
        if head.number > last {
            self.emit(&Event::Head { block: head.number });
        }
        let epoch = lead.campaign(self.ports.board.as_ref()).await?;
        if let Some(leader) = epoch
            && memory.epoch != epoch
        {
            let board = self.ports.board.as_ref();
            identity::bind_board(board, leader, &ours.identity, &ours.era).await?;
            *memory = Memory {
                epoch,
                clock: StageClock::restore(board).await?,
                able: memory.able,
                able_at: memory.able_at,
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
                able: memory.able,
            });
        }
        if let Some(epoch) = epoch {
            let moved = self.look(epoch, head.number, &ours.era, memory).await?;
            memory.looked(head.number);
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
        era: &Era,
        memory: &mut Memory,
    ) -> Result<bool, SchedulerError> {
        let board = self.ports.board.as_ref();
        let open = board.rounds().await?;
        memory.note_open(&open);
        let mut moved = false;
        for (interval, tally) in self.tallies(epoch, head, &open, memory).await? {
            let at = At {
                epoch,
                head,
                interval,
            };
            let step = self.drive_one(at, tally, memory);
            moved |= step.instrument(self.span(interval)).await?;
        }
        memory.clock.note(board, epoch, head, &open).await?;
        Ok(self.open_next((epoch, era), head, &open, memory).await? || moved)
    }

    /// Where the rounds that are due stand, and whether workers take their jobs.
    async fn tallies(
        &self,
        epoch: LeaderEpoch,
        head: BlockNumber,
        open: &[IntervalId],
        memory: &mut Memory,
    ) -> Result<Vec<(IntervalId, Tally)>, SchedulerError> {
        let (board, queue) = (self.ports.board.as_ref(), self.ports.queue.as_ref());
        let mut tallies = Vec::new();
        for interval in open.iter().copied() {
            if !memory.troubles.is_due(interval) {
                continue;
            }
            match board.tally(interval).await {
                Ok(Some(tally)) => tallies.push((interval, tally)),
                Ok(None) => {}
                Err(fault) => {
                    let at = At {
                        epoch,
                        head,
                        interval,
                    };
                    let failed = self.round_failed(at, fault.into(), memory);
                    failed.instrument(self.span(interval)).await?;
                }
            }
        }
        for (interval, tally) in &tallies {
            let Some(route) = route_of(tally.stage) else {
                continue;
            };
            let within = self.options.lease / 2;
            memory.pulse.probe(queue, route, head, within).await;
            let watch = memory.watches.entry(*interval).or_default();
            let before = watch.shown;
            self.show(*interval, *tally, watch);
            if before != watch.shown && tally.done > 0 {
                memory.pulse.progressed(route);
            }
        }
        Ok(tallies)
    }

    /// One step of one round. A fault of the round ends here.
    async fn drive_one(
        &self,
        at: At,
        tally: Tally,
        memory: &mut Memory,
    ) -> Result<bool, SchedulerError> {
        let interval = at.interval;
        let overtaken = memory.is_overtaken(interval);
        let notes = Notes {
            watch: memory.watches.entry(interval).or_default(),
            clock: &mut memory.clock,
            pulse: &mut memory.pulse,
            overtaken,
        };
        let step = match self.drive(at, tally, notes).await {
            Ok(step) => step,
            Err(fault) => {
                self.round_failed(at, fault, memory).await?;
                return Ok(false);
            }
        };
        if let Step::Held(why) = &step {
            if memory.troubles.held(interval, at.head) {
                tracing::error!(
                    why,
                    "alert: the interval is held open; nothing is said about its miners"
                );
                self.set_aside(interval, why).await;
            }
            return Ok(false);
        }
        if step == Step::Ended {
            memory.was_open.remove(&interval);
        }
        if memory.troubles.cleared(interval) {
            tracing::info!("the interval goes on");
        }
        Ok(step != Step::Waits)
    }

    /// What a fault of one round means: that round is tried again later. What the board lost or garbled is removed from
    /// it, and the round is opened again from its plan.
    async fn round_failed(
        &self,
        at: At,
        fault: SchedulerError,
        memory: &mut Memory,
    ) -> Result<(), SchedulerError> {
        let interval = at.interval;
        if matches!(fault.class(), FaultClass::Fenced | FaultClass::Cancelled) {
            return Err(fault);
        }
        let why = fault.to_string();
        let unit = self.options.retry_unit;
        if memory.troubles.failed(interval, at.head, &fault, unit) {
            tracing::error!(
                error = why,
                "alert: the interval cannot go on; it is tried again, and the others go on"
            );
            self.set_aside(interval, &why).await;
        } else {
            tracing::warn!(
                error = why,
                "a step of the interval failed, trying it again"
            );
        }
        self.emit(&Event::Waiting {
            on: format!("interval {interval}: {why}"),
        });
        let is_of_board = matches!(
            fault,
            SchedulerError::StateLost(_)
                | SchedulerError::Board(BoardError::Corrupt(_) | BoardError::Refused(_))
        );
        if is_of_board {
            match self.ports.board.discard(at.epoch, interval).await {
                Ok(_) => memory.reopen(interval),
                Err(fault) if fault.class() == FaultClass::Fenced => return Err(fault.into()),
                Err(fault) => tracing::warn!(error = %fault, "could not remove the round"),
            }
        } else {
            memory.watches.entry(interval).or_default().failed = Some(why);
        }
        Ok(())
    }

    /// Opens the next interval. A fault holds up the others only when it would be theirs, too.
    async fn open_next(
        &self,
        (epoch, era): (LeaderEpoch, &Era),
        head: BlockNumber,
        open: &[IntervalId],
        memory: &mut Memory,
    ) -> Result<bool, SchedulerError> {
        let is_failing = |interval: &&IntervalId| memory.troubles.is_failing(**interval);
        let failing = open.iter().filter(is_failing).count();
        let blocked = memory
            .blocked_by
            .is_some_and(|by| !memory.troubles.is_due(by));
        if open.len() - failing >= self.options.max_open_rounds
            || failing >= MOST_FAILING
            || blocked
        {
            return Ok(false);
        }
        let calendar = Calendar::of(&self.options.rules.profile);
        let archive = self.ports.archive.as_ref();
        let profile = &self.options.rules.profile;
        let filled = memory.backlog.fill(archive, profile, era, head, open);
        filled.await?;
        let troubles = &memory.troubles;
        let is_due = |interval| troubles.is_due(interval);
        let Some(interval) = memory.backlog.first(calendar, head, is_due) else {
            return Ok(false);
        };
        let at = At {
            epoch,
            head,
            interval,
        };
        // The first one that is tried is the validator's first, however long an outage keeps it closed.
        identity::note_first(archive, era.number, interval).await?;
        let opening = open::open_round(self, at);
        match opening.instrument(self.span(interval)).await {
            Ok(opened) => {
                memory.blocked_by = None;
                memory.backlog.remove(interval);
                if opened == Opened::Open {
                    memory.was_open.insert(interval);
                }
                memory.troubles.cleared(interval);
                Ok(true)
            }
            Err(fault) => {
                memory.blocked_by = (!fault.is_about_stored_data()).then_some(interval);
                let failed = self.round_failed(at, fault, memory);
                failed.instrument(self.span(interval)).await?;
                Ok(false)
            }
        }
    }

    /// Reports that a round does not go on, and notes why in the archive, for `nexis status`. Nothing depends on it.
    async fn set_aside(&self, interval: IntervalId, why: &str) {
        self.emit(&Event::Held {
            interval,
            why: why.to_owned(),
        });
        let archive = self.ports.archive.as_ref();
        if let Err(error) = ledger::set_aside(archive, interval, why).await {
            tracing::debug!(%error, "could not note in the archive why the interval does not go on");
        }
    }
}

impl Memory {
    /// Every round was looked at. Blocks in which nobody could look or work are not counted.
    fn looked(&mut self, head: BlockNumber) {
        let since = self
            .able_at
            .map_or(0, |last| head.get().saturating_sub(last.get()));
        let is_able = self.blocked_by.is_none() && !self.clock.is_any_held();
        if is_able && since <= OUTAGE_BLOCKS {
            self.able += since;
        }
        self.able_at = self.able_at.max(Some(head));
    }

    /// Forgets what belongs to rounds that are open no more. One that we did not end was lost with its keys.
    fn note_open(&mut self, open: &[IntervalId]) {
        self.watches.retain(|interval, _| open.contains(interval));
        let gone: Vec<IntervalId> = self
            .was_open
            .iter()
            .filter(|interval| !open.contains(interval))
            .copied()
            .collect();
        for interval in gone {
            tracing::warn!(%interval, "the board has forgotten an open round: it is opened again from its plan");
            self.reopen(interval);
        }
        self.was_open.extend(open);
    }

    fn reopen(&mut self, interval: IntervalId) {
        self.was_open.remove(&interval);
        self.watches.remove(&interval);
        self.clock.restart(interval);
        self.backlog.add(interval);
    }

    fn is_overtaken(&self, interval: IntervalId) -> bool {
        let Some(own) = self.watches.get(&interval) else {
            return false;
        };
        let others = self.watches.iter().filter(|(other, _)| **other != interval);
        others
            .into_iter()
            .any(|(_, other)| own.is_overtaken_by(other))
    }
}
