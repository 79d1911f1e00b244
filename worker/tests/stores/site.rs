//! Workers over a queue and a board in memory, with stores that behave as a test says.

use crate::made;
use async_trait::async_trait;
use nexis_local::{LocalBoard, LocalQueue, LocalQueueOptions, TokioClock};
use nexis_media::PoolOptions;
use nexis_ports::conformance::board::{clip, miner};
use nexis_ports::{
    Board, Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Leadership, Message, Queue,
    Route, Stage,
};
use nexis_protocol::profile::Profile;
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch, Netuid};
use nexis_runtime::health::Health;
use nexis_testkit::{answered_within, within};
use nexis_wire::{ClipJob, ClipReport, JobRules, MinerJob, MinerReport, Wire as _};
use nexis_worker::measure::Prober;
use nexis_worker::{Worker, WorkerOptions, WorkerPorts};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const ROUND: IntervalId = IntervalId::new(1_000);
pub const SOON: Duration = Duration::from_secs(60);
const BUDGET: Duration = Duration::from_secs(120);
/// When the floor on throughput ends a transfer, milliseconds.
pub const DRIP_MS: u64 = 200;
/// How long a store without an answer is tried.
const TRIED: Duration = Duration::from_millis(200);

/// How a miner's store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// It says that there is no such object.
    Answers,
    /// No answer to the end of the time it is tried.
    Unreachable,
    /// One byte a second.
    Drips,
    /// Its answer makes our code panic.
    Panics,
    /// It says that our clock is wrong.
    RefusesClock,
}

pub fn hotkey(number: u8) -> Hotkey {
    nexis_ports::conformance::board::hotkey(number)
}

pub fn miner_number(of: &Hotkey) -> Option<u8> {
    number_of(&of.bucket_name())
}

fn number_of(bucket: &str) -> Option<u8> {
    static NUMBERS: LazyLock<BTreeMap<String, u8>> = LazyLock::new(|| {
        (0..=u8::MAX)
            .map(|n| (hotkey(n).bucket_name(), n))
            .collect()
    });
    NUMBERS.get(bucket).copied()
}

type Behaviour = Box<dyn Fn(u8) -> Store + Send>;

/// Stores as one worker sees them.
pub struct Stores {
    behave: Mutex<Behaviour>,
    asked: Mutex<BTreeMap<u8, u32>>,
}

impl Stores {
    pub fn set(&self, behave: impl Fn(u8) -> Store + Send + 'static) {
        *self.behave.lock().unwrap() = Box::new(behave);
    }

    pub fn asked(&self) -> u32 {
        self.asked.lock().unwrap().values().sum()
    }

