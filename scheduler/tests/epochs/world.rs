//! One dev chain, two schedulers, an archive full of decisions, and what goes wrong.

use async_trait::async_trait;
use nexis_chain::{ChainClient, ChainPort, ConnectOptions, Wallet};
use nexis_devchain::{
    DevChain, DevChainConfig, DevChainHandle, Fault, GenesisNeuron, Spec, WeightChange,
};
use nexis_local::{DirArchive, HandClock, LocalBoard, LocalQueue, LocalQueueOptions};
use nexis_ports::{Archive, Bucket, BucketAccess, FetchError, FetchLimits, Fetched};
use nexis_protocol::decision::Decision;
use nexis_protocol::profile::Profile;
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid, WeightEpoch, weights};
use nexis_scheduler::ledger::DecisionFile;
use nexis_scheduler::{
    Scheduler, SchedulerError, SchedulerOptions, SchedulerPorts, SubmissionRecord, SubmissionState,
};
use nexis_wire::{JobRules, Sampling, VisionChecks};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NETUID: Netuid = Netuid::new(70);
/// Shortest time between blocks.
const BLOCK: Duration = Duration::from_millis(50);
/// A block takes at least so many times what [`work`] takes: on a busy machine the chain's clock slows down with
/// those who follow it, so that "in time" means the same everywhere.
const WORKS_PER_BLOCK: u32 = 8;
const LENGTH: u64 = 20;
pub const PERIOD: u64 = 60;
const START: u64 = 1_190;
/// Blocks at the beginning of an epoch in which things go wrong; the rest of it belongs to what mends them.
const ROUGH: u64 = 28;
/// Blocks of one of the chain's own epochs.
const TEMPO: u64 = 80;
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

pub fn wallet(uri: &str) -> Wallet {
    Wallet::from_uri(uri).unwrap()
}

