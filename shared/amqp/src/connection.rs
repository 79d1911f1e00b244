//! A connection to the broker, made again when it broke. A process has two: the broker stops reading from a
//! connection that publishes while it has an alarm, and acknowledgements must not wait behind that (ADR 0017).

use crate::dial;
use crate::meter::Meter;
use crate::topology::Topology;
use futures::StreamExt;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use nexis_ports::QueueError;
use nexis_runtime::Address;
use nexis_runtime::metrics::Metrics;
use nexis_runtime::tls::TlsOptions;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// First pause after a failed attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause: a broker that comes back is used again within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for a connection: a port that takes connections and does not speak AMQP is reported within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// Settings of a queue.
#[derive(Clone)]
pub struct AmqpOptions {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS; or why it cannot be read.
    pub address: Result<Address, QueueError>,
    /// How TLS is made.
    pub tls: TlsOptions,
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
    pub fn new(url: impl AsRef<str>, topology: Topology) -> Self {
        Self::at(dial::parse(url.as_ref()), topology)
    }

    /// The usual settings for an address that was read before.
    pub fn at(address: Result<Address, QueueError>, topology: Topology) -> Self {
        Self {
            address,
            tls: TlsOptions::new("NEXIS_AMQP"),
            topology,
            // A broker under memory alarm stops reading; longer than this and the caller should look again.
            answer_within: Duration::from_secs(30),
            // Above some hundreds the rate does not grow any more; each costs its body in memory.
            confirm_window: 1_000,
            metrics: Metrics::new(),
        }
    }
}

/// What a connection is for; the broker's own pages show it as part of the connection's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Consuming, acknowledging and looking: the broker never blocks it.
    Consume,
    /// Publishing: the broker blocks it while it has an alarm.
    Publish,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Consume => "nexis consume",
            Self::Publish => "nexis publish",
        }
    }
}

/// Whether the broker blocks a connection. The number tells connections apart: an old one's last word does not count.
#[derive(Debug, Clone, Default)]
struct Blocked {
    connection: u64,
    reason: Option<String>,
}

/// The connection that all channels of one purpose share.
pub(crate) struct Link {
    pub(crate) options: AmqpOptions,
    purpose: Purpose,
    meter: Meter,
    state: Mutex<State>,
    blocked: watch::Sender<Blocked>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failures: u32,
    /// No attempt before this moment.
    not_before: Option<Instant>,
}

impl Link {
    pub(crate) fn new(options: AmqpOptions, purpose: Purpose, meter: Meter) -> Self {
        Self {
            options,
            purpose,
            meter,
            state: Mutex::default(),
            blocked: watch::Sender::default(),
        }
    }

    /// Runs a call with a time limit; ends it when the broker blocks the connection, since nothing is sent then.
    pub(crate) async fn within<T>(
        &self,
        what: &str,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, QueueError> {
        let call = async { call.await.map_err(|error| self.fault(&error)) };
        self.before(self.options.answer_within, what, call).await
    }

    /// [`Link::within`] for a time limit of its own.
    pub(crate) async fn before<T>(
        &self,
        limit: Duration,
        what: &str,
        call: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        tokio::select! {
            biased;
            answer = call => answer,
            reason = self.until_blocked() => Err(QueueError::Blocked(reason)),
            () = tokio::time::sleep(limit) => Err(QueueError::Unavailable(format!(
                "{what}: no answer within {limit:?}"
            ))),
        }
    }

    /// What a client's error means to the caller, in words for the operator and without credentials.
    pub(crate) fn fault(&self, error: &lapin::Error) -> QueueError {
        if let Some(why) = self.options.tls.explain(error) {
            return QueueError::Refused(why);
        }
        self.discreet(queue_error(error))
    }

    /// The same failure without credentials in its text.
    pub(crate) fn discreet(&self, fault: QueueError) -> QueueError {
        let Ok(address) = &self.options.address else {
            return fault;
        };
        match fault {
            QueueError::Unavailable(why) => QueueError::Unavailable(address.hide(&why).into()),
            QueueError::Refused(why) if dial::names_empty_vhost(address) => {
                QueueError::Refused(format!(
                    "{} (the address ends in '/', which names a virtual host without a name: for the one called '/' \
                     write /%2f)",
                    address.hide(&why)
                ))
            }
            QueueError::Refused(why) => QueueError::Refused(address.hide(&why).into()),
            other => other,
        }
    }

    /// Why the broker blocks this connection, while it does.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.blocked.borrow().reason.clone()
    }

    async fn until_blocked(&self) -> String {
        let mut blocked = self.blocked.subscribe();
        let reason = blocked.wait_for(|now| now.reason.is_some()).await;
        // The sender is ours, so the wait ends with a reason.
        reason.map_or_else(
            |_| String::new(),
            |now| now.reason.clone().unwrap_or_default(),
        )
    }

    /// Waits until the broker does not block this connection, for at most as long as an answer may take.
    pub(crate) async fn until_unblocked(&self) {
        let mut blocked = self.blocked.subscribe();
        let free = blocked.wait_for(|now| now.reason.is_none());
        tokio::time::timeout(self.options.answer_within, free)
            .await
            .ok();
    }

    /// Follows what the broker says about blocking for as long as the connection lives.
    fn follow(&self, connection: &Connection) {
        let mut events = connection.events_listener();
        let blocked = self.blocked.clone();
        let mut ours = 0;
        blocked.send_modify(|now| {
            ours = now.connection + 1;
            *now = Blocked {
                connection: ours,
                reason: None,
            };
        });
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            while let Some(event) = events.next().await {
                let reason = match event {
                    Event::ConnectionBlocked(reason) => Some(reason),
                    Event::ConnectionUnblocked | Event::Error(_) => None,
                    _ => continue,
                };
                note_blocked(&blocked, ours, reason);
            }
            note_blocked(&blocked, ours, None);
        });
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
        let name = self.purpose.name().into();
        let properties = ConnectionProperties::default().with_connection_name(name);
        let address = self.options.address.clone()?;
        // Boxed: large, and rare beside the calls that would carry room for it.
        let connect = Box::pin(async {
            let connected = dial::connect(&self.options, &address, properties).await;
            connected.map_err(|error| self.fault(&error))
        });
        let limit = CONNECT_WITHIN.min(self.options.answer_within);
        match self
            .before(limit, "connecting (does this port speak AMQP?)", connect)
            .await
        {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.follow(&connection);
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

/// Notes and reports that the broker blocks a connection, or does not any more.
fn note_blocked(blocked: &watch::Sender<Blocked>, connection: u64, reason: Option<String>) {
    let changed = blocked.send_if_modified(|now| {
        let changes = now.connection == connection && now.reason != reason;
        if changes {
            now.reason.clone_from(&reason);
        }
        changes
    });
    match reason {
        Some(reason) if changed => tracing::error!(
            reason,
            "alert: the broker blocks publishers: free memory or disk space on its machine"
        ),
        None if changed => tracing::info!("the broker does not block publishers any more"),
        _ => {}
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
