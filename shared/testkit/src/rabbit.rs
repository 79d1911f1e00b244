use crate::child::{Server, Site, free_port, program};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Erlang starts, then the broker with its stores: 5 to 15 s on two quiet cores.
const UP: Duration = Duration::from_secs(120);

/// A RabbitMQ broker of its own. Starting takes 5 to 15 s: one per suite, tests apart by netuid or by
/// virtual host.
pub struct RabbitMq {
    broker: Option<Server>,
    /// Erlang's name server; our own, because the broker would leave one running behind.
    _names: Server,
    folder: TempDir,
    port: u16,
    distribution_port: u16,
    names_port: u16,
    site: Site,
    config: String,
}

impl RabbitMq {
    /// Starts one and waits until it speaks AMQP.
    pub fn start() -> Self {
        Self::start_at(Site::default())
    }

    /// The same, in another network namespace.
    pub fn start_at(site: Site) -> Self {
        Self::begin(site, "")
    }

    /// Starts one with more lines in its configuration, such as a listener for TLS.
    pub fn start_with(config: &str) -> Self {
        Self::begin(Site::default(), config)
    }

    fn begin(site: Site, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a throw-away folder");
        let names_port = free_port();
        let names = Server::spawn(
            ("epmd", names_port),
            &site.wrapper,
            &program(&["/usr/bin/epmd", "/usr/local/bin/epmd"], "erlang-base"),
            &["-port", &names_port.to_string(), "-address", "127.0.0.1"],
            &[],
            &folder.path().join("epmd.log"),
        );
        let mut rabbit = Self {
            broker: None,
            _names: names,
            folder,
            port: free_port(),
            distribution_port: free_port(),
            names_port,
            site,
            config: config.to_owned(),
        };
        rabbit.start_again();
        rabbit
    }

    /// Its address as a client takes it, on the virtual host that exists from the start.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}:{}/%2f", self.site.address, self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a virtual host that the guest user may use; gives its address. Takes some seconds.
    pub fn vhost(&self, name: &str) -> String {
        self.ctl(&["add_vhost", name]);
        self.ctl(&["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]);
        let address = self.site.address;
        format!("amqp://guest:guest@{address}:{}/{name}", self.port)
    }

    /// Runs `rabbitmqctl`; gives what it printed, panics when it failed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = self.site.command(&tool("rabbitmqctl"));
        let output = command
            .arg("--quiet")
            .args(arguments)
            .envs(self.environment())
            .output()
            .expect("rabbitmqctl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {said}{complaint}"
        );
        said
    }

    /// Ends it as kill -9 does.
    pub fn kill(&mut self) {
        self.broker = None;
    }

    /// Starts it on the same port with the same data.
    pub fn start_again(&mut self) {
        self.kill();
        let path = |name: &str| self.folder.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::write(path(name), text).expect("a file in the throw-away folder");
        };
        write("plugins", "[].\n");
        // Test machines are small and full; the broker's own limits would block publishers.
        write(
            "rabbitmq.conf",
            &format!(
                "disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 1GB\n\
                 loopback_users = none\n{}",
                self.config
            ),
        );
        let broker = Server::spawn(
            ("rabbitmq-server", self.port),
            &self.site.wrapper,
            &tool("rabbitmq-server"),
            &[] as &[&str],
            &self.environment(),
            &path("broker.log"),
        );
        broker.wait_until(UP, || self.speaks_amqp().is_ok());
        self.broker = Some(broker);
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
        if let Some(broker) = &self.broker {
            broker.signal(signal);
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let folder: &Path = self.folder.path();
        let path = |name: &str| folder.join(name).display().to_string();
        vec![
            ("HOME", folder.display().to_string()),
            ("RABBITMQ_NODENAME", format!("nexis{}@localhost", self.port)),
            ("RABBITMQ_NODE_IP_ADDRESS", self.site.address.to_string()),
            ("RABBITMQ_NODE_PORT", self.port.to_string()),
            ("RABBITMQ_DIST_PORT", self.distribution_port.to_string()),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", path("logs")),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            // An idle broker must not eat the cores that the tests need.
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+sbwt none +sbwtdcpu none +sbwtdio none".to_owned(),
            ),
            ("ERL_EPMD_PORT", self.names_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ]
    }

    fn speaks_amqp(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((self.site.address, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"AMQP\0\0\x09\x01")?;
        let mut start = [0; 7];
        stream.read_exact(&mut start)
    }
}

/// The package's own script, not the wrapper in `/usr/sbin`, which changes the user.
fn tool(name: &str) -> std::path::PathBuf {
    program(
        &[&format!("/usr/lib/rabbitmq/bin/{name}")],
        "rabbitmq-server",
    )
}
