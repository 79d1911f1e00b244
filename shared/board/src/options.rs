use nexis_protocol::Netuid;
use std::time::Duration;

/// Settings of a board.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/database]`.
    pub url: String,
    /// The subnet; part of every key, so that several subnets share a server.
    pub netuid: Netuid,
    /// How long an interval's keys, and the mark of a retired one, outlive their last stage change.
    pub retention: Duration,
    /// How long a fact outlives its last writing.
    pub fact_retention: Duration,
    /// Connections at most; as many calls run at a time.
    pub connections: usize,
    /// Time for an answer.
    pub answer_within: Duration,
}

impl RedisOptions {
    /// The usual settings.
    pub fn new(url: impl Into<String>, netuid: Netuid) -> Self {
        Self {
            url: url.into(),
            netuid,
            // A round lasts minutes; three days let an operator look at a stuck one after a weekend.
            retention: Duration::from_secs(3 * 24 * 3600),
            fact_retention: Duration::from_secs(90 * 24 * 3600),
            connections: 16,
            // Reading a full interval's results takes under a second; more is a server in trouble.
            answer_within: Duration::from_secs(10),
        }
    }
}
