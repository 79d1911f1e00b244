//! The real program as a child, and a small subnet for it to work on.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test file uses its own part of this"
)]

use nexis_localnet::{Localnet, LocalnetConfig, MinerKind};
use nexis_testkit::within;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longest wait for anything that must happen. Generous: other builds share the machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Settings as a child gets them.
pub type Env = Vec<(String, String)>;

/// Replaces or adds settings.
pub fn with(env: &Env, changes: &[(&str, &str)]) -> Env {
    let mut env = env.clone();
    for (name, value) in changes {
        env.retain(|(known, _)| known != name);
        env.push(((*name).to_owned(), (*value).to_owned()));
    }
    env
}

/// `nexis` with these arguments and settings and nothing else of our environment.
pub fn nexis(home: &Path, env: &Env, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexis"));
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .current_dir(home);
    command
}

/// Runs it to its end.
pub fn run(home: &Path, env: &Env, args: &[&str]) -> Output {
    nexis(home, env, args).output().expect("the program starts")
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `nexis`, its output in files. Killed when dropped.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    pub fn start(home: &Path, env: &Env, args: &[&str], name: &str) -> Self {
        let (out, err) = (
            home.join(format!("{name}.out")),
            home.join(format!("{name}.err")),
        );
        let child = nexis(home, env, args)
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .expect("the program starts");
        Self { child, out, err }
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap()).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap()).into_owned()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", self.child.id())])
            .status()
            .unwrap();
        assert!(sent.success(), "the signal was not sent");
    }

    /// Waits for its end.
    pub async fn end(&mut self, patience: Duration) -> ExitStatus {
        let ended = within(patience, || self.ended()).await;
        ended
            .unwrap_or_else(|| panic!("still running after {patience:?}; it says:\n{}", self.err()))
    }

    /// Waits until a condition holds while the program runs.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let met = within(PATIENCE, || {
            if holds(self) {
                return Some(Ok(()));
            }
            self.ended().map(Err)
        });
        let wrong = match met.await {
            Some(Ok(())) => return,
            Some(Err(status)) => format!("it ended with {status}"),
            None => format!("waited {PATIENCE:?} in vain"),
        };
        panic!(
            "waiting for {what}: {wrong}; it says:\n{}\n{}",
            self.out(),
            self.err()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// Clips that all tests of this build share; made by whoever comes first.
pub fn clips() -> PathBuf {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("localnet-clips");
    std::fs::create_dir_all(&shared).unwrap();
    nexis_localnet::Clips::prepare(&shared).unwrap();
    shared
}

/// A subnet of some miners that draws every miner, in `home`.
pub async fn subnet(home: &Path, block_ms: u64, miners: &[MinerKind]) -> Localnet {
    let folder = home.join("localnet");
    std::fs::create_dir_all(&folder).unwrap();
    let shared = tokio::task::spawn_blocking(clips).await.unwrap();
    std::os::unix::fs::symlink(shared, folder.join("clips")).unwrap();
    let mut config = LocalnetConfig::new(folder);
    config.block_time = Duration::from_millis(block_ms);
    config.miners = miners.to_vec();
    Localnet::start(config).await.unwrap()
}

/// The settings of a validator of that subnet that works in `workdir`.
pub fn settings(net: &Localnet, workdir: &Path) -> Env {
    with(
        &net.env(),
        &[
            ("NEXIS_PROFILE_MINER_SAMPLE_RATE", "1.0"),
            ("NEXIS_WORKDIR", workdir.to_str().unwrap()),
            ("NEXIS_LOG_LEVEL", "warning"),
        ],
    )
}

/// Bytes of every decided interval by its folder's name, each decision's `checked_at` taken out.
pub fn decisions(workdir: &Path) -> Vec<(u64, String)> {
    let Ok(rounds) = std::fs::read_dir(workdir.join("archive/rounds")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for round in rounds {
        let round = round.unwrap().path();
        let Ok(bytes) = std::fs::read(round.join("decisions.json")) else {
            continue;
        };
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for decision in value["decisions"].as_array_mut().unwrap() {
            decision
                .as_object_mut()
                .unwrap()
                .remove("checked_at")
                .expect("every decision has a time");
        }
        let interval = round
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        found.push((interval, value.to_string()));
    }
    found.sort();
    found
}

/// A door in front of a port that can be shut: connections end and new ones are turned away.
pub struct Door {
    pub port: u16,
    open: Arc<watch::Sender<bool>>,
}

impl Door {
    pub async fn to(target: &str, open: bool) -> Self {
        let target = target
            .split_once("://")
            .map_or(target, |(_, address)| address)
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(watch::Sender::new(open));
        let state = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.subscribe();
                if !*state.borrow() {
                    continue;
                }
                let target = target.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(&target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { port, open }
    }

    pub fn set(&self, open: bool) {
        self.open.send_replace(open);
    }
}
