//! The servers come up, go away and leave nothing behind.

use nexis_testkit::{RabbitMq, Redis, RedisCluster, eventually};
use std::net::TcpStream;
use std::time::Duration;

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn redis_keeps_its_data_over_a_kill_and_ends_with_its_handle() {
    let mut redis = Redis::start();
    assert!(redis.ask("SET a 1").starts_with("+OK"));
    redis.kill();
    assert!(!listens(redis.port()));
    redis.start_again();
    assert!(redis.ask("GET a").contains('1'));
    let port = redis.port();
    drop(redis);
    assert!(!listens(port));
}

#[tokio::test]
async fn a_cluster_refuses_keys_of_two_slots_and_each_key_has_one_owner() {
    let cluster = RedisCluster::start().await;
    let answers = |command: &str| -> Vec<String> {
        let each = cluster.nodes.iter();
        each.map(|node| node.ask(command)[..3].to_owned()).collect()
    };
    let mut same_slot = answers("MSET {a}1 x {a}2 y");
    same_slot.sort();
    assert_eq!(same_slot, ["+OK", "-MO", "-MO"]);
    assert_eq!(answers("MSET {a}1 x {b}2 y"), ["-CR"; 3]);
}

#[test]
fn rabbit_comes_up_twice_and_ends_with_its_handle() {
    let mut rabbit = RabbitMq::start();
    assert!(rabbit.vhost("apart").ends_with("/apart"));
    assert!(rabbit.ctl(&["list_vhosts"]).contains("apart"));
    rabbit.kill();
    assert!(!listens(rabbit.port()));
    rabbit.start_again();
    assert!(
        rabbit.ctl(&["list_vhosts"]).contains("apart"),
        "its data is still there"
    );
    let port = rabbit.port();
    drop(rabbit);
    assert!(!listens(port));
}

#[tokio::test]
#[should_panic(expected = "not so within")]
async fn waiting_in_vain_is_a_panic() {
    eventually(Duration::from_millis(50), || async { false }).await;
}
