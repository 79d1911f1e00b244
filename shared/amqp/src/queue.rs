use crate::connection::{AmqpOptions, Link};
use crate::consumer::{Consumer, message_of, reason_of};
use crate::topology::{self, Topology};
use async_trait::async_trait;
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, PublisherConfirm};
use nexis_ports::{Deliveries, Message, Queue, QueueError, Route};
use std::sync::Arc;

/// Header of the W3C trace context.
pub(crate) const TRACE: &str = "traceparent";
/// Header of a dead letter's reason.
pub(crate) const REASON: &str = "x-nexis-reason";
/// AMQP's "keep it on disk".
const PERSISTENT: u8 = 2;
/// Longest id: AMQP's short string.
const MAX_ID: usize = 255;

/// A work queue on RabbitMQ. Clones share the connection.
#[derive(Clone)]
pub struct AmqpQueue {
    link: Arc<Link>,
}

impl AmqpQueue {
    /// Connects; does not look at the topology (see [`AmqpQueue::verify`]).
    pub async fn connect(options: AmqpOptions) -> Result<Self, QueueError> {
        let link = Arc::new(Link::new(options));
        link.publishing().await?;
        Ok(Self { link })
    }

    /// Declares the topology.
    pub async fn apply(&self) -> Result<(), QueueError> {
        topology::apply(self.link.connection().await?.as_ref(), self.topology()).await
    }

    /// Checks the topology without changing it.
    pub async fn verify(&self) -> Result<(), QueueError> {
        topology::verify(self.link.connection().await?.as_ref(), self.topology()).await
    }

    /// Closes the connection in good order.
    pub async fn close(&self) {
        self.link.close().await;
    }

    fn topology(&self) -> &Topology {
        &self.link.options.topology
    }
}

/// How a message travels.
pub(crate) fn properties(message: &Message, reason: Option<&str>) -> BasicProperties {
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

/// Publishes one message; the confirm is still to come.
pub(crate) async fn send(
    channel: &Channel,
    exchange: &str,
    route: Route,
    message: &Message,
    reason: Option<&str>,
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = properties(message, reason);
    let key = route.name().into();
    channel
        .basic_publish(exchange.into(), key, options, &message.body, properties)
        .await
}

/// Waits for a confirm and says what it means.
pub(crate) async fn confirmed(
    link: &Link,
    route: Route,
    confirm: PublisherConfirm,
) -> Result<(), QueueError> {
    let confirmation = link.within("waiting for a confirm", confirm).await?;
    let refused = confirmation.is_nack();
    if confirmation.take_message().is_some() {
        return Err(QueueError::Unroutable(route.name()));
    }
    if refused {
        return Err(QueueError::Unavailable(
            "the broker could not take the message".to_owned(),
        ));
    }
    Ok(())
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn publish(&self, route: Route, messages: Vec<Message>) -> Result<(), QueueError> {
        if let Some(message) = messages.iter().find(|message| message.id.len() > MAX_ID) {
            let start: String = message.id.chars().take(40).collect();
            return Err(QueueError::Refused(format!(
                "id '{start}…' is longer than 255 bytes"
            )));
        }
        let channel = self.link.publishing().await?;
        let exchange = self.topology().exchange();
        let window = self.link.options.confirm_window.max(1);
        let mut open = FuturesUnordered::new();
        for message in &messages {
            while open.len() >= window {
                if let Some(result) = open.next().await {
                    result?;
                }
            }
            let send = send(&channel, &exchange, route, message, None);
            let confirm = self.link.within("publishing", send).await?;
            open.push(confirmed(&self.link, route, confirm));
        }
        while let Some(result) = open.next().await {
            result?;
        }
        Ok(())
    }

    async fn consume(
        &self,
        route: Route,
        prefetch: u16,
    ) -> Result<Box<dyn Deliveries>, QueueError> {
        let consumer = Consumer::start(Arc::clone(&self.link), route, prefetch.max(1)).await?;
        Ok(Box::new(consumer))
    }

    async fn depth(&self, route: Route) -> Result<u64, QueueError> {
        let channel = self.link.channel().await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = self.topology().queue(route).into();
        let look = channel.queue_declare(name, passive, FieldTable::default());
        let queue = self.link.within("looking at a queue", look).await?;
        channel.close(200, "done".into()).await.ok();
        Ok(u64::from(queue.message_count()))
    }

    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError> {
        let channel = self.link.channel().await?;
        let name = self.topology().dead_queue(route);
        let mut dead = Vec::new();
        let mut last = None;
        while dead.len() < limit {
            let get = channel.basic_get(name.as_str().into(), BasicGetOptions::default());
            let Some(got) = self.link.within("looking at dead letters", get).await? else {
                break;
            };
            last = Some(got.acker.clone());
            let got = got.delivery;
            let reason = reason_of(&got.properties);
            dead.push((message_of(&got.properties, got.data), reason));
        }
        if let Some(last) = last {
            // All of them back to where they were.
            let all = BasicNackOptions {
                multiple: true,
                requeue: true,
            };
            self.link
                .within("putting dead letters back", last.nack(all))
                .await?;
        }
        channel.close(200, "done".into()).await.ok();
        Ok(dead)
    }
}
