//! One delivery: do the job, post its result, settle. The order is always this one, so a worker that dies anywhere in
//! between only causes the job to be done again, and the board keeps the first result.

use crate::fetch::{Looked, Means, Patience, Trouble};
use crate::intake::{JobError, WorkerPorts};
use crate::meter::{Ending, InFlight, Reason};
use crate::reach::{Noted, Reach};
use crate::room::Room;
use crate::{bounds, clip_job, miner_job};
use futures::FutureExt as _;
use nexis_ports::{BoardError, Delivery, Posted, Route, Settlement};
use nexis_protocol::{Hotkey, JobId};
use nexis_runtime::metrics::{Counters, Label as _};
use nexis_wire::{
    ClipJob, ClipReport, MinerJob, MinerReport, Report as _, Wire as _, WireError, WireVersion,
};
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First pause after the board failed; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// First pause before a job that failed goes back; doubles with each attempt up to [`LONGEST_PAUSE`].
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Between a job that could not be done through no fault of its own and its way back.
const BACK_PAUSE: Duration = Duration::from_secs(1);
/// Attempts to post a result before its job goes back, some 12 s: a board that restarts costs no job twice.
const POSTS: u32 = 6;
/// What a job that never ended well says to its miner.
const EXCEPTION: &str = "checking this submission makes the validator's own code fail";

/// How a job ended; the queue is told exactly that.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The result is on the board.
    Done,
    /// Somebody else's result is there, or the round is over.
    Stale,
    /// It failed here and may succeed elsewhere; the queue counts how often.
    Retry(&'static str),
    /// The board or this machine fails, which is no fault of the job's: after a pause it goes back uncounted, else an
    /// outage of some seconds would make dead letters of everything in flight.
    Back(&'static str, Duration),
    /// Can never be done.
    Poison(Reason, String),
}

impl Outcome {
    const fn ending(&self) -> Ending {
        match self {
            Self::Done => Ending::Done,
            Self::Stale => Ending::Stale,
            Self::Retry(_) | Self::Back(..) => Ending::Retry,
            Self::Poison(..) => Ending::Dead,
        }
    }
}

/// Which delivery of a message this is.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    number: u32,
    last: bool,
}

impl Attempt {
    const fn patience(self) -> Patience {
        if self.number <= 1 {
            Patience::Short
        } else {
            Patience::Whole
        }
    }

    fn pause(self) -> Duration {
        let doublings = self.number.saturating_sub(1).min(10);
        RETRY_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE)
    }
}

/// A report as the intake changes it before it is posted.
trait Posts: Sized {
    /// Its bytes in the version of the job, sure to be read again.
    fn bytes(&self, version: WireVersion) -> Result<Vec<u8>, WireError>;
    /// Says that it rests on a store which could not be reached.
    fn rests_on(&mut self, unreachable: String);
    /// A small report instead of one that nobody would read; says which bound it is beyond.
    fn beyond(&self, bound: &WireError) -> Self;
}

impl Posts for MinerReport {
    fn bytes(&self, version: WireVersion) -> Result<Vec<u8>, WireError> {
        self.encode_as(version)
    }

    fn rests_on(&mut self, unreachable: String) {
        self.unreachable = Some(unreachable);
    }

    fn beyond(&self, bound: &WireError) -> Self {
        miner_job::beyond(self, &format!("the report on dataset.parquet: {bound}"))
    }
}

impl Posts for ClipReport {
    fn bytes(&self, version: WireVersion) -> Result<Vec<u8>, WireError> {
        self.encode_as(version)
    }

    fn rests_on(&mut self, unreachable: String) {
        self.unreachable = Some(unreachable);
    }

    fn beyond(&self, _bound: &WireError) -> Self {
        clip_job::exception(self.interval, &self.hotkey, self.row)
    }
}

/// Ids of the jobs that this worker is doing. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Underway(Arc<Mutex<HashSet<String>>>);

/// A job that is being done, until it is dropped.
struct Begun {
    underway: Underway,
    id: String,
}

impl Underway {
    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        // A set is whole after each of its operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when a copy of the job is being done; a message without an id is never a copy.
    fn begin(&self, id: &str) -> Option<Begun> {
        let begun = id.is_empty() || self.ids().insert(id.to_owned());
        begun.then(|| Begun {
            underway: self.clone(),
            id: id.to_owned(),
        })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.underway.ids().remove(&self.id);
    }
}

/// What a delivery is worked on with.
pub(crate) struct JobRun {
    pub(crate) ports: WorkerPorts,
    pub(crate) room: Room,
    pub(crate) reach: Arc<Reach>,
    pub(crate) deadline: Duration,
    pub(crate) delivery_limit: u32,
    pub(crate) route: Route,
    pub(crate) underway: Underway,
    pub(crate) in_flight: InFlight,
    pub(crate) dead: Counters<Reason>,
}

