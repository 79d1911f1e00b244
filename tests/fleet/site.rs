//! A site: broker, board, chain, buckets and a fleet on them, kept alive from interval to interval.

use crate::faults::{Fault, Peer, Place, SEATS};
use crate::link::{Link, State};
use crate::process::{Env, Links, Release, Seat};
use crate::setup::{Addresses, declare, folder_of, localnet, profile, settings};
use crate::spaces::{Node, Spaces};
use nexis_local::DirArchive;
use nexis_localnet::{Localnet, MinerKind};
use nexis_ports::Archive as _;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::{BlockNumber, IntervalId, WeightEpoch};
use nexis_scheduler::{SubmissionRecord, SubmissionState, ledger};
use nexis_testkit::{RabbitMq, Redis, answered_within, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Final is what is so many blocks old.
const FINALITY_LAG: u64 = 2;
/// RabbitMQ 3.10 writes the list of its quorum queues three seconds late: a queue that is younger when the
/// broker is killed has no leader ever after. Topologies of the real world are older.
const QUEUES_ON_DISK: Duration = Duration::from_secs(5);
/// A hang must end, not a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Between two blocks that weights wait for: a fleet on a busy machine must be able to follow.
const SOON: Duration = Duration::from_millis(100);
/// Short, so that what a fault costs is counted in seconds.
const LEASE: &str = "3s";

/// A few of every sort of ending: accepted, pruned, rejected by the manifest, by the rows, by the clips.
const MINERS: [MinerKind; 11] = [
    MinerKind::Honest,
    MinerKind::Honest,
    MinerKind::NoCredentials,
    MinerKind::BrokenManifest,
    MinerKind::DatasetHash,
    MinerKind::UrlCaption,
    MinerKind::ClipHash,
    MinerKind::MissingFrame,
    MinerKind::WrongResolution,
    MinerKind::Copycat,
    MinerKind::IndexDuplicate,
];

/// What one interval ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub interval: u64,
    /// The decisions without `checked_at`.
    pub decisions: String,
    /// (slot, share) on the chain.
    pub weights: Vec<(u16, u16)>,
    /// Transactions of ours that reached the chain meanwhile.
    pub sent: u32,
}

/// An interval that has become eligible.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    pub interval: IntervalId,
    /// The weight epoch that begins with it, when this site submits for it.
    pub epoch: Option<WeightEpoch>,
    /// Transactions of ours on the chain until then.
    pub sent_before: u32,
}

/// How a site is made.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: String,
    pub miners: Vec<MinerKind>,
    /// Settings beside the usual ones.
    pub env: Env,
    /// Whether each process and server has a network namespace of its own.
    pub in_namespaces: bool,
    /// Whose programs it starts with.
    pub release: Release,
}

impl Plan {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            miners: MINERS.to_vec(),
            env: vec![("NEXIS_LEASE_TTL".to_owned(), LEASE.to_owned())],
            in_namespaces: false,
            release: Release::This,
        }
    }
}

pub struct Site {
    name: String,
    pub archive: DirArchive,
    folder: PathBuf,
    env: Env,
    // Processes end before what they are connected to.
    pub schedulers: Vec<Seat>,
    pub workers: Vec<Seat>,
    servers: Servers,
    declared: Instant,
    /// When a block was last made for weights that wait.
    hurried: Instant,
    next: IntervalId,
    /// Objects that all packages of one interval have.
    objects: usize,
    healing: Vec<(Instant, Remedy)>,
    /// Bytes stored as decisions: what is stored once stays.
    stored: BTreeMap<u64, Vec<u8>>,
}

/// What ends a fault that has an end.
#[derive(Debug, Clone, Copy)]
enum Remedy {
    Wake(Place),
    Mend(Place, Peer),
    WakeBroker,
    Join(Node, Node),
}

/// The servers of a site, and how its seats find them.
struct Servers {
    rabbit: RabbitMq,
    redis: Redis,
    net: Localnet,
    spaces: Option<Spaces>,
    /// Chain and store as the namespaces see them.
    outside: Vec<Link>,
}

