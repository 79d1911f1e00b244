//! One dev chain, two schedulers, an archive full of decisions, and what goes wrong.

mod alerts;
mod judge;
mod trouble;
mod watched;

use nexis_chain::{ChainClient, ChainPort, Clock, ConnectOptions, Wallet};
use nexis_devchain::{
    DevChain, DevChainConfig, DevChainHandle, Fault, GenesisNeuron, Mode, Spec, WeightChange,
};
use nexis_local::{DirArchive, HandClock, LocalBoard, LocalQueue, LocalQueueOptions};
use nexis_ports::Archive;
use nexis_ports::conformance::still::NoBucket;
use nexis_protocol::decision::Decision;
use nexis_protocol::profile::Profile;
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid};
use nexis_scheduler::ledger::DecisionFile;
use nexis_scheduler::{
    Event, Keeping, Scheduler, SchedulerError, SchedulerOptions, SchedulerPorts, SubmissionRecord,
};
use nexis_testkit::within;
use nexis_wire::JobRules;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watched::{Activity, WatchedArchive, WatchedChain};

const NETUID: Netuid = Netuid::new(70);
/// The next block comes when every scheduler has seen the last one and has had nothing to do for so long,
const QUIET: Duration = Duration::from_millis(4);
/// or, while one has something on its way, when it has not talked to the chain for so long.
const QUIET_IN_FLIGHT: Duration = Duration::from_millis(30);
/// It comes in any case after this time: a chain does not wait for those who are cut off from it,
const BLOCK: Duration = Duration::from_millis(50);
/// or so many times what [`work`] takes: on a busy machine the chain's clock slows down with those who follow it, so
/// that "in time" means the same everywhere.
const WORKS_PER_BLOCK: u32 = 8;
/// A block waits so long for a call that a fault holds up: the request's own time limit and a second attempt. On the
/// real chain, too, that is a small part of a signature's life and not all of it.
const CALL: Duration = Duration::from_millis(1_500);
/// What a second of a pause between attempts is here. Blocks, 12 s apart elsewhere, come after about as many of these.
const RETRY_UNIT: Duration = Duration::from_millis(1);
const LENGTH: u64 = 20;
pub const PERIOD: u64 = 60;
const START: u64 = 1_190;
/// Blocks at the beginning of an epoch in which things go wrong; the rest of it belongs to what mends them.
const ROUGH: u64 = 28;
/// Blocks of one of the chain's own epochs: commits are opened in the weight epoch that made them,
pub const SHORT_TEMPO: u16 = 20;
/// or in the next one.
pub const LONG_TEMPO: u16 = 80;
/// Blocks between two weight changes of one hotkey.
const RATE_LIMIT: u64 = 20;
/// Blocks for which a signature is good at most.
const LONGEST_LIFE: u64 = 16;
/// Blocks whose state a node keeps that forgets quickly.
const FEW_STATES: u64 = 40;
const LEASE: Duration = Duration::from_secs(60);
const MINERS: [&str; 5] = ["//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"];

/// A number from the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line of a test run is its environment"
)]
pub fn asked(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a whole number"))
}

fn wallet(uri: &str) -> Wallet {
    Wallet::from_uri(uri).unwrap()
}

/// The hotkey of a development key. Each is derived once: that takes as long as all else in an epoch.
fn hotkey(uri: &str) -> Hotkey {
    static DERIVED: Mutex<BTreeMap<String, Hotkey>> = Mutex::new(BTreeMap::new());
    let mut derived = DERIVED.lock().unwrap();
    let found = derived.entry(uri.to_owned());
    found
        .or_insert_with(|| wallet(uri).hotkey().clone())
        .clone()
}

/// Numbers that follow from a seed.
struct Draws(u64, u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.1 += 1;
        let text = Digest::of(format!("{}:{}", self.0, self.1).as_bytes()).to_string();
        u64::from_str_radix(&text[..12], 16).unwrap() % limit
    }

    fn pick(&mut self, of: u64) -> usize {
        usize::try_from(self.below(of)).unwrap()
    }
}

/// A piece of work of some milliseconds; says how long it took.
async fn work() -> Duration {
    let begun = Instant::now();
    let piece = tokio::task::spawn_blocking(|| Digest::of(&vec![7; 8 << 20]));
    let _digest = piece.await.unwrap();
    begun.elapsed()
}

fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.interval_length_blocks = LENGTH;
    profile.weight_period_blocks = PERIOD;
    profile
}

