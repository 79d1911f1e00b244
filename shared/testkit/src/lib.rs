//! What tests stand on: real servers as children on free loopback ports with throw-away folders, and
//! waiting for a state instead of a time.
//!
//! Owns: starting, stopping, killing and pausing those servers, so that none outlives its test.
//! Never does: skip. A server program that is not installed is a panic that says which package has it.
//! Start reading at [`Redis`], the simplest server.

mod authority;
mod child;
mod eventually;
mod rabbit;
mod redis;
mod redis_cluster;
mod relay;
mod weed;

pub use authority::{Authority, Identity, Life};
pub use child::{Site, free_port, free_port_with_grpc};
pub use eventually::{answered_within, eventually, within};
pub use rabbit::RabbitMq;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use relay::Relay;
pub use weed::Weed;