    pub fn asked_of(&self, miner: u8) -> u32 {
        self.asked.lock().unwrap().get(&miner).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Bucket for Stores {
    async fn fetch(
        &self,
        access: &BucketAccess,
        _key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let number = number_of(&access.bucket).expect("one of ours");
        *self.asked.lock().unwrap().entry(number).or_default() += 1;
        let store = (self.behave.lock().unwrap())(number);
        let last = |last: &str| last.to_owned();
        Ok(match store {
            Store::Answers => Fetched::Missing {
                answer: "404 NoSuchKey".to_owned(),
            },
            Store::Unreachable => {
                tokio::time::sleep(limits.budget.min(TRIED)).await;
                Fetched::Unreachable {
                    last: last("no route to host"),
                }
            }
            Store::Drips => {
                tokio::time::sleep(Duration::from_millis(DRIP_MS)).await;
                Fetched::TooSlow {
                    last: last("10 bytes came in 10.0 s"),
                }
            }
            Store::RefusesClock => {
                return Err(FetchError::WrongClock {
                    bucket: access.bucket.clone(),
                    reason: last("RequestTimeTooSkewed"),
                });
            }
            Store::Panics => panic!("a header that the SDK unwraps"),
        })
    }
}

/// A round of miner jobs.
pub struct Site {
    pub board: Arc<LocalBoard>,
    queue: Arc<dyn Queue>,
    epoch: LeaderEpoch,
    miners: u8,
    delivery_limit: u32,
    prober: Arc<Prober>,
}

impl Site {
    pub async fn open(miners: u8, delivery_limit: u32) -> Self {
        let queue = LocalQueue::new(LocalQueueOptions {
            delivery_limit,
            ..LocalQueueOptions::default()
        });
        Self::over(Arc::new(queue), miners, delivery_limit).await
    }

    /// The same over another queue of that delivery limit.
    pub async fn over(queue: Arc<dyn Queue>, miners: u8, delivery_limit: u32) -> Self {
        let board = Arc::new(LocalBoard::in_memory(TokioClock::new()));
        let leads = board.campaign("a", Duration::from_secs(1_000_000)).await;
        let Leadership::Leader(epoch) = leads.unwrap() else {
            panic!("an empty board has no leader");
        };
        let ids: Vec<JobId> = (0..miners).map(|number| miner(ROUND, number)).collect();
        board.open(epoch, ROUND, Vec::new(), &ids).await.unwrap();
        let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-worker")));
        let prober = Prober::with(PoolOptions {
            program,
            ..PoolOptions::new(1)
        });
        Self {
            board,
            queue,
            epoch,
            miners,
            delivery_limit,
            prober: Arc::new(prober.unwrap()),
        }
    }

    /// A worker that works until it is dropped.
    pub fn worker(&self, behave: impl Fn(u8) -> Store + Send + 'static) -> Running {
        let stores = Arc::new(Stores {
            behave: Mutex::new(Box::new(behave)),
            asked: Mutex::default(),
        });
        let ports = WorkerPorts {
            queue: self.queue.clone(),
            board: self.board.clone(),
            bucket: stores.clone(),
            prober: Arc::clone(&self.prober),
            vision: None,
        };
        let options = WorkerOptions {
            delivery_limit: self.delivery_limit,
            ..WorkerOptions::default()
        };
        let health = Health::new();
        let worker = Worker::new(ports, options).shown(&health);
        let stop = CancellationToken::new();
        let (soft, hard) = (stop.clone(), stop.clone());
        tokio::spawn(async move { worker.run(soft, hard).await });
        Running {
            stores,
            health,
            _stop: stop.drop_guard(),
        }
    }

    fn rules() -> JobRules {
        JobRules {
            fetch_budget_ms: u64::try_from(BUDGET.as_millis()).unwrap(),
            ..JobRules::plain(Netuid::new(70), Profile::default())
        }
    }

    pub async fn publish_miners(&self) {
        let jobs = (0..self.miners).map(|number| MinerJob {
            interval: ROUND,
            hotkey: hotkey(number),
            commitment: Some(commitment(number)),
            rules: Self::rules(),
        });
        let messages = jobs.map(|job| message(&job.id(), job.encode()));
        let sent = self.queue.publish(Route::Miner, messages.collect()).await;
        sent.unwrap();
    }

    /// Begins the stage of the clips with one row of each of these miners.
    pub async fn clips(&self, miners: &[u8]) {
        self.clips_with(miners, |_| {}).await;
    }

    pub async fn clips_with(&self, miners: &[u8], change: impl Fn(&mut ClipJob)) {
        let ids: Vec<JobId> = miners
            .iter()
            .map(|number| clip(ROUND, *number, 0))
            .collect();
        let advanced = self
            .board
            .advance(self.epoch, ROUND, Stage::Clips, Vec::new(), &ids);
        advanced.await.unwrap();
        let jobs = miners.iter().map(|number| {
            let mut job = made::job(ROUND, hotkey(*number), 0, Self::rules());
            job.commitment = commitment(*number);
            change(&mut job);
            job
        });
        let messages = jobs.map(|job| message(&job.id(), job.encode()));
        let sent = self.queue.publish(Route::Clip, messages.collect()).await;
        sent.unwrap();
    }

    /// Waits until the open stage has all its results.
    pub async fn all_done(&self, limit: Duration) {
        let done = answered_within(limit, async || {
            let tally = self.board.tally(ROUND).await.unwrap().unwrap();
            (tally.done == tally.expected).then_some(())
        });
        let done = done.await.is_some();
        let tally = self.board.tally(ROUND).await;
        assert!(done, "{tally:?} after {limit:?}");
    }

    async fn results(&self, stage: Stage) -> Vec<(u8, Vec<u8>)> {
        let results = self.board.results(ROUND, stage).await.unwrap();
        let number = |id| match id {
            JobId::Miner { hotkey, .. } | JobId::Clip { hotkey, .. } => miner_number(&hotkey),
        };
        results
            .into_iter()
            .map(|(id, bytes)| (number(id).unwrap(), bytes))
            .collect()
    }

    pub async fn reports(&self) -> BTreeMap<u8, MinerReport> {
        let results = self.results(Stage::Miners).await.into_iter();
        results
            .map(|(number, bytes)| (number, MinerReport::decode(&bytes).unwrap()))
            .collect()
    }

    pub async fn verdicts(&self) -> BTreeMap<u8, ClipReport> {
        let results = self.results(Stage::Clips).await.into_iter();
        results
            .map(|(number, bytes)| (number, ClipReport::decode(&bytes).unwrap()))
            .collect()
    }

    pub async fn dead(&self, route: Route) -> Vec<(Message, String)> {
        self.queue.dead(route, 100).await.unwrap()
    }
}

/// Each miner has an account of its own.
fn commitment(number: u8) -> String {
    format!("{number:032x}{}", "a1".repeat(48))
}

fn message(id: &JobId, body: Vec<u8>) -> Message {
    Message {
        id: id.to_string(),
        body,
        trace: None,
    }
}

/// A worker at work, until it is dropped.
pub struct Running {
    pub stores: Arc<Stores>,
    health: Health,
    _stop: DropGuard,
}

impl Running {
    /// What is not as it should be.
    pub fn page(&self) -> String {
        self.health.failing().join("\n")
    }

    pub async fn page_says(&self, what: &str) {
        let said = within(SOON, || self.page().contains(what).then_some(()));
        assert!(said.await.is_some(), "no '{what}' in '{}'", self.page());
    }
}
