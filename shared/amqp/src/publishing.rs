//! Publishing: a small pool of channels in confirm mode on the one connection, and a window of confirms.
//!
//! A pool, so that two calls never wait for each other's confirms and an error on one channel (which closes it)
//! costs the other nothing.

use crate::connection::Link;
use crate::line::Line;
use crate::meter::Meter;
use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError};
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use nexis_ports::{Message, QueueError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Header of the W3C trace context.
pub(crate) const TRACE: &str = "traceparent";
/// Header of a dead letter's reason.
pub(crate) const REASON: &str = "x-nexis-reason";
/// AMQP's "keep it on disk".
const PERSISTENT: u8 = 2;
/// Longest id: AMQP's short string.
const MAX_ID: usize = 255;
/// Channels at most. A scheduler publishes one stage at a time, a worker a dead letter now and then.
const CHANNELS: usize = 4;
/// Routing key that no queue is bound to: the broker confirms such a message and forgets it.
const PROBE: &str = "probe";
/// Longest wait for the confirm of a probe: who asks shows the answer to an operator or a prober.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// Makes publishing channels.
struct Opener {
    link: Arc<Link>,
}

impl managed::Manager for Opener {
    type Type = Channel;
    type Error = QueueError;

    async fn create(&self) -> Result<Channel, QueueError> {
        let channel = self.link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        self.link.within("asking for confirms", confirms).await?;
        Ok(channel)
    }

    async fn recycle(
        &self,
        channel: &mut Channel,
        _: &Metrics,
    ) -> managed::RecycleResult<QueueError> {
        if channel.status().connected() {
            Ok(())
        } else {
            Err(RecycleError::message("it was closed"))
        }
    }
}

/// Publishes. Clones share the channels.
#[derive(Clone)]
pub(crate) struct Publisher {
    link: Arc<Link>,
    pool: Pool<Opener>,
    meter: Meter,
}

impl Publisher {
    pub(crate) fn new(link: Arc<Link>, meter: Meter) -> Result<Self, QueueError> {
        let opener = Opener {
            link: Arc::clone(&link),
        };
        let pool = Pool::builder(opener)
            .max_size(CHANNELS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(link.options.answer_within))
            .build()
            .map_err(|error| QueueError::Refused(format!("building the pool: {error}")))?;
        Ok(Self { link, pool, meter })
    }

    /// Makes sure that there is a channel.
    pub(crate) async fn ready(&self) -> Result<(), QueueError> {
        self.channel().await.map(|_| ())
    }

    /// Closes the channels in good order: one that is dropped closes by itself, and its connection must not go first.
    pub(crate) async fn close(&self) {
        let mut channels = Vec::new();
        self.pool.retain(|channel, _| {
            channels.push(channel.clone());
            false
        });
        self.pool.close();
        for channel in channels {
            self.link.done_with(&channel).await;
        }
        self.link.close().await;
    }

    /// Publishes a message that reaches no queue and waits for its confirm: only that shows that the next job will be
    /// taken. A broker with an alarm lets us know at a publishing, not before.
    pub(crate) async fn probe(&self, exchange: String) -> Result<(), QueueError> {
        self.free()?;
        let limit = PROBE_WITHIN.min(self.link.options.answer_within);
        let probing = async {
            let channel = self.channel().await?;
            let (key, options) = (PROBE.into(), BasicPublishOptions::default());
            let sending = channel.basic_publish(
                exchange.into(),
                key,
                options,
                &[],
                BasicProperties::default(),
            );
            let confirmed = async { sending.await?.await }.await;
            if let Err(error) = confirmed {
                drop(Object::take(channel));
                return Err(self.link.fault(&error));
            }
            Ok(())
        };
        self.link.before(limit, "publishing a probe", probing).await
    }

    /// An error while the broker blocks publishers: what is published now would only wait in our memory.
    fn free(&self) -> Result<(), QueueError> {
        match self.link.blocked() {
            Some(reason) => Err(QueueError::Blocked(reason)),
            None => Ok(()),
        }
    }

    async fn channel(&self) -> Result<Object<Opener>, QueueError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Closed => QueueError::Closed,
            other => QueueError::Unavailable(format!("waiting for a channel: {other}")),
        })
    }

    /// Publishes jobs; returns when the broker has confirmed every one of them.
    pub(crate) async fn jobs(&self, line: Line, jobs: &[Message]) -> Result<(), QueueError> {
        let exchange = self.link.options.topology.exchange();
        let began = Instant::now();
        let all = jobs.iter().map(|job| (job, None));
        let published = self.publish(&exchange, line, all).await;
        self.meter.publish.observe(began.elapsed().as_secs_f64());
        match &published {
            Ok(()) => self
                .meter
                .published
                .add(line.route.into(), jobs.len() as u64),
            Err(_) => self.meter.failures.inc(line.route.into()),
        }
        published
    }

    /// Publishes a job once more, as a new message.
    pub(crate) async fn again(&self, line: Line, job: &Message) -> Result<(), QueueError> {
        let exchange = self.link.options.topology.exchange();
        self.link.until_unblocked().await;
        self.publish(&exchange, line, std::iter::once((job, None)))
            .await
    }

    /// Publishes a dead letter.
    pub(crate) async fn dead(
        &self,
        line: Line,
        message: &Message,
        reason: &str,
    ) -> Result<(), QueueError> {
        let exchange = self.link.options.topology.dead_exchange();
        let letter = std::iter::once((message, Some(reason)));
        self.link.until_unblocked().await;
        self.publish(&exchange, line, letter).await
    }

    async fn publish<'a>(
        &self,
        exchange: &str,
        line: Line,
        letters: impl Iterator<Item = (&'a Message, Option<&'a str>)>,
    ) -> Result<(), QueueError> {
        self.free()?;
        let channel = self.channel().await?;
        let published = self.through(&channel, exchange, line, letters).await;
        if published.is_err() {
            // Confirms of this call may still come: nobody else shall have them.
            drop(Object::take(channel));
        }
        published
    }

    async fn through<'a>(
        &self,
        channel: &Channel,
        exchange: &str,
        line: Line,
        letters: impl Iterator<Item = (&'a Message, Option<&'a str>)>,
    ) -> Result<(), QueueError> {
        let window = self.link.options.confirm_window.max(1);
        let mut confirms = FuturesUnordered::new();
        for (message, reason) in letters {
            while confirms.len() >= window {
                self.next_of(&mut confirms).await?;
            }
            // Hands its frames over when it is first looked at, with the next confirm; the rest of it is waiting.
            confirms.push(self.send(channel, exchange, line, message, reason));
        }
        while !confirms.is_empty() {
            self.next_of(&mut confirms).await?;
        }
        Ok(())
    }

    /// Waits for any of the confirms.
    async fn next_of<F>(&self, confirms: &mut FuturesUnordered<F>) -> Result<(), QueueError>
    where
        F: Future<Output = Result<(), QueueError>>,
    {
        let limit = self.link.options.answer_within;
        let confirm = async { confirms.next().await.unwrap_or(Ok(())) };
        self.link
            .before(limit, "waiting for a confirm", confirm)
            .await
    }

    /// Sends one message and waits for its confirm.
    async fn send(
        &self,
        channel: &Channel,
        exchange: &str,
        line: Line,
        message: &Message,
        reason: Option<&str>,
    ) -> Result<(), QueueError> {
        checked_id(message)?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let began = Instant::now();
        let properties = properties(message, reason);
        let key = line.name().into();
        let sending =
            channel.basic_publish(exchange.into(), key, options, &message.body, properties);
        let confirm = sending.await.map_err(|error| self.link.fault(&error))?;
        let confirmation = confirm.await.map_err(|error| self.link.fault(&error))?;
        self.meter.confirm.observe(began.elapsed().as_secs_f64());
        let refused = confirmation.is_nack();
        if confirmation.take_message().is_some() {
            return Err(QueueError::Unroutable(line.route.name()));
        }
        if refused {
            return Err(QueueError::Unavailable(
                "the broker could not take the message".to_owned(),
            ));
        }
        Ok(())
    }
}

fn checked_id(message: &Message) -> Result<(), QueueError> {
    if message.id.len() <= MAX_ID {
        return Ok(());
    }
    let start: String = message.id.chars().take(40).collect();
    Err(QueueError::Refused(format!(
        "id '{start}…' is longer than 255 bytes"
    )))
}

/// How a message travels.
fn properties(message: &Message, reason: Option<&str>) -> BasicProperties {
    let mut headers = FieldTable::default();
    if let Some(trace) = &message.trace {
        headers.insert(TRACE.into(), AMQPValue::LongString(trace.as_str().into()));
    }
    if let Some(reason) = reason {
        headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    }
    BasicProperties::default()
        .with_message_id(message.id.as_str().into())
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/octet-stream".into())
        .with_headers(headers)
}
