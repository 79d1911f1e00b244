//! From delivery to settlement. The order is always: do, post to the board, then acknowledge; so a worker that
//! dies anywhere in between only causes the job to be done again, and the board keeps the first result.

use crate::measure::Prober;
use crate::meter::{Ending, InHand, Meter, Reason};
use crate::room::Room;
use crate::{clip_job, miner_job};
use nexis_ports::{
    Board, BoardError, Bucket, Delivery, FaultClass, Posted, Queue, QueueError, Route, Settlement,
};
use nexis_protocol::JobId;
use nexis_runtime::metrics::{Counters, Label, Metrics};
use nexis_vision::VisionClient;
use nexis_wire::{ClipJob, MinerJob, Report as _, TraceContext, Wire, WireError, WireVersion};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The outside of a worker.
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
    /// Jobs of each kind in hand at one time; also the prefetch, so that nothing waits unbegun in our hands.
    pub permits: u16,
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
            job_deadline: Duration::from_secs(600),
            held_bytes: 4 << 30,
        }
    }
}

/// First pause after the queue or board failed; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Between a job that the board could not be asked about and its way back.
const BACK_PAUSE: Duration = Duration::from_secs(1);
/// Before a job of a newer program goes back to the queue: the delivery limit then lasts for half a minute.
const NEWER_PAUSE: Duration = Duration::from_secs(5);
/// Attempts to post a result before its job goes back, some 12 s: a board that restarts costs no job twice.
const POSTS: u32 = 6;

/// A worker process, or the worker half of `nexis validate`.
pub struct Worker {
    ports: WorkerPorts,
    options: WorkerOptions,
    meter: Meter,
    room: Room,
}

