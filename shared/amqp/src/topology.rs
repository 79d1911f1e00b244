//! What must exist on the broker: per subnet one exchange for work and one for dead letters, per route and version of
//! the wire a quorum queue on each. [`apply`] declares it (one command does, `nexis-scheduler topology apply`), [`verify`] checks
//! it at every start without changing anything.

use crate::connection::queue_error;
use crate::line::Line;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use nexis_ports::QueueError;
use nexis_protocol::Netuid;

/// Dead-letter queues keep this many; the oldest go first. A fault that dead-letters everything must not
/// fill the broker's disk.
const DEAD_KEPT: i32 = 100_000;

/// Names of one subnet, and the arguments of its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// The subnet.
    pub netuid: Netuid,
    /// How many failures a message survives (`x-delivery-limit`); the next one makes it a dead letter.
    pub delivery_limit: u32,
}

impl Topology {
    /// The usual delivery limit: a worker that dies with a message in hand counts as a failure, and five
    /// in a row are the message's fault.
    pub const DELIVERY_LIMIT: u32 = 5;

    /// The topology of a subnet with the usual limit.
    pub const fn new(netuid: Netuid) -> Self {
        Self {
            netuid,
            delivery_limit: Self::DELIVERY_LIMIT,
        }
    }

    /// Exchange that jobs are published to.
    pub fn exchange(&self) -> String {
        format!("nexis.{}", self.netuid)
    }

    /// Exchange of dead letters.
    pub fn dead_exchange(&self) -> String {
        format!("nexis.{}.dead", self.netuid)
    }

    /// Queue of a line.
    pub fn queue(&self, line: Line) -> String {
        format!("nexis.{}.{}", self.netuid, line.name())
    }

    /// Queue of a line's dead letters.
    pub fn dead_queue(&self, line: Line) -> String {
        format!("{}.dead", self.queue(line))
    }

    fn work_arguments(self, line: Line) -> FieldTable {
        let mut arguments = quorum();
        let limit = i64::from(self.delivery_limit);
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(limit));
        let exchange = AMQPValue::LongString(self.dead_exchange().into());
        arguments.insert("x-dead-letter-exchange".into(), exchange);
        let key = AMQPValue::LongString(line.name().into());
        arguments.insert("x-dead-letter-routing-key".into(), key);
        // A dead letter is on its queue before it leaves this one; needs reject-publish when full.
        let strategy = AMQPValue::LongString("at-least-once".into());
        arguments.insert("x-dead-letter-strategy".into(), strategy);
        let full = AMQPValue::LongString("reject-publish".into());
        arguments.insert("x-overflow".into(), full);
        arguments
    }

    fn dead_arguments() -> FieldTable {
        let mut arguments = quorum();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(DEAD_KEPT));
        arguments
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments
}

/// Declares everything. May be repeated; a queue that exists with other arguments is an error.
pub async fn apply(connection: &Connection, topology: &Topology) -> Result<(), QueueError> {
    let channel = connection
        .create_channel()
        .await
        .map_err(|e| queue_error(&e))?;
    let declared = declare(&channel, topology)
        .await
        .map_err(|e| queue_error(&e));
    channel.close(200, "done".into()).await.ok();
    declared
}

async fn declare(channel: &Channel, topology: &Topology) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    for exchange in [topology.exchange(), topology.dead_exchange()] {
        let none = FieldTable::default();
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Direct, durable, none)
            .await?;
    }
    for line in Line::all() {
        let queues = [
            (
                topology.dead_queue(line),
                topology.dead_exchange(),
                Topology::dead_arguments(),
            ),
            (
                topology.queue(line),
                topology.exchange(),
                topology.work_arguments(line),
            ),
        ];
        for (queue, exchange, arguments) in queues {
            let queue = ShortString::from(queue);
            let options = QueueDeclareOptions::durable();
            channel
                .queue_declare(queue.clone(), options, arguments)
                .await?;
            let (key, options) = (line.name().into(), QueueBindOptions::default());
            channel
                .queue_bind(queue, exchange.into(), key, options, FieldTable::default())
                .await?;
        }
    }
    Ok(())
}

/// Checks that everything exists, passively; names the first thing that does not.
pub async fn verify(connection: &Connection, topology: &Topology) -> Result<(), QueueError> {
    for exchange in [topology.exchange(), topology.dead_exchange()] {
        let channel = connection
            .create_channel()
            .await
            .map_err(|e| queue_error(&e))?;
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Direct;
        let found = channel
            .exchange_declare(
                exchange.clone().into(),
                kind,
                passive,
                FieldTable::default(),
            )
            .await;
        found.map_err(|error| missing("exchange", &exchange, &error))?;
        channel.close(200, "done".into()).await.ok();
    }
    for line in Line::all() {
        for queue in [topology.queue(line), topology.dead_queue(line)] {
            let channel = connection
                .create_channel()
                .await
                .map_err(|e| queue_error(&e))?;
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let found = channel
                .queue_declare(queue.clone().into(), passive, FieldTable::default())
                .await;
            found.map_err(|error| missing("queue", &queue, &error))?;
            channel.close(200, "done".into()).await.ok();
        }
    }
    Ok(())
}

fn missing(kind: &str, name: &str, error: &lapin::Error) -> QueueError {
    match queue_error(error) {
        QueueError::Refused(said) => QueueError::Refused(format!(
            "{kind} '{name}' is not there as it should be ({said}); run `nexis-scheduler topology apply`"
        )),
        other => other,
    }
}
