//! The same interval by `nexis validate` and by a fleet on this machine: the same packages in the same store, every row
//! of every miner, as many clip decoders and jobs in hand in all. What does a fleet cost that one process does not?
//!
//! `make bench-beside`; NEXIS_BENCH_MINERS, _PERMITS and _ROUNDS choose how much. Time counts from the round's plan to its decisions in the archive.

#[path = "../../worker/benches/fleet/cpu.rs"]
mod cpu;

use nexis_localnet::{Localnet, LocalnetConfig, MinerKind};
use nexis_protocol::profile::Profile;
use nexis_testkit::{RabbitMq, Redis};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// No deadline comes near, and no second interval.
const INTERVAL_BLOCKS: u64 = 4_000;
const BLOCK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1_800);

type Env = Vec<(String, String)>;

fn number(name: &str, or: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(or, |text| text.parse().expect("a number"))
}

fn main() {
    let (miners, permits, rounds) = (
        number("NEXIS_BENCH_MINERS", 250),
        number("NEXIS_BENCH_PERMITS", 4),
        number("NEXIS_BENCH_ROUNDS", 2),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a throw-away folder");
    let rabbit = RabbitMq::start();
    let redis = Redis::start();
    // What docs/fleet.md tells the operator; the tests' servers sync every write.
    redis.ask("CONFIG SET appendfsync everysec");
    let mut config = LocalnetConfig::new(folder.path().join("localnet"));
    config.block_time = BLOCK;
    config.profile = profile();
    config.miners = vec![MinerKind::Honest; miners];
    let net = runtime
        .block_on(Localnet::start(config))
        .expect("a localnet");
    println!(
        "{miners} miners, every row; {permits} jobs in hand and 2 clip decoders in all; load average: {}",
        load()
    );
    let site = Site {
        net,
        rabbit,
        redis,
        folder: folder.path().to_owned(),
        permits,
    };
    let (mut alone, mut fleet) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        alone.push(site.validate(round));
        fleet.push(site.fleet(round));
    }
    let [alone, fleet] = [alone, fleet].map(best);
    assert_eq!(
        alone.decisions, fleet.decisions,
        "both must decide the same"
    );
    println!(
        "the fleet takes {:.1} % longer, and {:.1} % more processor time; the store's (this process) is not in that",
        100.0 * (fleet.wall / alone.wall - 1.0),
        100.0 * (fleet.ours() / alone.ours() - 1.0)
    );
    println!("load average: {}", load());
}

fn profile() -> Profile {
    let mut profile = Profile::by_name("readme").expect("it exists");
    profile.interval_length_blocks = INTERVAL_BLOCKS;
    profile.weight_period_blocks = INTERVAL_BLOCKS;
    profile.miner_sample_rate = 1.0;
    profile
}

/// What disturbs only ever makes slower.
fn best(runs: Vec<Run>) -> Run {
    runs.into_iter()
        .min_by(|one, other| one.wall.total_cmp(&other.wall))
        .expect("at least one round")
}

struct Site {
    net: Localnet,
    rabbit: RabbitMq,
    redis: Redis,
    folder: PathBuf,
    permits: usize,
}

/// How one run went.
struct Run {
    /// Seconds.
    wall: f64,
    /// Seconds of processor time by program.
    cpu: BTreeMap<String, f64>,
    decisions: Value,
}

impl Run {
    /// Processor time of everything but the store.
    fn ours(&self) -> f64 {
        let ours = self.cpu.iter().filter(|(name, _)| *name != "own");
        ours.map(|(_, seconds)| seconds).sum()
    }
}

/// A program that ends when this is dropped.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[&str], env: &Env, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log file");
        let child = Command::new("/usr/bin/setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(binary(program))
            .args(arguments)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .spawn();
        Self(child.expect("setpriv of util-linux starts our binary"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().expect("ours");
    }
}

/// A binary of ours beside this one.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("it has a path");
    let folder = own.parent().and_then(Path::parent);
    let path = folder.expect("target/PROFILE/deps/BENCH").join(name);
    assert!(
        path.is_file(),
        "{} is missing: `cargo build --profile bench --workspace --bins` makes it",
        path.display()
    );
    path
}

