//! A validator's processes over the embedded ports, a hand-turned chain and a hand-turned lease clock.

use crate::chain::SimChain;
use crate::gates::{Gate, GatedArchive};
use crate::outages::{self, IndexStore, Outage, SwitchedQueue, Switches};
use crate::worker::{Treatment, is_slow, work};
use nexis_local::{
    DirArchive, HandClock, LocalBoard, LocalBoardError, LocalQueue, LocalQueueOptions,
};
use nexis_ports::conformance::looked_on::LookedOn;
use nexis_ports::{Board, Queue, Route, Stage};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{BlockNumber, Digest, IntervalId, Netuid};
use nexis_scheduler::{
    Event, Keeping, Scheduler, SchedulerError, SchedulerOptions, SchedulerPorts, ledger,
};
use nexis_testkit::{answered_within, eventually};
use nexis_wire::JobRules;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const LENGTH: u64 = 10;
const PERIOD: u64 = 30;
const START: u64 = 95;
/// Blocks that a run turns.
pub const BLOCKS: u64 = 70;
/// Blocks after opening at which the miner stage and the clip stage close whoever is missing.
pub const DEADLINES: (u64, u64) = (2, 4);
/// Rounds that are open at one time.
const OPEN_ROUNDS: usize = 2;
/// The board counts it by the hand-turned clock, a scheduler by its own.
const LEASE: Duration = Duration::from_secs(3);
/// A run takes well under a second of work.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.interval_length_blocks = LENGTH;
    profile.weight_period_blocks = PERIOD;
    profile.miner_sample_rate = 1.0;
    profile
}

/// Numbers that follow from a seed.
pub struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    pub fn of(seed: u64, what: u64) -> Self {
        Self {
            seed: seed.wrapping_mul(1000) + what,
            drawn: 0,
        }
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        let text = Digest::of(format!("{}:{}", self.seed, self.drawn).as_bytes()).to_string();
        u64::from_str_radix(&text[..12], 16).unwrap() % limit
    }
}

/// What goes wrong, and when. A call is one of a scheduler to its board or archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A scheduler falls asleep before the call that comes after so many, longer than its lease, and wakes when
    /// everything was done by somebody else.
    Sleep { who: usize, calls: u32 },
    /// A scheduler dies there, and another one takes its place.
    Die { who: usize, calls: u32 },
    /// The whole process dies when a scheduler comes there; everything in memory is lost, the journal stays.
    DieAll { who: usize, calls: u32 },
    /// The process dies, and the journal is gone with it.
    LoseBoard,
    /// The next submission reaches the chain, and the process dies before it hears of it.
    SwallowSubmission,
    /// Something is unavailable for so many blocks.
    Outage { what: Outage, blocks: u64 },
    /// The archive is restored from a backup that does not have the newest decided interval; the board lives.
    RestoreArchive,
    /// From now on each job's first result is junk.
    Junk,
    /// Everybody works until nothing is left to do; then comes the next block.
    Block,
}

/// What is left of a run.
#[derive(Debug, PartialEq)]
pub struct Ending {
    /// Decisions without the time at which they were made.
    pub decisions: BTreeMap<IntervalId, String>,
    /// Per epoch: uids and shares of every submission.
    pub weights: BTreeMap<u64, Vec<(Vec<u16>, Vec<u16>)>>,
    /// Alerts that an interval does not go on.
    pub held: u64,
    /// Per interval: results that came too late.
    pub late: BTreeMap<IntervalId, Vec<String>>,
}

/// What becomes of a scheduler whose gate has shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sleeps,
    Dies,
    TakesAllAlong,
}

struct Seat {
    gate: Gate,
    task: JoinHandle<Result<(), SchedulerError>>,
    fate: Option<Fate>,
}

/// One process: queue and board live and die with it.
pub struct Process {
    pub board: Arc<LocalBoard>,
    queue: Arc<LocalQueue>,
    workers: Vec<JoinHandle<()>>,
    schedulers: Vec<Seat>,
}

impl Process {
    /// Whatever they had taken is handed out again.
    pub async fn stop_workers(&mut self) {
        for task in self.workers.drain(..) {
            task.abort();
            let _aborted = task.await.is_err();
        }
    }

