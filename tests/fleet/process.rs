//! The fleet's processes: started, killed, paused, lied to, started again.

use crate::faults::{Clock, Peer};
use crate::link::{Link, State};
use nexis_testkit::within;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Settings of a process, as its environment.
pub type Env = Vec<(String, String)>;

/// Longest that a process may take to stop when it is asked to.
const GOODBYE: Duration = Duration::from_secs(40);
/// What makes a process believe in another time (Debian's package `faketime`).
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A binary of ours beside the test's own.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/TEST");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: `make fleet` builds it",
        path.display()
    );
    path
}

/// The commit whose programs stand for the release before this one.
pub const PREVIOUS: &str = "bef77da";

/// Whose programs a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The release before, as `scripts/previous.sh` built it.
    Previous,
    /// What is tested.
    This,
}

impl Release {
    /// The path of a program.
    pub fn program(self, name: &str) -> PathBuf {
        if self == Self::This {
            return binary(name);
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/previous");
        let path = root.join(PREVIOUS).join(name);
        assert!(
            path.is_file(),
            "{} is missing: run scripts/previous.sh, which builds it from commit {PREVIOUS} and so needs the history of \
             this repository",
            path.display()
        );
        path
    }
}

/// A program's ways to its peers, each of which can be cut.
pub struct Links {
    pub broker: Link,
    pub board: Link,
    pub chain: Link,
}

impl Links {
    pub fn set(&self, peer: Peer, state: State) {
        match peer {
            Peer::Broker => self.broker.set(state),
            Peer::Board => self.board.set(state),
            Peer::Chain => self.chain.set(state),
        }
    }
}

/// One place in the fleet; whoever dies there is replaced, as an orchestrator does.
pub struct Seat {
    program: PathBuf,
    name: String,
    env: Env,
    log: PathBuf,
    child: Option<Child>,
    paused: bool,
    clock: Option<Clock>,
    expected_end: bool,
    /// Ends that nobody asked for, and those that were asked for and went wrong.
    pub surprises: Vec<String>,
    asked: bool,
    /// Killed, and perhaps not gone yet.
    killed: bool,
    /// Length of the log when the process was started.
    before: u64,
    /// Ways to the peers, when they lead over relays.
    pub links: Option<Links>,
    wrapper: Vec<String>,
}

impl Seat {
    /// `wrapper`: words before the program, when another one starts it.
    pub fn new(
        wrapper: Vec<String>,
        release: Release,
        program: &str,
        number: usize,
        env: Env,
        folder: &Path,
    ) -> Self {
        let name = format!("{program}-{number}");
        let mut seat = Self {
            program: release.program(program),
            log: folder.join(format!("{name}.log")),
            name,
            env,
            child: None,
            paused: false,
            clock: None,
            expected_end: false,
            surprises: Vec::new(),
            asked: false,
            killed: false,
            before: 0,
            links: None,
            wrapper,
        };
        seat.start();
        seat
    }

    fn log_file(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file")
    }

    fn start(&mut self) {
        self.before = self.logged();
        // However this test ends, its children end with it.
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(&self.wrapper)
            .arg(&self.program)
            .env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(clock) = self.clock.take() {
            assert!(
                Path::new(FAKETIME).is_file(),
                "{FAKETIME} is missing: install the package faketime"
            );
            command.env("LD_PRELOAD", FAKETIME);
            match clock {
                Clock::Wrong(by) => command
                    .env("FAKETIME", by)
                    .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                Clock::Speed(speed) => command.env("FAKETIME", speed),
            };
        }
        command
            .stdin(Stdio::null())
            .stdout(self.log_file())
            .stderr(self.log_file());
        self.child = Some(
            command
                .spawn()
                .expect("setpriv of util-linux starts our binary"),
        );
        self.expected_end = false;
        self.asked = false;
        self.killed = false;
        self.paused = false;
    }

    fn logged(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |file| file.len())
    }

    /// Whether a process that was asked to stop ended well: with 0, or by the signal itself before it had said a word
    /// and so before it had begun anything.
    fn ended_well(&self, status: ExitStatus) -> bool {
        let unborn = status.signal() == Some(Signal::TERM.as_raw()) && self.logged() == self.before;
        status.success() || unborn
    }

    /// Replaces a process that has ended.
    pub fn tend(&mut self) {
        let Some(child) = &mut self.child else { return };
        let Ok(Some(status)) = child.try_wait() else {
            return;
        };
        if self.asked {
            if !self.ended_well(status) {
                let told = format!("{} after SIGTERM: {status}", self.name);
                self.surprises.push(told);
            }
        } else if !self.expected_end {
            self.surprises.push(format!("{}: {status}", self.name));
        }
        self.start();
    }

    /// Ends the process as kill -9 does; its replacement gets that clock.
    pub fn lie(&mut self, clock: Clock) {
        self.signal(Signal::KILL);
        self.clock = Some(clock);
    }

    pub fn signal(&mut self, signal: Signal) {
        let Some(child) = &self.child else { return };
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        if signal == Signal::TERM && self.paused {
            // A stop that is asked for in its sleep is answered when it wakes.
            self.paused = false;
            kill_process(pid, Signal::CONT).ok();
        }
        self.expected_end |= signal == Signal::KILL || signal == Signal::TERM;
        self.killed |= signal == Signal::KILL;
        self.asked = !self.killed && (self.asked || signal == Signal::TERM);
        self.paused = signal == Signal::STOP || self.paused && signal != Signal::CONT;
        kill_process(pid, signal).ok();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has logged so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it logged that.
    pub fn times(&self, what: &str) -> usize {
        self.said().matches(what).count()
    }

    /// How often it logged that it leads.
    pub fn led(&self) -> usize {
        self.times("this process leads")
    }

    /// Asks it to stop; what was wrong with its end, when something was.
    pub async fn stop(&mut self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        let ended = within(GOODBYE, || child.try_wait().ok().flatten()).await;
        let status = ended.ok_or_else(|| format!("still there after {GOODBYE:?}"))?;
        self.child = None;
        let well = self.killed || self.ended_well(status);
        well.then_some(()).ok_or_else(|| status.to_string())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
