//! Ready follows broker and board; live asks nobody.

use crate::process::{Worker, broker};
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
}
