//! Connections: a pool whose members are thrown away when they failed, and one retry on a fresh one.

use crate::meter::{Call, Meter};
use crate::options::Address;
use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, TimeoutType};
use nexis_ports::BoardError;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, InfoDict, Pipeline, RedisError,
    RedisFuture, ScriptInvocation, ServerErrorKind, Value,
};
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
    address: Address,
    cluster: Option<ClusterClient>,
    config: AsyncConnectionConfig,
}

impl managed::Manager for Linker {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        let wire = match &self.cluster {
            Some(cluster) => Wire::Cluster(cluster.get_async_connection().await?),
            None => Wire::One(connect(self.address.first(), &self.config).await?),
        };
        Ok(Link {
            wire,
            broken: false,
        })
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> managed::RecycleResult<RedisError> {
        if link.broken {
            Err(RecycleError::message("it failed before"))
        } else {
            Ok(())
        }
    }
}

async fn connect(
    client: &Client,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    client
        .get_multiplexed_async_connection_with_config(config)
        .await
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
}

impl Links {
    /// A pool for what the address turns out to be: a server, or a cluster.
    pub(crate) async fn new(
        address: Address,
        size: usize,
        answer: Duration,
        meter: Meter,
    ) -> Result<Self, BoardError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answer));
        let cluster = if address.is_cluster() || is_cluster(address.first(), &config).await? {
            Some(cluster_client(&address, answer).map_err(|error| board_error(&error))?)
        } else {
            None
        };
        let linker = Linker {
            address,
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
        Ok(Self { pool, meter })
    }

    async fn get(&self) -> Result<Object<Linker>, BoardError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => board_error(&error),
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
                        return Err(board_error(&error));
                    }
                    // Its neighbours went with the same server.
                    self.pool.retain(|_, _| false);
                }
                Err(error) => return Err(board_error(&error)),
            }
        }
        Err(BoardError::Unavailable(
            "the connection broke twice".to_owned(),
        ))
    }

    /// A subscription; a cluster's nodes pass on what is published at any of them.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<PubSub, RedisError> {
        let mut failed = None;
        for client in self.pool.manager().address.servers() {
            let open = async {
                let mut subscription = client.get_async_pubsub().await?;
                subscription.subscribe(channel).await?;
                Ok::<_, RedisError>(subscription)
            };
            match open.await {
                Ok(subscription) => return Ok(subscription),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| (ErrorKind::InvalidClientConfig, "no address").into()))
    }
}

/// What a server says to a connection beyond its `maxclients`.
const NO_MORE_CLIENTS: &str = "max number of clients reached";

/// Whether the connection is of no more use.
fn is_gone(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_cluster_error()
}

/// Asks a server whether it is a node of a cluster, so that one address of a cluster is enough.
async fn is_cluster(server: &Client, config: &AsyncConnectionConfig) -> Result<bool, BoardError> {
    let look = async {
        let mut wire = connect(server, config).await?;
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
    look.await.map_err(|error: RedisError| board_error(&error))
}

fn cluster_client(address: &Address, answer: Duration) -> Result<ClusterClient, RedisError> {
    let servers = address.servers();
    let nodes = servers.map(|client| client.get_connection_info().clone());
    ClusterClient::builder(nodes)
        .connection_timeout(CONNECT)
        .response_timeout(answer)
        .overall_response_timeout(Some(answer))
        .retries(CLUSTER_RETRIES)
        .build()
}

/// What a client's error means to the caller.
pub(crate) fn board_error(error: &RedisError) -> BoardError {
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
