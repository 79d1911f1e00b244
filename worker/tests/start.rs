//! What the binary says and how it ends when the outside is not as it should be, and how it stops.

#[path = "start/messages.rs"]
mod messages;
#[path = "start/process.rs"]
mod process;
#[path = "start/readiness.rs"]
mod readiness;
#[path = "start/stores.rs"]
mod stores;

use nexis_testkit::{RabbitMq, Redis};
use process::{CONFIG, Worker, broker};

#[tokio::test]
async fn what_is_wrong_ends_the_start_and_what_is_away_is_waited_for() {
    let rabbit = RabbitMq::start();
    let mut redis = Redis::start();
    let folder = tempfile::tempdir().expect("a throw-away folder");
    let start = |amqp: &str, redis: &str| Worker::start(folder.path(), amqp, redis);

    let mut worker = start(&rabbit.url(), &redis.url());
    worker.ends_with(CONFIG).await;
    assert!(
        worker
            .said()
            .contains("run `nexis-scheduler topology apply`"),
        "{}",
        worker.said()
    );

    let wrong = rabbit.url().replace("guest:guest", "guest:wrong-password");
    let mut worker = start(&wrong, &redis.url());
    worker.is_refused("NEXIS_AMQP_URL").await;

    broker(&rabbit).await;

    let denied = redis
        .url()
        .replace("redis://", "redis://somebody:wrong-password@");
    let mut worker = start(&rabbit.url(), &denied);
    worker.is_refused("NEXIS_REDIS_URL").await;

    redis.kill();
    let mut worker = start(&rabbit.url(), &redis.url());
    worker.says("waiting for the board").await;
    redis.start_again();
    worker.says("worker started").await;
    worker.terminate();
    worker.ends_with(0).await;

    redis.kill();
    let mut worker = start(&rabbit.url(), &redis.url());
    worker.says("waiting for the board").await;
    worker.terminate();
    worker.ends_with(0).await;
}
