//! What the binary says and how it ends when the outside is not as it should be, and how it stops.

use nexis_testkit::{RabbitMq, Redis, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const CONFIG: i32 = 78;

/// A worker with its log; ends with the test.
struct Worker {
    child: Child,
    log: std::path::PathBuf,
}

impl Worker {
    fn start(folder: &Path, amqp: &str, redis: &str) -> Self {
        let log = folder.join("log");
        let file = std::fs::File::create(&log).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_nexis-worker"))
            .env_clear()
            .env("HOME", folder)
            .env("NEXIS_AMQP_URL", amqp)
            .env("NEXIS_REDIS_URL", redis)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("it starts");
        Self { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn says(&self, what: &str) {
        eventually(Duration::from_secs(30), async || self.said().contains(what)).await;
    }

    async fn ends_with(&mut self, code: i32) {
        let mut ended = None;
        let child = &mut self.child;
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while ended.is_none() && tokio::time::Instant::now() < end {
            ended = child.try_wait().expect("ours");
            tokio::task::yield_now().await;
        }
        assert_eq!(
            ended.and_then(|status| status.code()),
            Some(code),
            "{}",
            self.said()
        );
    }

    /// It ends with the name of the setting to look at, and keeps the password to itself.
    async fn is_refused(&mut self, setting: &str) {
        self.ends_with(CONFIG).await;
        let said = self.said();
        assert!(said.contains(&format!("check {setting}")), "{said}");
        assert!(!said.contains("wrong-password"), "{said}");
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("small")).expect("not 0");
        kill_process(pid, Signal::TERM).expect("it is there");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

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

    let netuid = nexis_protocol::Netuid::new(70);
    let topology = nexis_amqp::topology::Topology::new(netuid);
    let options = nexis_amqp::AmqpOptions::new(rabbit.url(), topology);
    let broker = nexis_amqp::AmqpQueue::connect(options)
        .await
        .expect("the broker is up");
    broker.apply().await.expect("it takes the topology");

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