impl Site {
    fn env(&self, workdir: &Path, permits: usize, decoders: usize) -> Env {
        let mut env = self.net.env();
        let text = |path: &Path| path.display().to_string();
        for (name, value) in [
            ("NEXIS_SAMPLING", "full".to_owned()),
            ("NEXIS_PROFILE_MINER_SAMPLE_RATE", "1.0".to_owned()),
            ("NEXIS_VALIDATOR_PERMITS", permits.to_string()),
            ("NEXIS_DECODERS", decoders.to_string()),
            ("NEXIS_AMQP_URL", self.rabbit.url()),
            ("NEXIS_REDIS_URL", self.redis.url()),
            ("NEXIS_WORKDIR", text(workdir)),
            ("HOME", text(workdir)),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ] {
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value));
        }
        env
    }

    fn workdir(&self, name: &str, round: usize) -> PathBuf {
        let workdir = self.folder.join(format!("{name}-{round}"));
        std::fs::create_dir_all(&workdir).expect("a folder");
        workdir
    }

    /// `nexis validate` with all permits and two decoders.
    fn validate(&self, round: usize) -> Run {
        let workdir = self.workdir("validate", round);
        let (env, before) = (self.env(&workdir, self.permits, 2), cpu::seconds());
        let log = workdir.join("log");
        let running = Running::start("nexis", &["validate"], &env, &log);
        let run = self.run("nexis validate", &workdir, &before);
        drop(running);
        run
    }

    /// One scheduler, and two workers with half the permits and one decoder each.
    fn fleet(&self, round: usize) -> Run {
        let workdir = self.workdir("fleet", round);
        self.redis.ask("FLUSHALL");
        let env = self.env(&workdir, self.permits.div_ceil(2), 1);
        let log = |name: &str| workdir.join(format!("{name}.log"));
        let mut topology = Running::start(
            "nexis-scheduler",
            &["topology", "apply"],
            &env,
            &log("topology"),
        );
        assert!(topology.0.wait().expect("ours").success(), "topology apply");
        let before = cpu::seconds();
        let running = [
            Running::start("nexis-worker", &[], &env, &log("worker-0")),
            Running::start("nexis-worker", &[], &env, &log("worker-1")),
            Running::start("nexis-scheduler", &[], &env, &log("scheduler")),
        ];
        let run = self.run("a fleet", &workdir, &before);
        drop(running);
        run
    }

    /// Waits for the decisions of the interval.
    fn run(&self, name: &str, workdir: &Path, before: &BTreeMap<String, f64>) -> Run {
        let began = Instant::now();
        let interval = format!("{:012}", self.net.first_interval().get());
        let rounds = workdir.join("archive/rounds").join(interval);
        let decisions = rounds.join("decisions.json");
        while !decisions.is_file() {
            assert!(
                began.elapsed() < PATIENCE,
                "{name}: see the logs in {}",
                workdir.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut cpu = cpu::seconds();
        for (program, seconds) in &mut cpu {
            *seconds -= before.get(program).unwrap_or(&0.0);
        }
        cpu.retain(|_, seconds| *seconds >= 0.05);
        let wall = written(&decisions)
            .duration_since(written(&rounds.join("plan.bin")))
            .expect("decided after it was planned")
            .as_secs_f64();
        let text = std::fs::read(&decisions).expect("just seen");
        let mut decisions: Value = serde_json::from_slice(&text).expect("JSON");
        forget_times(&mut decisions);
        let programs: Vec<String> = cpu
            .iter()
            .map(|(program, seconds)| format!("{program} {seconds:.1}"))
            .collect();
        println!(
            "{name}: {wall:.2} s from plan to decisions; processor seconds: {}",
            programs.join(", ")
        );
        Run {
            wall,
            cpu,
            decisions,
        }
    }
}

fn written(file: &Path) -> SystemTime {
    let metadata = std::fs::metadata(file).expect("it is there");
    metadata.modified().expect("this file system keeps it")
}

/// Two runs differ in when they decided, and in nothing else.
fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("checked_at");
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
