//! The one connection of a process, made again when it broke.

use crate::meter::Meter;
use crate::topology::Topology;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use nexis_ports::QueueError;
use nexis_runtime::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// First pause after a failed attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause: a broker that comes back is used again within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Settings of a queue.
#[derive(Clone)]
pub struct AmqpOptions {
    /// `amqp://user:password@host:port/vhost`.
    pub url: String,
    /// Names and limits.
    pub topology: Topology,
    /// Time for a connection to come up, for a confirm and for any answer.
    pub answer_within: Duration,
    /// Publishings that may wait for their confirm at a time.
    pub confirm_window: usize,
    /// Where publishings are counted.
    pub metrics: Metrics,
}

impl AmqpOptions {
    /// The usual settings.
    pub fn new(url: impl Into<String>, topology: Topology) -> Self {
        Self {
            url: url.into(),
            topology,
            // A broker under memory alarm stops reading; longer than this and the caller should look again.
            answer_within: Duration::from_secs(30),
            // Above some hundreds the rate does not grow any more; each costs its body in memory.
            confirm_window: 1_000,
            metrics: Metrics::new(),
        }
    }
}

/// The connection that all channels share.
pub(crate) struct Link {
    pub(crate) options: AmqpOptions,
    meter: Meter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failures: u32,
    /// No attempt before this moment.
    not_before: Option<Instant>,
}

impl Link {
    pub(crate) fn new(options: AmqpOptions, meter: Meter) -> Self {
        Self {
            options,
            meter,
            state: Mutex::default(),
        }
    }

    /// Runs a call with a time limit.
    pub(crate) async fn within<T>(
        &self,
        what: &str,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, QueueError> {
        let limit = self.options.answer_within;
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result.map_err(|error| queue_error(&error)),
            Err(_) => Err(QueueError::Unavailable(format!(
                "{what}: no answer within {limit:?}"
            ))),
        }
    }

    /// A new channel on the connection that is up, or on a new one.
    pub(crate) async fn channel(&self) -> Result<Channel, QueueError> {
        let connection = self.connection().await?;
        self.within("opening a channel", connection.create_channel())
            .await
    }

    /// Closes a channel whose work is done; when that fails, the connection has gone and the channel with it.
    pub(crate) async fn done_with(&self, channel: &Channel) {
        let close = channel.close(200, "done".into());
        self.within("closing a channel", close).await.ok();
    }

    async fn connection_of(&self, state: &mut State) -> Result<Arc<Connection>, QueueError> {
        if let Some(connection) = &state.connection
            && connection.status().connected()
        {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        if let Some(moment) = state.not_before {
            tokio::time::sleep_until(moment).await;
        }
        let properties = ConnectionProperties::default().with_connection_name("nexis".into());
        let connect = Connection::connect(&self.options.url, properties);
        match self.within("connecting to the broker", connect).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.meter.connections.inc();
                state.failures = 0;
                state.not_before = None;
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(8));
                state.failures = state.failures.saturating_add(1);
                state.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
                Err(error)
            }
        }
    }

    /// The connection that is up, or a new one.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, QueueError> {
        let mut state = self.state.lock().await;
        self.connection_of(&mut state).await
    }

    /// Closes the connection; the broker takes back what is unsettled.
    pub(crate) async fn close(&self) {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.take() {
            connection.close(200, "stopping".into()).await.ok();
        }
    }
}

/// What a client's error means to the caller.
pub(crate) fn queue_error(error: &lapin::Error) -> QueueError {
    match error.kind() {
        ErrorKind::ProtocolError(said) => match said.kind() {
            AMQPErrorKind::Soft(
                AMQPSoftError::ACCESSREFUSED
                | AMQPSoftError::NOTFOUND
                | AMQPSoftError::PRECONDITIONFAILED,
            ) => QueueError::Refused(said.get_message().to_string()),
            AMQPErrorKind::Hard(lapin::protocol::AMQPHardError::NOTALLOWED) => {
                QueueError::Refused(said.get_message().to_string())
            }
            _ => QueueError::Unavailable(said.to_string()),
        },
        ErrorKind::AuthProviderError(said) => QueueError::Refused(said.clone()),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
            QueueError::Refused(format!("the other side does not speak AMQP 0-9-1: {error}"))
        }
        _ => QueueError::Unavailable(error.to_string()),
    }
}