impl Servers {
    async fn seat(&self, release: Release, node: Node, env: &Env, folder: &Path) -> Seat {
        let (program, number) = match node {
            Node::Scheduler(number) => ("nexis-scheduler", number),
            Node::Worker(number) => ("nexis-worker", number),
            _ => unreachable!("no seat of ours"),
        };
        let Some(spaces) = &self.spaces else {
            let links = Links {
                broker: Link::to(self.rabbit.port()).await,
                board: Link::to(self.redis.port()).await,
                chain: Link::to(self.net.chain().address().port()).await,
            };
            let addresses = Addresses {
                broker: links.broker.address(),
                board: links.board.address(),
                chain: links.chain.address(),
                store: self.net.store_endpoint(),
            };
            let env = addresses.into(env.clone());
            let mut seat = Seat::new(Vec::new(), release, program, number, env, folder);
            seat.links = Some(links);
            return seat;
        };
        let addresses = Addresses {
            broker: format!("{}:{}", spaces.address(Node::Broker), self.rabbit.port()),
            board: format!("{}:{}", spaces.address(Node::Board), self.redis.port()),
            chain: self.outside[0].address(),
            store: format!("http://{}", self.outside[1].address()),
        };
        let env = addresses.into(env.clone());
        Seat::new(spaces.wrapper(node), release, program, number, env, folder)
    }
}

impl Site {
    pub async fn start(plan: Plan) -> Self {
        let folder = folder_of(&plan.name);
        let spaces = plan.in_namespaces.then(Spaces::make);
        let place = |node| match &spaces {
            None => nexis_testkit::Site::default(),
            Some(spaces) => nexis_testkit::Site {
                wrapper: spaces.wrapper(node),
                address: spaces.address(node),
            },
        };
        let (rabbit, redis, declared) = tokio::task::block_in_place(|| {
            let rabbit = RabbitMq::start_at(place(Node::Broker));
            let redis = Redis::start_at(place(Node::Board));
            let declared = declare(plan.release, &rabbit.url());
            (rabbit, redis, declared)
        });
        let net = localnet(&plan, &folder).await;
        let env = settings(&net, &folder, &plan.env);
        let mut outside = Vec::new();
        if let Some(spaces) = &spaces {
            let store: Option<u16> = net
                .store_endpoint()
                .rsplit_once(':')
                .and_then(|(_, port)| port.parse().ok());
            for port in [net.chain().address().port(), store.expect("a port")] {
                outside.push(Link::between(spaces.address(Node::Outside), port).await);
            }
        }
        let servers = Servers {
            rabbit,
            redis,
            net,
            spaces,
            outside,
        };
        let (mut schedulers, mut workers) = (Vec::new(), Vec::new());
        for number in 0..SEATS {
            let (scheduler, worker) = (Node::Scheduler(number), Node::Worker(number));
            schedulers.push(servers.seat(plan.release, scheduler, &env, &folder).await);
            workers.push(servers.seat(plan.release, worker, &env, &folder).await);
        }
        Self {
            name: plan.name,
            archive: DirArchive::open_shared(&folder.join("archive")).expect("an archive"),
            next: servers.net.first_interval(),
            folder,
            env,
            schedulers,
            workers,
            servers,
            declared,
            hurried: Instant::now(),
            objects: 0,
            healing: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Declares what this release needs on the broker, beside what is there.
    pub fn declare(&self) {
        let url = self.servers.rabbit.url();
        tokio::task::block_in_place(|| declare(Release::This, &url));
    }

    /// A worker of this release joins.
    pub async fn worker_joins(&mut self, number: usize) {
        let (release, node) = (Release::This, Node::Worker(number));
        let seat = self.servers.seat(release, node, &self.env, &self.folder);
        self.workers.push(seat.await);
    }

    /// A scheduler of this release joins.
    pub async fn scheduler_joins(&mut self, number: usize) {
        let (release, node) = (Release::This, Node::Scheduler(number));
        let seat = self.servers.seat(release, node, &self.env, &self.folder);
        self.schedulers.push(seat.await);
    }

    fn seats(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.schedulers.iter_mut().chain(&mut self.workers)
    }

    fn at(&mut self, place: Place) -> &mut Seat {
        match place {
            Place::Scheduler(number) => &mut self.schedulers[number],
            Place::Worker(number) => &mut self.workers[number],
        }
    }

    /// Replaces who has died, ends what has an end.
    pub fn tend(&mut self) {
        self.seats().for_each(Seat::tend);
        let now = Instant::now();
        let due: Vec<_> = self.healing.extract_if(.., |(at, _)| now >= *at).collect();
        for (_, remedy) in due {
            match remedy {
                Remedy::Wake(place) => self.at(place).signal(Signal::CONT),
                Remedy::Mend(place, peer) => self.link(place, peer, State::Up),
                Remedy::WakeBroker => self.servers.rabbit.resume(),
                Remedy::Join(one, other) => self.spaces().join(one, other),
            }
        }
    }

    fn spaces(&self) -> &Spaces {
        let spaces = self.servers.spaces.as_ref();
        spaces.expect("this site has namespaces")
    }

    fn link(&mut self, place: Place, peer: Peer, state: State) {
        let links = self.at(place).links.as_ref();
        links.expect("this site has relays").set(peer, state);
    }

    fn heal_after(&mut self, milliseconds: u64, remedy: Remedy) {
        let at = Instant::now() + Duration::from_millis(milliseconds);
        self.healing.push((at, remedy));
    }

    pub fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(place) => self.at(place).signal(Signal::KILL),
            Fault::Stop(place) => self.at(place).signal(Signal::TERM),
            Fault::Lie(place, clock) => self.at(place).lie(clock),
            Fault::Pause(place, time) => {
                self.at(place).signal(Signal::STOP);
                self.heal_after(time, Remedy::Wake(place));
            }
            Fault::Cut(place, peer, time) => {
                self.link(place, peer, State::Cut);
                self.heal_after(time, Remedy::Mend(place, peer));
            }
            Fault::Silence(place, peer, time) => {
                self.link(place, peer, State::Silent);
                self.heal_after(time, Remedy::Mend(place, peer));
            }
            Fault::Part(one, other, time) => {
                self.spaces().part(one, other);
                self.heal_after(time, Remedy::Join(one, other));
            }
            Fault::PauseBroker(time) => {
                self.servers.rabbit.pause();
                self.heal_after(time, Remedy::WakeBroker);
            }
            Fault::RestartBroker => {
                tokio::task::block_in_place(|| self.servers.rabbit.start_again());
            }
            Fault::RestartBoard => {
                tokio::task::block_in_place(|| self.servers.redis.start_again());
            }
            Fault::EmptyBoard => drop(self.servers.redis.ask("FLUSHALL")),
        }
    }

