use crate::FaultClass;
use async_trait::async_trait;

/// The queues there are. One table for names and limits lives with each driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// One job per miner: read and screen its package.
    Miner,
    /// One job per sampled row: check its assets.
    Clip,
}

impl Route {
    /// All routes, in the order in which a worker prefers them.
    pub const ALL: [Self; 2] = [Self::Miner, Self::Clip];

    /// The stable name used in queue names and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Clip => "clip",
        }
    }
}

/// What is published: opaque bytes under a computed id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The job's id; equal ids are the same work.
    pub id: String,
    /// The encoded job.
    pub body: Vec<u8>,
    /// W3C trace context of the publishing span.
    pub trace: Option<String>,
}

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The result is on the board (or the job is stale): forget the message.
    Ack,
    /// Could not find out: deliver again, here or elsewhere, until the delivery limit.
    Retry,
    /// Handed back untouched because this worker stops.
    HandBack,
    /// Can never be done: to the dead-letter queue with this reason.
    Dead {
        /// A stable, short reason for operators.
        reason: String,
    },
}

/// A queue's failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The broker is away, or the connection broke.
    #[error("reaching the queue: {0}")]
    Unavailable(String),
    /// The broker is up and takes no messages for now: an alarm of memory or disk. Deliveries and acknowledgements go on.
    #[error("the broker blocks publishers: {0}")]
    Blocked(String),
    /// The broker returned a message because no queue takes it: topology is missing.
    #[error("no queue takes messages of route '{0}': run `nexis-scheduler topology apply`")]
    Unroutable(&'static str),
    /// The broker refused us: credentials, permissions, a queue of other arguments.
    #[error("the queue refused us: {0}")]
    Refused(String),
    /// The queue is being closed.
    #[error("the queue is closed")]
    Closed,
}

impl QueueError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            // A queue that somebody deleted: it is there again when it is declared again.
            Self::Unavailable(_) | Self::Blocked(_) | Self::Unroutable(_) => FaultClass::Transient,
            Self::Refused(_) => FaultClass::Permanent,
            Self::Closed => FaultClass::Cancelled,
        }
    }
}

/// A work queue with manual acknowledgement, redelivery and a dead-letter queue.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Publishes all messages; returns once the queue holds every one of them.
    async fn publish(&self, route: Route, messages: Vec<Message>) -> Result<(), QueueError>;

    /// Starts taking messages, at most `prefetch` of them unsettled at a time.
    async fn consume(&self, route: Route, prefetch: u16)
    -> Result<Box<dyn Deliveries>, QueueError>;

    /// Messages waiting (not counting unsettled deliveries).
    async fn depth(&self, route: Route) -> Result<u64, QueueError>;

    /// Consumers that take messages of the route now, in this process and all others.
    async fn consumers(&self, route: Route) -> Result<u64, QueueError>;

    /// Whether a message published now would be taken; the error says why not. [`QueueError::Blocked`] when the broker
    /// refuses publishers for a while. Answers within seconds.
    async fn health(&self) -> Result<(), QueueError>;

    /// Messages in the dead-letter queue of the route, oldest first, at most `limit`, with their reasons.
    /// They stay there.
    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError>;
}

/// A running consumer. Dropping it returns what is unsettled to the queue.
#[async_trait]
pub trait Deliveries: Send {
    /// The next message; waits for one. `Closed` after [`Deliveries::stop`] or when the queue ends.
    async fn next(&mut self) -> Result<Delivery, QueueError>;
    /// Takes no new messages; what was handed out can still be settled.
    async fn stop(&mut self) -> Result<(), QueueError>;
}

/// One message in our hands.
pub struct Delivery {
    /// What was published.
    pub message: Message,
    /// 1 plus the failures so far; handing back does not count where the queue can tell.
    pub attempt: u32,
    acknowledge: Box<dyn Acknowledge>,
}

impl Delivery {
    /// Called by queue implementations.
    pub fn new(message: Message, attempt: u32, acknowledge: Box<dyn Acknowledge>) -> Self {
        Self {
            message,
            attempt,
            acknowledge,
        }
    }

    /// Ends the delivery. A delivery dropped without this counts as a failure.
    pub async fn settle(self, settlement: Settlement) -> Result<(), QueueError> {
        self.acknowledge.settle(settlement).await
    }
}

/// The queue's side of one delivery.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// Tells the queue how it ended.
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), QueueError>;
}
