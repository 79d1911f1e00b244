//! The fleet's processes: started, killed, paused, started again.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Settings of a process, as its environment.
pub type Env = Vec<(String, String)>;

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

/// One place in the fleet; whoever dies there is replaced, as an orchestrator does.
pub struct Seat {
    program: PathBuf,
    name: String,
    env: Env,
    log: PathBuf,
    child: Option<Child>,
    paused: bool,
    /// Ends that nobody asked for: (exit code or signal).
    pub surprises: Vec<String>,
    expected_end: bool,
}

impl Seat {
    pub fn new(program: &str, number: usize, env: &Env, folder: &Path) -> Self {
        let name = format!("{program}-{number}");
        let log = folder.join(format!("{name}.log"));
        let mut seat = Self {
            program: binary(program),
            name,
            env: env.clone(),
            log,
            child: None,
            paused: false,
            surprises: Vec::new(),
            expected_end: false,
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
        // However this test ends, its children end with it.
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .env_clear();
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
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
        self.paused = false;
    }

    /// Replaces a process that has ended.
    pub fn tend(&mut self) {
        let Some(child) = &mut self.child else { return };
        let Ok(Some(status)) = child.try_wait() else {
            return;
        };
        if !self.expected_end {
            self.surprises.push(format!("{}: {status}", self.name));
        }
        self.start();
    }

    pub fn signal(&mut self, signal: Signal) {
        let Some(child) = &self.child else { return };
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        self.expected_end |= signal == Signal::KILL || signal == Signal::TERM;
        self.paused = signal == Signal::STOP;
        kill_process(pid, signal).ok();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has logged so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it logged that it leads.
    pub fn led(&self) -> usize {
        self.said().matches("this process leads").count()
    }

    /// Asks it to stop and gives its exit code; `None` when it is still there after a while.
    pub fn stop(&mut self) -> Option<i32> {
        if self.paused {
            self.signal(Signal::CONT);
        }
        self.signal(Signal::TERM);
        let child = self.child.as_mut()?;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(40);
        while std::time::Instant::now() < end {
            if let Ok(Some(status)) = child.try_wait() {
                self.child = None;
                return status.code();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        None
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
