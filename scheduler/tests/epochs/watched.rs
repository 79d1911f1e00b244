//! Ports that tell what is going on behind them, so that the next block can come as soon as everybody has seen the
//! last one, and no time is spent on guessing.

use async_trait::async_trait;
use nexis_chain::ChainPort;
use nexis_local::DirArchive;
use nexis_ports::{
    Archive, ArchiveError, Chain, ChainError, CommitTicket, Head, RevealState, Roster,
    SignedSubmission, Standing, SubmissionJournal, SubmitOutcome, WeightRequest,
};
use nexis_protocol::{BlockNumber, Hotkey, Netuid, Uid};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What one scheduler does.
#[derive(Default)]
pub struct Activity(Mutex<Doing>);

#[derive(Default)]
struct Doing {
    /// The final head after which it waits for the next one.
    waits_after: Option<u64>,
    /// Calls under way.
    calls: u32,
    /// Submissions under way: most of their time they wait for blocks.
    flights: u32,
    /// When a call last began or ended.
    moved: Option<Instant>,
}

impl Activity {
    /// Whether it has seen this final head and has had nothing to do for so long.
    pub fn is_idle(&self, finalized: u64, quiet: Duration) -> bool {
        let doing = self.0.lock().unwrap();
        doing.waits_after.is_some_and(|seen| seen >= finalized)
            && doing.calls == 0
            && doing.moved.is_none_or(|at| at.elapsed() >= quiet)
    }

    /// Whether it has something on its way to the chain.
    pub fn is_in_flight(&self) -> bool {
        self.0.lock().unwrap().flights > 0
    }

    fn change(&self, change: impl FnOnce(&mut Doing)) {
        let mut doing = self.0.lock().unwrap();
        change(&mut doing);
        doing.moved = Some(Instant::now());
    }

    fn call(self: &Arc<Self>) -> Call {
        self.change(|doing| doing.calls += 1);
        Call(Arc::clone(self))
    }

    fn flight(self: &Arc<Self>) -> Flight {
        self.change(|doing| doing.flights += 1);
        Flight(Arc::clone(self))
    }
}

struct Call(Arc<Activity>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.change(|doing| doing.calls -= 1);
    }
}

struct Flight(Arc<Activity>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.change(|doing| doing.flights -= 1);
    }
}

struct Signing<'a> {
    inner: &'a mut dyn SubmissionJournal,
    preparing: Option<Call>,
}

#[async_trait]
impl SubmissionJournal for Signing<'_> {
    async fn signed(&mut self, submission: &SignedSubmission) -> Result<(), ChainError> {
        self.inner.signed(submission).await?;
        self.preparing = None;
        Ok(())
    }
}

/// The chain, watched.
pub struct WatchedChain {
    pub inner: ChainPort,
    pub activity: Arc<Activity>,
    /// Changes with each block.
    pub blocks: watch::Receiver<u64>,
    /// Whether what the chain holds of commits cannot be read.
    pub reveals_unreadable: Arc<AtomicBool>,
}

#[async_trait]
impl Chain for WatchedChain {
    async fn head(&self) -> Result<Head, ChainError> {
        let _call = self.activity.call();
        self.inner.head().await
    }

    async fn next_head(&self, after: BlockNumber, at_most: Duration) -> Result<Head, ChainError> {
        let mut blocks = self.blocks.clone();
        let end = tokio::time::Instant::now() + at_most;
        loop {
            blocks.borrow_and_update();
            let head = self.head().await?;
            if head.number > after {
                return Ok(head);
            }
            self.activity
                .change(|doing| doing.waits_after = Some(head.number.get()));
            tokio::select! {
                changed = blocks.changed() => if changed.is_err() {
                    // The world is gone: a failed test is being cleared away.
                    return Ok(head);
                },
                () = tokio::time::sleep_until(end) => return Ok(head),
            }
        }
    }

    async fn roster(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Roster, ChainError> {
        let _call = self.activity.call();
        self.inner.roster(netuid, at).await
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        let _call = self.activity.call();
        self.inner.genesis().await
    }

    async fn standing(&self, netuid: Netuid) -> Result<Standing, ChainError> {
        let _call = self.activity.call();
        self.inner.standing(netuid).await
    }

    fn own_hotkey(&self) -> Option<Hotkey> {
        self.inner.own_hotkey()
    }

    async fn set_weights(
        &self,
        request: &WeightRequest,
        journal: &mut dyn SubmissionJournal,
    ) -> Result<SubmitOutcome, ChainError> {
        let _flight = self.activity.flight();
        // Until the signature stands there is much to compute, sealing above all; from then on it waits for blocks.
        let mut journal = Signing {
            inner: journal,
            preparing: Some(self.activity.call()),
        };
        self.inner.set_weights(request, &mut journal).await
    }

    async fn resolve(&self, signed: &SignedSubmission) -> Result<SubmitOutcome, ChainError> {
        let _flight = self.activity.flight();
        self.inner.resolve(signed).await
    }

    async fn reveal(&self, ticket: &CommitTicket) -> Result<RevealState, ChainError> {
        let _call = self.activity.call();
        if self.reveals_unreadable.load(Ordering::SeqCst) {
            return Err(ChainError::Incompatible("a type has moved".to_owned()));
        }
        self.inner.reveal(ticket).await
    }

    async fn weights_of(&self, netuid: Netuid, uid: Uid) -> Result<Vec<(u16, u16)>, ChainError> {
        let _call = self.activity.call();
        self.inner.weights_of(netuid, uid).await
    }
}

/// The archive, watched.
pub struct WatchedArchive {
    pub inner: DirArchive,
    pub activity: Arc<Activity>,
}

#[async_trait]
impl Archive for WatchedArchive {
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let _call = self.activity.call();
        self.inner.put(name, bytes).await
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        let _call = self.activity.call();
        self.inner.create(name, bytes).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let _call = self.activity.call();
        self.inner.get(name).await
    }

    async fn remove(&self, name: &str) -> Result<bool, ArchiveError> {
        let _call = self.activity.call();
        self.inner.remove(name).await
    }

    async fn list_from(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
    ) -> Result<Vec<String>, ArchiveError> {
        let _call = self.activity.call();
        self.inner.list_from(prefix, start, limit).await
    }
}
