//! What a look at the topology finds, and what happens when a part of it goes. One broker; each case has a subnet.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue, Verified};
use nexis_ports::{FaultClass, Message, Queue, QueueError, Route, Settlement};
use nexis_protocol::Netuid;
use nexis_testkit::{RabbitMq, eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn options(url: &str, netuid: u16) -> AmqpOptions {
    AmqpOptions::new(url, Topology::new(Netuid::new(netuid)))
}

async fn connect(url: &str, netuid: u16) -> AmqpQueue {
    AmqpQueue::connect(options(url, netuid)).await.unwrap()
}

async fn channel(rabbit: &RabbitMq) -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&rabbit.url(), properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// A user of these rights (configure, write, read); gives the address.
fn user(rabbit: &RabbitMq, name: &str, rights: [&str; 3]) -> String {
    rabbit.ctl(&["add_user", name, "secret"]);
    rabbit.ctl(&[&["set_permissions", name], rights.as_slice()].concat());
    rabbit
        .url()
        .replace("guest:guest", &format!("{name}:secret"))
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: b"body".to_vec(),
        trace: None,
    }
}

/// The names of the queues of a subnet, those of dead letters last.
fn queues(rabbit: &RabbitMq, netuid: u16) -> Vec<String> {
    let listed = rabbit.ctl(&["list_queues", "name"]);
    let ours = |name: &&str| name.starts_with(&format!("nexis.{netuid}."));
    let mut names: Vec<String> = listed.lines().filter(ours).map(str::to_owned).collect();
    names.sort_by_key(|name| name.ends_with(".dead"));
    names
}

#[tokio::test]
async fn the_topology_is_compared_and_put_back() {
    let rabbit = RabbitMq::start();
    plain_queues_under_our_names_are_not_taken_for_ours(&rabbit).await;
    another_limit_is_found(&rabbit).await;
    a_queue_that_is_not_bound_is_bound_again(&rabbit).await;
    a_user_that_may_not_declare_sees_names_only(&rabbit).await;
    missing_rights_are_found_before_they_are_needed(&rabbit).await;
    a_deleted_queue_is_declared_again_by_who_publishes_and_waited_for_by_who_consumes(&rabbit)
        .await;
    dead_letters_that_were_shown_can_be_replayed_at_once(&rabbit).await;
}

async fn plain_queues_under_our_names_are_not_taken_for_ours(rabbit: &RabbitMq) {
    let queue = connect(&rabbit.url(), 1).await;
    queue.apply().await.unwrap();
    assert_eq!(queue.verify().await.unwrap(), Verified::Complete);
    let (_connection, channel) = channel(rabbit).await;
    // One for jobs and one for dead letters stand for all.
    let names = queues(rabbit, 1);
    for name in [names.first().unwrap(), names.last().unwrap()] {
        rabbit.ctl(&["delete_queue", name]);
        let durable = QueueDeclareOptions::durable();
        channel
            .queue_declare(name.as_str().into(), durable, FieldTable::default())
            .await
            .unwrap();
        for refused in [
            queue.verify().await.unwrap_err(),
            queue.apply().await.unwrap_err(),
        ] {
            let said = refused.to_string();
            assert!(matches!(refused, QueueError::Refused(_)), "{said}");
            assert!(
                said.contains(&format!("queue '{name}'")) && said.contains("delete it"),
                "{said}"
            );
        }
        rabbit.ctl(&["delete_queue", name]);
        queue.apply().await.unwrap();
    }
}

async fn another_limit_is_found(rabbit: &RabbitMq) {
    connect(&rabbit.url(), 2).await.apply().await.unwrap();
    let topology = Topology {
        netuid: Netuid::new(2),
        delivery_limit: 7,
    };
    let other = AmqpQueue::connect(AmqpOptions::new(rabbit.url(), topology))
        .await
        .unwrap();
    let said = other.verify().await.unwrap_err().to_string();
    assert!(said.contains("x-delivery-limit"), "{said}");
}

async fn a_queue_that_is_not_bound_is_bound_again(rabbit: &RabbitMq) {
    let queue = connect(&rabbit.url(), 3).await;
    queue.apply().await.unwrap();
    let (_connection, channel) = channel(rabbit).await;
    let bindings = || {
        let listed = rabbit.ctl(&[
            "list_bindings",
            "source_name",
            "destination_name",
            "routing_key",
        ]);
        let mut ours: Vec<String> = listed
            .lines()
            .filter(|line| line.starts_with("nexis.3"))
            .map(str::to_owned)
            .collect();
        ours.sort();
        ours
    };
    let all = bindings();
    for binding in &all {
        let [exchange, name, key] = binding.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{binding}");
        };
        let none = FieldTable::default();
        channel
            .queue_unbind(name.into(), exchange.into(), key.into(), none)
            .await
            .unwrap();
    }
    assert_eq!(queue.verify().await.unwrap(), Verified::Complete);
    assert_eq!(bindings(), all);
}

