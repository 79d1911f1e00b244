use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs the server, then waits for the test's end of a pipe to close: however the test process ends,
/// kill -9 included, the whole process group goes with it.
const WATCHED: &str = r#"log=$1; shift
setsid "$@" </dev/null >>"$log" 2>&1 &
echo $!
read -r _
kill -s KILL -- "-$!"
wait"#;
/// How long a killed server may take to let go of its port.
const GONE: Duration = Duration::from_secs(20);

/// A server process in a process group of its own.
pub(crate) struct Server {
    watcher: Child,
    group: Pid,
    /// Closing it ends the group.
    leash: Option<ChildStdin>,
    /// The port it listens on.
    port: u16,
    log: PathBuf,
    name: &'static str,
}

impl Server {
    /// Starts `program`; what it prints goes to `log`.
    pub(crate) fn spawn<A: AsRef<OsStr>>(
        (name, port): (&'static str, u16),
        wrapper: &[String],
        program: &Path,
        arguments: &[A],
        environment: &[(&str, String)],
        log: &Path,
    ) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(WATCHED)
            .arg("watch")
            .arg(log)
            .args(wrapper)
            .arg(program)
            .args(arguments);
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut watcher = command
            .process_group(0)
            .spawn()
            .expect("a shell to watch the server");
        let leash = watcher.stdin.take().expect("it was asked for");
        let output = watcher.stdout.take().expect("it was asked for");
        let mut first = String::new();
        BufReader::new(output)
            .read_line(&mut first)
            .expect("the shell says the server's id");
        let group = first.trim().parse().ok().and_then(Pid::from_raw);
        let group = group.expect("the shell said a process id");
        Self {
            watcher,
            group,
            leash: Some(leash),
            port,
            log: log.to_owned(),
            name,
        }
    }

    /// Asks until the server answers; panics with its log when it does not.
    pub(crate) fn wait_until(&self, within: Duration, mut ready: impl FnMut() -> bool) {
        let end = Instant::now() + within;
        while !ready() {
            if Instant::now() > end {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!(
                    "{} did not come up within {within:?}; it said:\n{log}",
                    self.name
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the server and all that it started.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process_group(self.group, signal).ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.leash = None;
        self.watcher.wait().ok();
        // The server's own children die a moment later; one of them may hold the port.
        let end = Instant::now() + GONE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where a server runs: on this machine's loopback, or in a network namespace.
#[derive(Debug, Clone)]
pub struct Site {
    /// Words before the program, such as `ip netns exec NAME`.
    pub wrapper: Vec<String>,
    /// The address it listens on.
    pub address: Ipv4Addr,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            wrapper: Vec::new(),
            address: Ipv4Addr::LOCALHOST,
        }
    }
}

impl Site {
    /// A program that runs there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let [first, words @ ..] = self.wrapper.as_slice() else {
            return Command::new(program);
        };
        let mut command = Command::new(first);
        command.args(words).arg(program);
        command
    }
}

/// The program, or a panic that names the package it comes with.
pub(crate) fn program(candidates: &[&str], package: &str) -> PathBuf {
    let found = candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{} is missing: install the package {package}",
            candidates.join(" or ")
        )
    })
}

/// A loopback port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("it is bound").port()
}

/// A free port whose neighbour 10,000 above is free too (SeaweedFS derives its gRPC ports so).
pub fn free_port_with_grpc() -> u16 {
    loop {
        let port = free_port();
        let Some(above) = port.checked_add(10_000) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, above)).is_ok() {
            return port;
        }
        // Ports come from the upper range; walk down to where a neighbour can exist.
        let lower = (20_000..32_000).find(|port| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 10_000)).is_ok()
        });
        if let Some(port) = lower {
            return port;
        }
    }
}
