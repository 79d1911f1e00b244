use crate::child::{Server, Site, free_port, program};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tempfile::TempDir;

/// A Redis server of its own, with an append-only file so that a restart keeps what it held.
pub struct Redis {
    server: Option<Server>,
    folder: TempDir,
    port: u16,
    cluster: bool,
    site: Site,
    more: Vec<String>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::begin(false, Site::default(), &[])
    }

    /// Starts one with more options, such as `--maxmemory 4mb`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::begin(false, Site::default(), options)
    }

    /// The same, in another network namespace.
    pub fn start_at(site: Site) -> Self {
        Self::begin(false, site, &[])
    }

    /// Starts one in cluster mode that owns no slots yet.
    pub(crate) fn start_node() -> Self {
        Self::begin(true, Site::default(), &[])
    }

    fn begin(cluster: bool, site: Site, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a throw-away folder");
        // The cluster bus listens 10,000 above.
        let port = if cluster {
            crate::free_port_with_grpc()
        } else {
            free_port()
        };
        let mut redis = Self {
            server: None,
            folder,
            port,
            cluster,
            site,
            more: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        redis.start_again();
        redis
    }

    /// Its address as a client takes it.
    pub fn url(&self) -> String {
        format!("redis://{}:{}", self.site.address, self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as kill -9 does.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it on the same port with the same data.
    pub fn start_again(&mut self) {
        self.kill();
        let port = self.port.to_string();
        let folder = self.folder.path().display().to_string();
        let address = self.site.address.to_string();
        let cluster = if self.cluster { "yes" } else { "no" };
        let usual = [
            "--port",
            &port,
            "--bind",
            &address,
            "--protected-mode",
            "no",
            "--dir",
            &folder,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--cluster-enabled",
            cluster,
            "--cluster-node-timeout",
            "3000",
        ];
        let more = self.more.iter().map(String::as_str);
        let arguments: Vec<&str> = usual.into_iter().chain(more).collect();
        let server = Server::spawn(
            ("redis-server", self.port),
            &self.site.wrapper,
            &program(
                &["/usr/bin/redis-server", "/usr/local/bin/redis-server"],
                "redis-server",
            ),
            &arguments,
            &[],
            &self.folder.path().join("log"),
        );
        let up = Duration::from_secs(20);
        server.wait_until(up, || self.ask("PING").starts_with("+PONG"));
        self.server = Some(server);
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(server) = &self.server {
            server.signal(signal);
        }
    }

    /// Sends one inline command; gives the raw answer, empty when there was none.
    pub fn ask(&self, command: &str) -> String {
        let ask = || {
            let mut stream = TcpStream::connect((self.site.address, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(command.as_bytes())?;
            stream.write_all(b"\r\nQUIT\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ask().unwrap_or_default()
    }
}
