use crate::connection::{AmqpOptions, Link, Purpose};
use crate::consumer::Consumers;
use crate::line::Line;
use crate::meter::Meter;
use crate::publishing::Publisher;
use crate::topology::{self, Topology};
use crate::verify::{self, Verified};
use async_trait::async_trait;
use nexis_ports::{Deliveries, Message, Queue, QueueError, Route};
use std::sync::Arc;

/// A work queue on RabbitMQ. Clones share the connections.
#[derive(Clone)]
pub struct AmqpQueue {
    pub(crate) link: Arc<Link>,
    pub(crate) publisher: Publisher,
}

impl AmqpQueue {
    /// Connects; does not look at the topology (see [`AmqpQueue::verify`]).
    pub async fn connect(options: AmqpOptions) -> Result<Self, QueueError> {
        let meter = Meter::new(&options.metrics);
        let link = |purpose| Arc::new(Link::new(options.clone(), purpose, meter.clone()));
        let publisher = Publisher::new(link(Purpose::Publish), meter.clone())?;
        let link = link(Purpose::Consume);
        link.connection().await?;
        publisher.ready().await?;
        Ok(Self { link, publisher })
    }

    /// Declares the topology.
    pub async fn apply(&self) -> Result<(), QueueError> {
        topology::apply(&self.link).await
    }

    /// Checks the topology: names, types, arguments, and, by declaring them again, bindings.
    pub async fn verify(&self) -> Result<Verified, QueueError> {
        verify::verify(&self.link).await
    }

    /// Whether this user may publish dead letters; who consumes must be able to.
    pub async fn may_bury(&self) -> Result<(), QueueError> {
        let exchange = self.topology().dead_exchange();
        self.publisher.probe(exchange).await
    }

    /// Closes the connections in good order.
    pub async fn close(&self) {
        self.publisher.close().await;
        self.link.close().await;
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.link.options.topology
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn publish(&self, route: Route, messages: Vec<Message>) -> Result<(), QueueError> {
        let published = self.publisher.jobs(Line::current(route), &messages).await;
        let Err(QueueError::Unroutable(_)) = published else {
            return published;
        };
        // A queue was deleted under us: who may declare puts it back.
        if Box::pin(self.apply()).await.is_err() {
            return published;
        }
        tracing::warn!(
            queue.name = route.name(),
            "the topology was incomplete and is declared again"
        );
        self.publisher.jobs(Line::current(route), &messages).await
    }

    async fn consume(
        &self,
        route: Route,
        prefetch: u16,
    ) -> Result<Box<dyn Deliveries>, QueueError> {
        let consumers =
            Consumers::start(&self.link, &self.publisher, route, prefetch.max(1)).await?;
        Ok(Box::new(consumers))
    }

    async fn depth(&self, route: Route) -> Result<u64, QueueError> {
        let mut waiting = 0;
        for line in Line::readable(route) {
            let queue = self.look_at(self.topology().queue(line)).await?;
            waiting += u64::from(queue.message_count());
        }
        Ok(waiting)
    }

    async fn consumers(&self, route: Route) -> Result<u64, QueueError> {
        // A worker of an older version is no use for what we publish.
        let queue = self.topology().queue(Line::current(route));
        Ok(u64::from(self.look_at(queue).await?.consumer_count()))
    }

    async fn health(&self) -> Result<(), QueueError> {
        self.publisher.probe(self.topology().exchange()).await
    }

    async fn dead(&self, route: Route, limit: usize) -> Result<Vec<(Message, String)>, QueueError> {
        self.dead_letters(route, limit).await
    }
}
