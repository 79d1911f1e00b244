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
    two_subnets_on_one_broker_do_not_see_each_other(&rabbit).await;
    messages_of_both_versions_are_taken_and_stay_on_queues_of_their_own(&rabbit).await;
    acknowledging_many_at_once_in_any_order_keeps_what_is_still_in_hand(&rabbit).await;
    a_missing_topology_is_named_and_publishing_puts_a_deleted_queue_back(&rabbit).await;
    applying_twice_is_fine_and_other_arguments_are_refused(&rabbit).await;
    wrong_credentials_are_refused(&rabbit).await;
    a_broker_killed_and_back_loses_nothing_and_consumers_go_on(&mut rabbit).await;
}

/// A raw channel: programs of version 2 know only `nexis.NETUID.ROUTE`.
async fn raw(rabbit: &RabbitMq) -> lapin::Channel {
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&rabbit.url(), properties).await;
    connection.unwrap().create_channel().await.unwrap()
}

async fn waits_in(channel: &lapin::Channel, queue: &str) -> u32 {
    let passive = lapin::options::QueueDeclareOptions {
        passive: true,
        ..lapin::options::QueueDeclareOptions::default()
    };
    let found = channel.queue_declare(queue.into(), passive, lapin::types::FieldTable::default());
    found.await.unwrap().message_count()
}

async fn messages_of_both_versions_are_taken_and_stay_on_queues_of_their_own(rabbit: &RabbitMq) {
    const NETUID: u16 = 7;
    let queue = connect(rabbit, NETUID).await;
    let old = raw(rabbit).await;
    let options = lapin::options::BasicPublishOptions::default();
    let properties = lapin::BasicProperties::default().with_message_id("old".into());
    old.basic_publish(
        "nexis.7".into(),
        "clip".into(),
        options,
        b"body",
        properties,
    )
    .await
    .unwrap();
    queue
        .publish(Route::Clip, vec![message("new")])
        .await
        .unwrap();
    let depth = async || queue.depth(Route::Clip).await.unwrap();
    eventually(SOON, async || depth().await == 2).await;

    let mut deliveries = queue.consume(Route::Clip, 1).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..2 {
        let delivery = deliveries.next().await.unwrap();
        taken.push(delivery.message.id.clone());
        let reason = "a reason".to_owned();
        delivery.settle(Settlement::Dead { reason }).await.unwrap();
    }
    deliveries.stop().await.unwrap();
    taken.sort();
    assert_eq!(taken, ["new", "old"]);

    let dead = async || queue.dead_depth(Route::Clip).await.unwrap();
    eventually(SOON, async || dead().await == 2).await;
    assert_eq!(waits_in(&old, "nexis.7.clip.dead").await, 1);
    let shown = queue.dead(Route::Clip, 10).await.unwrap();
    let ids: Vec<&str> = shown.iter().map(|(letter, _)| letter.id.as_str()).collect();
    assert_eq!(ids, ["old", "new"]);
    eventually(SOON, async || dead().await == 2).await;
    assert_eq!(queue.replay(Route::Clip, 10).await.unwrap(), 2);
    for queue in ["nexis.7.clip", "nexis.7.clip.v3"] {
        eventually(SOON, async || waits_in(&old, queue).await == 1).await;
    }
}