    /// Whether no scheduler is awake.
    pub fn is_asleep(&self) -> bool {
        self.schedulers.iter().all(|seat| seat.gate.is_shut())
    }
}

pub struct World<'a> {
    /// Says which run this is when something is wrong.
    name: String,
    /// Draws what workers do wrong, when they do.
    workers: Option<Draws>,
    pub working: bool,
    pub folder: &'a Path,
    pub archive: DirArchive,
    pub chain: Arc<SimChain>,
    clock: Arc<HandClock>,
    pub stored: Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>,
    pub switches: Arc<Switches>,
    /// Whether stores were ever unreachable.
    pub stores_failed: bool,
    started: u64,
    /// Decided rounds whose evidence was worked through again; what is stored never changes.
    pub replayed: BTreeSet<IntervalId>,
}

/// No two decisions are made at one time: a time stamp that was put back shows.
fn never_the_same_time() -> f64 {
    static CALLS: AtomicU64 = AtomicU64::new(1_700_000_000);
    let call = CALLS.fetch_add(1, Ordering::SeqCst);
    u32::try_from(call).map_or(0.0, f64::from)
}

impl<'a> World<'a> {
    /// A world without faults but those of the operations.
    pub fn new(name: &str, folder: &'a Path) -> Self {
        Self {
            name: name.to_owned(),
            workers: None,
            working: true,
            folder,
            archive: DirArchive::open(&folder.join("archive")).unwrap(),
            chain: Arc::new(SimChain::at(START)),
            clock: Arc::new(HandClock::new()),
            stored: Arc::default(),
            switches: Arc::default(),
            stores_failed: false,
            started: 0,
            replayed: BTreeSet::new(),
        }
    }

    /// The same with workers that drop, repeat and forget, as that seed draws.
    pub fn with_bad_workers(mut self, seed: u64) -> Self {
        self.workers = Some(Draws::of(seed, 0));
        self
    }

    pub fn head(&self) -> u64 {
        *self.chain.head.borrow()
    }

    pub fn process(&mut self) -> Process {
        let board = Arc::new(self.board());
        let options = LocalQueueOptions {
            delivery_limit: 10_000,
            ..LocalQueueOptions::default()
        };
        let queue = Arc::new(LocalQueue::new(options));
        let mut process = Process {
            board,
            queue,
            workers: Vec::new(),
            schedulers: Vec::new(),
        };
        self.start_workers(&mut process);
        for _ in 0..2 {
            let scheduler = self.scheduler(&process);
            process.schedulers.push(scheduler);
        }
        process
    }

    pub fn start_workers(&mut self, process: &mut Process) {
        for route in Route::ALL.into_iter().filter(|_| self.working) {
            self.started += 1;
            let seed = self.workers.as_mut().map(|draws| draws.below(1 << 40));
            let mut draws = seed.map(|seed| Draws::of(seed, 1));
            let treatment = move || match draws.as_mut().map(|draws| draws.below(12)) {
                Some(0) => Treatment::Dropped,
                Some(1) => Treatment::NotAcknowledged,
                Some(2) => Treatment::Twice,
                _ => Treatment::Good,
            };
            let board: Arc<dyn Board> = process.board.clone();
            let queue: Arc<dyn Queue> = process.queue.clone();
            let switches = Arc::clone(&self.switches);
            process
                .workers
                .push(tokio::spawn(work(board, queue, route, switches, treatment)));
        }
    }

    /// Opens the journal. An aborted call may still be on its way to the disk and hold the folder for a moment.
    fn board(&self) -> LocalBoard {
        let until = Instant::now() + PATIENCE;
        loop {
            match LocalBoard::open(&self.folder.join("board"), Arc::clone(&self.clock)) {
                Err(LocalBoardError::InUse { .. }) if Instant::now() < until => {
                    std::thread::yield_now()
                }
                opened => return opened.unwrap(),
            }
        }
    }