/// Decisions of every interval that the run can see, so that no round is ever open.
async fn decide_all(archive: &DirArchive, draws: &mut Draws, until: u64) {
    for interval in (START / LENGTH * LENGTH - 10 * LENGTH..until).step_by(20) {
        let interval_id = IntervalId::new(interval);
        let decisions = MINERS.map(|miner| Decision {
            miner_hotkey: hotkey(miner),
            interval_id,
            accepted: true,
            failures: Vec::new(),
            record_count: 1 + u32::try_from(draws.below(200)).unwrap(),
            sampled_rows: 3,
            checked_at: String::new(),
            notes: BTreeMap::new(),
        });
        let file = DecisionFile {
            interval_id,
            decisions: decisions.to_vec(),
            absent: Vec::new(),
        };
        let name = format!("rounds/{interval:012}/decisions.json");
        archive.put(&name, &file.to_bytes()).await.unwrap();
    }
}

/// What goes wrong.
#[derive(Clone, Copy)]
pub enum Trouble {
    /// What the seed draws.
    Drawn,
    /// Each time weights are in a block that is not final yet, the leader loses its lease.
    LeaseLostAtInclusion,
    /// While the first commit waits, the runtime begins to count epochs in another way.
    UpgradedWhileSealed,
    /// The chain drops the first commit where it should open it, without a word.
    RevealLost,
    /// The same, when the epoch that made it is over.
    RevealLostLate,
    /// A scored miner's slot changes hands in the very block that holds the weights.
    SlotTakenUnderWay,
    /// The leader dies when an epoch is about to begin, and its lease is over.
    LeaderDies,
    /// Everybody dies when the first weights are in a block, until the node has forgotten what that block did.
    Forgotten,
    /// What the chain holds of commits cannot be read for most of the run, as after a runtime upgrade.
    RevealsUnreadable,
    /// The validator's uid is taken by another hotkey, and comes back.
    Unregistered,
    /// Another process sets weights with the validator's hotkey.
    SecondValidator,
}

/// What a world is made of.
#[derive(Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub epochs: u64,
    pub commit_reveal: bool,
    pub trouble: Trouble,
    /// `None`: what the seed draws.
    pub tempo: Option<u16>,
}

/// What a run saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Epochs that were looked at.
    pub epochs: u64,
    /// Commits that the chain dropped in silence, each of them noticed.
    pub reveals_lost: u64,
    /// Of those, the ones that were committed again.
    pub committed_again: u64,
    /// Epochs whose weights never counted, because newer ones were on their way when the loss was noticed.
    pub superseded: u64,
}

pub struct World {
    seed: u64,
    chain: DevChainHandle,
    archive: DirArchive,
    board: LocalBoard,
    clock: Arc<HandClock>,
    schedulers: Vec<(JoinHandle<Result<(), SchedulerError>>, Arc<Activity>)>,
    started: u64,
    /// Which one led last, by the order in which they were started.
    leader: Arc<AtomicU64>,
    blocks: watch::Sender<u64>,
    /// What schedulers told of reveals that did not happen: the epoch, and whether it was committed again.
    told: Arc<Mutex<Vec<(u64, bool)>>>,
    /// The best block when each of them was heard.
    told_at: Vec<u64>,
    /// What schedulers alerted their operator of.
    alerts: Arc<Mutex<Vec<String>>>,
    reveals_unreadable: Arc<AtomicBool>,
    tempo: u16,
    draws: Draws,
    changes: Vec<WeightChange>,
    /// Who owned the slots at the blocks at which those changes can have been signed.
    owners: BTreeMap<u64, Vec<[u8; 32]>>,
    looked: u64,
    log: Vec<String>,
}

