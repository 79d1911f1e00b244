//! What the binary says and how it ends when the outside is not as it should be.

use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_ports::{Message, Queue, Route, Settlement};
use nexis_protocol::Netuid;
use nexis_testkit::{RabbitMq, Redis, eventually, free_port};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const CONFIG: i32 = 78;

fn scheduler(folder: &Path, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexis-scheduler"));
    command
        .env_clear()
        .env("HOME", folder)
        .env("NEXIS_WORKDIR", folder);
    command
        .envs(env.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// The last line that was said.
fn sentence(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().last().unwrap_or_default().to_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a throw-away folder")
}

/// Ends the child when the test fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_missing_wallet_ends_the_start_with_one_sentence() {
    let folder = folder();
    let env = [
        ("NEXIS_AMQP_URL", "amqp://127.0.0.1:1"),
        ("NEXIS_REDIS_URL", "redis://127.0.0.1:1"),
    ];
    let output = scheduler(folder.path(), &env).output().expect("it runs");
    assert_eq!(output.status.code(), Some(CONFIG), "{output:?}");
    assert!(
        sentence(&output).contains("BT_WALLET_NAME"),
        "{}",
        sentence(&output)
    );
}

#[test]
fn an_unknown_command_is_a_usage_error_and_help_is_not() {
    let folder = folder();
    for (argument, code) in [("frobnicate", 64), ("--help", 0), ("--version", 0)] {
        let output = scheduler(folder.path(), &[])
            .arg(argument)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{argument}");
    }
}

#[test]
fn a_broker_that_is_not_set_ends_the_start() {
    let folder = folder();
    let output = scheduler(folder.path(), &[])
        .args(["topology", "verify"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(CONFIG));
    assert!(
        sentence(&output).contains("NEXIS_AMQP_URL is not set"),
        "{}",
        sentence(&output)
    );
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_aloud_and_a_signal_ends_the_waiting() {
    let folder = folder();
    let url = format!("amqp://u:hidden@127.0.0.1:{}", free_port());
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).expect("a log file");
    let mut command = scheduler(folder.path(), &[("NEXIS_AMQP_URL", &url)]);
    let child = command
        .args(["topology", "apply"])
        .stderr(file)
        .spawn()
        .expect("it starts");
    let mut child = Guard(child);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually(Duration::from_secs(20), async || {
        said().contains("waiting for the broker")
    })
    .await;
    assert!(!said().contains("hidden"), "{}", said());
    let pid = Pid::from_raw(i32::try_from(child.0.id()).expect("small")).expect("not 0");
    kill_process(pid, Signal::INT).expect("it is there");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(status) = child.0.try_wait().expect("ours") {
            assert_eq!(status.code(), Some(75));
            return;
        }
        assert!(Instant::now() < end, "it goes on waiting");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn topology_is_applied_verified_and_missed_wrong_credentials_are_told_and_dead_letters_looked_after()
 {
    let rabbit = RabbitMq::start();
    let redis = Redis::start();
    let folder = folder();
    let (url, board) = (rabbit.url(), redis.url());
    let env = [
        ("NEXIS_AMQP_URL", url.as_str()),
        ("NEXIS_REDIS_URL", board.as_str()),
    ];
    let topology = |what: &str, env: &[(&str, &str)]| {
        scheduler(folder.path(), env)
            .args(["topology", what])
            .output()
            .expect("it runs")
    };
    let missing = topology("verify", &env);
    assert_eq!(missing.status.code(), Some(CONFIG), "{missing:?}");
    assert!(
        sentence(&missing).contains("run `nexis-scheduler topology apply`"),
        "{missing:?}"
    );
    for what in ["apply", "apply", "verify"] {
        let output = topology(what, &env);
        assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
        // Nothing but the answer: the connection ends in good order.
        assert!(output.stderr.is_empty(), "{what}: {output:?}");
    }
    // Another subnet on the same broker has queues of its own.
    let other = [env.as_slice(), &[("NEXIS_NETUID", "71")]].concat();
    assert_eq!(topology("verify", &other).status.code(), Some(CONFIG));
    let wrong = url.replace("guest:guest", "guest:wrong-password");
    let refused = topology("verify", &[("NEXIS_AMQP_URL", &wrong)]);
    assert_eq!(refused.status.code(), Some(CONFIG), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("refuses us, check NEXIS_AMQP_URL"), "{said}");
    assert!(!said.contains("wrong-password"), "{said}");

    let dead = |arguments: &[&str]| {
        let output = scheduler(folder.path(), &env)
            .arg("dead")
            .args(arguments)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(dead(&["list"]), "no dead letters\n");
    let queue = bury_two(&url).await;
    let listed = "clip\t0\t4 bytes\tforeign: not ours\nclip\t1\t4 bytes\tforeign: not ours\n";
    assert_eq!(dead(&["list"]), listed);
    assert_eq!(dead(&["list", "--queue", "miner"]), "no dead letters\n");
    let replayed = dead(&["replay", "--limit", "1"]);
    assert_eq!(replayed, "1 dead letters published again\n");
    eventually(Duration::from_secs(20), async || {
        queue.depth(Route::Clip).await.expect("it answers") == 1
    })
    .await;
    assert_eq!(dead(&["purge"]), "1 dead letters thrown away\n");
    assert_eq!(dead(&["list"]), "no dead letters\n");
}

/// Two dead letters on the clip queue.
async fn bury_two(url: &str) -> AmqpQueue {
    let options = AmqpOptions::new(url, Topology::new(Netuid::new(70)));
    let queue = AmqpQueue::connect(options).await.expect("the broker is up");
    let messages = (0..2).map(|id| Message {
        id: id.to_string(),
        body: b"body".to_vec(),
        trace: None,
    });
    let published = queue.publish(Route::Clip, messages.collect()).await;
    published.expect("published");
    let mut deliveries = queue.consume(Route::Clip, 1).await.expect("a consumer");
    for _ in 0..2 {
        let delivery = deliveries.next().await.expect("a message");
        let reason = "foreign: not ours".to_owned();
        let buried = delivery.settle(Settlement::Dead { reason }).await;
        buried.expect("buried");
    }
    drop(deliveries);
    queue
}
