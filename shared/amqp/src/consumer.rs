use crate::acks::Acks;
use crate::connection::Link;
use crate::line::Line;
use crate::publishing::{Publisher, REASON, TRACE};
use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use nexis_ports::{
    Acknowledge, Deliveries, Delivery, FaultClass, Message, QueueError, Route, Settlement,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Reason of a dead letter that failed too often; the embedded queue says the same.
const DELIVERY_LIMIT: &str = "delivery-limit";
/// Between two attempts to consume again while the broker refuses.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two alerts about the same refusal.
const ALERT_EVERY: Duration = Duration::from_secs(60);

/// Consumers of one route, one for each version that this program reads.
pub(crate) struct Consumers(Vec<Consumer>);

impl Consumers {
    pub(crate) async fn start(
        link: &Arc<Link>,
        publisher: &Publisher,
        route: Route,
        prefetch: u16,
    ) -> Result<Self, QueueError> {
        let starting = Line::readable(route)
            .map(|line| Consumer::start(Arc::clone(link), publisher.clone(), line, prefetch));
        Ok(Self(futures::future::try_join_all(starting).await?))
    }
}

#[async_trait]
impl Deliveries for Consumers {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        // Those that are not first lose nothing: what they wait for is kept in them.
        let all = self.0.iter_mut().map(|consumer| Box::pin(consumer.next()));
        let (first, _, _) = futures::future::select_all(all).await;
        first
    }

    async fn stop(&mut self) -> Result<(), QueueError> {
        let all = self.0.iter_mut().map(Consumer::stop);
        futures::future::try_join_all(all).await.map(|_| ())
    }
}

/// A consumer on a channel of its own.
struct Consumer {
    link: Arc<Link>,
    publisher: Publisher,
    line: Line,
    prefetch: u16,
    state: State,
    stopped: bool,
    /// When the operator was last told that the broker refuses this consumer.
    alerted: Option<Instant>,
}

/// What a consumer waits for.
enum State {
    /// To be subscribed.
    Opening(BoxFuture<'static, Result<Stream, QueueError>>),
    /// For messages.
    Open(Box<Stream>),
}

/// A subscription, with the channel it came over.
struct Stream {
    channel: Channel,
    deliveries: lapin::Consumer,
    acks: Arc<Acks>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Closing the channel is what returns its unsettled messages.
        if let State::Open(stream) = &self.state
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let channel = stream.channel.clone();
            runtime.spawn(async move { channel.close(200, "done".into()).await.ok() });
        }
    }
}

async fn subscribe(link: Arc<Link>, line: Line, prefetch: u16) -> Result<Stream, QueueError> {
    let channel = link.channel().await?;
    // Before consuming: the broker must not push more than was asked for.
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    link.within("setting the prefetch", qos).await?;
    let queue = link.options.topology.queue(line).into();
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume(queue, "".into(), options, FieldTable::default());
    let deliveries = link.within("starting to consume", consume).await?;
    let acks = Arc::new(Acks::new(link, channel.clone()));
    Ok(Stream {
        channel,
        deliveries,
        acks,
    })
}

impl Consumer {
    async fn start(
        link: Arc<Link>,
        publisher: Publisher,
        line: Line,
        prefetch: u16,
    ) -> Result<Self, QueueError> {
        let stream = subscribe(Arc::clone(&link), line, prefetch).await?;
        Ok(Self {
            link,
            publisher,
            line,
            prefetch,
            state: State::Open(Box::new(stream)),
            stopped: false,
            alerted: None,
        })
    }

    /// Reports that it cannot subscribe again. A queue that was deleted and a right that was taken away come back when
    /// somebody mends them: the consumer waits for that, and what it waits for is repeated now and then.
    fn report(&mut self, fault: &QueueError) {
        let queue = self.link.options.topology.queue(self.line);
        if fault.class() == FaultClass::Transient {
            tracing::warn!(queue.name = queue, error = %fault, "cannot consume, trying again");
        } else if self
            .alerted
            .is_none_or(|alerted| alerted.elapsed() >= ALERT_EVERY)
        {
            self.alerted = Some(Instant::now());
            tracing::error!(
                queue.name = queue,
                error = %fault,
                "alert: cannot consume: restore the right, or run `nexis-scheduler topology apply` when the queue is gone"
            );
        }
    }

    /// Subscribes anew, after a pause.
    fn reopen(&mut self, pause: Duration) {
        let (link, line, prefetch) = (Arc::clone(&self.link), self.line, self.prefetch);
        self.state = State::Opening(Box::pin(async move {
            tokio::time::sleep(pause).await;
            subscribe(link, line, prefetch).await
        }));
    }

