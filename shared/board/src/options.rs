use nexis_ports::BoardError;
use nexis_protocol::Netuid;
use nexis_runtime::metrics::Metrics;
use redis::Client;
use std::time::Duration;

/// Settings of a board.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/database]`; of a cluster one of its nodes, or several separated by commas.
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
    /// Where calls are counted.
    pub metrics: Metrics,
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
            metrics: Metrics::new(),
        }
    }
}

/// Where the board is.
pub(crate) struct Address {
    first: Client,
    others: Vec<Client>,
}

impl Address {
    /// One address, or those of several nodes of a cluster separated by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, BoardError> {
        let mut servers = Vec::new();
        for one in text.split(',').map(str::trim) {
            servers.push(Client::open(one).map_err(|error| {
                // The address may hold a password: say what is wrong with it, not what it is.
                BoardError::Refused(format!("the address of Redis is not one: {error}"))
            })?);
        }
        let first = servers.remove(0);
        Ok(Self {
            first,
            others: servers,
        })
    }

    /// Several addresses can only be those of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        !self.others.is_empty()
    }

    pub(crate) fn first(&self) -> &Client {
        &self.first
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Client> {
        std::iter::once(&self.first).chain(&self.others)
    }
}
