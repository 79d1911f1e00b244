//! The subnet of the bench, and a queue and a board whose calls are timed.

use async_trait::async_trait;
use nexis_ports::conformance::still::StillChain;
use nexis_ports::{
    Board, BoardError, Deliveries, Leadership, Message, Posted, Queue, QueueError, Route, Stage,
    Tally, Write,
};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BLOCK: u64 = 10_000;

/// One block, and so many miners, all with credentials.
pub fn still_chain(miners: u16) -> StillChain {
    let mut chain = StillChain::new(BLOCK, (0..miners).map(hotkey), hotkey(u16::MAX));
    let commitments = (0..miners).map(|uid| (hotkey(uid), "a1".repeat(64)));
    chain.roster.commitments = commitments.collect();
    chain
}

fn hotkey(uid: u16) -> Hotkey {
    let mut key = [1; 32];
    key[..2].copy_from_slice(&uid.to_be_bytes());
    Hotkey::from_public_key(&key)
}

/// When the scheduler's calls at the barrier began and ended.
#[derive(Default)]
pub struct Marks(Mutex<State>);

#[derive(Default)]
struct State {
    reading: Option<(Instant, Instant)>,
    read_bytes: usize,
    moving: Option<(Instant, Instant)>,
    publishing: Option<(Instant, Instant)>,
    on_their_way: usize,
}

impl Marks {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }

    /// Whether clip jobs were published and none is on its way.
    pub fn is_published(&self) -> bool {
        let state = self.state();
        state.publishing.is_some() && state.on_their_way == 0
    }

    /// Bytes of the reports that were read.
    pub fn read_bytes(&self) -> usize {
        self.state().read_bytes
    }

    /// What took which part of the time.
    pub fn parts(&self) -> [(&'static str, Instant, Instant); 4] {
        let state = self.state();
        let reading = state.reading.expect("reports were read");
        let moving = state.moving.expect("the round moved on");
        let publishing = state.publishing.expect("clip jobs were published");
        [
            ("reports are read from the board", reading.0, reading.1),
            ("decoded, arbitrated, drawn", reading.1, moving.0),
            ("plan stored, round moved on", moving.0, moving.1),
            (
                "clip jobs made and published, all confirmed",
                publishing.0,
                publishing.1,
            ),
        ]
    }
}

/// A port with a clock beside it.
pub struct Timed<T> {
    inner: T,
    marks: Arc<Marks>,
}

impl<T> Timed<T> {
    pub fn new(inner: T, marks: &Arc<Marks>) -> Self {
        let marks = Arc::clone(marks);
        Self { inner, marks }
    }
}

#[async_trait]
impl<Q: Queue> Queue for Timed<Q> {
    async fn publish(&self, route: Route, messages: Vec<Message>) -> Result<(), QueueError> {
        if route == Route::Miner {
            return self.inner.publish(route, messages).await;
        }
        let began = Instant::now();
        self.marks.state().on_their_way += 1;
        let published = self.inner.publish(route, messages).await;
        let mut state = self.marks.state();
        state.on_their_way -= 1;
        let first = state.publishing.map_or(began, |(first, _)| first);
        state.publishing = Some((first, Instant::now()));
        published
    }

    async fn consume(
        &self,
        route: Route,
        prefetch: u16,
    ) -> Result<Box<dyn Deliveries>, QueueError> {
        self.inner.consume(route, prefetch).await
    }

    async fn depth(&self, route: Route) -> Result<u64, QueueError> {
        self.inner.depth(route).await
    }

    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError> {
        self.inner.dead(route, limit).await
    }
}

#[async_trait]
impl<B: Board> Board for Timed<B> {
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError> {
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
        let began = Instant::now();
        let moved = self
            .inner
            .advance(epoch, interval, to, plan, expected)
            .await;
        self.marks.state().moving = Some((began, Instant::now()));
        moved
    }

    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        self.inner.retire(epoch, interval).await
    }

    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        self.inner.rounds().await
    }

    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError> {
        self.inner.tally(interval).await
    }

    async fn plan(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Option<Vec<u8>>, BoardError> {
        self.inner.plan(interval, stage).await
    }

    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        self.inner.post(job, result).await
    }

    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError> {
        self.inner.wanted(job).await
    }

    async fn missing(&self, interval: IntervalId, stage: Stage) -> Result<Vec<JobId>, BoardError> {
        self.inner.missing(interval, stage).await
    }

    async fn results(
        &self,
        interval: IntervalId,
        stage: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        let began = Instant::now();
        let results = self.inner.results(interval, stage).await?;
        let mut state = self.marks.state();
        state.reading = Some((began, Instant::now()));
        state.read_bytes = results.iter().map(|(_, bytes)| bytes.len()).sum();
        Ok(results)
    }

    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.inner.late(interval).await
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError> {
        self.inner.fact(name).await
    }

    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError> {
        self.inner.set_fact(epoch, name, value).await
    }

    async fn changed(&self, at_most: Duration) {
        self.inner.changed(at_most).await;
    }
}
