//! Taking jobs from the queue: as many at a time as there are places, and none while no object store answers.

use crate::job_run::{JobRun, LONGEST_PAUSE, Underway};
use crate::measure::Prober;
use crate::meter::{InFlight, Meter};
use crate::miner_job::access;
use crate::reach::Reach;
use crate::room::Room;
use nexis_ports::{
    Board, Bucket, BucketAccess, Deliveries, Delivery, FaultClass, Queue, QueueError, Route,
    Settlement,
};
use nexis_runtime::health::{Condition, Health};
use nexis_runtime::metrics::Metrics;
use nexis_vision::VisionClient;
use nexis_wire::{ClipJob, MinerJob, TraceContext, Wire};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// What a worker reads from and writes to.
#[derive(Clone)]
pub struct WorkerPorts {
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Where results go.
    pub board: Arc<dyn Board>,
    /// Miners' buckets.
    pub bucket: Arc<dyn Bucket>,
    /// Clip measuring.
    pub prober: Arc<Prober>,
    /// The vision model, when one is configured.
    pub vision: Option<Arc<VisionClient>>,
}

/// Bounds of a worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Jobs of each kind that compute at one time.
    pub permits: u16,
    /// Jobs of each kind in flight at one time, most of which wait for bytes; also the prefetch, so that every job taken
    /// is begun at once.
    pub fetches: u16,
    /// Failures that a message survives, as the queue counts them: a job that panics at the last delivery is decided.
    pub delivery_limit: u32,
    /// Longest a job may take before it is handed back. Must be below the broker's consumer timeout.
    pub job_deadline: Duration,
    /// Bytes of clips, pictures and data sets held at one time, all jobs together.
    pub held_bytes: u64,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        // 10 minutes: one interval of the default profile; a job that outlives its interval helps nobody.
        Self {
            permits: 4,
            fetches: 64,
            delivery_limit: 5,
            job_deadline: Duration::from_secs(600),
            held_bytes: 4 << 30,
        }
    }
}

/// First pause after the queue failed; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Pause between two looks for a store while none answers; doubles up to [`LONGEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_secs(2);
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// Wait for a job to look for a store with.
const JOB_TO_LOOK_WITH: Duration = Duration::from_secs(2);

/// A worker process, or the worker half of `nexis validate`.
pub struct Worker {
    ports: WorkerPorts,
    options: WorkerOptions,
    meter: Meter,
    room: Room,
    reach: Arc<Reach>,
    underway: Underway,
    page: Option<Page>,
}

/// What the health page says of a worker.
struct Page {
    miner: Condition,
    clip: Condition,
}

impl Page {
    const fn of(&self, route: Route) -> &Condition {
        match route {
            Route::Miner => &self.miner,
            Route::Clip => &self.clip,
        }
    }
}

impl Worker {
    /// Makes a worker; nothing starts yet.
    pub fn new(ports: WorkerPorts, options: WorkerOptions) -> Self {
        let reach = Reach::new(Arc::clone(&ports.bucket), None);
        Self {
            ports,
            options,
            meter: Meter::new(&Metrics::new()),
            room: Room::shared(options.held_bytes, options.fetches, options.permits),
            reach,
            underway: Underway::default(),
            page: None,
        }
    }

    /// Counts its jobs there.
    pub fn metered(self, metrics: &Metrics) -> Self {
        Self {
            meter: Meter::new(metrics),
            ..self
        }
    }

    /// Shows on the health page whether it takes jobs and whether stores answer.
    pub fn shown(self, health: &Health) -> Self {
        let stores = health.condition("object stores");
        Self {
            reach: Reach::new(Arc::clone(&self.ports.bucket), Some(stores)),
            page: Some(Page {
                miner: health.condition("taking miner jobs"),
                clip: health.condition("taking clip jobs"),
            }),
            ..self
        }
    }

