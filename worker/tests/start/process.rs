use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_protocol::Netuid;
use nexis_testkit::{RabbitMq, eventually, free_port};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const CONFIG: i32 = 78;

/// The queue of the usual subnet, with its topology.
pub async fn broker(rabbit: &RabbitMq) -> AmqpQueue {
    let options = AmqpOptions::new(rabbit.url(), Topology::new(Netuid::new(70)));
    let broker = AmqpQueue::connect(options).await.expect("the broker is up");
    broker.apply().await.expect("it takes the topology");
    broker
}

/// A worker with its log; ends with the test.
pub struct Worker {
    child: Child,
    log: std::path::PathBuf,
    page: u16,
}

impl Worker {
    pub fn start(folder: &Path, amqp: &str, redis: &str) -> Self {
        Self::start_with(folder, amqp, redis, &[])
    }

    /// The same with further settings; each of several workers needs a folder of its own.
    pub fn start_with(folder: &Path, amqp: &str, redis: &str, env: &[(&str, &str)]) -> Self {
        let log = folder.join("log");
        let file = std::fs::File::create(&log).expect("a log file");
        let page = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_nexis-worker"))
            .env_clear()
            .env("HOME", folder)
            .env("NEXIS_AMQP_URL", amqp)
            .env("NEXIS_REDIS_URL", redis)
            .env("NEXIS_HEALTH_LISTEN", format!("127.0.0.1:{page}"))
            // The store is only asked whether it takes connections.
            .env("NEXIS_R2_ENDPOINT", format!("http://127.0.0.1:{page}"))
            .env("NEXIS_LOG_FORMAT", "json")
            .env("NEXIS_LOG_LEVEL", "debug")
            .envs(env.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("it starts");
        Self { child, log, page }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn says(&self, what: &str) {
        eventually(Duration::from_secs(30), async || self.said().contains(what)).await;
    }

    pub async fn ends_with(&mut self, code: i32) {
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
    pub async fn is_refused(&mut self, setting: &str) {
        self.ends_with(CONFIG).await;
        let said = self.said();
        assert!(said.contains(&format!("check {setting}")), "{said}");
        assert!(!said.contains("wrong-password"), "{said}");
    }

    /// What the health page says: status line, headers, body; empty while there is no page.
    pub fn page(&self, path: &str) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.page))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ask().unwrap_or_default()
    }

    /// Waits until the page says so.
    pub async fn shows(&self, path: &str, what: &str) {
        eventually(Duration::from_secs(60), async || {
            self.page(path).contains(what)
        })
        .await;
    }

    pub fn terminate(&self) {
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
