//! Jobs onto the queue: when a stage begins, when a new leader finds one, and again what has no result for long.

use crate::barrier::{self, Repeats};
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::reduce;
use crate::round::lost;
use nexis_ports::{Message, Route, Stage, Tally};
use nexis_protocol::JobId;
use nexis_wire::{ClipPlan, MinerReport, RoundPlan, TraceContext, Wire};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Clip jobs published in one call, at least so many: a call ends with its last confirm, and the next begins with an
/// empty window.
const BATCH: usize = 2_000;
/// The same of the first call, from which it grows: workers wait for it.
const FIRST_BATCH: usize = 64;

/// What the leader remembers of a round between looks; all of it may be lost.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) seen: Option<(Stage, u64)>,
    pub(crate) since: Option<Instant>,
    pub(crate) shown: Option<(Stage, u64)>,
    published: Option<Published>,
    /// The fault of the last step, until blocks are counted again.
    pub(crate) failed: Option<String>,
    pub(crate) repeats: Repeats,
    /// Set while the stage is held because of unreachable stores.
    pub(crate) stores: Option<StoreWait>,
    /// Rows of the clip stage that the protocol's own sample has, once counted.
    pub(crate) protocol_rows: Option<u64>,
}

/// What this leader published of a stage.
#[derive(Clone, Copy)]
struct Published {
    first: Instant,
    last: Instant,
    /// Results that were there before it did.
    done: u64,
}

/// A pause before the jobs of unreachable stores are done again.
pub(crate) struct StoreWait {
    /// Head at which it ends.
    pub(crate) until: u64,
    pub(crate) pause: u64,
    pub(crate) why: String,
    /// Whether they are out again.
    pub(crate) done_again: bool,
}

impl Watch {
    /// Jobs were published, with the stage at this state.
    pub(crate) fn published_now(&mut self, seen: (Stage, u64)) {
        let now = Instant::now();
        self.seen = Some(seen);
        self.since = Some(now);
        let first = self.published.unwrap_or(Published {
            first: now,
            last: now,
            done: seen.1,
        });
        self.published = Some(Published { last: now, ..first });
    }

    /// Whether this leader has published the stage's jobs.
    pub(crate) const fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// Whether a stage of the same kind, all of whose jobs were published after this one's, has results since: queues
    /// keep their order, so that this one's jobs were taken.
    pub(crate) fn is_overtaken_by(&self, other: &Self) -> bool {
        let (Some(own), Some(theirs)) = (self.published, other.published) else {
            return false;
        };
        let has_new_results = match (self.shown, other.shown) {
            (Some((own, _)), Some((stage, done))) => own == stage && done > theirs.done,
            _ => false,
        };
        has_new_results && theirs.first > own.last
    }
}

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
        watch.seen = None;
        self.publish_missing(plan, tally).await?;
        watch.published_now((tally.stage, tally.done));
        Ok(())
    }

    async fn publish_missing(&self, plan: &RoundPlan, tally: Tally) -> Result<(), SchedulerError> {
        let stage = tally.stage;
        let missing: BTreeSet<JobId> = self
            .ports
            .board
            .missing(plan.interval, stage)
            .await?
            .into_iter()
            .collect();
        self.check_known(plan.interval, tally, missing.len() as u64)
            .await?;
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
        let Some(clips) = self.clip_plan(plan.interval).await? else {
            return Ok(()); // Retired since by somebody who leads in our place.
        };
        let results = self
            .ports
            .board
            .results(plan.interval, Stage::Miners)
            .await?;
        let plan = plan.clone();
        let drawn = compute(move || {
            let reports = barrier::read_reports(results).reports;
            Ok(ClipStage {
                plan,
                clips,
                reports,
            })
        })
        .await?;
        if let Some(hotkey) = reduce::unreported(&drawn.plan, &drawn.clips, &drawn.reports) {
            return Err(lost(&format!("the report of {hotkey} is gone")));
        }
        self.publish_clips(drawn, Some(missing)).await
    }

    /// Publishes a stage's clip jobs, or those of them that are named. They are made while others are on their way,
    /// so that the first is worked on at once, and never are all of them in memory.
    pub(crate) async fn publish_clips(
        &self,
        drawn: ClipStage,
        only: Option<BTreeSet<JobId>>,
    ) -> Result<(), SchedulerError> {
        let trace = self.trace(drawn.plan.interval);
        let (send, mut batches) = mpsc::channel(1);
        let make = compute(move || {
            let ClipStage {
                plan,
                clips,
                reports,
            } = &drawn;
            let (mut batch, mut enough) = (Vec::new(), FIRST_BATCH);
            for of_miner in reduce::draw_by_miner(plan, clips, reports) {
                for job in of_miner? {
                    let id = job.id();
                    if only.as_ref().is_none_or(|only| only.contains(&id)) {
                        batch.push(message(&trace, &id, job.encode()));
                    }
                }
                if batch.len() < enough {
                    continue;
                }
                enough = (2 * enough).min(BATCH);
                if send.blocking_send(std::mem::take(&mut batch)).is_err() {
                    return Ok(()); // Publishing failed, and says so.
                }
            }
            send.blocking_send(batch).ok();
            Ok(())
        });
        let publish = async {
            while let Some(batch) = batches.recv().await {
                if !batch.is_empty() {
                    self.ports.queue.publish(Route::Clip, batch).await?;
                }
            }
            Ok(())
        };
        tokio::try_join!(make, publish).map(|_| ())
    }

    pub(crate) async fn publish(
        &self,
        route: Route,
        jobs: Vec<(JobId, Vec<u8>)>,
    ) -> Result<(), SchedulerError> {
        let message =
            |(job, body): (JobId, Vec<u8>)| message(&self.trace(job.interval()), &job, body);
        let messages: Vec<Message> = jobs.into_iter().map(message).collect();
        if !messages.is_empty() {
            self.ports.queue.publish(route, messages).await?;
        }
        Ok(())
    }
}

fn message(interval: &TraceContext, job: &JobId, body: Vec<u8>) -> Message {
    let id = job.to_string();
    Message {
        trace: Some(interval.child(&id).to_string()),
        id,
        body,
    }
}

/// What the clip jobs of a round are made of.
pub(crate) struct ClipStage {
    pub(crate) plan: RoundPlan,
    pub(crate) clips: ClipPlan,
    pub(crate) reports: Vec<MinerReport>,
}

/// Computes aside: hundreds of thousands of rows must not keep the lease from being renewed.
pub(crate) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SchedulerError> + Send + 'static,
) -> Result<T, SchedulerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A bug, met because of what somebody stored: it concerns that round and not the process.
        Err(fault) if fault.is_panic() => Err(SchedulerError::Panicked(fault.to_string())),
        Err(fault) => Err(SchedulerError::CutOff(fault.to_string())),
    }
}
