//! Connections: a pool whose members are thrown away when they failed, and one retry on a fresh one.

use crate::meter::{Call, Meter};
use crate::options::{Server, Site};
use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, TimeoutType};
use nexis_ports::BoardError;
use nexis_runtime::tls;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, Cmd, ErrorKind, FromRedisValue, InfoDict, Pipeline,
    RedisError, RedisFuture, ScriptInvocation, ServerErrorKind, TlsCertificates, Value,
};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time for a connection to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// Attempts of the cluster client to follow a slot that moves; each asks the cluster anew.
const CLUSTER_RETRIES: u32 = 4;

/// A connection to one server, or to all of a cluster.
pub(crate) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(wire) => wire.req_packed_command(cmd),
            Self::Cluster(wire) => wire.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(wire) => wire.req_packed_commands(pipeline, offset, count),
            Self::Cluster(wire) => wire.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(wire) => wire.get_db(),
            Self::Cluster(wire) => wire.get_db(),
        }
    }
}

/// One pooled connection.
pub(crate) struct Link {
    wire: Wire,
    broken: bool,
}

/// Makes connections; lets go of those that failed. No ping per use: every call may be repeated, so a
/// dead connection costs one retry, not a round trip per call.
pub(crate) struct Linker {
    site: Site,
    cluster: Option<ClusterClient>,
    config: AsyncConnectionConfig,
}

impl managed::Manager for Linker {
    type Type = Link;
    type Error = BoardError;

