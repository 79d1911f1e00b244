//! Servers that are unavailable for some blocks, and results that are not what a worker meant to post.

use crate::chain::SimChain;
use crate::validator::{DEADLINES, Process, World};
use async_trait::async_trait;
use nexis_local::LocalQueue;
use nexis_ports::{
    Bucket, BucketAccess, Deliveries, FetchError, FetchLimits, Fetched, Message, Queue, QueueError,
    Route,
};
use nexis_protocol::JobId;
use nexis_scheduler::ledger;
use nexis_testkit::eventually;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Every process.
    Down,
    /// The chain answers nobody.
    Chain,
    /// The queue answers nobody, and every delivery is lost and handed out again.
    Queue,
    /// The store of the global index.
    Index,
    /// Miners' stores, as seen from every worker, which says so.
    Stores,
    /// Every worker.
    Workers,
    /// Every worker takes jobs and finishes none.
    HungWorkers,
    /// The archive stores nothing of rounds.
    Archive,
}

impl Outage {
    pub const ALL: [Self; 8] = [
        Self::Down,
        Self::Chain,
        Self::Queue,
        Self::Index,
        Self::Stores,
        Self::Workers,
        Self::HungWorkers,
        Self::Archive,
    ];
}

/// What is out of order at present.
#[derive(Default)]
pub struct Switches {
    pub queue: AtomicBool,
    pub index: AtomicBool,
    pub stores: AtomicBool,
    pub hung: AtomicBool,
    pub archive: AtomicBool,
    /// Jobs whose first result is to be junk, and those that had it.
    pub junk: Mutex<Option<BTreeSet<JobId>>>,
    /// Alerts that intervals do not go on.
    pub held: AtomicU64,
}

impl Switches {
    /// Whether what comes too late comes at all.
    #[expect(clippy::unused_self, reason = "another test's answer differs")]
    pub fn late_results_come(&self) -> bool {
        true
    }

    /// Whether the job has its first result now, and that one is to be junk.
    pub fn is_first(&self, id: &JobId) -> bool {
        let mut junk = self.junk.lock().unwrap();
        junk.as_mut().is_some_and(|had| had.insert(id.clone()))
    }
}

/// The queue, as long as it answers.
pub struct SwitchedQueue {
    pub inner: Arc<LocalQueue>,
    pub switches: Arc<Switches>,
}

impl SwitchedQueue {
    fn check(&self) -> Result<(), QueueError> {
        if self.switches.queue.load(Ordering::SeqCst) {
            return Err(QueueError::Unavailable("switched off".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Queue for SwitchedQueue {
    async fn publish(&self, route: Route, messages: Vec<Message>) -> Result<(), QueueError> {
        self.check()?;
        self.inner.publish(route, messages).await
    }

    async fn consume(
        &self,
        route: Route,
        prefetch: u16,
    ) -> Result<Box<dyn Deliveries>, QueueError> {
        self.check()?;
        self.inner.consume(route, prefetch).await
    }

    async fn depth(&self, route: Route) -> Result<u64, QueueError> {
        self.check()?;
        self.inner.depth(route).await
    }

    async fn consumers(&self, route: Route) -> Result<u64, QueueError> {
        self.check()?;
        self.inner.consumers(route).await
    }

    async fn health(&self) -> Result<(), QueueError> {
        self.check()
    }

    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError> {
        self.inner.dead(route, limit).await
    }
}

/// The store of the global index: there is none, when it answers.
pub struct IndexStore(pub Arc<Switches>);

#[async_trait]
impl Bucket for IndexStore {
    async fn fetch(
        &self,
        _: &BucketAccess,
        _: &str,
        _: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        Ok(if self.0.index.load(Ordering::SeqCst) {
            Fetched::Unreachable {
                last: "switched off".to_owned(),
            }
        } else {
            Fetched::Missing {
                answer: "there is none".to_owned(),
            }
        })
    }
}

/// Where the global index would be.
pub fn index() -> (BucketAccess, String) {
    let access = BucketAccess {
        bucket: "record-info".to_owned(),
        account_id: "b".repeat(32),
        access_key: String::new(),
        secret_key: String::new(),
    };
    (access, "record_info.json".to_owned())
}

impl World<'_> {
    /// Only the newest decided interval is forgotten: an older one would have been paid for already.
    pub async fn restore_archive(&mut self, process: Process) -> Process {
        Self::stop(process).await;
        let decided = ledger::decided(&self.archive).await.unwrap();
        // With the first one it would begin somewhere else.
        if let [_, .., newest] = decided.as_slice() {
            let folder = format!("rounds/{:012}", newest.get());
            std::fs::remove_dir_all(self.folder.join("archive").join(&folder)).unwrap();
            let mut stored = self.stored.lock().unwrap();
            stored.retain(|name, _| !name.starts_with(&folder));
            self.replayed.remove(newest);
        }
        self.process()
    }

    /// Something is unavailable while blocks pass, and comes back.
    pub async fn outage(&mut self, what: Outage, blocks: u64, mut process: Process) -> Process {
        let switches = Arc::clone(&self.switches);
        let switch = |on: bool| match what {
            Outage::Down | Outage::Workers => {}
            Outage::Chain => self.chain.unavailable.store(on, Ordering::SeqCst),
            Outage::Queue => switches.queue.store(on, Ordering::SeqCst),
            Outage::Index => switches.index.store(on, Ordering::SeqCst),
            Outage::Stores => switches.stores.store(on, Ordering::SeqCst),
            Outage::HungWorkers => switches.hung.store(on, Ordering::SeqCst),
            Outage::Archive => switches.archive.store(on, Ordering::SeqCst),
        };
        switch(true);
        self.stores_failed |= what == Outage::Stores;
        if what == Outage::Down {
            Self::stop(process).await;
            self.chain.head.send_modify(|head| *head += blocks);
            return self.process();
        }
        if matches!(what, Outage::Queue | Outage::Workers) {
            process.stop_workers().await;
        }
        for _ in 0..blocks {
            looks(&self.chain, &process).await;
            self.turn();
        }
        looks(&self.chain, &process).await;
        switch(false);
        if matches!(what, Outage::Queue | Outage::Workers | Outage::HungWorkers) {
            process.stop_workers().await;
            self.start_workers(&mut process);
        }
        process
    }
}

/// Every scheduler that is awake has looked at this block, or tried to.
async fn looks(chain: &Arc<SimChain>, process: &Process) {
    let before = chain.asked.load(Ordering::SeqCst);
    // Each look asks once; two schedulers, each of which may be in the middle of one.
    let enough = before + 2 * DEADLINES.1;
    eventually(crate::PATIENCE, || {
        let asked = chain.asked.load(Ordering::SeqCst);
        let asleep = process.is_asleep();
        async move { asleep || asked >= enough }
    })
    .await;
}
