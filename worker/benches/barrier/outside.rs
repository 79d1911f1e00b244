//! The subnet of the bench, and how long the scheduler's calls at the barrier take.

use async_trait::async_trait;
use nexis_ports::conformance::looked_on::{BoardCall, Onlooker};
use nexis_ports::conformance::still::StillChain;
use nexis_ports::{Deliveries, Message, Queue, QueueError, Route};
use nexis_protocol::Hotkey;
use std::sync::{Arc, Mutex};
use std::time::Instant;

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

/// The calls of the barrier come one after another.
#[async_trait]
impl Onlooker for Marks {
    async fn begins(&self, call: BoardCall) {
        let now = Some((Instant::now(), Instant::now()));
        match call {
            BoardCall::Results => self.state().reading = now,
            BoardCall::Advance => self.state().moving = now,
            _ => {}
        }
    }

    fn ended(&self, call: BoardCall) {
        let mut state = self.state();
        let part = match call {
            BoardCall::Results => &mut state.reading,
            BoardCall::Advance => &mut state.moving,
            _ => return,
        };
        if let Some((_, ended)) = part {
            *ended = Instant::now();
        }
    }
}

/// A queue with a clock beside it.
pub struct Timed<Q> {
    inner: Q,
    marks: Arc<Marks>,
}

impl<Q> Timed<Q> {
    pub fn new(inner: Q, marks: &Arc<Marks>) -> Self {
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

    async fn consumers(&self, route: Route) -> Result<u64, QueueError> {
        self.inner.consumers(route).await
    }

    async fn health(&self) -> Result<(), QueueError> {
        self.inner.health().await
    }

    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError> {
        self.inner.dead(route, limit).await
    }
}
