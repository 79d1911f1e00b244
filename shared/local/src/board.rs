use crate::clock::Clock;
use crate::journal::{self, Durability, Journal};
use crate::state::{Entry, Expected, State};
use async_trait::async_trait;
use nexis_ports::{Board, BoardError, Leadership, Posted, Stage, Tally, Write};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Below this a journal is not worth rewriting.
const COMPACT_FROM_BYTES: u64 = 8 << 20;
/// A journal is rewritten when it has grown this many times over its size after the last rewriting.
const COMPACT_FACTOR: u64 = 4;

/// Why a board could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LocalBoardError {
    /// Two processes on one folder would each believe that they hold the truth.
    #[error(
        "folder {} is in use by another process{}: stop it, or give this one a folder of its own",
        .folder.display(),
        .holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, as far as it said so.
        holder: Option<u32>,
    },
    /// A file could not be made, read or written.
    #[error("opening the board's file {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What opening a board found on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Changes read back.
    pub entries: usize,
    /// Bytes of torn changes cut off the journal's end (kept beside it as `board.torn`).
    pub dropped_bytes: u64,
}

/// A board in one process. Every change is in the journal before it can be seen; stage changes,
/// epochs and facts are on the disk (fsync) before the call returns, results are handed to the system
/// (they survive kill -9) and reach the disk with the next stage change at the latest.
///
/// The lease is not kept: the folder's lock lets one process in, so a restarted one leads at once, under
/// a new epoch. Clones share the board.
#[derive(Clone)]
pub struct LocalBoard {
    inner: Arc<Inner>,
}

struct Inner {
    guarded: Mutex<Guarded>,
    clock: Box<dyn Clock>,
    changes: watch::Sender<u64>,
    /// Number of changes that [`Board::changed`] has told about.
    told: Mutex<u64>,
    recovery: Recovery,
    /// Held for as long as the board lives; the system lets go of it however the process ends.
    _lock: Option<File>,
}

struct Guarded {
    state: State,
    journal: Option<Journal>,
    /// The journal's size after it was last rewritten.
    compacted: u64,
    lease: Option<Lease>,
    /// Counts changes that somebody may wait for.
    changes: watch::Sender<u64>,
}

struct Lease {
    holder: String,
    until: Duration,
}

impl LocalBoard {
    /// Opens the board of a folder, making both when needed. Blocks on the disk.
    pub fn open(folder: &Path, clock: impl Clock) -> Result<Self, LocalBoardError> {
        std::fs::create_dir_all(folder).map_err(|source| LocalBoardError::File {
            path: folder.to_owned(),
            source,
        })?;
        let lock = lock(folder)?;
        let path = folder.join("board.journal");
        let failed = |source| LocalBoardError::File {
            path: path.clone(),
            source,
        };
        let mut loaded = Journal::load(&path).map_err(failed)?;
        let mut state = State::default();
        let unread = loaded.entries.iter().position(|bytes| {
            let entry = postcard::from_bytes(bytes);
            entry.map(|entry| state.apply(entry)).is_err()
        });
        if let Some(entry) = unread {
            // Half of what happened is no state that we ever were in.
            let aside = journal::set_aside(&path).map_err(failed)?;
            tracing::warn!(journal = %path.display(), kept_as = %aside.display(), entry,
                "the board's journal was written by another version of this program: it is set aside, and open rounds \
                 are rebuilt from the archive");
            state = State::default();
            loaded = Journal::load(&path).map_err(failed)?;
        }
        let recovery = Recovery {
            entries: loaded.entries.len(),
            dropped_bytes: loaded.dropped,
        };
        if recovery.dropped_bytes > 0 {
            tracing::warn!(
                journal = %path.display(),
                bytes = recovery.dropped_bytes,
                "cut a torn end off the board's journal; it is kept beside it"
            );
        }
        let mut guarded = Guarded::new(state, Some(loaded.journal));
        guarded.compact_if_grown();
        Ok(Self::from_parts(
            guarded,
            Box::new(clock),
            recovery,
            Some(lock),
        ))
    }

    /// A board that forgets everything when it goes.
    pub fn in_memory(clock: impl Clock) -> Self {
        let guarded = Guarded::new(State::default(), None);
        Self::from_parts(guarded, Box::new(clock), Recovery::default(), None)
    }