    /// Waits until every package of an interval is in the store, as many objects as in the first one's.
    async fn published(&mut self, interval: IntervalId) {
        let store = self.servers.net.wallets().with_file_name("s3");
        let count = |interval: IntervalId| {
            let folders = self.servers.net.miners().iter().map(|miner| {
                store
                    .join(miner.key.hotkey().bucket_name())
                    .join(interval.to_string())
            });
            folders.map(|folder| files(&folder)).sum::<usize>()
        };
        if interval == self.servers.net.first_interval() {
            self.objects = count(interval);
        }
        assert!(self.objects > 0, "no packages below {}", store.display());
        eventually(PATIENCE, async || count(interval) >= self.objects).await;
    }

    /// Makes blocks until `height` is final.
    pub fn advance_to(&self, height: u64) {
        let missing =
            (height + FINALITY_LAG).saturating_sub(self.servers.net.chain().head().number);
        self.servers.net.chain().new_blocks(missing);
    }

    /// The chain and the buckets of the site.
    pub fn net(&self) -> &Localnet {
        &self.servers.net
    }

    /// Transactions of ours that reached the chain so far.
    pub fn transactions(&self) -> u32 {
        let validator = self.servers.net.validator();
        self.servers
            .net
            .chain()
            .transactions(&validator.public_key())
    }

    /// Lets the next interval become eligible, and its weight epoch begin.
    pub async fn begin(&mut self) -> Begun {
        let interval = self.next;
        let calendar = Calendar::of(&profile());
        self.next = calendar.next(interval);
        self.published(interval).await;
        let sent_before = self.transactions();
        let begins = calendar.eligible_from(interval);
        let block = BlockNumber::new(begins.get());
        // Whoever starts inside an epoch waits for the next one.
        let first = interval == self.servers.net.first_interval();
        let epoch = (!first).then(|| calendar.weight_epoch(block));
        self.advance_to(begins.get());
        Begun {
            interval,
            epoch,
            sent_before,
        }
    }

    /// What a decided interval ended with.
    pub async fn outcome(&mut self, begun: Begun) -> Outcome {
        let interval = begun.interval;
        let bytes = ledger::decision_bytes(&self.archive, interval)
            .await
            .expect("our own disk")
            .expect("it is decided");
        self.stored.insert(interval.get(), bytes.clone());
        let mut weights = self.servers.net.chain().weights(0);
        weights.sort_unstable();
        Outcome {
            interval: interval.get(),
            decisions: without_times(&bytes),
            weights,
            sent: self.transactions() - begun.sent_before,
        }
    }