async fn two_subnets_on_one_broker_do_not_see_each_other(rabbit: &RabbitMq) {
    let (ours, theirs) = (connect(rabbit, 70).await, connect(rabbit, 71).await);
    ours.publish(Route::Clip, vec![message("ours"), message("dead")])
        .await
        .unwrap();
    assert_eq!(theirs.depth(Route::Clip).await.unwrap(), 0);
    theirs
        .publish(Route::Clip, vec![message("theirs")])
        .await
        .unwrap();
    let mut deliveries = ours.consume(Route::Clip, 10).await.unwrap();
    for (id, settlement) in [
        ("ours", Settlement::Ack),
        (
            "dead",
            Settlement::Dead {
                reason: "foreign".to_owned(),
            },
        ),
    ] {
        let delivery = deliveries.next().await.unwrap();
        assert_eq!(delivery.message.id, id);
        delivery.settle(settlement).await.unwrap();
    }
    assert_eq!(ours.dead_depth(Route::Clip).await.unwrap(), 1);
    assert_eq!(theirs.dead_depth(Route::Clip).await.unwrap(), 0);
    assert_eq!(theirs.purge(Route::Clip).await.unwrap(), 0);
    assert_eq!(theirs.depth(Route::Clip).await.unwrap(), 1);
    assert_eq!(ours.dead_depth(Route::Clip).await.unwrap(), 1);
}

async fn acknowledging_many_at_once_in_any_order_keeps_what_is_still_in_hand(rabbit: &RabbitMq) {
    const MANY: usize = 300;
    let queue = connect(rabbit, 5).await;
    let messages = (0..MANY).map(|n| message(&n.to_string())).collect();
    queue.publish(Route::Clip, messages).await.unwrap();
    let mut deliveries = queue.consume(Route::Clip, 300).await.unwrap();
    let mut held = Vec::new();
    let mut settling = Vec::new();
    for n in 0..MANY {
        let delivery = deliveries.next().await.unwrap();
        if n % 37 == 5 {
            held.push(delivery);
        } else {
            settling.push(delivery);
        }
    }
    // Every other one from the end, so that there is always something open below.
    let mut order = Vec::new();
    while let Some(last) = settling.pop() {
        order.push(last);
        if !settling.is_empty() {
            order.push(settling.remove(0));
        }
    }
    let acks = order.into_iter().map(|one| one.settle(Settlement::Ack));
    for settled in futures::future::join_all(acks).await {
        settled.unwrap();
    }
    // The broker works settlements off some at a time; those it has not got to are lost with the channel.
    let counts = ["list_queues", "name", "messages_unacknowledged"];
    eventually(SOON, || async {
        let lines = rabbit.ctl(&counts);
        lines
            .lines()
            .any(|line| line == format!("nexis.5.clip.v3\t{}", held.len()))
    })
    .await;
    let mut ids: Vec<String> = held.iter().map(|one| one.message.id.clone()).collect();
    drop((held, deliveries));
    eventually(SOON, || async {
        queue.depth(Route::Clip).await.unwrap() == ids.len() as u64
    })
    .await;
    let mut again = queue.consume(Route::Clip, 300).await.unwrap();
    while !ids.is_empty() {
        let delivery = again.next().await.unwrap();
        let at = ids.iter().position(|id| *id == delivery.message.id);
        ids.remove(at.expect("only what was in hand comes again"));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

async fn a_missing_topology_is_named_and_publishing_puts_a_deleted_queue_back(rabbit: &RabbitMq) {
    let queue = AmqpQueue::connect(options(rabbit.url(), 1)).await.unwrap();
    let refused = queue.verify().await.unwrap_err();
    assert!(matches!(refused, QueueError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("'nexis.1'"), "{refused}");
    assert!(refused.to_string().contains("topology apply"), "{refused}");
    queue.apply().await.unwrap();
    queue.verify().await.unwrap();
    rabbit.ctl(&["delete_queue", "nexis.1.clip.v3"]);
    let missing = queue.verify().await.unwrap_err();
    assert!(
        missing.to_string().contains("'nexis.1.clip.v3'"),
        "{missing}"
    );
    for route in [Route::Clip, Route::Miner] {
        queue.publish(route, vec![message("a")]).await.unwrap();
    }
    queue.verify().await.unwrap();
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
    let nameless = rabbit.url().replace("/%2f", "/");
    let refused = AmqpQueue::connect(options(nameless, 3))
        .await
        .err()
        .unwrap();
    assert!(refused.to_string().contains("write /%2f"), "{refused}");
    assert!(!refused.to_string().contains("'guest'"), "{refused}");
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