    /// What opening found on disk.
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    fn from_parts(
        guarded: Guarded,
        clock: Box<dyn Clock>,
        recovery: Recovery,
        lock: Option<File>,
    ) -> Self {
        let inner = Inner {
            changes: guarded.changes.clone(),
            guarded: Mutex::new(guarded),
            clock,
            told: Mutex::new(0),
            recovery,
            _lock: lock,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn read<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        ask(&self.inner.guarded().state)
    }

    /// Runs a change that waits for the disk off the async threads.
    async fn leader_write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Guarded) -> Result<T, BoardError> + Send + 'static,
    ) -> Result<T, BoardError> {
        let inner = Arc::clone(&self.inner);
        let work = move || change(&mut inner.guarded());
        if self.inner.guarded().journal.is_none() {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| BoardError::Unavailable(format!("writing the journal: {error}")))?
    }
}

impl Inner {
    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        // An entry is journalled, then applied in one go: a panic elsewhere leaves the state whole.
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guarded {
    fn new(state: State, journal: Option<Journal>) -> Self {
        let compacted = 0;
        Self {
            state,
            journal,
            compacted,
            lease: None,
            changes: watch::Sender::new(0),
        }
    }

    fn commit(&mut self, entry: Entry, durability: Durability) -> Result<(), BoardError> {
        if let Some(journal) = &mut self.journal {
            let payload = postcard::to_stdvec(&entry)
                .map_err(|error| BoardError::Refused(format!("writing an entry: {error}")))?;
            journal.append(&payload, durability).map_err(|error| {
                let what = format!("writing the board's journal: {error}");
                // Only a restart mends a journal whose end is not known: the process ends and its supervisor starts it
                // again.
                if journal.is_broken() {
                    BoardError::Refused(what)
                } else {
                    BoardError::Unavailable(what)
                }
            })?;
        }
        let hint = !matches!(entry, Entry::Epoch(_));
        self.state.apply(entry);
        if hint {
            self.changes.send_modify(|number| *number += 1);
        }
        Ok(())
    }

    fn compact_if_grown(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let limit = COMPACT_FROM_BYTES.max(self.compacted.saturating_mul(COMPACT_FACTOR));
        if journal.len() < limit {
            return;
        }
        let entries = self.state.entries();
        let payloads = entries.iter().map(|entry| {
            let bytes = postcard::to_stdvec(entry);
            Cow::Owned(bytes.expect("an entry that was read or written before can be written"))
        });
        match journal.rewrite(payloads) {
            Ok(()) => self.compacted = journal.len(),
            // The old journal is whole and goes on growing; the next stage change tries again.
            Err(error) => tracing::warn!(%error, "could not shorten the board's journal"),
        }
    }

    fn campaign(
        &mut self,
        who: String,
        ttl: Duration,
        now: Duration,
    ) -> Result<Leadership, BoardError> {
        let until = now.saturating_add(ttl);
        match &mut self.lease {
            Some(lease) if lease.until > now && lease.holder == who => {
                lease.until = until;
                Ok(Leadership::Leader(self.state.epoch()))
            }
            Some(lease) if lease.until > now => Ok(Leadership::Follower {
                holder: lease.holder.clone(),
            }),
            _ => {
                let epoch = LeaderEpoch::new(self.state.epoch().get() + 1);
                self.commit(Entry::Epoch(epoch), Durability::Disk)?;
                self.lease = Some(Lease { holder: who, until });
                Ok(Leadership::Leader(epoch))
            }
        }
    }
}

fn lock(folder: &Path) -> Result<File, LocalBoardError> {
    let path = folder.join("board.lock");
    let failed = |source| LocalBoardError::File {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(failed)?;
            file.rewind().map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let holder = (&file).take(20).read_to_string(&mut text).ok();
            let holder = holder.and_then(|_| text.trim().parse().ok());
            Err(LocalBoardError::InUse {
                folder: folder.to_owned(),
                holder,
            })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[async_trait]
impl Board for LocalBoard {
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError> {
        let (who, now) = (who.to_owned(), self.inner.clock.elapsed());
        self.leader_write(move |guarded| guarded.campaign(who, ttl, now))
            .await
    }

    async fn resign(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        let mut guarded = self.inner.guarded();
        if guarded.state.epoch() == epoch && guarded.lease.take().is_some() {
            guarded.changes.send_modify(|number| *number += 1);
        }
        Ok(())
    }

    async fn open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let expected = Expected::new(interval, Stage::Miners, expected);
        self.leader_write(move |guarded| {
            let write = guarded.state.judge_open(epoch, interval)?;
            if write == Write::Applied {
                let entry = Entry::Open {
                    interval,
                    plan,
                    expected: expected?,
                };
                guarded.commit(entry, Durability::Disk)?;
            }
            Ok(write)
        })
        .await
    }

    async fn advance_from(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        seen: Option<u64>,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let expected = Expected::new(interval, to, expected);
        self.leader_write(move |guarded| {
            let write = guarded.state.judge_advance(epoch, interval, seen, to)?;
            if write == Write::Applied {
                let entry = Entry::Advance {
                    interval,
                    to,
                    plan,
                    expected: expected?,
                };
                guarded.commit(entry, Durability::Disk)?;
            }
            Ok(write)
        })
        .await
    }

    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.leader_write(move |guarded| {
            let write = guarded.state.judge_retire(epoch, interval)?;
            if write == Write::Applied {
                guarded.commit(Entry::Retire { interval }, Durability::Disk)?;
                guarded.compact_if_grown();
            }
            Ok(write)
        })
        .await
    }

    async fn discard(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.leader_write(move |guarded| {
            let write = guarded.state.judge_discard(epoch, interval)?;
            if write == Write::Applied {
                guarded.commit(Entry::Discard { interval }, Durability::Disk)?;
                guarded.compact_if_grown();
            }
            Ok(write)
        })
        .await
    }

    async fn forget(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        jobs: &[JobId],
    ) -> Result<Write, BoardError> {
        let jobs = jobs.to_vec();
        self.leader_write(move |guarded| {
            let write = guarded.state.judge_forget(epoch, interval, &jobs)?;
            if write == Write::Applied {
                guarded.commit(Entry::Forget { interval, jobs }, Durability::Disk)?;
            }
            Ok(write)
        })
        .await
    }

    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        Ok(self.read(State::open_rounds))
    }

    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError> {
        Ok(self.read(|state| state.tally(interval)))
    }