impl World {
    fn scheduler(&mut self) {
        self.started += 1;
        let mut options = ConnectOptions::new(self.chain.url().parse().unwrap());
        options.allow_other_genesis = true;
        // Half of it is the pause of whoever looks for an extrinsic: longer than what counts as quiet, else no block would
        // come before its deadline meanwhile.
        options.block_time = Some(QUIET_IN_FLIGHT * 4);
        let pool = &mut options.pool;
        pool.clock = Clock::new(self.chain.clock());
        pool.request_timeout = Duration::from_secs(1);
        pool.connect_timeout = Duration::from_secs(1);
        pool.ping_interval = Duration::from_millis(100);
        pool.inactive_limit = Duration::from_millis(300);
        pool.backoffs.away_first = Duration::from_millis(10);
        pool.backoffs.away_most = Duration::from_millis(50);
        pool.backoffs.limited_first = Duration::from_millis(50);
        let activity = Arc::new(Activity::default());
        let chain = WatchedChain {
            inner: ChainPort::new(ChainClient::new(options), Some(wallet("//Alice"))),
            activity: Arc::clone(&activity),
            blocks: self.blocks.subscribe(),
            reveals_unreadable: Arc::clone(&self.reveals_unreadable),
        };
        let archive = WatchedArchive {
            inner: self.archive.clone(),
            activity: Arc::clone(&activity),
        };
        let ports = SchedulerPorts {
            queue: Arc::new(LocalQueue::new(LocalQueueOptions::default())),
            board: Arc::new(self.board.clone()),
            chain: Arc::new(chain),
            archive: Arc::new(archive),
            bucket: Arc::new(NoBucket),
        };
        let options = SchedulerOptions {
            name: format!("scheduler-{}", self.started),
            rules: JobRules::plain(NETUID, profile()),
            record_info: None,
            index: nexis_scheduler::IndexLimits::default(),
            exclude: BTreeSet::new(),
            miners_deadline_blocks: 8,
            clips_deadline_blocks: 18,
            lease: LEASE,
            republish_after: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            submit: true,
            max_open_rounds: 2,
            retry_unit: RETRY_UNIT,
            clock: || 1_700_000_000.0,
            keeping: Keeping::default(),
        };
        let (told, leader) = (Arc::clone(&self.told), Arc::clone(&self.leader));
        let alerts = Arc::clone(&self.alerts);
        let number = self.started;
        let scheduler = Scheduler::new(
            ports,
            options,
            Arc::new(move |event| match event {
                Event::RevealMissed { epoch, again } => {
                    told.lock().unwrap().push((epoch.get(), *again));
                }
                Event::Alert { what } => alerts.lock().unwrap().push(what.clone()),
                Event::Leading => leader.store(number, Ordering::SeqCst),
                _ => {}
            }),
        );
        let task = tokio::spawn(async move { scheduler.run(CancellationToken::new()).await });
        self.schedulers.push((task, activity));
    }

    /// Runs so many epochs.
    pub async fn run(plan: Plan) -> Seen {
        let folder = tempfile::tempdir().unwrap();
        let neuron = |uri: &str, permit| GenesisNeuron {
            hotkey: hotkey(uri).public_key(),
            stake_rao: 7_000_000_000_000,
            permit,
        };
        let mut neurons = vec![neuron("//Alice", true)];
        neurons.extend(MINERS.map(|miner| neuron(miner, false)));
        let mut draws = Draws(plan.seed, 0);
        let spec = match plan.trouble {
            Trouble::UpgradedWhileSealed => Spec::S419,
            _ => [Spec::S365, Spec::S419, Spec::S439][draws.pick(3)],
        };
        let drawn = [SHORT_TEMPO, LONG_TEMPO][draws.pick(2)];
        let tempo = plan.tempo.unwrap_or(drawn);
        let chain = DevChain::start(DevChainConfig {
            spec,
            // Blocks are made by hand. By the chain's own clock, which the schedulers go by, they are 12 s apart, so
            // that the beacon's rounds are what they are elsewhere.
            mode: Mode::Manual,
            block_time: Duration::from_secs(12),
            start_block: START,
            tempo,
            weights_rate_limit: RATE_LIMIT,
            commit_reveal: plan.commit_reveal,
            reveal_period: match plan.trouble {
                Trouble::RevealLostLate => 2,
                _ => 1,
            },
            state_blocks: match plan.trouble {
                Trouble::Forgotten => FEW_STATES,
                _ => 2_000,
            },
            neurons,
            ..DevChainConfig::default()
        })
        .await
        .unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        // However long the start takes: there are decisions for what follows.
        decide_all(
            &archive,
            &mut draws,
            (START / PERIOD + 60 + plan.epochs) * PERIOD,
        )
        .await;
        let clock = Arc::new(HandClock::new());
        let board = LocalBoard::open(&folder.path().join("board"), Arc::clone(&clock)).unwrap();
        let mut world = Self {
            seed: plan.seed,
            chain,
            archive,
            board,
            clock,
            schedulers: Vec::new(),
            started: 0,
            leader: Arc::default(),
            blocks: watch::Sender::new(0),
            told: Arc::default(),
            told_at: Vec::new(),
            alerts: Arc::default(),
            reveals_unreadable: Arc::default(),
            tempo,
            draws,
            changes: Vec::new(),
            owners: BTreeMap::new(),
            looked: START,
            log: vec![format!("{START}: begins at {spec:?}, tempo {tempo}")],
        };
        world.scheduler();
        world.scheduler();
        let first = world.first_noted().await;
        let end = (first + plan.epochs) * PERIOD;
        match plan.trouble {
            Trouble::Drawn => world.live(end, plan.commit_reveal).await,
            Trouble::LeaseLostAtInclusion => world.lose_leases(end).await,
            Trouble::UpgradedWhileSealed => {
                world.first_change().await;
                world.chain.set_spec(Spec::S439).unwrap();
                world.until(end).await;
            }
            Trouble::Forgotten => world.sleep_too_long(end).await,
            Trouble::LeaderDies => world.lose_leaders(end).await,
            Trouble::RevealsUnreadable => world.lose_sight_of_commits(end).await,
            Trouble::Unregistered => world.lose_registration().await,
            Trouble::SecondValidator => world.meet_a_second_validator().await,
            Trouble::SlotTakenUnderWay => world.take_slots(end).await,
            Trouble::RevealLost | Trouble::RevealLostLate => {
                world.chain.fault(&Fault::LoseReveals(1));
                world.until(end).await;
            }
        }
        // Nobody can tell of the epoch that was slept through whether its weights count.
        let from = first + u64::from(matches!(plan.trouble, Trouble::Forgotten));
        let seen = match plan.trouble {
            // Somebody else's weights are on the chain, or nobody's: the alerts were what counts.
            Trouble::Unregistered | Trouble::SecondValidator => Seen::default(),
            _ => world.judge(from..first + plan.epochs, &plan).await,
        };
        for (task, _) in world.schedulers.drain(..) {
            task.abort();
            let _aborted = task.await.is_err();
        }
        world.chain.stop().await;
        seen
    }

