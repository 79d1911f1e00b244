//! A broker in trouble: alarms. One broker for all cases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_ports::{FaultClass, Message, Queue, QueueError, Route, Settlement};
use nexis_protocol::Netuid;
use nexis_testkit::{RabbitMq, eventually};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(25);
/// Far below the time limit of a call: who is blocked learns it at once.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn connect(rabbit: &RabbitMq, netuid: u16) -> AmqpQueue {
    let options = AmqpOptions::new(rabbit.url(), Topology::new(Netuid::new(netuid)));
    let queue = AmqpQueue::connect(options).await.unwrap();
    queue.apply().await.unwrap();
    queue
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: b"body".to_vec(),
        trace: None,
    }
}

#[tokio::test]
async fn a_port_that_does_not_speak_amqp_is_reported_within_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let topology = Topology::new(Netuid::new(70));
    let began = Instant::now();
    let connected = AmqpQueue::connect(AmqpOptions::new(
        format!("amqp://127.0.0.1:{port}"),
        topology,
    ));
    let fault = connected.await.err().unwrap();
    assert!(matches!(fault, QueueError::Unavailable(_)), "{fault}");
    assert!(
        fault.to_string().contains("does this port speak AMQP?"),
        "{fault}"
    );
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_broker_in_trouble_is_named_and_waited_out() {
    let rabbit = RabbitMq::start();
    an_alarm_is_named_and_only_publishing_waits(&rabbit).await;
}

async fn an_alarm_is_named_and_only_publishing_waits(rabbit: &RabbitMq) {
    let queue = connect(rabbit, 1).await;
    let two = vec![message("a"), message("b")];
    queue.publish(Route::Clip, two).await.unwrap();
    let mut deliveries = queue.consume(Route::Clip, 1).await.unwrap();
    let held = deliveries.next().await.unwrap();
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.00001"]);

    let began = Instant::now();
    let refused = queue.publish(Route::Clip, vec![message("c")]).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, QueueError::Blocked(_)), "{refused}");
    assert!(refused.to_string().contains("low on memory"), "{refused}");
    assert_eq!(refused.class(), FaultClass::Transient);
    let sick = queue.health().await.unwrap_err();
    assert!(matches!(sick, QueueError::Blocked(_)), "{sick}");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());

    // Work goes on: what is done is acknowledged, the next message comes, depths are known.
    held.settle(Settlement::Ack).await.unwrap();
    let next = tokio::time::timeout(SOON, deliveries.next()).await;
    let next = next.unwrap().unwrap();
    assert_eq!(next.message.id, "b");
    queue.depth(Route::Clip).await.unwrap();

    // A dead letter is a publishing: it waits for the end of the alarm, and arrives.
    let reason = "foreign: not ours".to_owned();
    let ((), buried) = tokio::join!(
        async {
            rabbit.ctl(&["set_vm_memory_high_watermark", "0.9"]);
        },
        next.settle(Settlement::Dead { reason })
    );
    buried.unwrap();
    eventually(SOON, async || queue.health().await.is_ok()).await;
    queue
        .publish(Route::Miner, vec![message("d")])
        .await
        .unwrap();
    assert_eq!(queue.dead_depth(Route::Clip).await.unwrap(), 1);
}
