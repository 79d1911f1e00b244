//! Jobs onto the queue: when a stage begins, when a new leader finds one, and again what has no result for long.

use crate::drive::{Scheduler, SchedulerError, Watch};
use crate::reduce;
use nexis_ports::{Message, Route, Stage, Tally};
use nexis_protocol::JobId;
use nexis_wire::{ClipPlan, MinerReport, RoundPlan, Wire};
use std::collections::BTreeSet;
use tokio::time::Instant;

impl Scheduler {
    pub(crate) async fn republish_if_stuck(
        &self,
        plan: &RoundPlan,
        tally: Tally,
        watch: &mut Watch,
    ) -> Result<(), SchedulerError> {
        let now = Some((tally.stage, tally.done));
        let new_leader = watch.seen.is_none();
        if watch.seen != now {
            watch.seen = now;
            watch.since = Some(Instant::now());
        }
        let stuck = watch
            .since
            .is_some_and(|since| since.elapsed() >= self.options.republish_after);
        if !new_leader && !stuck {
            return Ok(());
        }
        let route = if tally.stage == Stage::Miners {
            Route::Miner
        } else {
            Route::Clip
        };
        if !new_leader && self.ports.queue.depth(route).await? > 0 {
            return Ok(()); // Workers are busy or absent; more copies of the same jobs would not help.
        }
        watch.since = Some(Instant::now());
        self.publish_missing(plan, tally.stage).await
    }

    async fn publish_missing(&self, plan: &RoundPlan, stage: Stage) -> Result<(), SchedulerError> {
        let missing: BTreeSet<JobId> = self
            .ports
            .board
            .missing(plan.interval, stage)
            .await?
            .into_iter()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(interval.id = %plan.interval, jobs = missing.len(), "publishing what has no result yet");
        if stage == Stage::Miners {
            let mut jobs = reduce::miner_jobs(plan);
            jobs.retain(|job| missing.contains(&job.id()));
            return self
                .publish(
                    Route::Miner,
                    jobs.iter().map(|job| (job.id(), job.encode())).collect(),
                )
                .await;
        }
        let Some(clips) = self.ports.board.plan(plan.interval, Stage::Clips).await? else {
            return Ok(()); // Retired since by somebody who leads in our place.
        };
        let results = self
            .ports
            .board
            .results(plan.interval, Stage::Miners)
            .await?;
        let plan = plan.clone();
        let jobs = compute(move || {
            let reports = read_reports(&results)?;
            let mut jobs = reduce::draw_jobs(&plan, &ClipPlan::decode(&clips)?, &reports)?;
            jobs.retain(|job| missing.contains(&job.id()));
            Ok(jobs
                .iter()
                .map(|job| (job.id(), job.encode()))
                .collect::<Vec<_>>())
        })
        .await?;
        self.publish(Route::Clip, jobs).await
    }

    pub(crate) async fn publish(
        &self,
        route: Route,
        jobs: Vec<(JobId, Vec<u8>)>,
    ) -> Result<(), SchedulerError> {
        let message = |(job, body): (JobId, Vec<u8>)| {
            let id = job.to_string();
            let trace = self.trace(job.interval()).child(&id);
            Message {
                trace: Some(trace.to_string()),
                id,
                body,
            }
        };
        let messages: Vec<Message> = jobs.into_iter().map(message).collect();
        if !messages.is_empty() {
            self.ports.queue.publish(route, messages).await?;
        }
        Ok(())
    }
}

/// Computes aside: hundreds of thousands of rows must not keep the lease from being renewed.
pub(crate) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SchedulerError> + Send + 'static,
) -> Result<T, SchedulerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) if fault.is_panic() => std::panic::resume_unwind(fault.into_panic()),
        Err(fault) => Err(SchedulerError::CutOff(fault.to_string())),
    }
}

pub(crate) fn read_reports(
    results: &[(JobId, Vec<u8>)],
) -> Result<Vec<MinerReport>, SchedulerError> {
    results
        .iter()
        .map(|(_, bytes)| Ok(MinerReport::decode(bytes)?))
        .collect()
}
