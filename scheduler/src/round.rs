//! One step of one open round.

use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::event::Event;
use crate::jobs::{ClipStage, Watch, compute, read_reports};
use crate::ledger::{self, LedgerError};
use crate::reduce;
use crate::vigil::Vigil;
use nexis_ports::{BoardError, Stage, Tally};
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch};
use nexis_wire::{ClipPlan, ClipReport, RoundPlan, Wire, WireError};
use tokio::time::Instant;

impl Scheduler {
    pub(crate) async fn drive(
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
