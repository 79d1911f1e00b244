use async_trait::async_trait;
use nexis_ports::{
    Acknowledge, Deliveries, Delivery, Message, Queue, QueueError, Route, Settlement,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Reason of a dead letter that failed too often; RabbitMQ's driver says the same.
const DELIVERY_LIMIT: &str = "delivery-limit";

/// Settings of an embedded queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalQueueOptions {
    /// How many failures a message survives; the next one makes it a dead letter. As a quorum queue's
    /// `x-delivery-limit`.
    pub delivery_limit: u32,
    /// How many dead letters are kept per route; the oldest go first. Memory is the only bound here,
    /// and nobody reads more than this by eye.
    pub dead_kept: usize,
}

impl Default for LocalQueueOptions {
    fn default() -> Self {
        // Five: the same as the fleet's topology, so that embedded runs show the same dead letters.
        Self {
            delivery_limit: 5,
            dead_kept: 10_000,
        }
    }
}

/// A work queue in memory with redelivery, a delivery limit and dead letters. Clones share the queue.
#[derive(Clone)]
pub struct LocalQueue {
    inner: Arc<Inner>,
}

struct Inner {
    options: LocalQueueOptions,
    lanes: Mutex<Lanes>,
    /// Woken when a route has something to hand out or a consumer may take more.
    miner: Notify,
    clip: Notify,
}

#[derive(Default)]
struct Lanes {
    miner: Lane,
    clip: Lane,
    next_consumer: u64,
    next_tag: u64,
}

#[derive(Default)]
struct Lane {
    ready: VecDeque<Queued>,
    /// Unsettled deliveries by tag, so that what is returned comes back in order.
    out: BTreeMap<u64, (u64, Queued)>,
    consumers: u64,
    dead: VecDeque<(Message, String)>,
}

struct Queued {
    message: Message,
    /// Deliveries that ended in a failure.
    failed: u32,
}

impl Lanes {
    fn lane(&mut self, route: Route) -> &mut Lane {
        match route {
            Route::Miner => &mut self.miner,
            Route::Clip => &mut self.clip,
        }
    }
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // Every critical section leaves the lanes whole, so a panic elsewhere does not spoil them.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, route: Route) -> &Notify {
        match route {
            Route::Miner => &self.miner,
            Route::Clip => &self.clip,
        }
    }

    fn settle(&self, route: Route, tag: u64, settlement: Settlement) -> Result<(), QueueError> {
        {
            let mut lanes = self.lanes();
            let lane = lanes.lane(route);
            let (_, mut queued) = lane.out.remove(&tag).ok_or(QueueError::Closed)?;
            match settlement {
                Settlement::Ack => {}
                Settlement::Retry => {
                    queued.failed += 1;
                    if queued.failed > self.options.delivery_limit {
                        lane.bury(queued.message, DELIVERY_LIMIT.to_owned(), self.options);
                    } else {
                        // Behind the others, as on the broker: what fails must not keep the rest waiting.
                        lane.ready.push_back(queued);
                    }
                }
                Settlement::HandBack => lane.ready.push_back(queued),
                Settlement::Dead { reason } => lane.bury(queued.message, reason, self.options),
            }
        }
        self.notify(route).notify_waiters();
        Ok(())
    }

    /// Returns all that a consumer holds to the front, in order of delivery.
    fn release(&self, route: Route, consumer: u64) {
        {
            let mut lanes = self.lanes();
            let lane = lanes.lane(route);
            let tags: Vec<u64> = lane
                .out
                .iter()
                .filter_map(|(tag, (owner, _))| (*owner == consumer).then_some(*tag))
                .collect();
            for tag in tags.into_iter().rev() {
                if let Some((_, queued)) = lane.out.remove(&tag) {
                    lane.ready.push_front(queued);
                }
            }
        }
        self.notify(route).notify_waiters();
    }
}

impl Lane {
    fn bury(&mut self, message: Message, reason: String, options: LocalQueueOptions) {
        self.dead.push_back((message, reason));
        while self.dead.len() > options.dead_kept {
            self.dead.pop_front();
        }
    }
}

