//! What must exist on the broker: per subnet one exchange for work and one for dead letters, per route and version of
//! the wire a quorum queue on each. `apply` declares it (one command does, `nexis-scheduler topology apply`);
//! every process compares it at its start ([`crate::AmqpQueue::verify`]).

use crate::connection::Link;
use crate::line::Line;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use nexis_ports::QueueError;
use nexis_protocol::Netuid;
use std::fmt;

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

/// One thing that must exist.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// A durable direct exchange.
    Exchange {
        /// Its name.
        name: String,
    },
    /// A durable queue, bound to its exchange.
    Queue {
        /// Its name.
        name: String,
        /// The exchange it is bound to.
        exchange: String,
        /// The routing key of the binding.
        key: String,
        /// Type and limits.
        arguments: FieldTable,
    },
}

impl Part {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Exchange { name } | Self::Queue { name, .. } => name,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange { name } => write!(f, "exchange '{name}'"),
            Self::Queue { name, .. } => write!(f, "queue '{name}'"),
        }
    }
}

impl Topology {
    /// Everything, in the order in which it must be declared.
    pub(crate) fn parts(self) -> Vec<Part> {
        let exchanges = [self.exchange(), self.dead_exchange()];
        let mut parts: Vec<Part> = exchanges.map(|name| Part::Exchange { name }).into();
        for line in Line::all() {
            let key = line.name();
            // The dead letters' queue first: the other one sends there.
            parts.push(Part::Queue {
                name: self.dead_queue(line),
                exchange: self.dead_exchange(),
                key: key.clone(),
                arguments: Self::dead_arguments(),
            });
            parts.push(Part::Queue {
                name: self.queue(line),
                exchange: self.exchange(),
                key,
                arguments: self.work_arguments(line),
            });
        }
        parts
    }
}

/// Declares a part with its binding; changes nothing when it is there as it should be.
pub(crate) async fn declare(channel: &Channel, part: &Part) -> lapin::Result<()> {
    match part {
        Part::Exchange { name } => {
            let durable = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            let (name, none) = (name.as_str().into(), FieldTable::default());
            let kind = ExchangeKind::Direct;
            channel.exchange_declare(name, kind, durable, none).await
        }
        Part::Queue {
            name,
            exchange,
            key,
            arguments,
        } => {
            let queue = ShortString::from(name.as_str());
            let options = QueueDeclareOptions::durable();
            channel
                .queue_declare(queue.clone(), options, arguments.clone())
                .await?;
            let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue, exchange, key, options, FieldTable::default())
                .await
        }
    }
}

/// Declares everything. May be repeated; a part that exists with other properties is an error.
pub(crate) async fn apply(link: &Link) -> Result<(), QueueError> {
    let channel = link.channel().await?;
    for part in link.options.topology.parts() {
        let declared = link
            .within("declaring the topology", declare(&channel, &part))
            .await;
        declared.map_err(|fault| different(&part, fault))?;
    }
    link.done_with(&channel).await;
    Ok(())
}

/// The failure to declare a part, with what to do about it.
pub(crate) fn different(part: &Part, fault: QueueError) -> QueueError {
    match fault {
        QueueError::Refused(said) if is_forbidden(&said) => {
            QueueError::Refused(format!("this user may not declare {part} ({said})"))
        }
        QueueError::Refused(said) => QueueError::Refused(format!(
            "{part} exists and is not as it should be ({said}): delete it, then run `nexis-scheduler topology apply`"
        )),
        fault => fault,
    }
}

/// The broker's own word at the beginning of what it says when a user lacks a right.
pub(crate) fn is_forbidden(said: &str) -> bool {
    said.starts_with("ACCESS_REFUSED")
}
