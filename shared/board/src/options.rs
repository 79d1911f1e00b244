use nexis_ports::BoardError;
use nexis_protocol::Netuid;
use nexis_runtime::address::{self, Address};
use nexis_runtime::config::REDIS_SCHEMES;
use nexis_runtime::metrics::Metrics;
use nexis_runtime::tls::TlsOptions;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};
use std::borrow::Cow;
use std::time::Duration;

/// Port when the address names none.
const DEFAULT_PORT: u16 = 6379;

/// Settings of a board.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/database]`, or `rediss://` for TLS; of a cluster those of one or several of
    /// its nodes. Or why they cannot be read.
    pub addresses: Result<Vec<Address>, BoardError>,
    /// How TLS is made.
    pub tls: TlsOptions,
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
    /// The usual settings; several addresses are separated by commas.
    pub fn new(url: impl AsRef<str>, netuid: Netuid) -> Self {
        let addresses = address::list(url.as_ref(), &REDIS_SCHEMES).map_err(|error| {
            BoardError::Refused(format!("its address cannot be read; expected {error}"))
        });
        Self::at(addresses, netuid)
    }

    /// The usual settings for addresses that were read before.
    pub fn at(addresses: Result<Vec<Address>, BoardError>, netuid: Netuid) -> Self {
        Self {
            addresses,
            tls: TlsOptions::new("NEXIS_REDIS"),
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

/// One server of the board.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) info: ConnectionInfo,
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        self.address.port().unwrap_or(DEFAULT_PORT)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.address.scheme() == "rediss"
    }
}

/// Where the board is, and how it is reached.
#[derive(Clone)]
pub(crate) struct Site {
    servers: Vec<Server>,
    pub(crate) tls: TlsOptions,
}

impl Site {
    pub(crate) fn new(addresses: Vec<Address>, tls: TlsOptions) -> Result<Self, BoardError> {
        let servers: Result<Vec<Server>, RedisError> = addresses.into_iter().map(server).collect();
        let servers = servers.map_err(|error| {
            BoardError::Refused(format!("path and query of its address: {error}"))
        })?;
        if servers.is_empty() {
            return Err(BoardError::Refused("it has no address".to_owned()));
        }
        Ok(Self { servers, tls })
    }

    /// Several addresses can only be those of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.servers.len() > 1
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.servers.iter().any(Server::is_encrypted)
    }

    /// A text without the credentials of any server.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hidden = self
            .servers
            .iter()
            .fold(Cow::Borrowed(text), |text, server| {
                Cow::Owned(server.address.hide(&text).into_owned())
            });
        hidden.into_owned()
    }
}

/// The address as the driver takes it. It never sees the credentials as text: what it cannot read it would quote.
fn server(address: Address) -> Result<Server, RedisError> {
    let rest = format!("redis://host{}", address.tail());
    let info = rest.as_str().into_connection_info()?;
    let mut login = info.redis_settings().clone();
    if let Some(user) = address.user().filter(|user| !user.is_empty()) {
        login = login.set_username(user);
    }
    if let Some(password) = address.password() {
        login = login.set_password(password);
    }
    let mut server = Server {
        info: info.set_redis_settings(login),
        address,
    };
    let (host, port) = (server.address.host().to_owned(), server.port());
    let place = if server.is_encrypted() {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    server.info = server.info.set_addr(place);
    Ok(server)
}