    /// Works until `soft` is cancelled and what is in flight is finished; what is not when `hard` is cancelled goes
    /// back to the queue as it came.
    /// Returns an error only when the queue refuses us for good.
    pub async fn run(
        &self,
        soft: CancellationToken,
        hard: CancellationToken,
    ) -> Result<(), QueueError> {
        let work = async {
            let worked = tokio::try_join!(
                self.serve(Route::Miner, &soft, &hard),
                self.serve(Route::Clip, &soft, &hard)
            );
            worked.map(|_| ())
        };
        tokio::select! {
            worked = work => worked,
            never = self.look_for_stores() => match never {},
        }
    }

    async fn serve(
        &self,
        route: Route,
        soft: &CancellationToken,
        hard: &CancellationToken,
    ) -> Result<(), QueueError> {
        let mut pause = FIRST_PAUSE;
        while !soft.is_cancelled() {
            let consumed = tokio::select! {
                () = soft.cancelled() => return Ok(()),
                () = until(&self.reach, false) => self.consume(route, soft, hard).await,
            };
            match consumed {
                Ok(()) => {
                    // By intent: to stop, or because no store answers.
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(QueueError::Closed) => {}
                Err(fault) if fault.class() == FaultClass::Transient => {
                    tracing::warn!(queue.name = route.name(), error = %fault, "the queue is unavailable, trying again");
                    self.says(route, Some("the queue is unavailable"));
                }
                Err(fault) => return Err(fault),
            }
            tokio::select! {
                () = soft.cancelled() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        Ok(())
    }

    fn says(&self, route: Route, trouble: Option<&str>) {
        let Some(page) = &self.page else { return };
        match trouble {
            None => page.of(route).holds(),
            Some(why) => page.of(route).fails(why),
        };
    }

    async fn consume(
        &self,
        route: Route,
        soft: &CancellationToken,
        hard: &CancellationToken,
    ) -> Result<(), QueueError> {
        let most = self.options.fetches;
        let mut deliveries = self.ports.queue.consume(route, most).await?;
        self.says(route, None);
        let places = Arc::new(Semaphore::new(usize::from(most)));
        self.meter.permits.set(route.into(), i64::from(most));
        let mut tasks = JoinSet::new();
        let ended = loop {
            while let Some(joined) = tasks.try_join_next() {
                report_panic(joined);
            }
            let (place, delivery) = tokio::select! {
                () = soft.cancelled() => break Ok(()),
                () = until(&self.reach, true) => break Ok(()),
                taken = take(&places, &mut deliveries) => match taken {
                    Ok(taken) => taken,
                    Err(fault) => break Err(fault),
                },
            };
            let job = self.job(route);
            let hard = hard.clone();
            let span = span_of(&delivery);
            let work = async move {
                job.deliver(delivery, &hard).await;
                drop(place);
            };
            tasks.spawn(work.instrument(span));
        };
        if self.reach.is_blind() {
            self.says(route, Some("paused: no object store answers"));
        }
        if let Err(fault) = deliveries.stop().await {
            tracing::debug!(error = %fault, "stopping the consumer");
        }
        while let Some(joined) = tasks.join_next().await {
            report_panic(joined);
        }
        ended
    }

    fn job(&self, route: Route) -> JobRun {
        JobRun {
            ports: self.ports.clone(),
            room: self.room.clone(),
            reach: Arc::clone(&self.reach),
            deadline: self.options.job_deadline,
            delivery_limit: self.options.delivery_limit,
            route,
            underway: self.underway.clone(),
            in_flight: InFlight::new(self.meter.clone(), route.into()),
            dead: self.meter.dead.clone(),
        }
    }

    /// While no store answers, looks for one now and then: with objects that were read before, and with jobs that wait.
    async fn look_for_stores(&self) -> std::convert::Infallible {
        loop {
            until(&self.reach, true).await;
            let mut pause = FIRST_LOOK;
            while self.reach.is_blind() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_LOOK);
                if self.reach.control().await {
                    break;
                }
                for route in Route::ALL {
                    if let Err(fault) = self.look_with_a_job(route).await {
                        tracing::debug!(error = %fault, "no job to look for a store with");
                    }
                }
                if self.reach.is_blind() {
                    tracing::warn!(next = ?pause, "still no object store answers this worker");
                }
            }
        }
    }

    /// Takes one job, asks its store for an answer, and hands it back uncounted.
    async fn look_with_a_job(&self, route: Route) -> Result<(), QueueError> {
        let mut deliveries = self.ports.queue.consume(route, 1).await?;
        let taken = tokio::time::timeout(JOB_TO_LOOK_WITH, deliveries.next()).await;
        if let Ok(delivery) = taken {
            let delivery = delivery?;
            if let Some((access, key)) = store_of(route, &delivery.message.body) {
                self.reach.ask(&access, &key).await;
            }
            delivery.settle(Settlement::HandBack).await?;
        }
        deliveries.stop().await
    }
}

/// A store that a job reads from, and a key in it.
fn store_of(route: Route, body: &[u8]) -> Option<(BucketAccess, String)> {
    let (interval, access) = match route {
        Route::Miner => {
            let job = MinerJob::decode(body).ok()?;
            (
                job.interval,
                access(job.commitment.as_deref(), &job.hotkey)?,
            )
        }
        Route::Clip => {
            let job = ClipJob::decode(body).ok()?;
            (job.interval, access(Some(&job.commitment), &job.hotkey)?)
        }
    };
    Some((access, format!("{interval}/manifest.json")))
}

/// Waits until the worker reaches no store (`true`) or some (`false`).
async fn until(reach: &Reach, blind: bool) {
    let mut changes = reach.blind();
    // The sender is in `reach` and outlives this.
    changes.wait_for(|now| *now == blind).await.ok();
}

/// A place, and then a delivery to fill it.
async fn take(
    places: &Arc<Semaphore>,
    deliveries: &mut Box<dyn Deliveries>,
) -> Result<(tokio::sync::OwnedSemaphorePermit, Delivery), QueueError> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.expect("we never close it");
    Ok((place, deliveries.next().await?))
}