async fn a_user_that_may_not_declare_sees_names_only(rabbit: &RabbitMq) {
    let url = user(rabbit, "reader", ["^$", "^$", ".*"]);
    let reader = connect(&url, 4).await;
    let said = reader.verify().await.unwrap_err().to_string();
    assert!(
        said.contains("exchange 'nexis.4'") && said.contains("topology apply"),
        "{said}"
    );
    connect(&rabbit.url(), 4).await.apply().await.unwrap();
    assert_eq!(reader.verify().await.unwrap(), Verified::NamesOnly);
    let said = reader.apply().await.unwrap_err().to_string();
    assert!(
        said.contains("may not declare") && !said.contains("'reader'"),
        "{said}"
    );
    // What exists and is another thing does not show to this user.
    let name = queues(rabbit, 4).pop().unwrap();
    rabbit.ctl(&["delete_queue", &name]);
    let said = reader.verify().await.unwrap_err().to_string();
    assert!(said.contains(&name), "{said}");
}

async fn missing_rights_are_found_before_they_are_needed(rabbit: &RabbitMq) {
    connect(&rabbit.url(), 5).await.apply().await.unwrap();
    // The least that a worker needs, and each right less.
    for (name, rights, publishes, buries, consumes) in [
        (
            "least",
            ["^$", r"^nexis\.5(\.dead)?$", r"^nexis\.5\..*$"],
            true,
            true,
            true,
        ),
        ("mute", ["^$", r"^nexis\.5\.dead$", ".*"], false, true, true),
        ("unburied", ["^$", r"^nexis\.5$", ".*"], true, false, true),
        ("deaf", ["^$", ".*", "^$"], true, true, false),
    ] {
        let queue = connect(&user(rabbit, name, rights), 5).await;
        queue.verify().await.unwrap();
        let asked = [
            (queue.health().await, publishes),
            (queue.may_bury().await, buries),
            (queue.consume(Route::Miner, 1).await.map(|_| ()), consumes),
        ];
        for (answer, may) in asked {
            assert_eq!(answer.is_ok(), may, "{name}: {answer:?}");
            if let Err(fault) = answer {
                assert_eq!(fault.class(), FaultClass::Permanent, "{name}: {fault}");
                assert!(fault.to_string().contains("nexis.5"), "{name}: {fault}");
            }
        }
    }
}

async fn a_deleted_queue_is_declared_again_by_who_publishes_and_waited_for_by_who_consumes(
    rabbit: &RabbitMq,
) {
    let scheduler = connect(&rabbit.url(), 6).await;
    scheduler.apply().await.unwrap();
    let worker = connect(&user(rabbit, "worker", ["^$", ".*", ".*"]), 6).await;
    let mut deliveries = worker.consume(Route::Clip, 1).await.unwrap();
    let waiting = tokio::spawn(async move { (deliveries.next().await, deliveries) });
    for name in queues(rabbit, 6) {
        rabbit.ctl(&["delete_queue", &name]);
    }
    let lost = worker
        .publish(Route::Clip, vec![message("a")])
        .await
        .unwrap_err();
    assert!(matches!(lost, QueueError::Unroutable("clip")), "{lost}");
    assert!(lost.to_string().contains("topology apply"), "{lost}");
    assert_eq!(lost.class(), FaultClass::Transient);
    scheduler
        .publish(Route::Clip, vec![message("a")])
        .await
        .unwrap();
    let (next, _deliveries) = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    let next = next.unwrap();
    assert_eq!(next.message.id, "a");
    next.settle(Settlement::Ack).await.unwrap();
    assert_eq!(scheduler.verify().await.unwrap(), Verified::Complete);
}

async fn dead_letters_that_were_shown_can_be_replayed_at_once(rabbit: &RabbitMq) {
    const MANY: u64 = 50;
    let queue = connect(&rabbit.url(), 7).await;
    queue.apply().await.unwrap();
    let messages = (0..MANY).map(|n| message(&n.to_string()));
    queue
        .publish(Route::Clip, messages.collect())
        .await
        .unwrap();
    for _ in 0..10 {
        let mut deliveries = queue.consume(Route::Clip, 50).await.unwrap();
        for _ in 0..MANY {
            let delivery = deliveries.next().await.unwrap();
            let reason = "foreign: not ours".to_owned();
            delivery.settle(Settlement::Dead { reason }).await.unwrap();
        }
        drop(deliveries);
        eventually(SOON, async || {
            queue.dead_depth(Route::Clip).await.unwrap() == MANY
        })
        .await;
        assert_eq!(
            queue.dead(Route::Clip, 100).await.unwrap().len() as u64,
            MANY
        );
        assert_eq!(queue.replay(Route::Clip, MANY).await.unwrap(), MANY);
    }
}
