//! One run: a fresh localnet, a fleet on it, faults, and what came out.

use crate::faults::{Fault, Faults, SEATS};
use crate::process::{Env, Seat, binary};
use nexis_chain::{ChainClient, ChainPort, ConnectOptions, Network};
use nexis_local::DirArchive;
use nexis_localnet::{Localnet, LocalnetConfig};
use nexis_ports::Chain as _;
use nexis_protocol::{IntervalId, Netuid};
use nexis_scheduler::{SubmissionRecord, SubmissionState, ledger};
use nexis_testkit::{RabbitMq, Redis, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long that no deadline comes near while something is down; the test moves the chain on itself.
const INTERVAL_BLOCKS: u64 = 200;
const PERIOD_BLOCKS: u64 = 3 * INTERVAL_BLOCKS;
const BLOCK: Duration = Duration::from_secs(1);
const NETUID: u16 = 70;
/// RabbitMQ 3.10 writes the list of its quorum queues three seconds late: a queue that is younger when the
/// broker is killed has no leader ever after. Topologies of the real world are older.
const QUEUES_ON_DISK: Duration = Duration::from_secs(5);
/// A hang must end, not a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Broker and board, one each for all runs.
pub struct Servers {
    pub rabbit: RabbitMq,
    pub redis: Redis,
}

/// What a run ended with.
#[derive(Debug)]
pub struct Outcome {
    /// Per interval the decisions without `checked_at`, as bytes.
    decisions: Vec<(u64, String)>,
    /// (slot, share) on the chain.
    weights: Vec<(u16, u16)>,
    /// Blocks at which weights of ours reached the chain.
    updates: BTreeSet<u64>,
}

impl Outcome {
    pub fn miners_with_weight(&self) -> usize {
        self.weights.iter().filter(|(_, share)| *share > 0).count()
    }

    pub fn assert_same_as(&self, calm: &Self) {
        for ((interval, ours), (other, theirs)) in self.decisions.iter().zip(&calm.decisions) {
            assert_eq!(interval, other);
            assert_eq!(ours, theirs, "interval {interval}");
        }
        assert_eq!(self.decisions.len(), calm.decisions.len());
        assert_eq!(self.weights, calm.weights);
        assert_eq!(
            self.updates.len(),
            1,
            "weights reached the chain at {:?}",
            self.updates
        );
    }
}

/// The fleet and what it runs on.
struct Fleet {
    net: Localnet,
    chain: ChainPort,
    archive: DirArchive,
    folder: PathBuf,
    schedulers: Vec<Seat>,
    workers: Vec<Seat>,
    updates: BTreeSet<u64>,
}

impl Fleet {
    async fn start(servers: &Servers, name: &str, workers: usize) -> Self {
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fleet-{}", std::process::id()));
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the run");
        // Clips are made once; everything else is new for every run.
        let workdir = root.join("localnet");
        for old in ["s3", "wallets"] {
            std::fs::remove_dir_all(workdir.join(old)).ok();
        }
        let amqp = servers.rabbit.vhost(name);
        let applied = std::process::Command::new(binary("nexis-scheduler"))
            .args(["topology", "apply"])
            .env_clear()
            .env("NEXIS_AMQP_URL", &amqp)
            .env("NEXIS_NETUID", NETUID.to_string())
            .status();
        assert!(applied.expect("it runs").success(), "topology apply");
        let applied = Instant::now();
        let mut config = LocalnetConfig::new(&workdir);
        config.block_time = BLOCK;
        config.profile.interval_length_blocks = INTERVAL_BLOCKS;
        config.profile.weight_period_blocks = PERIOD_BLOCKS;
        config.profile.miner_sample_rate = 1.0;
        let net = Localnet::start(config).await.expect("a localnet");
        servers.redis.ask("FLUSHALL");
        let env = environment(&net, &amqp, &servers.redis.url(), &folder);
        eventually(PATIENCE, async || applied.elapsed() > QUEUES_ON_DISK).await;
        let network: Network = net.chain_url().parse().expect("an address");
        let mut options = ConnectOptions::new(network);
        options.allow_other_genesis = true;
        let seats = |program: &str, count| {
            (0..count)
                .map(|n| Seat::new(program, n, &env, &folder))
                .collect()
        };
        Self {
            chain: ChainPort::new(ChainClient::new(options), None),
            archive: DirArchive::open_shared(&folder.join("archive")).expect("an archive"),
            schedulers: seats("nexis-scheduler", SEATS),
            workers: seats("nexis-worker", workers),
            updates: BTreeSet::new(),
            net,
            folder,
        }
    }

    fn tend(&mut self) {
        self.schedulers
            .iter_mut()
            .chain(&mut self.workers)
            .for_each(Seat::tend);
    }

    /// Looks at the chain for an update of our weights after the fleet was started.
    async fn witness(&mut self) {
        // The chain's own client may be between two connections; the next look sees the same.
        if let Ok(roster) = self.chain.roster(Netuid::new(NETUID), None).await {
            let own = roster
                .neurons
                .iter()
                .find(|neuron| neuron.uid.get() == 0)
                .expect("the validator");
            if own.last_update > self.net.first_interval().get() + INTERVAL_BLOCKS {
                self.updates.insert(own.last_update);
            }
        }
    }

    /// Waits with faults going on; prints the logs when it takes too long.
    async fn until(&mut self, what: &str, goal: Goal, servers: &mut Servers, faults: &mut Storm) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.tend();
            faults.strike(self, servers);
            self.witness().await;
            if self.reached(goal).await {
                return;
            }
            if Instant::now() > end {
                let logs = self.folder.display();
                let dead =
                    servers
                        .rabbit
                        .ctl(&["list_queues", "-p", &faults.name, "name", "messages"]);
                panic!("{what}: not within {PATIENCE:?}; logs are in {logs}; queues:\n{dead}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Decided(interval) => ledger::is_decided(&self.archive, interval)
                .await
                .expect("our own disk"),
            Goal::Submitted => {
                let records = SubmissionRecord::history(&self.archive)
                    .await
                    .expect("our own disk");
                records
                    .iter()
                    .any(|record| matches!(record.state, SubmissionState::Done(_)))
            }
        }
    }

    /// Waits until every package of an interval is in the store, as many objects as in the first one's.
    async fn published(&self, interval: IntervalId) {
        let store = self.net.wallets().with_file_name("s3");
        let count = |interval: IntervalId| {
            let folders = self.net.miners().iter().map(|miner| {
                store
                    .join(miner.key.hotkey().bucket_name())
                    .join(interval.to_string())
            });
            folders.map(|folder| files(&folder)).sum::<usize>()
        };
        let wanted = count(self.net.first_interval());
        assert!(wanted > 0, "no packages below {}", store.display());
        eventually(PATIENCE, async || count(interval) >= wanted).await;
    }

    /// Makes blocks until `height` is final.
    fn advance_to(&self, height: u64) {
        let lag = 2;
        self.net
            .chain()
            .new_blocks((height + lag).saturating_sub(self.net.chain().head().number));
    }

    async fn outcome(mut self, intervals: &[IntervalId]) -> Outcome {
        let mut decisions = Vec::new();
        for interval in intervals {
            let bytes = ledger::decision_bytes(&self.archive, *interval)
                .await
                .expect("our own disk");
            let mut value: Value =
                serde_json::from_slice(&bytes.expect("it is decided")).expect("JSON");
            forget_times(&mut value);
            decisions.push((
                interval.get(),
                serde_json::to_string_pretty(&value).expect("JSON"),
            ));
        }
        let mut surprises = Vec::new();
        for seat in self.schedulers.iter_mut().chain(&mut self.workers) {
            seat.tend();
            assert_eq!(
                seat.stop(),
                Some(0),
                "{} after SIGTERM; logs in {}",
                seat.name(),
                self.folder.display()
            );
            surprises.append(&mut seat.surprises);
        }
        if !surprises.is_empty() {
            println!("   ended by themselves and were started again: {surprises:?}");
        }
        self.witness().await;
        let mut weights = self.net.chain().weights(0);
        weights.sort_unstable();
        Outcome {
            decisions,
            weights,
            updates: self.updates.clone(),
        }
    }
}

#[derive(Clone, Copy)]
enum Goal {
    Decided(IntervalId),
    Submitted,
}

/// Faults on their way.
struct Storm {
    name: String,
    faults: Faults,
    next: Option<(Instant, Fault)>,
    /// Paused seats: when, scheduler or not, which.
    asleep: Vec<(Instant, bool, usize)>,
}

impl Storm {
    fn new(name: &str, faults: Faults) -> Self {
        let mut storm = Self {
            name: name.to_owned(),
            faults,
            next: None,
            asleep: Vec::new(),
        };
        storm.draw();
        storm
    }

    fn draw(&mut self) {
        self.next = self
            .faults
            .next()
            .map(|(pause, fault)| (Instant::now() + pause, fault));
    }

    fn strike(&mut self, fleet: &mut Fleet, servers: &mut Servers) {
        let now = Instant::now();
        self.asleep.retain(|(until, scheduler, seat)| {
            let awake = now >= *until;
            if awake {
                let seats = if *scheduler {
                    &mut fleet.schedulers
                } else {
                    &mut fleet.workers
                };
                seats[*seat].signal(Signal::CONT);
            }
            !awake
        });
        let Some((_, fault)) = self.next.filter(|(at, _)| now >= *at) else {
            return;
        };
        println!("   {fault:?}");
        match fault {
            Fault::KillWorker(seat) => fleet.workers[seat].signal(Signal::KILL),
            Fault::KillScheduler(seat) => fleet.schedulers[seat].signal(Signal::KILL),
            Fault::StopWorker(seat) => fleet.workers[seat].signal(Signal::TERM),
            Fault::StopScheduler(seat) => fleet.schedulers[seat].signal(Signal::TERM),
            Fault::PauseScheduler(seat, seconds) => {
                fleet.schedulers[seat].signal(Signal::STOP);
                self.asleep
                    .push((now + Duration::from_secs(seconds), true, seat));
            }
            Fault::PauseWorker(seat, seconds) => {
                fleet.workers[seat].signal(Signal::STOP);
                self.asleep
                    .push((now + Duration::from_secs(seconds), false, seat));
            }
            Fault::RestartBroker => servers.rabbit.start_again(),
            Fault::RestartBoard => servers.redis.start_again(),
            Fault::EmptyBoard => drop(servers.redis.ask("FLUSHALL")),
        }
        self.draw();
    }
}

fn environment(net: &Localnet, amqp: &str, redis: &str, folder: &Path) -> Env {
    let mut env = net.env();
    for (name, value) in [
        ("NEXIS_PROFILE_MINER_SAMPLE_RATE", "1.0".to_owned()),
        ("NEXIS_WORKDIR", folder.display().to_string()),
        ("NEXIS_AMQP_URL", amqp.to_owned()),
        ("NEXIS_REDIS_URL", redis.to_owned()),
        ("NEXIS_LOG_LEVEL", "info".to_owned()),
        ("HOME", folder.display().to_string()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
    ] {
        env.push((name.to_owned(), value));
    }
    env
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            if entry.path().is_dir() {
                files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

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

/// Two intervals decided and one epoch's weights on the chain, with faults on the way.
pub async fn run(servers: &mut Servers, name: &str, faults: Faults) -> Outcome {
    let mut fleet = Fleet::start(servers, name, SEATS).await;
    let first = fleet.net.first_interval();
    let second = IntervalId::new(first.get() + INTERVAL_BLOCKS);
    let third = IntervalId::new(second.get() + INTERVAL_BLOCKS);
    let mut storm = Storm::new(name, faults);
    fleet
        .until("first interval", Goal::Decided(first), servers, &mut storm)
        .await;
    fleet.published(second).await;
    fleet.advance_to(third.get() + 2);
    fleet
        .until(
            "second interval",
            Goal::Decided(second),
            servers,
            &mut storm,
        )
        .await;
    fleet.published(third).await;
    // The epoch begins; the third interval is settled only some blocks later.
    fleet.advance_to(third.get() + INTERVAL_BLOCKS);
    fleet
        .until("weights", Goal::Submitted, servers, &mut storm)
        .await;
    fleet.outcome(&[first, second]).await
}

/// Kills, then pauses, whoever leads, and measures until the other one does.
pub async fn takeovers(servers: &mut Servers) -> Vec<(&'static str, Duration)> {
    let mut fleet = Fleet::start(servers, "takeover", 0).await;
    let mut took = Vec::new();
    eventually(PATIENCE, async || {
        fleet.schedulers.iter().any(|seat| seat.led() > 0)
    })
    .await;
    for (what, signal) in [("killed", Signal::KILL), ("paused", Signal::STOP)] {
        let led: Vec<usize> = fleet.schedulers.iter().map(Seat::led).collect();
        let leader = newest_leader(&fleet.schedulers);
        let other = 1 - leader;
        // The other one must be there to take over.
        eventually(PATIENCE, async || {
            fleet.schedulers[other].said().contains("scheduler started")
        })
        .await;
        fleet.schedulers[leader].signal(signal);
        let since = Instant::now();
        eventually(PATIENCE, async || {
            fleet.schedulers[other].led() > led[other]
        })
        .await;
        took.push((what, since.elapsed()));
        if signal == Signal::KILL {
            let starts = fleet.schedulers[leader]
                .said()
                .matches("scheduler started")
                .count();
            // Its replacement is up before the next blow.
            let end = Instant::now() + PATIENCE;
            while fleet.schedulers[leader]
                .said()
                .matches("scheduler started")
                .count()
                == starts
            {
                fleet.tend();
                assert!(Instant::now() < end, "no replacement");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    took
}

/// Who said last that it leads, by the time stamps that log lines begin with.
fn newest_leader(seats: &[Seat]) -> usize {
    let last = |seat: &Seat| {
        let said = seat.said();
        said.lines()
            .rfind(|line| line.contains("this process leads"))
            .map(str::to_owned)
    };
    let lines: Vec<_> = seats.iter().map(last).collect();
    (0..seats.len())
        .max_by_key(|seat| &lines[*seat])
        .expect("there are seats")
}