impl JobRun {
    pub(crate) async fn deliver(self, delivery: Delivery, hard: &CancellationToken) {
        let started = Instant::now();
        let attempt = Attempt {
            number: delivery.attempt,
            last: delivery.attempt > self.delivery_limit,
        };
        // A panic outside the judging of bytes is caught, too: a job must never come back without pause or count.
        let perform = AssertUnwindSafe(self.perform(&delivery, attempt)).catch_unwind();
        let performed = tokio::select! {
            () = hard.cancelled() => None,
            performed = tokio::time::timeout(self.deadline, perform) => Some(performed),
        };
        let Some(performed) = performed else {
            tracing::info!("stopping: the unfinished job goes back to the queue");
            if let Err(fault) = delivery.settle(Settlement::HandBack).await {
                tracing::debug!(error = %fault, "the broker returns the job when the connection ends");
            }
            return;
        };
        let outcome = match performed {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Retry("the job panicked"),
            Err(_) => Outcome::Retry("the job took longer than its deadline"),
        };
        let took = started.elapsed();
        let ending = outcome.ending();
        let settlement = match outcome {
            Outcome::Done | Outcome::Stale => Settlement::Ack,
            Outcome::Retry(why) => {
                tracing::warn!(why, "job failed and goes back to the queue");
                pause(attempt.pause(), hard).await;
                Settlement::Retry
            }
            Outcome::Back(why, length) => {
                tracing::warn!(why, "job goes back to the queue uncounted");
                pause(length, hard).await;
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
        self.in_flight.ends(ending, took.as_secs_f64());
    }

    async fn perform(&self, delivery: &Delivery, attempt: Attempt) -> Outcome {
        // The leader publishes again what has no result for a while, and a slow store takes longer than that.
        let Some(_only) = self.underway.begin(&delivery.message.id) else {
            return Outcome::Stale;
        };
        match self.route {
            Route::Miner => match MinerJob::decode_versioned(&delivery.message.body) {
                // Boxed: large and rare beside the other.
                Ok((job, version)) => Box::pin(self.miner(job, version, attempt)).await,
                Err(fault) => unread(&fault),
            },
            Route::Clip => match ClipJob::decode_versioned(&delivery.message.body) {
                Ok((job, version)) => self.clip(job, version, attempt).await,
                Err(fault) => unread(&fault),
            },
        }
    }

    async fn miner(&self, mut job: MinerJob, version: WireVersion, attempt: Attempt) -> Outcome {
        bounds::clamp(&mut job.rules, self.deadline);
        let id = job.id();
        if let Some(early) = self.unwanted(&id).await {
            return early;
        }
        let bucket = Noted(Arc::clone(&self.reach));
        let means = self.means(&bucket, attempt);
        let started = Instant::now();
        let looked = guarded(miner_job::run(&job, &means)).await;
        let account = account(job.commitment.as_deref(), &job.hotkey);
        self.note_clock(&looked, started, &account).await;
        let exception = || miner_job::exception(&job, EXCEPTION);
        let looked = match found(looked, attempt, exception) {
            Ok(looked) => looked,
            Err(outcome) => return outcome,
        };
        match self.conclude(looked, attempt, started, &account).await {
            Ok(report) => self.post(&id, &report, version).await,
            Err(outcome) => outcome,
        }
    }

    async fn clip(&self, mut job: ClipJob, version: WireVersion, attempt: Attempt) -> Outcome {
        bounds::clamp(&mut job.rules, self.deadline);
        let id = job.id();
        if let Some(early) = self.unwanted(&id).await {
            return early;
        }
        let bucket = Noted(Arc::clone(&self.reach));
        let tools = clip_job::Tools {
            means: self.means(&bucket, attempt),
            prober: &self.ports.prober,
            vision: self.ports.vision.as_deref(),
        };
        let started = Instant::now();
        let run = clip_job::run(&job, &tools, clip_job::Frames::WhenACheckNeedsThem);
        let looked = guarded(run).await;
        let account = account(Some(&job.commitment), &job.hotkey);
        self.note_clock(&looked, started, &account).await;
        let exception = || clip_job::exception(job.interval, &job.hotkey, job.row);
        let looked = match found(looked, attempt, exception) {
            Ok(looked) => looked,
            Err(outcome) => return outcome,
        };
        match self.conclude(looked, attempt, started, &account).await {
            Ok(report) => self.post(&id, &report, version).await,
            Err(outcome) => outcome,
        }
    }

    fn means<'a>(&'a self, bucket: &'a Noted, attempt: Attempt) -> Means<'a> {
        Means {
            bucket,
            room: &self.room,
            patience: attempt.patience(),
        }
    }

    /// A store that refuses our clock is one that this worker cannot read; when all do, it takes no more jobs.
    async fn note_clock<R>(&self, looked: &Result<R, JobError>, started: Instant, account: &str) {
        if matches!(looked, Err(JobError::Clock)) {
            let why = "it refuses this machine's clock";
            self.reach.others_answer(started, account, why).await;
        }
    }

    /// The report to post, unless another worker should look first.
    async fn conclude<R: Posts>(
        &self,
        mut looked: Looked<R>,
        attempt: Attempt,
        started: Instant,
        account: &str,
    ) -> Result<R, Outcome> {
        let Some(trouble) = looked.trouble else {
            return Ok(looked.report);
        };
        let others = self
            .reach
            .others_answer(started, account, trouble.last())
            .await;
        if !others && self.reach.is_blind() {
            return Err(Outcome::Back(
                "this worker reaches no object store",
                BACK_PAUSE,
            ));
        }
        if !attempt.last && (!others || attempt.number <= 1) {
            return Err(Outcome::Retry(match trouble {
                Trouble::Unreachable(_) => "the miner's store could not be reached",
                Trouble::TooSlow(_) => "the miner's store is too slow",
            }));
        }
        match trouble {
            // It was reached, and others are faster: nothing is wrong with us.
            Trouble::TooSlow(_) if others => {}
            Trouble::Unreachable(last) | Trouble::TooSlow(last) => looked.report.rests_on(last),
        }
        Ok(looked.report)
    }

    /// `Some` when the job need not or cannot be begun.
    async fn unwanted(&self, id: &JobId) -> Option<Outcome> {
        match self.ports.board.wanted(id).await {
            Ok(true) => None,
            Ok(false) => Some(Outcome::Stale),
            Err(fault) => Some(match board_failure(&fault) {
                Some(why) => Outcome::Back(why, BACK_PAUSE),
                None => unreadable(&fault),
            }),
        }
    }

    async fn post<R: Posts>(&self, id: &JobId, report: &R, version: WireVersion) -> Outcome {
        // What is posted must be readable: the leader cannot do anything about a report that is not.
        let bytes = report
            .bytes(version)
            .or_else(|bound| report.beyond(&bound).bytes(version));
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(fault) => return poison(&fault),
        };
        let mut pause = FIRST_PAUSE;
        let mut last = "";
        for _ in 0..POSTS {
            match self.ports.board.post(id, bytes.clone()).await {
                Ok(Posted::First) => return Outcome::Done,
                Ok(Posted::Duplicate | Posted::Late | Posted::Unknown) => return Outcome::Stale,
                Err(fault) => match board_failure(&fault) {
                    Some(why) => last = why,
                    None => return unreadable(&fault),
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Outcome::Back(last, BACK_PAUSE)
    }
}

/// What was found out; a job that panics to the end says so to its miner.
fn found<R>(
    looked: Result<Looked<R>, JobError>,
    attempt: Attempt,
    exception: impl FnOnce() -> R,
) -> Result<Looked<R>, Outcome> {
    match looked {
        Ok(looked) => Ok(looked),
        Err(JobError::Panicked(what)) if attempt.last => {
            tracing::error!(
                what,
                attempts = attempt.number,
                "alert: our own code panics on this submission, which is rejected with validation_exception: report it"
            );
            Ok(Looked::found(exception()))
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Waits, unless the process is to end now.
async fn pause(length: Duration, hard: &CancellationToken) {
    tokio::select! {
        () = hard.cancelled() => {}
        () = tokio::time::sleep(length) => {}
    }
}

/// A panic while bytes are fetched and judged, as an error.
async fn guarded<T>(run: impl Future<Output = Result<T, JobError>>) -> Result<T, JobError> {
    let caught = AssertUnwindSafe(run).catch_unwind().await;
    caught.unwrap_or(Err(JobError::Panicked("doing the job")))
}

fn account(commitment: Option<&str>, hotkey: &Hotkey) -> String {
    miner_job::access(commitment, hotkey).map_or_else(String::new, |access| access.account_id)
}

/// Why the board failed, when that has nothing to do with the job; `None` when what it holds cannot be read, which doing
/// the job again does not change.
fn board_failure(fault: &BoardError) -> Option<&'static str> {
    match fault {
        BoardError::Corrupt(_) => None,
        BoardError::Refused(_) => {
            tracing::error!(error = %fault, "alert: the board refuses us: check user, password and rights");
            Some("the board refuses us")
        }
        BoardError::Unavailable(_) | BoardError::Fenced { .. } => {
            tracing::warn!(error = %fault, "the board is unavailable");
            Some("the board is unavailable")
        }
    }
}

fn unreadable(fault: &BoardError) -> Outcome {
    Outcome::Poison(Reason::Board, format!("board: {fault}"))
}

/// A job that cannot be read. One of a newer program is no dead letter: a worker that reads it may be on its way.
fn unread(fault: &WireError) -> Outcome {
    if let WireError::Newer { .. } = fault {
        tracing::warn!(error = %fault, "a job for a newer worker");
        return Outcome::Retry("the job was written for a newer worker");
    }
    poison(fault)
}

fn poison(fault: &WireError) -> Outcome {
    Outcome::Poison(fault.into(), format!("{}: {fault}", fault.code()))
}

impl From<JobError> for Outcome {
    fn from(fault: JobError) -> Self {
        match fault {
            JobError::Interrupted(why) | JobError::Panicked(why) => Self::Retry(why),
            JobError::Ours(why) => Self::Back(why, LONGEST_PAUSE),
            JobError::Clock => Self::Back("a store refuses this machine's clock", LONGEST_PAUSE),
            JobError::Impossible(why) => Self::Poison(Reason::Damaged, format!("damaged: {why}")),
        }
    }
}
