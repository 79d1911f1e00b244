use crate::connection::{Link, queue_error};
use crate::queue::{REASON, TRACE, confirmed, send};
use async_trait::async_trait;
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, BasicProperties, Channel};
use nexis_ports::{Acknowledge, Deliveries, Delivery, Message, QueueError, Route, Settlement};
use std::sync::Arc;
use std::time::Duration;

/// Reason of a dead letter that failed too often; the embedded queue says the same.
const DELIVERY_LIMIT: &str = "delivery-limit";
/// Between two attempts to consume again while the broker refuses.
const PAUSE: Duration = Duration::from_millis(500);

/// A consumer on a channel of its own.
pub(crate) struct Consumer {
    link: Arc<Link>,
    route: Route,
    prefetch: u16,
    stream: Option<(Channel, lapin::Consumer)>,
    stopped: bool,
}

impl Consumer {
    pub(crate) async fn start(
        link: Arc<Link>,
        route: Route,
        prefetch: u16,
    ) -> Result<Self, QueueError> {
        let mut consumer = Self {
            link,
            route,
            prefetch,
            stream: None,
            stopped: false,
        };
        consumer.subscribe().await?;
        Ok(consumer)
    }

    async fn subscribe(&mut self) -> Result<(), QueueError> {
        let link = &self.link;
        let channel = link.channel().await?;
        // Before consuming: the broker must not push more than was asked for.
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        link.within("setting the prefetch", qos).await?;
        let queue = link.options.topology.queue(self.route).into();
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let stream = link.within("starting to consume", consume).await?;
        self.stream = Some((channel, stream));
        Ok(())
    }
}

#[async_trait]
impl Deliveries for Consumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        loop {
            if self.stopped {
                return Err(QueueError::Closed);
            }
            let Some((_, stream)) = &mut self.stream else {
                match self.subscribe().await {
                    Ok(()) => continue,
                    Err(QueueError::Unavailable(error)) => {
                        tracing::warn!(error, "the broker is away; will try again");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            match stream.next().await {
                Some(Ok(delivery)) => {
                    let attempt = attempt_of(&delivery.properties, delivery.redelivered);
                    let message = message_of(&delivery.properties, delivery.data);
                    let ticket = Ticket {
                        link: Arc::clone(&self.link),
                        route: self.route,
                        message: message.clone(),
                        acker: Some(delivery.acker),
                    };
                    return Ok(Delivery::new(message, attempt, Box::new(ticket)));
                }
                Some(Err(error)) => {
                    tracing::warn!(error = %queue_error(&error), "consuming broke off");
                    self.stream = None;
                }
                // The queue was deleted, or moved to another node.
                None => self.stream = None,
            }
        }
    }

    async fn stop(&mut self) -> Result<(), QueueError> {
        if self.stopped {
            return Ok(());
        }
        self.stopped = true;
        let Some((channel, stream)) = &mut self.stream else {
            return Ok(());
        };
        let cancel = channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
        self.link.within("stopping to consume", cancel).await?;
        // Prefetched and not handed out: back to the queue now, not when the channel goes.
        while let Some(Some(Ok(delivery))) = futures::FutureExt::now_or_never(stream.next()) {
            let back = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            self.link
                .within("handing back", delivery.acker.nack(back))
                .await?;
        }
        Ok(())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Closing the channel is what returns its unsettled messages.
        if let Some((channel, _)) = self.stream.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { channel.close(200, "done".into()).await.ok() });
        }
    }
}

/// The right to settle one delivery.
struct Ticket {
    link: Arc<Link>,
    route: Route,
    message: Message,
    acker: Option<Acker>,
}

impl Ticket {
    async fn told(
        &self,
        call: impl Future<Output = lapin::Result<bool>>,
    ) -> Result<(), QueueError> {
        // `false`: the channel went, and the broker has taken the message back.
        if self.link.within("settling a delivery", call).await? {
            Ok(())
        } else {
            Err(QueueError::Closed)
        }
    }

    async fn bury(&self, reason: &str) -> Result<(), QueueError> {
        let channel = self.link.publishing().await?;
        let exchange = self.link.options.topology.dead_exchange();
        let send = send(&channel, &exchange, self.route, &self.message, Some(reason));
        let confirm = self.link.within("publishing a dead letter", send).await?;
        confirmed(&self.link, self.route, confirm).await
    }
}

#[async_trait]
impl Acknowledge for Ticket {
    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let acker = self.acker.take().ok_or(QueueError::Closed)?;
        let back = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        match settlement {
            Settlement::Ack => self.told(acker.ack(BasicAckOptions::default())).await,
            Settlement::Retry | Settlement::HandBack => self.told(acker.nack(back)).await,
            Settlement::Dead { reason } => {
                // First there, then gone from here: between the two it may be in both, never in neither.
                if let Err(error) = self.bury(&reason).await {
                    self.told(acker.nack(back)).await.ok();
                    return Err(error);
                }
                self.told(acker.ack(BasicAckOptions::default())).await
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let back = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            runtime.spawn(async move { acker.nack(back).await.ok() });
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
