//! Connections: a pool whose members are thrown away when they failed, and one retry on a fresh one.

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, TimeoutType};
use nexis_ports::BoardError;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError,
    ScriptInvocation, ServerErrorKind,
};
use std::time::Duration;

/// Time for a connection to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// One pooled connection.
pub(crate) struct Link {
    pub(crate) connection: MultiplexedConnection,
    broken: bool,
}

/// Makes connections; lets go of those that failed. No ping per use: every call may be repeated, so a
/// dead connection costs one retry, not a round trip per call.
pub(crate) struct Linker {
    client: Client,
    config: AsyncConnectionConfig,
}

impl managed::Manager for Linker {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await?;
        Ok(Link {
            connection,
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
}

impl Links {
    pub(crate) fn new(client: Client, size: usize, answer: Duration) -> Result<Self, BoardError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answer));
        let pool = Pool::builder(Linker { client, config })
            .max_size(size.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(answer))
            .create_timeout(Some(CONNECT))
            .build()
            .map_err(|error| BoardError::Refused(format!("building the pool: {error}")))?;
        Ok(Self { pool })
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
    pub(crate) async fn ask<T: FromRedisValue>(&self, ask: &Ask<'_>) -> Result<T, BoardError> {
        for last in [false, true] {
            let mut link = self.get().await?;
            let connection = &mut link.connection;
            let answer = match ask {
                Ask::One(command) => command.query_async(connection).await,
                Ask::Many(pipeline) => pipeline.query_async(connection).await,
                Ask::Script(invocation) => invocation.invoke_async(connection).await,
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(error) if error.is_io_error() || error.is_connection_dropped() => {
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
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "WRONGTYPE" | "NOPERM" | "ERR") => {
                BoardError::Refused(error.to_string())
            }
            _ => BoardError::Unavailable(error.to_string()),
        },
    }
}
