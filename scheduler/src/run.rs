//! The loop: look where each round stands, do the next thing, look again at the next block or hint.

use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::jobs::Watch;
use crate::lead::Lead;
use crate::submit::{self, Look};
use crate::vigil::Vigil;
use crate::{ledger, open};
use nexis_ports::FaultClass;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch};
use std::collections::BTreeMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

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
}
