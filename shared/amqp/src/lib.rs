//! The queue over RabbitMQ.
//!
//! Owns: names and arguments of exchanges and queues, confirms, acknowledgement, reconnection.
//! Never does: read a message's body. Start reading at [`topology`], then [`AmqpQueue`].
//!
//! Two connections per process: one to publish, with a few channels, and one with a channel per look at the topology
//! and per consumer. A connection that broke is replaced at the next call, waiting longer each time; a consumer
//! waits for it inside [`Deliveries::next`](nexis_ports::Deliveries::next) and goes on.

mod acks;
mod connection;
mod consumer;
mod dead;
mod dial;
mod line;
mod meter;
mod publishing;
mod queue;
pub mod topology;
mod verify;

pub use connection::AmqpOptions;
pub use line::Line;
pub use queue::AmqpQueue;
pub use verify::Verified;