impl LocalQueue {
    /// An empty queue.
    pub fn new(options: LocalQueueOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                lanes: Mutex::default(),
                miner: Notify::new(),
                clip: Notify::new(),
            }),
        }
    }
}

#[async_trait]
impl Queue for LocalQueue {
    async fn publish(&self, route: Route, messages: Vec<Message>) -> Result<(), QueueError> {
        let queued = messages
            .into_iter()
            .map(|message| Queued { message, failed: 0 });
        self.inner.lanes().lane(route).ready.extend(queued);
        self.inner.notify(route).notify_waiters();
        Ok(())
    }

    async fn consume(
        &self,
        route: Route,
        prefetch: u16,
    ) -> Result<Box<dyn Deliveries>, QueueError> {
        let mut lanes = self.inner.lanes();
        let id = lanes.next_consumer;
        lanes.next_consumer += 1;
        lanes.lane(route).consumers += 1;
        drop(lanes);
        Ok(Box::new(Consumer {
            inner: Arc::clone(&self.inner),
            route,
            id,
            // AMQP reads zero as "no limit"; here it would mean "never anything".
            prefetch: usize::from(prefetch.max(1)),
            stopped: false,
        }))
    }

    async fn depth(&self, route: Route) -> Result<u64, QueueError> {
        Ok(self.inner.lanes().lane(route).ready.len() as u64)
    }

    async fn consumers(&self, route: Route) -> Result<u64, QueueError> {
        Ok(self.inner.lanes().lane(route).consumers)
    }

    async fn health(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError> {
        Ok(self
            .inner
            .lanes()
            .lane(route)
            .dead
            .iter()
            .take(limit)
            .cloned()
            .collect())
    }
}

struct Consumer {
    inner: Arc<Inner>,
    route: Route,
    id: u64,
    prefetch: usize,
    stopped: bool,
}

impl Consumer {
    /// Takes nothing more, and is not counted as a consumer any more.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.inner.lanes().lane(self.route).consumers -= 1;
        }
    }

    fn try_next(&self) -> Option<Delivery> {
        let mut lanes = self.inner.lanes();
        let tag = lanes.next_tag;
        let lane = lanes.lane(self.route);
        let held = lane
            .out
            .values()
            .filter(|(owner, _)| *owner == self.id)
            .count();
        if held >= self.prefetch {
            return None;
        }
        let queued = lane.ready.pop_front()?;
        let (message, attempt) = (queued.message.clone(), queued.failed + 1);
        lane.out.insert(tag, (self.id, queued));
        lanes.next_tag += 1;
        drop(lanes);
        let ticket = Ticket {
            inner: Arc::clone(&self.inner),
            route: self.route,
            tag: Some(tag),
        };
        Some(Delivery::new(message, attempt, Box::new(ticket)))
    }
}

#[async_trait]
impl Deliveries for Consumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        if self.stopped {
            return Err(QueueError::Closed);
        }
        loop {
            let inner = Arc::clone(&self.inner);
            let woken = inner.notify(self.route).notified();
            tokio::pin!(woken);
            // Registered before looking, so that what comes in between is not slept over.
            woken.as_mut().enable();
            if let Some(delivery) = self.try_next() {
                return Ok(delivery);
            }
            woken.await;
        }
    }

    async fn stop(&mut self) -> Result<(), QueueError> {
        self.end();
        Ok(())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.end();
        self.inner.release(self.route, self.id);
    }
}

/// The right to settle one delivery.
struct Ticket {
    inner: Arc<Inner>,
    route: Route,
    tag: Option<u64>,
}

#[async_trait]
impl Acknowledge for Ticket {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let tag = self.tag.take().ok_or(QueueError::Closed)?;
        self.inner.settle(self.route, tag, settlement)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(tag) = self.tag.take() {
            // A delivery that nobody settled is a failure, as on the broker: a message that makes its consumer panic
            // must reach the delivery limit. Settling fails only when the consumer returned the message first.
            self.inner.settle(self.route, tag, Settlement::Retry).ok();
        }
    }
}