    async fn plan(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Option<Vec<u8>>, BoardError> {
        Ok(self.read(|state| state.plan(interval, stage)))
    }

    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        let mut guarded = self.inner.guarded();
        let posted = guarded.state.judge_post(job);
        match posted {
            Posted::First | Posted::Late => {
                // No fsync here: one write into the page cache, microseconds.
                let entry = Entry::Post {
                    job: job.clone(),
                    result,
                };
                guarded.commit(entry, Durability::Process)?;
            }
            Posted::Duplicate | Posted::Unknown => return Ok(posted),
        }
        Ok(posted)
    }

    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError> {
        Ok(self.read(|state| state.wanted(job)))
    }

    async fn missing(&self, interval: IntervalId, stage: Stage) -> Result<Vec<JobId>, BoardError> {
        Ok(self.read(|state| state.missing(interval, stage)))
    }

    async fn results(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        Ok(self.read(|state| state.results(interval, stage)))
    }

    async fn results_of(
        &self,
        interval: IntervalId,
        stage: Stage,
        hotkey: &Hotkey,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        Ok(self.read(|state| state.results_of(interval, stage, hotkey)))
    }

    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        Ok(self.read(|state| state.late(interval)))
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError> {
        Ok(self.read(|state| state.fact(name)))
    }

    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError> {
        let name = name.to_owned();
        self.leader_write(move |guarded| {
            guarded.state.judge_fact(epoch)?;
            guarded.commit(Entry::Fact { name, value }, Durability::Disk)?;
            guarded.compact_if_grown();
            Ok(())
        })
        .await
    }

    async fn changed(&self, at_most: Duration) {
        let mut changes = self.inner.changes.subscribe();
        let told = |now: u64| {
            let mut told = self
                .inner
                .told
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, now) != now
        };
        // A change since the last call counts: the caller has not looked since.
        let now = *changes.borrow_and_update();
        if told(now) {
            return;
        }
        if tokio::time::timeout(at_most, changes.changed())
            .await
            .is_ok()
        {
            told(*changes.borrow());
        }
    }
}

#[cfg(test)]
mod tests;
