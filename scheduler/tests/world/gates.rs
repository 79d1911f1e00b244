//! Gates in front of board and archive, at which a scheduler can be stopped in the middle of whatever it does.

use crate::outages::Switches;
use async_trait::async_trait;
use nexis_ports::conformance::looked_on::{BoardCall, Onlooker};
use nexis_ports::{Archive, ArchiveError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Stands before every call of one scheduler; shut, the scheduler sleeps in the middle of whatever it does.
#[derive(Clone)]
pub struct Gate(Arc<Lock>);

struct Lock {
    open: watch::Sender<bool>,
    /// Calls that still pass before the gate shuts by itself. Held while it shuts or opens: else it could shut when it
    /// has just been opened, and stay so.
    fuse: Mutex<Option<u32>>,
    /// Looks that ended with nothing left to do.
    quiet: AtomicU64,
}

impl Gate {
    pub fn open() -> Self {
        Self(Arc::new(Lock {
            open: watch::Sender::new(true),
            fuse: Mutex::new(None),
            quiet: AtomicU64::new(0),
        }))
    }

    /// Shuts before the call that comes after so many.
    pub fn shut_after(&self, calls: u32) {
        *self.0.fuse.lock().unwrap() = Some(calls);
    }

    /// Lets everything pass again.
    pub fn wake(&self) {
        let mut fuse = self.0.fuse.lock().unwrap();
        *fuse = None;
        self.0.open.send_replace(true);
    }

    pub fn is_shut(&self) -> bool {
        !*self.0.open.borrow()
    }

    pub fn quiet_looks(&self) -> u64 {
        self.0.quiet.load(Ordering::SeqCst)
    }

    fn burn(&self) {
        let mut fuse = self.0.fuse.lock().unwrap();
        *fuse = match *fuse {
            Some(0) => {
                self.0.open.send_replace(false);
                None
            }
            left => left.map(|calls| calls - 1),
        };
    }

    async fn pass(&self) {
        self.burn();
        let mut state = self.0.open.subscribe();
        let _open = state
            .wait_for(|open| *open)
            .await
            .expect("the gate holds its own sender");
    }
}

pub struct GatedArchive<A> {
    pub switches: Arc<Switches>,
    pub gate: Gate,
    pub inner: A,
    /// Different bytes that were stored of a round or a submission's record, by object.
    pub stored: Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>,
}

impl<A> GatedArchive<A> {
    fn check(&self, name: &str) -> Result<(), ArchiveError> {
        if self.switches.archive.load(Ordering::SeqCst) && name.starts_with("rounds/") {
            return Err(ArchiveError::Unavailable("switched off".to_owned()));
        }
        Ok(())
    }

    fn note(&self, name: &str, bytes: &[u8]) {
        let is_round = name.starts_with("rounds/") && !name.ends_with("/quarantine.json");
        if is_round || name.starts_with("records/") {
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
        self.check(name)?;
        self.inner.put(name, bytes).await?;
        self.note(name, bytes);
        Ok(())
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        self.gate.pass().await;
        self.check(name)?;
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

    async fn remove(&self, name: &str) -> Result<bool, ArchiveError> {
        self.gate.pass().await;
        self.inner.remove(name).await
    }

    async fn list_from(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
    ) -> Result<Vec<String>, ArchiveError> {
        self.gate.pass().await;
        self.inner.list_from(prefix, start, limit).await
    }
}

/// In front of the board.
#[async_trait]
impl Onlooker for Gate {
    async fn begins(&self, call: BoardCall) {
        match call {
            // A scheduler that ends in order has its last word.
            BoardCall::Resign => {}
            BoardCall::Changed => {
                self.0.quiet.fetch_add(1, Ordering::SeqCst);
            }
            _ => self.pass().await,
        }
    }
}