/// Numbers that follow from a seed.
struct Draws(u64, u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.1 += 1;
        let text = Digest::of(format!("{}:{}", self.0, self.1).as_bytes()).to_string();
        u64::from_str_radix(&text[..12], 16).unwrap() % limit
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

fn rules() -> JobRules {
    JobRules {
        netuid: NETUID,
        profile: profile(),
        enabled_specs: vec!["video_v1".to_owned()],
        expected_category: None,
        vision: VisionChecks::default(),
        reject_advisories: Vec::new(),
        pictures: nexis_protocol::picture::PictureChecks::default(),
        sampling: Sampling::Protocol,
        fetch_budget_ms: 1000,
        max_dataset_bytes: 1 << 20,
        max_asset_bytes: 1 << 20,
    }
}

/// Decisions of every interval that the run can see, so that no round is ever open.
async fn decide_all(archive: &DirArchive, draws: &mut Draws, until: u64) {
    for interval in (START / LENGTH * LENGTH - 10 * LENGTH..until).step_by(20) {
        let interval_id = IntervalId::new(interval);
        let decisions = MINERS.map(|miner| Decision {
            miner_hotkey: wallet(miner).hotkey().clone(),
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

struct NoBucket;

#[async_trait]
impl Bucket for NoBucket {
    async fn fetch(
        &self,
        _: &BucketAccess,
        _: &str,
        _: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        Ok(Fetched::Missing)
    }
}

/// What goes wrong.
#[derive(Clone, Copy)]
pub enum Trouble {
    /// What the seed draws.
    Drawn,
    /// Each time weights are in a block that is not final yet, the leader loses its lease.
    LeaseLostAtInclusion,
}

pub struct World {
    seed: u64,
    chain: DevChainHandle,
    archive: DirArchive,
    board: LocalBoard,
    clock: Arc<HandClock>,
    schedulers: Vec<JoinHandle<Result<(), SchedulerError>>>,
    started: u64,
    draws: Draws,
    changes: Vec<WeightChange>,
    looked: u64,
    log: Vec<String>,
}

impl World {
    fn scheduler(&mut self) {
        self.started += 1;
        let mut options = ConnectOptions::new(self.chain.url().parse().unwrap());
        options.allow_other_genesis = true;
        options.block_time = Some(BLOCK);
        let pool = &mut options.pool;
        pool.request_timeout = Duration::from_secs(1);
        pool.connect_timeout = Duration::from_secs(1);
        pool.ping_interval = Duration::from_millis(100);
        pool.inactive_limit = Duration::from_millis(300);
        pool.backoffs.away_first = Duration::from_millis(10);
        pool.backoffs.away_most = Duration::from_millis(50);
        pool.backoffs.limited_first = Duration::from_millis(50);
        let port = ChainPort::new(ChainClient::new(options), Some(wallet("//Alice")));
        let ports = SchedulerPorts {
            queue: Arc::new(LocalQueue::new(LocalQueueOptions::default())),
            board: Arc::new(self.board.clone()),
            chain: Arc::new(port),
            archive: Arc::new(self.archive.clone()),
            bucket: Arc::new(NoBucket),
        };
        let options = SchedulerOptions {
            name: format!("scheduler-{}", self.started),
            rules: rules(),
            record_info: None,
            exclude: BTreeSet::new(),
            miners_deadline_blocks: 8,
            clips_deadline_blocks: 18,
            lease: LEASE,
            republish_after: Duration::from_secs(30),
            poll: Duration::from_millis(20),
            submit: true,
            max_open_rounds: 2,
            retry_unit: Duration::from_millis(5),
            clock: || 1_700_000_000.0,
        };
        let scheduler = Scheduler::new(ports, options, Arc::new(|_| {}));
        self.schedulers.push(tokio::spawn(async move {
            scheduler.run(CancellationToken::new()).await
        }));
    }

    /// Runs so many epochs; answers how many were looked at.
    pub async fn run(seed: u64, epochs: u64, commit_reveal: bool, trouble: Trouble) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let neuron = |uri: &str, permit| GenesisNeuron {
            hotkey: wallet(uri).hotkey().public_key(),
            stake_rao: 7_000_000_000_000,
            permit,
        };
        let mut neurons = vec![neuron("//Alice", true)];
        neurons.extend(MINERS.map(|miner| neuron(miner, false)));
        let chain = DevChain::start(DevChainConfig {
            // Commits do not outlive the upgrade that changed how epochs are counted (423).
            spec: if commit_reveal {
                Spec::S439
            } else {
                Spec::S419
            },
            // Blocks are made by hand, at the time of the wall.
            block_time: Duration::from_secs(3_600),
            start_block: START,
            tempo: u16::try_from(TEMPO).unwrap(),
            weights_rate_limit: 20,
            commit_reveal,
            state_blocks: 2_000,
            neurons,
            ..DevChainConfig::default()
        })
        .await
        .unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        let mut draws = Draws(seed, 0);
        // However long the start takes: there are decisions for what follows.
        decide_all(
            &archive,
            &mut draws,
            (START / PERIOD + 60 + epochs) * PERIOD,
        )
        .await;
        let clock = Arc::new(HandClock::new());
        let board = LocalBoard::open(&folder.path().join("board"), Arc::clone(&clock)).unwrap();
        let mut world = Self {
            seed,
            chain,
            archive,
            board,
            clock,
            schedulers: Vec::new(),
            started: 0,
            draws,
            changes: Vec::new(),
            looked: START,
            log: Vec::new(),
        };
        world.scheduler();
        world.scheduler();
        let first = world.first_noted().await;
        let end = (first + epochs) * PERIOD;
        match trouble {
            Trouble::Drawn => world.live(end).await,
            Trouble::LeaseLostAtInclusion => world.lose_leases(end).await,
        }
        let looked_at = world.judge(first..first + epochs, commit_reveal).await;
        for task in world.schedulers.drain(..) {
            task.abort();
            let _aborted = task.await.is_err();
        }
        world.chain.stop().await;
        looked_at
    }

    fn note_changes(&mut self) {
        let to = self.chain.finalized().number + 1;
        self.changes
            .extend(self.chain.weight_changes(0, self.looked..to));
        self.looked = to;
    }

    /// The next block, when everybody had time to see the last one.
    async fn block(&mut self) {
        let begun = Instant::now();
        let took = work().await;
        let pause = BLOCK.max(took * WORKS_PER_BLOCK);
        tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
        self.chain.new_block();
        self.note_changes();
        for task in &self.schedulers {
            assert!(!task.is_finished(), "seed {}: a scheduler ended", self.seed);
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

    async fn live(&mut self, end: u64) {
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
            let first = self.disturb().await;
            self.log.push(format!("{head}: {first}"));
            if self.draws.below(2) == 0 {
                let second = self.disturb_connection().await;
                self.log.push(format!("{head}: {second}"));
            }
        }
    }

    async fn lose_leases(&mut self, end: u64) {
        let mut lost_at = 0;
        while self.chain.finalized().number < end {
            self.block().await;
            let (last, best) = (self.chain.finalized().number, self.chain.head().number);
            let fresh = self.chain.weight_changes(0, last + 1..best + 1);
            if let Some(change) = fresh.last()
                && change.block != lost_at
            {
                lost_at = change.block;
                self.clock.advance(LEASE * 2);
            }
        }
    }

    async fn disturb(&mut self) -> String {
        match self.draws.below(12) {
            0 => self.fault(Fault::Usurped),
            1 => self.fault(Fault::Dropped),
            2 => self.fault(Fault::Invalid),
            3 => self.refuse(1014, "Priority is too low"),
            4 => self.refuse(1012, "Transaction is temporarily banned"),
            5 => self.refuse(1013, "Transaction Already Imported"),
            6 => {
                let depth = self.chain.reorganise(1 + self.draws.below(2));
                format!("reorganised {depth} blocks")
            }
            7 | 8 => {
                let which = usize::try_from(self.draws.below(2)).unwrap();
                self.schedulers.remove(which).abort();
                self.clock.advance(LEASE * 2);
                self.scheduler();
                format!("scheduler {which} replaced")
            }
            9 => {
                let spec = [Spec::S439, Spec::S461][usize::try_from(self.draws.below(2)).unwrap()];
                self.chain.set_spec(spec).unwrap();
                format!("runtime {spec:?}")
            }
            10 => {
                let uid = 1 + u16::try_from(self.draws.below(5)).unwrap();
                let stranger = wallet(&format!("//Stranger{}", self.draws.below(1_000)));
                let neuron = GenesisNeuron {
                    hotkey: stranger.hotkey().public_key(),
                    stake_rao: 0,
                    permit: false,
                };
                // Never so many that nobody who was scored is left.
                if uid != 1 {
                    self.chain.register_neuron(&neuron, Some(uid));
                }
                format!("slot {uid} changed hands")
            }
            _ => self.disturb_connection().await,
        }
    }

    async fn disturb_connection(&mut self) -> String {
        match self.draws.below(6) {
            0 => self.fault(Fault::DropConnections),
            1 => self.fault(Fault::ClosePolicy),
            2 => {
                self.chain.fault(&Fault::Silence(true));
                tokio::time::sleep(Duration::from_millis(400)).await;
                self.fault(Fault::Silence(false))
            }
            3 => {
                self.chain.fault(&Fault::Delay(Duration::from_millis(60)));
                tokio::time::sleep(Duration::from_millis(300)).await;
                self.fault(Fault::Delay(Duration::ZERO))
            }
            4 => {
                self.chain.fault(&Fault::TurnAway {
                    times: 3,
                    retry_after: 0,
                });
                self.fault(Fault::DropConnections)
            }
            _ => self.fault(Fault::RateLimit(2)),
        }
    }

    fn fault(&self, fault: Fault) -> String {
        self.chain.fault(&fault);
        format!("{fault:?}")
    }

    fn refuse(&self, code: i32, message: &str) -> String {
        self.fault(Fault::SubmitError {
            code,
            message: message.to_owned(),
        })
    }

    async fn judge(&mut self, epochs: Range<u64>, commit_reveal: bool) -> u64 {
        let mut bad = Vec::new();
        for epoch in epochs.clone() {
            // The last commits are opened at most two of the chain's epochs later.
            let mut patience = 4 * TEMPO;
            let record = loop {
                let epoch = WeightEpoch::new(epoch);
                let found = SubmissionRecord::load(&self.archive, epoch).await.unwrap();
                let settled = found.as_ref().is_some_and(|record| {
                    matches!(
                        record.state,
                        SubmissionState::Done(_) | SubmissionState::Missed { .. }
                    )
                });
                if settled || patience == 0 {
                    break found;
                }
                patience -= 1;
                self.block().await;
            };
            let changes: Vec<&WeightChange> = self
                .changes
                .iter()
                .filter(|change| change.block / PERIOD == epoch)
                .collect();
            let done = record
                .as_ref()
                .is_some_and(|record| matches!(record.state, SubmissionState::Done(_)));
            if changes.len() != 1 || !done {
                let record = record.map(|r| (r.state, r.attempts, r.last_error));
                let changes: Vec<u64> = changes.iter().map(|change| change.block).collect();
                bad.push(format!("epoch {epoch}: {changes:?}, {record:?}"));
            } else if !commit_reveal {
                check_owners(&record.unwrap(), changes[0]);
            }
        }
        self.log.retain(|line| {
            let block: u64 = line.split(':').next().unwrap().parse().unwrap();
            let epoch = format!("epoch {}:", block / PERIOD);
            bad.iter().any(|bad| bad.starts_with(&epoch))
        });
        assert!(
            bad.is_empty(),
            "seed {}: {bad:#?}\n{:#?}",
            self.seed,
            self.log
        );
        epochs.end - epochs.start
    }
}

/// Each share went to the hotkey that it was computed for.
fn check_owners(record: &SubmissionRecord, change: &WeightChange) {
    let uids: Vec<u16> = record.weights.iter().map(|(uid, ..)| *uid).collect();
    let shares: Vec<f64> = record.weights.iter().map(|(.., share)| *share).collect();
    let scaled = weights::scale_to_u16(&uids, &shares).unwrap();
    assert_eq!(change.weights, scaled, "{record:?}");
    for (uid, hotkey, share) in &record.weights {
        let owner = Hotkey::from_public_key(&change.owners[usize::from(*uid)]);
        assert!(
            *share == 0.0 || owner == *hotkey,
            "slot {uid} at {}",
            change.block
        );
    }
}
