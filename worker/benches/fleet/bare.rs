//! A bare loop over the client library: what the broker and the library cost, and nothing of ours.

use crate::PERMITS;
use crate::ours::{Usage, bodies};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};
use std::time::Instant;

const QUEUE: &str = "bare";
/// As in our own queue.
const WINDOW: usize = 1_000;

/// Jobs per second.
#[derive(PartialEq, PartialOrd)]
pub struct Rates {
    pub publish: f64,
    pub each: Both,
    pub fifty: Both,
}

/// Publishing and consuming at once.
#[derive(PartialEq, PartialOrd)]
pub struct Both {
    pub rate: f64,
    /// Processor time of both sides and the broker, for all jobs.
    pub usage: Usage,
}

async fn connect(amqp: &str) -> (Connection, Channel) {
    let connection = Connection::connect(amqp, ConnectionProperties::default())
        .await
        .expect("the broker is up");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// An empty quorum queue with the arguments of ours that cost something.
async fn fresh(channel: &Channel) {
    let gone = channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default());
    gone.await.expect("deleted");
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(5));
    let options = QueueDeclareOptions::durable();
    let declare = channel.queue_declare(QUEUE.into(), options, arguments);
    declare.await.expect("declared");
}

async fn publish(channel: &Channel, bodies: &[Vec<u8>]) {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut open: FuturesUnordered<PublisherConfirm> = FuturesUnordered::new();
    for body in bodies {
        if open.len() >= WINDOW {
            open.next().await.expect("some").expect("confirmed");
        }
        let sent =
            channel.basic_publish("".into(), QUEUE.into(), options, body, properties.clone());
        open.push(sent.await.expect("sent"));
    }
    while let Some(confirm) = open.next().await {
        confirm.expect("confirmed");
    }
}

async fn consume(channel: &Channel, count: usize, per_ack: usize) {
    let qos = channel.basic_qos(PERMITS, BasicQosOptions::default());
    qos.await.expect("set");
    let options = BasicConsumeOptions::default();
    let consume = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default());
    let mut deliveries = consume.await.expect("a consumer");
    for number in 1..=count {
        let delivery = deliveries.next().await.expect("one").expect("whole");
        if number % per_ack == 0 || number == count {
            let multiple = per_ack > 1;
            let ack = channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple });
            ack.await.expect("acknowledged");
        }
    }
}

/// Publishing and consuming at once, over a connection each.
async fn both(amqp: &str, bodies: &[Vec<u8>], per_ack: usize) -> Both {
    let (there, publishing) = connect(amqp).await;
    let (here, consuming) = connect(amqp).await;
    fresh(&publishing).await;
    let confirms = publishing.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    let (began, before, count) = (Instant::now(), Usage::now(), bodies.len());
    let consumer = tokio::spawn(async move { consume(&consuming, count, per_ack).await });
    publish(&publishing, bodies).await;
    consumer.await.expect("consumed");
    let (rate, usage) = (
        count as f64 / began.elapsed().as_secs_f64(),
        Usage::now().since(&before),
    );
    there.close(200, "done".into()).await.ok();
    here.close(200, "done".into()).await.ok();
    Both { rate, usage }
}

/// All variants.
pub async fn measure(amqp: &str, count: usize) -> Rates {
    let bodies = bodies(count);
    let (connection, channel) = connect(amqp).await;
    fresh(&channel).await;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    let began = Instant::now();
    publish(&channel, &bodies).await;
    let alone = count as f64 / began.elapsed().as_secs_f64();
    fresh(&channel).await;
    connection.close(200, "done".into()).await.ok();
    Rates {
        publish: alone,
        each: both(amqp, &bodies, 1).await,
        fifty: both(amqp, &bodies, 50).await,
    }
}