    fn scheduler(&mut self, process: &Process) -> Seat {
        self.started += 1;
        let gate = Gate::open();
        let ports = SchedulerPorts {
            queue: Arc::new(SwitchedQueue {
                inner: process.queue.clone(),
                switches: Arc::clone(&self.switches),
            }),
            board: Arc::new(LookedOn::new((*process.board).clone(), gate.clone())),
            chain: self.chain.clone(),
            archive: Arc::new(GatedArchive {
                switches: Arc::clone(&self.switches),
                gate: gate.clone(),
                inner: self.archive.clone(),
                stored: Arc::clone(&self.stored),
            }),
            bucket: Arc::new(IndexStore(Arc::clone(&self.switches))),
        };
        let options = SchedulerOptions {
            name: format!("scheduler-{}", self.started),
            rules: JobRules::plain(Netuid::new(70), profile()),
            record_info: Some(outages::index()),
            index: nexis_scheduler::IndexLimits::default(),
            exclude: BTreeSet::new(),
            miners_deadline_blocks: DEADLINES.0,
            clips_deadline_blocks: DEADLINES.1,
            lease: LEASE,
            republish_after: Duration::from_millis(300),
            poll: Duration::from_millis(5),
            submit: true,
            max_open_rounds: OPEN_ROUNDS,
            retry_unit: Duration::from_millis(1),
            clock: never_the_same_time,
            keeping: Keeping::default(),
        };
        let switches = Arc::clone(&self.switches);
        let observe = move |event: &Event| {
            if matches!(event, Event::Held { .. }) {
                switches.held.fetch_add(1, Ordering::SeqCst);
            }
        };
        let scheduler = Scheduler::new(ports, options, Arc::new(observe));
        let task = tokio::spawn(async move { scheduler.run(CancellationToken::new()).await });
        Seat {
            gate,
            task,
            fate: None,
        }
    }

    pub async fn stop(process: Process) {
        let Process {
            board,
            queue,
            workers,
            schedulers,
        } = process;
        for seat in schedulers {
            seat.task.abort();
            let _aborted = seat.task.await.is_err();
        }
        for task in workers {
            task.abort();
            let _aborted = task.await.is_err();
        }
        drop(queue);
        // Results that wait to be late hold the board for a moment.
        eventually(PATIENCE, async || Arc::strong_count(&board) == 1).await;
    }

    /// What is left to do before the next block may come: time passes only when all is done but what is late by
    /// design, so that no deadline cuts off what a fault delayed.
    async fn busy(&self, process: &Process) -> Option<String> {
        let calendar = Calendar::of(&profile());
        let head = self.head();
        for interval in process.board.rounds().await.unwrap() {
            let Some(tally) = process.board.tally(interval).await.unwrap() else {
                continue;
            };
            if tally.stage == Stage::Closed {
                return Some(format!("round {interval} is to be decided"));
            }
            let missing = process.board.missing(interval, tally.stage).await.unwrap();
            // Held for a while after the stores were unreachable.
            let held = missing.is_empty() && self.stores_failed;
            if !held && (missing.is_empty() || missing.iter().any(|id| !is_slow(id))) {
                return Some(format!(
                    "round {interval} in {:?} waits for {missing:?}",
                    tally.stage
                ));
            }
        }
        let archive = self.archive.clone();
        let open = process.board.rounds().await.unwrap().len();
        if open < OPEN_ROUNDS
            && let Some(eligible) = calendar.newest_eligible(BlockNumber::new(head))
            && ledger::load_plan(&archive, eligible)
                .await
                .unwrap()
                .is_none()
        {
            return Some(format!("interval {eligible} is to be opened"));
        }
        let open = ledger::undecided(&archive).await.unwrap();
        let known = process.board.rounds().await.unwrap();
        if known.len() < OPEN_ROUNDS
            && let Some(lost) = open.iter().find(|id| !known.contains(id))
        {
            return Some(format!("round {lost} is lost"));
        }
        let epoch = calendar.weight_epoch(BlockNumber::new(head));
        let start = calendar.submission_block(epoch).get();
        let window: Vec<IntervalId> = calendar.window_intervals(epoch).collect();
        let decided = ledger::decided(&archive).await.unwrap();
        let first = decided.first().copied();
        let complete = first.is_some_and(|first| {
            let mut window = window.iter().filter(|id| **id >= first);
            window.all(|id| decided.contains(id))
        });
        if start > START && complete {
            let there = self
                .chain
                .submitted
                .lock()
                .unwrap()
                .iter()
                .any(|(block, ..)| *block >= start);
            if !there {
                return Some(format!("weights of epoch {epoch} are to be submitted"));
            }
        }
        None
    }