    /// The next message. What it waits for is kept in `state`: it may be dropped and called again at any point.
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        loop {
            if self.stopped {
                return Err(QueueError::Closed);
            }
            let stream = match &mut self.state {
                State::Open(stream) => stream,
                State::Opening(opening) => {
                    match opening.await {
                        Ok(stream) => {
                            self.alerted = None;
                            self.state = State::Open(Box::new(stream));
                        }
                        Err(QueueError::Closed) => return Err(QueueError::Closed),
                        Err(fault) => {
                            self.report(&fault);
                            self.reopen(PAUSE);
                        }
                    }
                    continue;
                }
            };
            match stream.deliveries.next().await {
                Some(Ok(delivery)) => {
                    let attempt = attempt_of(&delivery.properties, delivery.redelivered);
                    let message = message_of(&delivery.properties, delivery.data);
                    stream.acks.taken(delivery.delivery_tag);
                    let ticket = Ticket {
                        publisher: self.publisher.clone(),
                        line: self.line,
                        message: message.clone(),
                        held: Some((Arc::clone(&stream.acks), delivery.delivery_tag)),
                    };
                    return Ok(Delivery::new(message, attempt, Box::new(ticket)));
                }
                Some(Err(error)) => {
                    tracing::warn!(error = %self.link.fault(&error), "consuming broke off");
                    self.reopen(Duration::ZERO);
                }
                // The queue was deleted, or moved to another node.
                None => self.reopen(Duration::ZERO),
            }
        }
    }

    async fn stop(&mut self) -> Result<(), QueueError> {
        if self.stopped {
            return Ok(());
        }
        self.stopped = true;
        let State::Open(stream) = &mut self.state else {
            return Ok(());
        };
        let tag = stream.deliveries.tag();
        let cancel = stream
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        self.link.within("stopping to consume", cancel).await?;
        // Prefetched and not handed out: back to the queue now, not when the channel goes.
        while let Some(Some(Ok(delivery))) =
            futures::FutureExt::now_or_never(stream.deliveries.next())
        {
            stream.acks.taken(delivery.delivery_tag);
            let ticket = Ticket {
                publisher: self.publisher.clone(),
                line: self.line,
                message: message_of(&delivery.properties, delivery.data),
                held: Some((Arc::clone(&stream.acks), delivery.delivery_tag)),
            };
            Box::new(ticket).settle(Settlement::HandBack).await?;
        }
        Ok(())
    }
}

/// The right to settle one delivery.
struct Ticket {
    publisher: Publisher,
    line: Line,
    message: Message,
    held: Option<(Arc<Acks>, u64)>,
}

#[async_trait]
impl Acknowledge for Ticket {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let (acks, tag) = self.held.take().ok_or(QueueError::Closed)?;
        // What publishes is boxed: it is large and rare, and every acknowledgement would carry room for it.
        match settlement {
            Settlement::Ack => acks.ack(tag).await,
            Settlement::Retry => acks.back(tag).await,
            // Every return counts against the delivery limit (RabbitMQ 3.x cannot tell one from a failure), and a good
            // job must bear any number of workers that are scaled in: it goes back as a new message.
            Settlement::HandBack => {
                let again = self.publisher.again(self.line, &self.message);
                replaced(&acks, tag, Box::pin(again).await).await
            }
            Settlement::Dead { reason } => {
                let dead = self.publisher.dead(self.line, &self.message, &reason);
                replaced(&acks, tag, Box::pin(dead).await).await
            }
        }
    }
}

/// First there, then gone from here: between the two a message may be in both, never in neither.
async fn replaced(
    acks: &Acks,
    tag: u64,
    published: Result<(), QueueError>,
) -> Result<(), QueueError> {
    if published.is_err() {
        acks.back(tag).await.ok();
        return published;
    }
    acks.ack(tag).await
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((acks, tag)) = self.held.take() {
            acks.back_later(tag);
        }
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// The message; a foreign one without an id has an empty id.
pub(crate) fn message_of(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let id = properties
        .message_id()
        .as_ref()
        .map(|id| id.as_str().to_owned());
    let trace = header(properties, TRACE).and_then(text);
    Message {
        id: id.unwrap_or_default(),
        body,
        trace,
    }
}

/// Why a message is a dead letter: our reason, else the broker's.
pub(crate) fn reason_of(properties: &BasicProperties) -> String {
    let ours = header(properties, REASON).and_then(text);
    let brokers = || header(properties, "x-first-death-reason").and_then(text);
    let reason = ours
        .or_else(brokers)
        .unwrap_or_else(|| "unknown".to_owned());
    if reason == "delivery_limit" {
        DELIVERY_LIMIT.to_owned()
    } else {
        reason
    }
}

/// Deliveries so far, this one included.
fn attempt_of(properties: &BasicProperties, redelivered: bool) -> u32 {
    let earlier = match header(properties, "x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongUInt(count)) => *count,
        Some(AMQPValue::ShortInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortShortInt(count)) => u32::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortShortUInt(count)) => u32::from(*count),
        _ => u32::from(redelivered),
    };
    earlier.saturating_add(1)
}
