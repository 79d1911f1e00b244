use crate::FaultClass;
use async_trait::async_trait;
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where a round stands. Only forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Miner jobs are out, reports come in.
    Miners,
    /// The barrier is closed, clip jobs are out, verdicts come in.
    Clips,
    /// All that was waited for is in; decisions may be made.
    Closed,
}

/// Progress of a round's current stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The stage.
    pub stage: Stage,
    /// How many results it expects.
    pub expected: u64,
    /// How many of those are there.
    pub done: u64,
}

/// What became of a posted result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It is the first for its id and counts.
    First,
    /// The id already had a result; this one changed nothing.
    Duplicate,
    /// Its stage was closed before it came; kept as evidence, counts for nothing.
    Late,
    /// No such round, or the id was never expected; nothing was kept.
    Unknown,
}

/// What became of a leader's write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It changed the board.
    Applied,
    /// It had been done before; nothing changed.
    Already,
    /// The round was retired: its decisions are archived, or were. Nothing changed.
    Retired,
    /// The stage has other results than the caller read; nothing changed.
    Changed,
}

/// Answer to a campaign for leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// We lead until the time to live ends, under this epoch. Renewing keeps the epoch.
    Leader(LeaderEpoch),
    /// Somebody else leads.
    Follower {
        /// Its name.
        holder: String,
    },
}

/// A board's failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BoardError {
    /// The store is away, or the connection broke. The write may or may not have happened.
    #[error("reaching the board: {0}")]
    Unavailable(String),
    /// The store refused us (credentials, wrong kind of key).
    #[error("the board refused us: {0}")]
    Refused(String),
    /// A newer leader exists; this write changed nothing.
    #[error("a newer leader (epoch {newest}) took over; the write of epoch {ours} was refused")]
    Fenced {
        /// The epoch the write carried.
        ours: LeaderEpoch,
        /// The newest epoch given out.
        newest: LeaderEpoch,
    },
    /// What is stored cannot be read.
    #[error("the board holds something unreadable: {0}")]
    Corrupt(String),
}

impl BoardError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unavailable(_) => FaultClass::Transient,
            Self::Refused(_) | Self::Corrupt(_) => FaultClass::Permanent,
            Self::Fenced { .. } => FaultClass::Fenced,
        }
    }
}

/// The shared progress of open rounds: the only state that scheduler and workers share.
///
/// Laws: every call may be repeated; the first result of an id wins; `done` counts each expected id
/// once however often it is posted; a write of an old leader epoch changes nothing ([`BoardError::Fenced`]);
/// each call is atomic.
#[async_trait]
pub trait Board: Send + Sync {
    /// Becomes or stays leader. A new holder gets a larger epoch than any before. Asking again as
    /// the current holder renews the lease and keeps the epoch. After the lease of `ttl` ends
    /// unrenewed, the next caller wins.
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError>;

    /// Gives leadership up at once; no effect when `epoch` does not lead.
    async fn resign(&self, epoch: LeaderEpoch) -> Result<(), BoardError>;

    /// Opens a round in [`Stage::Miners`] with the leader's plan and the ids it waits for. `Retired` when the
    /// interval was retired; [`Board::discard`] removes that mark.
    async fn open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError>;

    /// Moves a round from one stage to the next, with that stage's plan and the ids it waits for.
    /// `Already` when the round is at `to` or further.
    async fn advance(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        self.advance_from(epoch, interval, None, to, plan, expected)
            .await
    }

    /// The same, for a caller that read `seen` results of the current stage and computed `plan` from them:
    /// `Changed` when another number counts by now, so that a result is either in the plan or late.
    async fn advance_from(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        seen: Option<u64>,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError>;

    /// Forgets a round whose decisions are archived. Its id is remembered as retired for the
    /// retention time, so that a late result is `Unknown` and `open` is `Retired`.
    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError>;

    /// Removes a round without retiring it, and removes the mark of a retired one: afterwards the interval can
    /// be opened as if it never had been. `Already` when there is neither.
    async fn discard(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError>;

    /// Forgets results of the round's current stage: their jobs are wanted again. `Already` when none of them
    /// counts in the current stage.
    async fn forget(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        jobs: &[JobId],
    ) -> Result<Write, BoardError>;

    /// Open rounds, oldest first.
    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError>;

    /// Progress of a round; `None` when it is not open.
    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError>;

    /// The plan that a stage was entered with.
    async fn plan(&self, interval: IntervalId, stage: Stage)
    -> Result<Option<Vec<u8>>, BoardError>;

    /// Posts a job's result. The stage follows from the kind of id.
    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError>;

    /// Whether a job still waits for its result: a worker asks before it starts.
    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError>;

    /// Ids of a stage that have no counting result yet, ascending.
    async fn missing(&self, interval: IntervalId, stage: Stage) -> Result<Vec<JobId>, BoardError>;

    /// Results of a stage that count, ascending by id.
    async fn results(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError>;

    /// Those of one miner: what lets a caller work through a round with one miner's results in memory.
    async fn results_of(
        &self,
        interval: IntervalId,
        stage: Stage,
        hotkey: &Hotkey,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError>;

    /// Results that came after their stage had closed, ascending by id.
    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError>;

    /// A small fact that only the leader writes (for example a submission in flight).
    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError>;

    /// Writes such a fact.
    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError>;

    /// Returns when something on the board may have changed, or after `at_most`. A hint: carries
    /// nothing, may come early, may be missed (hence the time).
    async fn changed(&self, at_most: Duration);
}
