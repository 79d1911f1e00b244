//! Gates in front of board and archive, at which a scheduler can be stopped in the middle of whatever it does.

use async_trait::async_trait;
use nexis_ports::{
    Archive, ArchiveError, Board, BoardError, Leadership, Posted, Stage, Tally, Write,
};
use nexis_protocol::{IntervalId, JobId, LeaderEpoch};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Stands before every call of one scheduler; shut, the scheduler sleeps in the middle of whatever it does.
#[derive(Clone)]
pub struct Gate(Arc<Lock>);

struct Lock {
    open: watch::Sender<bool>,
    /// Calls that still pass before the gate shuts by itself.
    fuse: AtomicI64,
    /// Looks that ended with nothing left to do.
    quiet: AtomicU64,
}

impl Gate {
    pub fn open() -> Self {
        Self(Arc::new(Lock {
            open: watch::Sender::new(true),
            fuse: AtomicI64::new(i64::MAX),
            quiet: AtomicU64::new(0),
        }))
    }

    /// Shuts before the call that comes after so many.
    pub fn shut_after(&self, calls: u32) {
        self.0.fuse.store(calls.into(), Ordering::SeqCst);
    }

    /// Lets everything pass again.
    pub fn wake(&self) {
        self.0.fuse.store(i64::MAX, Ordering::SeqCst);
        self.0.open.send_replace(true);
    }

    pub fn is_shut(&self) -> bool {
        !*self.0.open.borrow()
    }

    pub fn quiet_looks(&self) -> u64 {
        self.0.quiet.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        if self.0.fuse.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.0.open.send_replace(false);
        }
        let mut state = self.0.open.subscribe();
        let _open = state
            .wait_for(|open| *open)
            .await
            .expect("the gate holds its own sender");
    }
}

pub struct GatedArchive<A> {
    pub gate: Gate,
    pub inner: A,
    /// Different bytes that were stored of a round, by object.
    pub stored: Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>,
}

impl<A> GatedArchive<A> {
    fn note(&self, name: &str, bytes: &[u8]) {
        if name.starts_with("rounds/") {
            let mut stored = self.stored.lock().unwrap();
            let versions = stored.entry(name.to_owned()).or_default();
            if !versions.iter().any(|known| known == bytes) {
                versions.push(bytes.to_vec());
            }
        }
    }
}

#[async_trait]
impl<A: Archive> Archive for GatedArchive<A> {
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.gate.pass().await;
        self.inner.put(name, bytes).await?;
        self.note(name, bytes);
        Ok(())
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        self.gate.pass().await;
        let created = self.inner.create(name, bytes).await?;
        if created {
            self.note(name, bytes);
        }
        Ok(created)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.gate.pass().await;
        self.inner.get(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        self.gate.pass().await;
        self.inner.list(prefix).await
    }
}

pub struct GatedBoard<B> {
    pub gate: Gate,
    pub inner: B,
}

#[async_trait]
impl<B: Board> Board for GatedBoard<B> {
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError> {
        self.gate.pass().await;
        self.inner.campaign(who, ttl).await
    }
    async fn resign(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        self.inner.resign(epoch).await
    }
    async fn open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        self.gate.pass().await;
        self.inner.open(epoch, interval, plan, expected).await
    }
    async fn advance(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        self.gate.pass().await;
        self.inner
            .advance(epoch, interval, to, plan, expected)
            .await
    }
    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.gate.pass().await;
        self.inner.retire(epoch, interval).await
    }
    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        self.gate.pass().await;
        self.inner.rounds().await
    }
    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError> {
        self.gate.pass().await;
        self.inner.tally(interval).await
    }
    async fn plan(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Option<Vec<u8>>, BoardError> {
        self.gate.pass().await;
        self.inner.plan(interval, stage).await
    }
    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        self.gate.pass().await;
        self.inner.post(job, result).await
    }
    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError> {
        self.gate.pass().await;
        self.inner.wanted(job).await
    }
    async fn missing(&self, interval: IntervalId, stage: Stage) -> Result<Vec<JobId>, BoardError> {
        self.gate.pass().await;
        self.inner.missing(interval, stage).await
    }
    async fn results(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.gate.pass().await;
        self.inner.results(interval, stage).await
    }
    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.gate.pass().await;
        self.inner.late(interval).await
    }
    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError> {
        self.gate.pass().await;
        self.inner.fact(name).await
    }
    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError> {
        self.gate.pass().await;
        self.inner.set_fact(epoch, name, value).await
    }
    async fn changed(&self, at_most: Duration) {
        self.gate.0.quiet.fetch_add(1, Ordering::SeqCst);
        self.inner.changed(at_most).await;
    }
}
