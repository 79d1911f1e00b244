//! Ready follows broker and board; live asks nobody.

use crate::process::{Worker, broker};
use nexis_ports::Queue;
use nexis_testkit::{RabbitMq, Redis};

#[tokio::test]
async fn a_worker_is_ready_while_broker_and_board_answer_and_live_all_the_time() {
    let mut rabbit = RabbitMq::start();
    let mut redis = Redis::start();
    let folder = tempfile::tempdir().expect("a throw-away folder");
    broker(&rabbit).await.close().await;
    redis.kill();
    let worker = Worker::start(folder.path(), &rabbit.url(), &redis.url());
    worker.shows("/readyz", "\nboard: ").await;
    assert!(worker.page("/startupz").starts_with("HTTP/1.1 503"));
    assert!(worker.page("/livez").starts_with("HTTP/1.1 200"));
    redis.start_again();
    worker.shows("/readyz", "HTTP/1.1 200").await;
    assert!(worker.page("/startupz").starts_with("HTTP/1.1 200"));

    // Gone, and there but silent.
    redis.kill();
    worker.shows("/readyz", "\nboard: ").await;
    assert!(worker.page("/readyz").starts_with("HTTP/1.1 503"));
    assert!(worker.page("/livez").starts_with("HTTP/1.1 200"));
    redis.start_again();
    worker.shows("/readyz", "HTTP/1.1 200").await;
    redis.pause();
    worker.shows("/readyz", "board: no answer within").await;
    assert!(worker.page("/livez").starts_with("HTTP/1.1 200"));
    redis.resume();
    worker.shows("/readyz", "HTTP/1.1 200").await;

    rabbit.kill();
    worker.shows("/readyz", "\nbroker: ").await;
    assert!(worker.page("/readyz").starts_with("HTTP/1.1 503"));
    assert!(worker.page("/livez").starts_with("HTTP/1.1 200"));
    rabbit.start_again();
    worker.shows("/readyz", "HTTP/1.1 200").await;
    let connections = worker.page("/metrics");
    assert!(
        // One to consume and one to publish, each made twice.
        connections.contains("nexis_queue_connections_total 4"),
        "{connections}"
    );

    refusals_and_alarms_are_named(&worker, &rabbit, &redis).await;
}

/// Servers that answer and do not take what comes next.
async fn refusals_and_alarms_are_named(worker: &Worker, rabbit: &RabbitMq, redis: &Redis) {
    worker.shows("/readyz", "HTTP/1.1 200").await;
    for (begin, end, why) in [
        (
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
            "maxmemory",
        ),
        (
            "REPLICAOF 127.0.0.1 1",
            "REPLICAOF NO ONE",
            "read only replica",
        ),
        (
            "CONFIG SET maxmemory-policy allkeys-lru",
            "CONFIG SET maxmemory-policy noeviction",
            "allkeys-lru",
        ),
    ] {
        redis.ask(begin);
        worker.shows("/readyz", why).await;
        assert!(worker.page("/readyz").contains("\nboard: "), "{why}");
        redis.ask(end);
        worker.shows("/readyz", "HTTP/1.1 200").await;
    }

    rabbit.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
    worker
        .shows(
            "/readyz",
            "broker: the broker blocks publishers: low on memory",
        )
        .await;
    worker.says("alert: the broker blocks publishers").await;
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.9"]);
    worker.shows("/readyz", "HTTP/1.1 200").await;

    // A queue that is deleted: the worker says which command mends it, waits, and consumes again.
    let names = rabbit.ctl(&["list_queues", "name"]);
    for name in names
        .lines()
        .filter(|name| name.starts_with("nexis.70.clip"))
    {
        rabbit.ctl(&["delete_queue", name]);
    }
    worker.shows("/readyz", "topology apply").await;
    worker.says("alert: cannot consume").await;
    let queue = broker(rabbit).await;
    worker.shows("/readyz", "HTTP/1.1 200").await;
    nexis_testkit::eventually(std::time::Duration::from_secs(30), async || {
        queue
            .consumers(nexis_ports::Route::Clip)
            .await
            .is_ok_and(|count| count > 0)
    })
    .await;
    queue.close().await;
}