    /// Whoever comes to the call that was marked falls asleep or dies there.
    async fn strike(&mut self, mut process: Process) -> Process {
        if self.chain.swallowed.swap(false, Ordering::SeqCst) {
            Self::stop(process).await;
            return self.process();
        }
        for who in 0..process.schedulers.len() {
            let seat = &mut process.schedulers[who];
            if !seat.gate.is_shut() {
                continue;
            }
            let Some(fate) = seat.fate.take() else {
                continue;
            };
            self.clock.advance(LEASE * 2);
            match fate {
                Fate::Sleeps => {}
                Fate::Dies => {
                    let dead = process.schedulers.remove(who);
                    dead.task.abort();
                    let _aborted = dead.task.await.is_err();
                    let new = self.scheduler(&process);
                    process.schedulers.insert(who, new);
                }
                Fate::TakesAllAlong => {
                    Self::stop(process).await;
                    return self.process();
                }
            }
        }
        process
    }

    /// Lets everybody work until all that is awake has nothing left to do, and has looked twice to be sure.
    async fn settle(&mut self, process: Process) -> Process {
        let (mut held, mut busy) = (Some(process), None);
        let mut quiet: Option<Vec<u64>> = None;
        let settled = answered_within(PATIENCE, async || {
            let process = self.strike(held.take()?).await;
            let process = held.insert(process);
            for seat in &mut process.schedulers {
                if seat.task.is_finished() {
                    let ended = (&mut seat.task).await;
                    panic!("{}: a scheduler ended by itself: {ended:?}", self.name);
                }
            }
            let awake = process.schedulers.iter().filter(|s| !s.gate.is_shut());
            if awake.count() == 0 {
                wake(process);
            }
            busy = self.busy(process).await;
            let seats = process.schedulers.iter();
            let looks: Vec<u64> = seats.map(|seat| seat.gate.quiet_looks()).collect();
            let looked_twice = |before: &Vec<u64>| {
                let seats = process.schedulers.iter().zip(before.iter().zip(&looks));
                before.len() == looks.len()
                    && seats
                        .into_iter()
                        .all(|(seat, (then, now))| seat.gate.is_shut() || *now >= then + 2)
            };
            match (&busy, &quiet) {
                (Some(_), _) => quiet = None,
                (None, Some(before)) => return looked_twice(before).then_some(()),
                (None, None) => quiet = Some(looks),
            }
            None
        });
        let settled = settled.await.and(held);
        settled.unwrap_or_else(|| {
            let (name, head) = (&self.name, self.head());
            panic!("{name}: nothing moves at block {head}: {busy:?}")
        })
    }

    /// Everybody works until nothing is left to do at this block.
    pub async fn finish_block(&mut self, mut process: Process) -> Process {
        process = self.settle(process).await;
        // Who slept while others worked goes on where it was, and must find that nothing is left.
        wake(&mut process);
        self.settle(process).await
    }

    /// The next block.
    pub fn turn(&self) {
        self.chain.head.send_modify(|head| *head += 1);
    }

    /// Does one operation.
    pub async fn perform(&mut self, op: Op, mut process: Process) -> Process {
        let mark = |process: &mut Process, who: usize, calls, fate| {
            let seat = &mut process.schedulers[who];
            seat.fate = Some(fate);
            seat.gate.shut_after(calls);
        };
        match op {
            Op::Sleep { who, calls } => mark(&mut process, who, calls, Fate::Sleeps),
            Op::Die { who, calls } => mark(&mut process, who, calls, Fate::Dies),
            Op::DieAll { who, calls } => mark(&mut process, who, calls, Fate::TakesAllAlong),
            Op::SwallowSubmission => self.chain.swallow.store(true, Ordering::SeqCst),
            Op::LoseBoard => {
                Self::stop(process).await;
                std::fs::remove_dir_all(self.folder.join("board")).unwrap();
                process = self.process();
            }
            Op::Outage { what, blocks } => process = self.outage(what, blocks, process).await,
            Op::RestoreArchive => process = self.restore_archive(process).await,
            Op::Junk => {
                self.switches.junk.lock().unwrap().get_or_insert_default();
            }
            Op::Block => {
                process = self.finish_block(process).await;
                self.turn();
            }
        }
        self.invariants().await;
        process
    }