    fn note_changes(&mut self) {
        let to = self.chain.finalized().number + 1;
        for change in self.chain.weight_changes(0, self.looked..to) {
            for block in change.block - LONGEST_LIFE..=change.block {
                let owners = self.chain.owners(block);
                self.owners.extend(owners.map(|owners| (block, owners)));
            }
            self.changes.push(change);
        }
        self.looked = to;
    }

    /// The next block, when everybody has seen the last one or had time to.
    async fn block(&mut self) {
        self.all_saw_the_last().await;
        self.chain.new_block();
        self.tell_of_blocks();
    }

    async fn all_saw_the_last(&self) {
        let begun = Instant::now();
        if !self.is_quiet_within(begun, BLOCK).await {
            let pause = CALL.max(work().await * WORKS_PER_BLOCK);
            self.is_quiet_within(begun, pause).await;
        }
    }

    fn tell_of_blocks(&mut self) {
        let told = self.told.lock().unwrap().len();
        self.told_at.resize(told, self.chain.head().number);
        self.blocks.send_replace(self.chain.head().number);
        self.note_changes();
        for (task, _) in &self.schedulers {
            assert!(!task.is_finished(), "seed {}: a scheduler ended", self.seed);
        }
    }

    /// Waits until all that the schedulers wait for is the next block.
    async fn is_quiet_within(&self, begun: Instant, at_most: Duration) -> bool {
        let finalized = self.chain.finalized().number;
        let (mut calls, mut silent_since) = (self.chain.traffic().0, Instant::now());
        let left = at_most.saturating_sub(begun.elapsed());
        let quiet = within(left, || {
            let now = self.chain.traffic().0;
            if now != calls {
                (calls, silent_since) = (now, Instant::now());
            }
            let in_flight = self
                .schedulers
                .iter()
                .any(|(_, doing)| doing.is_in_flight());
            let quiet = if in_flight { QUIET_IN_FLIGHT } else { QUIET };
            let mut all = self.schedulers.iter();
            let idle = silent_since.elapsed() >= quiet
                && all.all(|(_, doing)| doing.is_idle(finalized, quiet));
            idle.then_some(())
        });
        quiet.await.is_some()
    }

    async fn until(&mut self, end: u64) {
        while self.chain.finalized().number < end {
            self.block().await;
        }
    }

    /// Until weights or a commit are in a final block.
    async fn first_change(&mut self) {
        while self.changes.is_empty() {
            self.block().await;
        }
    }

    /// The first epoch whose coming a leader noted: from there on none may be lost.
    async fn first_noted(&mut self) -> u64 {
        loop {
            self.block().await;
            let known = SubmissionRecord::history(&self.archive).await.unwrap();
            if let Some(first) = known.first() {
                return first.epoch.get();
            }
        }
    }

    async fn live(&mut self, end: u64, commit_reveal: bool) {
        let mut disturbed = (0, 0, false);
        while self.chain.finalized().number < end {
            self.block().await;
            let head = self.chain.head().number;
            let (epoch, within) = (head / PERIOD, head % PERIOD);
            if epoch != disturbed.0 {
                // Submissions go out at the beginning: most faults should meet one.
                let at = self.draws.below(ROUGH);
                disturbed = (epoch, at, false);
            }
            if within < disturbed.1 || disturbed.2 {
                continue;
            }
            disturbed.2 = true;
            let first = if commit_reveal && self.draws.below(8) == 0 {
                self.fault(Fault::LoseReveals(1))
            } else {
                self.disturb().await
            };
            self.log.push(format!("{head}: {first}"));
            if self.draws.below(2) == 0 {
                let second = self.disturb_connection().await;
                self.log.push(format!("{head}: {second}"));
            }
        }
    }
}