    async fn create(&self) -> Result<Link, BoardError> {
        let wire = match (&self.cluster, self.site.servers()) {
            (Some(cluster), _) => {
                let connected = cluster.get_async_connection().await;
                Wire::Cluster(connected.map_err(|error| fault(&self.site, &error))?)
            }
            (None, [server, ..]) => Wire::One(connect(&self.site, server, &self.config).await?),
            (None, []) => return Err(BoardError::Refused("it has no address".to_owned())),
        };
        Ok(Link {
            wire,
            broken: false,
        })
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> managed::RecycleResult<BoardError> {
        if link.broken {
            Err(RecycleError::message("it failed before"))
        } else {
            Ok(())
        }
    }
}

/// Opens a stream; over TLS when the address says so.
async fn dial(site: &Site, server: &Server) -> Result<tls::Stream, BoardError> {
    let options = server.is_encrypted().then_some(&site.tls);
    let dialled = tls::dial(server.address.host(), server.port(), options).await;
    dialled.map_err(|error| match site.tls.explain(&error) {
        Some(why) => BoardError::Refused(why),
        None => BoardError::Unavailable(site.hide(&error.to_string())),
    })
}

async fn connect(
    site: &Site,
    server: &Server,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, BoardError> {
    let connecting = async {
        let stream = dial(site, server).await?;
        let login = server.info.redis_settings();
        let connected = MultiplexedConnection::new_with_config(login, stream, config.clone()).await;
        let (connection, driver) = connected.map_err(|error| fault(site, &error))?;
        // Ends when the connection is dropped.
        tokio::runtime::Handle::current().spawn(driver);
        Ok(connection)
    };
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    connected.unwrap_or_else(|_| {
        let over = if server.is_encrypted() {
            " over TLS"
        } else {
            ""
        };
        Err(BoardError::Unavailable(format!(
            "no answer to a greeting within {CONNECT:?}: does this port speak Redis{over}?"
        )))
    })
}

/// What may be asked of a server.
pub(crate) enum Ask<'a> {
    /// One command.
    One(Cmd),
    /// Several at once.
    Many(Pipeline),
    /// A script.
    Script(ScriptInvocation<'a>),
}

/// The pool.
#[derive(Clone)]
pub(crate) struct Links {
    pool: Pool<Linker>,
    meter: Meter,
    /// How often all connections were dropped: what holds one of its own drops it, too.
    drops: Arc<AtomicU64>,
}

impl Links {
    /// A pool for what the address turns out to be: a server, or a cluster.
    pub(crate) async fn new(
        site: Site,
        size: usize,
        answer: Duration,
        meter: Meter,
    ) -> Result<Self, BoardError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answer));
        let cluster = if site.is_cluster() || is_cluster(&site, &config).await? {
            Some(cluster_client(&site, answer)?)
        } else {
            None
        };
        let linker = Linker {
            site,
            cluster,
            config,
        };
        let pool = Pool::builder(linker)
            .max_size(size.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(answer))
            .create_timeout(Some(CONNECT))
            .build()
            .map_err(|error| BoardError::Refused(format!("building the pool: {error}")))?;
        Ok(Self {
            pool,
            meter,
            drops: Arc::default(),
        })
    }

    fn site(&self) -> &Site {
        &self.pool.manager().site
    }

    /// What a client's error means to the caller, without credentials.
    pub(crate) fn fault(&self, error: &RedisError) -> BoardError {
        fault(self.site(), error)
    }

    /// How often all connections were dropped.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    fn drop_all(&self) {
        self.drops.fetch_add(1, Ordering::AcqRel);
        self.pool.retain(|_, _| false);
    }

    async fn get(&self) -> Result<Object<Linker>, BoardError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => {
                BoardError::Unavailable("every connection is busy".to_owned())
            }
            other => BoardError::Unavailable(format!("connecting: {other}")),
        })
    }

    /// Asks, once more on a fresh connection when the first one turns out to be dead.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        call: Call,
        ask: &Ask<'_>,
    ) -> Result<T, BoardError> {
        let began = Instant::now();
        let answer = self.ask_twice(ask).await;
        self.meter
            .seconds
            .observe(call, began.elapsed().as_secs_f64());
        if answer.is_err() {
            self.meter.failures.inc(call);
        }
        answer
    }

    async fn ask_twice<T: FromRedisValue>(&self, ask: &Ask<'_>) -> Result<T, BoardError> {
        for last in [false, true] {
            let mut link = self.get().await?;
            let wire = &mut link.wire;
            let answer = match ask {
                Ask::One(command) => command.query_async(wire).await,
                Ask::Many(pipeline) => pipeline.query_async(wire).await,
                Ask::Script(invocation) => invocation.invoke_async(wire).await,
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(error) if is_gone(&error) => {
                    link.broken = true;
                    drop(link);
                    if last || error.is_timeout() {
                        return Err(self.fault(&error));
                    }
                    // Its neighbours went with the same server.
                    self.drop_all();
                }
                Err(error) if is_demoted(&error) => {
                    // Behind the address there may be another server by now; this one keeps its connections.
                    link.broken = true;
                    drop(link);
                    self.drop_all();
                    if last {
                        return Err(self.fault(&error));
                    }
                }
                Err(error) => return Err(self.fault(&error)),
            }
        }
        Err(BoardError::Unavailable(
            "the connection broke twice".to_owned(),
        ))
    }

    /// A subscription; a cluster's nodes pass on what is published at any of them.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<PubSub, BoardError> {
        let mut failed = BoardError::Unavailable("no address".to_owned());
        for server in self.site().servers() {
            let open = async {
                let stream = dial(self.site(), server).await?;
                let subscribing = async {
                    let login = server.info.redis_settings();
                    let mut subscription = PubSub::new(login, stream).await?;
                    subscription.subscribe(channel).await?;
                    Ok(subscription)
                };
                subscribing.await.map_err(|error| self.fault(&error))
            };
            match open.await {
                Ok(subscription) => return Ok(subscription),
                Err(fault) => failed = fault,
            }
        }
        Err(failed)
    }
}

/// What a server says to a connection beyond its `maxclients`.
const NO_MORE_CLIENTS: &str = "max number of clients reached";

/// Whether the connection is of no more use.
fn is_gone(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_cluster_error()
}