    /// What holds after every operation.
    async fn invariants(&mut self) {
        for (name, versions) in self.stored.lock().unwrap().iter() {
            assert_eq!(versions.len(), 1, "{}: {name} was changed", self.name);
        }
        self.no_submission_goes_back();
        let mut epochs = BTreeSet::new();
        for (block, ..) in self.chain.submitted.lock().unwrap().iter() {
            let epoch = block / PERIOD;
            assert!(
                epochs.insert(epoch),
                "{}: epoch {epoch} was submitted twice",
                self.name
            );
        }
        for interval in ledger::decided(&self.archive).await.unwrap() {
            if !self.replayed.insert(interval) {
                continue;
            }
            let evidence = ledger::load_evidence(&self.archive, interval)
                .await
                .unwrap();
            let index = ledger::load_index(&self.archive, evidence.plan.index)
                .await
                .unwrap();
            let (clips, again, absent) = nexis_scheduler::reduce::replay(&evidence, &index);
            assert_eq!(clips, evidence.clips, "{}: {interval}", self.name);
            let file = ledger::DecisionFile {
                interval_id: interval,
                decisions: again,
                absent,
            };
            let bytes = ledger::decision_bytes(&self.archive, interval)
                .await
                .unwrap();
            assert_eq!(Some(file.to_bytes()), bytes, "{}: {interval}", self.name);
        }
    }

    /// A submission that is done stays so: versions of its record, oldest first.
    fn no_submission_goes_back(&self) {
        let stored = self.stored.lock().unwrap();
        let mut done = BTreeSet::new();
        for (name, versions) in stored
            .iter()
            .filter(|(name, _)| name.starts_with("records/"))
        {
            let (folder, _) = name.rsplit_once('/').unwrap();
            let record: serde_json::Value = serde_json::from_slice(&versions[0]).unwrap();
            let is_done = record["state"].get("done").is_some();
            let went_back = !is_done && done.contains(folder);
            assert!(!went_back, "{}: {name} goes back from done", self.name);
            if is_done {
                done.insert(folder.to_owned());
            }
        }
    }

    /// From the first block to the last, with these operations on the way.
    pub async fn run(mut self, ops: &[Op]) -> Ending {
        let mut process = self.process();
        for op in ops {
            process = self.perform(*op, process).await;
        }
        process = self.settle(process).await;
        Self::stop(process).await;
        self.ending().await
    }

    pub async fn ending(&self) -> Ending {
        let stored = ledger::decided(&self.archive).await.unwrap();
        let (mut decisions, mut late) = (BTreeMap::new(), BTreeMap::new());
        for pair in stored.windows(2) {
            let next = pair[0].get() + LENGTH;
            assert_eq!(pair[1].get(), next, "{}: an interval was lost", self.name);
        }
        for interval in stored {
            let mut file = ledger::load(&self.archive, interval)
                .await
                .unwrap()
                .unwrap();
            for decision in &mut file.decisions {
                decision.checked_at.clear();
            }
            let text = String::from_utf8(file.to_bytes()).unwrap();
            decisions.insert(interval, text);
            let evidence = ledger::load_evidence(&self.archive, interval)
                .await
                .unwrap();
            late.insert(interval, evidence.late);
        }
        let mut weights: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (block, uids, shares) in self.chain.submitted.lock().unwrap().iter() {
            weights
                .entry(block / PERIOD)
                .or_default()
                .push((uids.clone(), shares.clone()));
        }
        Ending {
            held: self.switches.held.load(Ordering::SeqCst),
            decisions,
            weights,
            late,
        }
    }
}

fn wake(process: &mut Process) {
    for seat in &mut process.schedulers {
        seat.fate = None;
        seat.gate.wake();
    }
}
