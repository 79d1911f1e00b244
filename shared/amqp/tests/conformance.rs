//! The laws of the queue over a real RabbitMQ. One broker for all; each law has a subnet of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_ports::conformance::queue::{self, HandBack, QueueBench};
use nexis_ports::{Message, Queue, QueueError, Route, Settlement};
use nexis_protocol::Netuid;
use nexis_testkit::{RabbitMq, eventually};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const LIMIT: u32 = 3;
const SOON: Duration = Duration::from_secs(30);

fn options(url: String, netuid: u16) -> AmqpOptions {
    AmqpOptions::new(
        url,
        Topology {
            netuid: Netuid::new(netuid),
            delivery_limit: LIMIT,
        },
    )
}

async fn connect(rabbit: &RabbitMq, netuid: u16) -> AmqpQueue {
    let queue = AmqpQueue::connect(options(rabbit.url(), netuid))
        .await
        .unwrap();
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
async fn the_queue_over_rabbitmq_keeps_the_laws() {
    let mut rabbit = RabbitMq::start();
    let netuid = AtomicU16::new(100);
    queue::run_all(|| async {
        QueueBench {
            queue: connect(&rabbit, netuid.fetch_add(1, Ordering::Relaxed)).await,
            delivery_limit: LIMIT,
            hand_back: HandBack::Free,
        }
    })
    .await;
    a_missing_topology_is_named_and_publishing_into_it_is_unroutable(&rabbit).await;
    applying_twice_is_fine_and_other_arguments_are_refused(&rabbit).await;
    wrong_credentials_are_refused(&rabbit).await;
    a_broker_killed_and_back_loses_nothing_and_consumers_go_on(&mut rabbit).await;
}

async fn a_missing_topology_is_named_and_publishing_into_it_is_unroutable(rabbit: &RabbitMq) {
    let queue = AmqpQueue::connect(options(rabbit.url(), 1)).await.unwrap();
    let refused = queue.verify().await.unwrap_err();
    assert!(matches!(refused, QueueError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("'nexis.1'"), "{refused}");
    assert!(refused.to_string().contains("topology apply"), "{refused}");
    queue.apply().await.unwrap();
    queue.verify().await.unwrap();
    rabbit.ctl(&["delete_queue", "nexis.1.clip"]);
    let missing = queue.verify().await.unwrap_err();
    assert!(missing.to_string().contains("'nexis.1.clip'"), "{missing}");
    let returned = queue
        .publish(Route::Clip, vec![message("a")])
        .await
        .unwrap_err();
    assert!(
        matches!(returned, QueueError::Unroutable("clip")),
        "{returned}"
    );
    queue
        .publish(Route::Miner, vec![message("a")])
        .await
        .unwrap();
}

async fn applying_twice_is_fine_and_other_arguments_are_refused(rabbit: &RabbitMq) {
    let queue = connect(rabbit, 2).await;
    queue.apply().await.unwrap();
    let topology = Topology {
        netuid: Netuid::new(2),
        delivery_limit: LIMIT + 1,
    };
    let other = AmqpQueue::connect(AmqpOptions::new(rabbit.url(), topology))
        .await
        .unwrap();
    let refused = other.apply().await.unwrap_err();
    assert!(matches!(refused, QueueError::Refused(_)), "{refused}");
    queue.verify().await.unwrap();
}

async fn wrong_credentials_are_refused(rabbit: &RabbitMq) {
    let url = rabbit.url().replace("guest:guest", "guest:wrong");
    let refused = AmqpQueue::connect(options(url, 3)).await.err().unwrap();
    assert!(matches!(refused, QueueError::Refused(_)), "{refused}");
}

async fn a_broker_killed_and_back_loses_nothing_and_consumers_go_on(rabbit: &mut RabbitMq) {
    let queue = connect(rabbit, 4).await;
    queue
        .publish(Route::Miner, vec![message("a"), message("b")])
        .await
        .unwrap();
    let mut deliveries = queue.consume(Route::Miner, 1).await.unwrap();
    let held = deliveries.next().await.unwrap();
    rabbit.kill();
    assert!(held.settle(Settlement::Ack).await.is_err());
    let away = queue
        .publish(Route::Miner, vec![message("c")])
        .await
        .unwrap_err();
    assert!(matches!(away, QueueError::Unavailable(_)), "{away}");
    rabbit.start_again();
    eventually(SOON, || async {
        queue
            .publish(Route::Miner, vec![message("c")])
            .await
            .is_ok()
    })
    .await;
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < 3 {
        let next = tokio::time::timeout(SOON, deliveries.next())
            .await
            .unwrap()
            .unwrap();
        ids.insert(next.message.id.clone());
        next.settle(Settlement::Ack).await.unwrap();
    }
    assert!(ids.iter().eq(["a", "b", "c"]));
}