/// Whether the server does not lead any more, or not yet: after a failover it stays reachable over the connections that
/// there are, while new ones reach the server that took over.
fn is_demoted(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
        )
    ) || matches!(error.code(), Some("NOREPLICAS" | "UNBLOCKED"))
}

/// Asks a server whether it is a node of a cluster, so that one address of a cluster is enough.
async fn is_cluster(site: &Site, config: &AsyncConnectionConfig) -> Result<bool, BoardError> {
    let [server, ..] = site.servers() else {
        return Ok(false);
    };
    let mut wire = connect(site, server, config).await?;
    let look = async {
        redis::cmd("PING").query_async::<()>(&mut wire).await?;
        let info = redis::cmd("INFO")
            .arg("cluster")
            .query_async::<InfoDict>(&mut wire)
            .await;
        Ok(match info {
            Ok(info) => info.get::<u8>("cluster_enabled") == Some(1),
            // Managed servers may forbid the question; then it is what its address says, one server.
            Err(error) if error.is_io_error() => return Err(error),
            Err(_) => false,
        })
    };
    look.await.map_err(|error: RedisError| fault(site, &error))
}

fn cluster_client(site: &Site, answer: Duration) -> Result<ClusterClient, BoardError> {
    let nodes = site.servers().iter().map(|server| server.info.clone());
    let mut builder = ClusterClient::builder(nodes)
        .connection_timeout(CONNECT)
        .response_timeout(answer)
        .overall_response_timeout(Some(answer))
        .retries(CLUSTER_RETRIES);
    if site.is_encrypted() {
        // Its other nodes are connected to by the driver itself.
        if site.tls.server_name.is_some() {
            return Err(BoardError::Refused(
                "NEXIS_REDIS_SERVER_NAME cannot be used with a Redis Cluster, whose nodes have names of their own: \
                 have them announce their host names"
                    .to_owned(),
            ));
        }
        let pem = site
            .tls
            .pem()
            .map_err(|error| BoardError::Refused(error.to_string()))?;
        builder = builder.certs(TlsCertificates {
            client_tls: pem
                .identity
                .map(|(client_cert, client_key)| ClientTlsConfig {
                    client_cert,
                    client_key,
                }),
            root_cert: pem.ca,
        });
    }
    builder.build().map_err(|error| fault(site, &error))
}

/// What a client's error means to the caller, in words for the operator and without credentials.
fn fault(site: &Site, error: &RedisError) -> BoardError {
    // The driver keeps the error of the stream behind a pointer that is an error itself.
    let inner = error
        .source()
        .and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let explained = match inner {
        Some(inner) => site.tls.explain(inner.as_ref()),
        None => site.tls.explain(error),
    };
    if let Some(why) = explained {
        return BoardError::Refused(why);
    }
    match board_error(error) {
        BoardError::Unavailable(why) => BoardError::Unavailable(site.hide(&why)),
        BoardError::Refused(why) => BoardError::Refused(site.hide(&why)),
        BoardError::Corrupt(why) => BoardError::Corrupt(site.hide(&why)),
        fenced @ BoardError::Fenced { .. } => fenced,
    }
}

/// The class of a client's error.
fn board_error(error: &RedisError) -> BoardError {
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
            BoardError::Refused(error.to_string())
        }
        ErrorKind::Server(
            ServerErrorKind::NoPerm | ServerErrorKind::CrossSlot | ServerErrorKind::NotBusy,
        ) => BoardError::Refused(error.to_string()),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            BoardError::Corrupt(error.to_string())
        }
        // Redis has no code of its own for this one.
        _ if error.detail() == Some(NO_MORE_CLIENTS) => {
            BoardError::Unavailable("the server has as many clients as it may".to_owned())
        }
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "WRONGTYPE" | "NOPERM" | "ERR") => {
                BoardError::Refused(error.to_string())
            }
            _ => BoardError::Unavailable(error.to_string()),
        },
    }
}