fn report_panic(joined: Result<(), tokio::task::JoinError>) {
    if let Err(fault) = joined
        && fault.is_panic()
    {
        tracing::error!(error = %fault, "settling a job panicked; its message is delivered again");
    }
}

/// The job's span, in the trace of whoever published it. Errors carry it too, hence its level.
fn span_of(delivery: &Delivery) -> tracing::Span {
    let (id, attempt) = (&delivery.message.id, delivery.attempt);
    let trace = delivery.message.trace.as_deref();
    let Some(parent) = trace.and_then(TraceContext::parse) else {
        return tracing::error_span!("job", job.id = %id, job.attempt = attempt);
    };
    let own = parent.child(&format!("attempt/{attempt}"));
    tracing::error_span!("job", job.id = %id, job.attempt = attempt, trace_id = own.trace_id(),
        span_id = own.span_id(), parent_span_id = parent.span_id())
}

/// A job that could not find out.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// We are stopping, or a blocking task was lost.
    #[error("the job was interrupted: {0}")]
    Interrupted(&'static str),
    /// Our own code panicked.
    #[error("our own code panicked: {0}")]
    Panicked(&'static str),
    /// This machine cannot do such jobs now.
    #[error("this machine cannot do the job: {0}")]
    Ours(&'static str),
    /// A store refuses this machine's clock, which says nothing about the miner.
    #[error("a store refuses this machine's clock")]
    Clock,
    /// No worker can ever do it.
    #[error("the job is impossible: {0}")]
    Impossible(&'static str),
}

impl JobError {
    /// The end of a blocking task that gave no result.
    pub(crate) fn of(what: &'static str, fault: &tokio::task::JoinError) -> Self {
        if fault.is_panic() {
            Self::Panicked(what)
        } else {
            Self::Interrupted(what)
        }
    }
}