    /// The next interval, from the block at which it is eligible to decisions and weights, with faults on the way.
    pub async fn interval(&mut self, faults: Vec<(Duration, Fault)>) -> Outcome {
        if !faults.is_empty() {
            let declared = self.declared;
            eventually(PATIENCE, async || declared.elapsed() > QUEUES_ON_DISK).await;
        }
        let begun = self.begin().await;
        self.weather(begun.interval, begun.epoch, faults).await;
        self.outcome(begun).await
    }

    /// Lets the faults happen until they are over and the interval has ended well.
    pub async fn weather(
        &mut self,
        interval: IntervalId,
        epoch: Option<WeightEpoch>,
        faults: Vec<(Duration, Fault)>,
    ) {
        let mut faults = faults.into_iter().peekable();
        let mut last = Instant::now();
        self.tended(&format!("interval {interval} to end"), async |site| {
            if let Some((_, fault)) = faults.next_if(|(pause, _)| last.elapsed() >= *pause) {
                println!("   {}: {fault:?}", site.name);
                site.strike(fault);
                last = Instant::now();
            }
            let decided = site.is_decided(interval).await;
            let submitted = match epoch {
                // No deadline runs any more: what waits for finality need not wait for the clock.
                Some(epoch) if decided => site.submits(epoch).await,
                Some(epoch) => site.has_submitted(epoch).await,
                None => true,
            };
            let calm = faults.peek().is_none() && site.healing.is_empty();
            (calm && decided && submitted).then_some(())
        })
        .await;
    }

    /// Looks after the fleet until there is an answer to what it is asked.
    pub async fn tended<T>(
        &mut self,
        what: &str,
        mut ask: impl AsyncFnMut(&mut Self) -> Option<T>,
    ) -> T {
        let answer = answered_within(PATIENCE, async || {
            self.tend();
            ask(self).await
        });
        answer.await.unwrap_or_else(|| {
            let (name, logs) = (&self.name, self.folder.display());
            panic!("{name}: waited {PATIENCE:?} in vain for {what}; logs are in {logs}")
        })
    }

    pub async fn is_decided(&self, interval: IntervalId) -> bool {
        let decided = ledger::is_decided(&self.archive, interval).await;
        decided.expect("our own disk")
    }

    /// Whether an epoch's weights are final; when not, the next block comes soon.
    pub async fn submits(&mut self, epoch: WeightEpoch) -> bool {
        let done = self.has_submitted(epoch).await;
        if !done && self.hurried.elapsed() >= SOON {
            self.hurried = Instant::now();
            self.servers.net.chain().new_block();
        }
        done
    }

    /// Lets the chain refuse the next transaction.
    pub fn refuse_next_submission(&self) {
        self.servers
            .net
            .chain()
            .fault(&nexis_devchain::Fault::SubmitError {
                code: 1012,
                message: "Transaction is temporarily banned".to_owned(),
            });
    }

    /// Whether an epoch's weights were refused at least once.
    pub async fn was_refused(&self, epoch: WeightEpoch) -> bool {
        let record = SubmissionRecord::load(&self.archive, 0, epoch).await;
        let record = record.expect("our own disk");
        record.is_some_and(|record| record.last_error.is_some())
    }

    pub async fn has_submitted(&self, epoch: WeightEpoch) -> bool {
        let record = SubmissionRecord::load(&self.archive, 0, epoch)
            .await
            .expect("our own disk");
        record.is_some_and(|record| matches!(record.state, SubmissionState::Done(_)))
    }

    /// Stops everybody and looks once more at all that was stored.
    pub async fn end(mut self) {
        let folder = self.folder.display().to_string();
        for seat in self.schedulers.iter_mut().chain(&mut self.workers) {
            seat.tend();
            if let Err(how) = seat.stop().await {
                panic!("{} after SIGTERM: {how}; logs in {folder}", seat.name());
            }
            assert!(
                seat.surprises.is_empty(),
                "ended wrongly: {:?}; logs in {folder}",
                seat.surprises
            );
        }
        for (interval, bytes) in &self.stored {
            let now = ledger::decision_bytes(&self.archive, IntervalId::new(*interval)).await;
            assert_eq!(
                now.expect("our own disk").as_ref(),
                Some(bytes),
                "{}: interval {interval} was written again",
                self.name
            );
        }
        let names = self.archive.list("").await.expect("our own disk");
        assert!(!names.is_empty());
    }
}

fn without_times(bytes: &[u8]) -> String {
    let mut value: Value = serde_json::from_slice(bytes).expect("JSON");
    forget_times(&mut value);
    serde_json::to_string_pretty(&value).expect("JSON")
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