/// How a job ended; the queue is told exactly that.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The result is on the board.
    Done,
    /// Somebody else's result is there, or the round is over.
    Stale,
    /// It failed here and may succeed elsewhere; the queue counts how often.
    Retry(&'static str),
    /// The board is away or does not let us in, which is no fault of the job's: it goes back uncounted, else an outage
    /// of some seconds would make dead letters of everything that is in hand.
    Back(&'static str),
    /// Can never be done.
    Poison(Reason, String),
}

impl Outcome {
    const fn ending(&self) -> Ending {
        match self {
            Self::Done => Ending::Done,
            Self::Stale => Ending::Stale,
            Self::Retry(_) | Self::Back(_) => Ending::Retry,
            Self::Poison(..) => Ending::Dead,
        }
    }
}

impl Worker {
    /// Makes a worker; nothing starts yet.
    pub fn new(ports: WorkerPorts, options: WorkerOptions) -> Self {
        Self {
            ports,
            options,
            meter: Meter::new(&Metrics::new()),
            room: Room::new(options.held_bytes),
        }
    }

    /// Counts its jobs there.
    pub fn metered(self, metrics: &Metrics) -> Self {
        Self {
            meter: Meter::new(metrics),
            ..self
        }
    }

    /// Works until `soft` is cancelled and what is in hand is finished; what is not when `hard` is cancelled goes
    /// back to the queue as it came.
    /// Returns an error only when the queue refuses us for good.
    pub async fn run(
        &self,
        soft: CancellationToken,
        hard: CancellationToken,
    ) -> Result<(), QueueError> {
        let both = async {
            tokio::try_join!(
                self.serve(Route::Miner, &soft, &hard),
                self.serve(Route::Clip, &soft, &hard)
            )
        };
        both.await.map(|_| ())
    }

    async fn serve(
        &self,
        route: Route,
        soft: &CancellationToken,
        hard: &CancellationToken,
    ) -> Result<(), QueueError> {
        let mut pause = FIRST_PAUSE;
        while !soft.is_cancelled() {
            match self.consume(route, soft, hard).await {
                Ok(()) | Err(QueueError::Closed) => {}
                Err(fault) if fault.class() == FaultClass::Transient => {
                    tracing::warn!(queue.name = route.name(), error = %fault, "queue is away, trying again");
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

    async fn consume(
        &self,
        route: Route,
        soft: &CancellationToken,
        hard: &CancellationToken,
    ) -> Result<(), QueueError> {
        let mut deliveries = self
            .ports
            .queue
            .consume(route, self.options.permits)
            .await?;
        let permits = Arc::new(Semaphore::new(usize::from(self.options.permits)));
        let most = i64::from(self.options.permits);
        self.meter.permits.set(route.into(), most);
        let mut tasks = JoinSet::new();
        let ended = loop {
            while let Some(joined) = tasks.try_join_next() {
                report_panic(joined);
            }
            let permit = tokio::select! {
                () = soft.cancelled() => break Ok(()),
                permit = Arc::clone(&permits).acquire_owned() => permit.expect("we never close it"),
            };
            let delivery = tokio::select! {
                () = soft.cancelled() => break Ok(()),
                delivery = deliveries.next() => delivery,
            };
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(fault) => break Err(fault),
            };
            let job = JobRun {
                ports: self.ports.clone(),
                room: self.room.clone(),
                deadline: self.options.job_deadline,
                route,
                in_hand: InHand::new(self.meter.clone(), route.into()),
                dead: self.meter.dead.clone(),
            };
            let hard = hard.clone();
            let span = span_of(&delivery);
            let work = async move {
                job.deliver(delivery, &hard).await;
                drop(permit);
            };
            tasks.spawn(work.instrument(span));
        };
        if let Err(fault) = deliveries.stop().await {
            tracing::debug!(error = %fault, "stopping the consumer");
        }
        while let Some(joined) = tasks.join_next().await {
            report_panic(joined);
        }
        ended
    }
}

fn report_panic(joined: Result<(), tokio::task::JoinError>) {
    if let Err(fault) = joined
        && fault.is_panic()
    {
        tracing::error!(error = %fault, "a job panicked; its message is delivered again");
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

struct JobRun {
    ports: WorkerPorts,
    room: Room,
    deadline: Duration,
    route: Route,
    in_hand: InHand,
    dead: Counters<Reason>,
}

impl JobRun {
    async fn deliver(self, delivery: Delivery, hard: &CancellationToken) {
        let started = Instant::now();
        let performed = tokio::select! {
            () = hard.cancelled() => None,
            performed = tokio::time::timeout(self.deadline, self.perform(&delivery)) => Some(performed),
        };
        let Some(performed) = performed else {
            tracing::info!("stopping: the unfinished job goes back to the queue");
            if let Err(fault) = delivery.settle(Settlement::HandBack).await {
                tracing::debug!(error = %fault, "the queue takes the job back by itself");
            }
            return;
        };
        let outcome = match performed {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Retry("the job took longer than its deadline"),
        };
        let took = started.elapsed();
        let ending = outcome.ending();
        let settlement = match outcome {
            Outcome::Done | Outcome::Stale => Settlement::Ack,
            Outcome::Retry(why) => {
                tracing::warn!(why, "job handed back");
                Settlement::Retry
            }
            Outcome::Back(why) => {
                tracing::warn!(why, "job handed back, as if it had not been taken");
                Settlement::HandBack
            }
            Outcome::Poison(kind, reason) => {
                tracing::error!(reason, "job can never be done: to the dead-letter queue");
                self.dead.inc(kind);
                Settlement::Dead { reason }
            }
        };
        tracing::debug!(
            job.outcome = ending.as_str(),
            ms = took.as_millis(),
            "job ended"
        );
        if let Err(fault) = delivery.settle(settlement).await {
            tracing::warn!(error = %fault, "could not settle; the job will come again");
        }
        self.in_hand.ends(ending, took.as_secs_f64());
    }

    async fn perform(&self, delivery: &Delivery) -> Outcome {
        match self.route {
            Route::Miner => match MinerJob::decode_versioned(&delivery.message.body) {
                // Boxed: large and rare beside the other.
                Ok((job, version)) => Box::pin(self.miner(job, version)).await,
                Err(fault) => unread(&fault).await,
            },
            Route::Clip => match ClipJob::decode_versioned(&delivery.message.body) {
                Ok((job, version)) => self.clip(job, version).await,
                Err(fault) => unread(&fault).await,
            },
        }
    }

    async fn miner(&self, job: MinerJob, version: WireVersion) -> Outcome {
        let id = job.id();
        if let Some(early) = self.unwanted(&id).await {
            return early;
        }
        match miner_job::run(&job, self.ports.bucket.as_ref(), &self.room).await {
            Ok(report) => match report.encode_as(version) {
                Ok(bytes) => self.post(&id, bytes).await,
                Err(fault) => poison(&fault),
            },
            Err(fault) => fault.into(),
        }
    }

    async fn clip(&self, job: ClipJob, version: WireVersion) -> Outcome {
        let id = job.id();
        if let Some(early) = self.unwanted(&id).await {
            return early;
        }
        let tools = clip_job::Tools {
            bucket: self.ports.bucket.as_ref(),
            prober: &self.ports.prober,
            vision: self.ports.vision.as_deref(),
            room: &self.room,
        };
        match clip_job::run(&job, &tools, clip_job::Frames::WhenACheckNeedsThem).await {
            Ok(report) => match report.encode_as(version) {
                Ok(bytes) => self.post(&id, bytes).await,
                Err(fault) => poison(&fault),
            },
            Err(fault) => fault.into(),
        }
    }

    /// `Some` when the job need not or cannot be begun.
    async fn unwanted(&self, id: &JobId) -> Option<Outcome> {
        match self.ports.board.wanted(id).await {
            Ok(true) => None,
            Ok(false) => Some(Outcome::Stale),
            Err(fault) => match misfortune(&fault) {
                Some(why) => {
                    // Else the job would bounce off the board a thousand times a second.
                    tokio::time::sleep(BACK_PAUSE).await;
                    Some(Outcome::Back(why))
                }
                None => Some(unreadable(&fault)),
            },
        }
    }

    async fn post(&self, id: &JobId, bytes: Vec<u8>) -> Outcome {
        let mut pause = FIRST_PAUSE;
        let mut last = "";
        for _ in 0..POSTS {
            match self.ports.board.post(id, bytes.clone()).await {
                Ok(Posted::First) => return Outcome::Done,
                Ok(Posted::Duplicate | Posted::Late | Posted::Unknown) => return Outcome::Stale,
                Err(fault) => match misfortune(&fault) {
                    Some(why) => last = why,
                    None => return unreadable(&fault),
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Outcome::Back(last)
    }
}

/// Why the board failed, when that has nothing to do with the job; `None` when what it holds cannot be read, which doing
/// the job again does not change.
fn misfortune(fault: &BoardError) -> Option<&'static str> {
    match fault {
        BoardError::Corrupt(_) => None,
        BoardError::Refused(_) => {
            tracing::error!(error = %fault, "the board refuses us: check user, password and rights");
            Some("the board refuses us")
        }
        BoardError::Unavailable(_) | BoardError::Fenced { .. } => {
            tracing::warn!(error = %fault, "the board is away");
            Some("the board is away")
        }
    }
}

fn unreadable(fault: &BoardError) -> Outcome {
    Outcome::Poison(Reason::Board, format!("board: {fault}"))
}

fn poison(fault: &WireError) -> Outcome {
    Outcome::Poison(fault.into(), format!("{}: {fault}", fault.code()))
}

/// A job that cannot be read. One of a newer program is no dead letter: a worker that reads it may be on its way.
async fn unread(fault: &WireError) -> Outcome {
    if let WireError::Newer { .. } = fault {
        tracing::warn!(error = %fault, "a job for a newer worker");
        tokio::time::sleep(NEWER_PAUSE).await;
        return Outcome::Retry("the job was written for a newer worker");
    }
    poison(fault)
}

/// A job that could not find out.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// We are stopping, or a blocking task was lost.
    #[error("the job was interrupted: {0}")]
    Interrupted(&'static str),
}

impl From<JobError> for Outcome {
    fn from(fault: JobError) -> Self {
        match fault {
            JobError::Interrupted(why) => Self::Retry(why),
        }
    }
}
