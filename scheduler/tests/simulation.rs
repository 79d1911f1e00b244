//! Whole validators in one process, with a chain, a worker and faults that a seed draws: whatever goes wrong, the
//! decisions and the weights are those of the run in which nothing went wrong.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

#[path = "world/outside.rs"]
mod outside;

use nexis_local::{
    DirArchive, HandClock, LocalBoard, LocalBoardError, LocalQueue, LocalQueueOptions,
};
use nexis_ports::{Board, Queue, Route, Stage};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{BlockNumber, Digest, IntervalId, Netuid};
use nexis_scheduler::{Scheduler, SchedulerError, SchedulerOptions, SchedulerPorts, ledger};
use nexis_wire::{JobRules, Sampling, VisionChecks};
use outside::{Gate, GatedArchive, GatedBoard, NoBucket, SimChain, Treatment, is_slow, work};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SEEDS: u64 = 24;
const SIDE_BY_SIDE: usize = 4;
const LENGTH: u64 = 10;
const PERIOD: u64 = 30;
const START: u64 = 95;
const END: u64 = 165;
const LEASE: Duration = Duration::from_secs(60);
/// A run takes well under a second of work.
const PATIENCE: Duration = Duration::from_secs(60);

fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.interval_length_blocks = LENGTH;
    profile.weight_period_blocks = PERIOD;
    profile.miner_sample_rate = 1.0;
    profile
}

/// Numbers that follow from a seed.
struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    fn of(seed: u64, what: u64) -> Self {
        Self {
            seed: seed.wrapping_mul(1000) + what,
            drawn: 0,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        let text = Digest::of(format!("{}:{}", self.seed, self.drawn).as_bytes()).to_string();
        u64::from_str_radix(&text[..12], 16).unwrap() % limit
    }
}

/// What is left of a run.
#[derive(Debug, PartialEq)]
struct Ending {
    decisions: BTreeMap<IntervalId, Vec<u8>>,
    /// Per epoch: uids and shares of every submission.
    weights: BTreeMap<u64, Vec<(Vec<u16>, Vec<u16>)>>,
}

type Task = (Gate, JoinHandle<Result<(), SchedulerError>>);

/// One process: queue and board live and die with it.
struct Process {
    board: Arc<LocalBoard>,
    queue: Arc<LocalQueue>,
    workers: Vec<JoinHandle<()>>,
    schedulers: Vec<Task>,
}

struct World<'a> {
    seed: u64,
    faults: bool,
    working: bool,
    folder: &'a Path,
    archive: DirArchive,
    chain: Arc<SimChain>,
    clock: Arc<HandClock>,
    decided: Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>,
    started: u64,
    draws: Draws,
}

impl World<'_> {
    fn process(&mut self) -> Process {
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
        for route in Route::ALL.into_iter().filter(|_| self.working) {
            self.started += 1;
            let mut draws = Draws::of(self.seed, self.started);
            let faults = self.faults;
            let treatment = move || match draws.below(12) {
                0 if faults => Treatment::Dropped,
                1 if faults => Treatment::NotAcknowledged,
                2 if faults => Treatment::Twice,
                _ => Treatment::Good,
            };
            let board: Arc<dyn Board> = process.board.clone();
            let queue: Arc<dyn Queue> = process.queue.clone();
            process
                .workers
                .push(tokio::spawn(work(board, queue, route, treatment)));
        }
        for _ in 0..2 {
            let scheduler = self.scheduler(&process);
            process.schedulers.push(scheduler);
        }
        process
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

    fn scheduler(&mut self, process: &Process) -> Task {
        self.started += 1;
        let gate = Gate::open();
        let ports = SchedulerPorts {
            queue: process.queue.clone(),
            board: Arc::new(GatedBoard {
                gate: gate.clone(),
                inner: (*process.board).clone(),
            }),
            chain: self.chain.clone(),
            archive: Arc::new(GatedArchive {
                gate: gate.clone(),
                inner: self.archive.clone(),
                decided: Arc::clone(&self.decided),
            }),
            bucket: Arc::new(NoBucket),
        };
        let options = SchedulerOptions {
            name: format!("scheduler-{}", self.started),
            rules: JobRules {
                netuid: Netuid::new(70),
                profile: profile(),
                enabled_specs: vec!["video_v1".to_owned()],
                expected_category: None,
                vision: VisionChecks::default(),
                reject_advisories: Vec::new(),
                sampling: Sampling::Protocol,
                fetch_budget_ms: 1000,
                max_dataset_bytes: 1 << 20,
                max_asset_bytes: 1 << 20,
            },
            record_info: None,
            exclude: BTreeSet::new(),
            miners_deadline_blocks: 2,
            clips_deadline_blocks: 4,
            lease: LEASE,
            poll: Duration::from_millis(5),
            submit: true,
            max_open_rounds: 2,
            clock: || 1_700_000_000.0,
        };
        let scheduler = Scheduler::new(ports, options, Arc::new(|_| {}));
        let task = tokio::spawn(async move { scheduler.run(CancellationToken::new()).await });
        (gate, task)
    }

    async fn stop(process: Process) {
        let Process {
            board,
            queue,
            workers,
            schedulers,
        } = process;
        for (_, task) in schedulers {
            task.abort();
            let _aborted = task.await.is_err();
        }
        for task in workers {
            task.abort();
            let _aborted = task.await.is_err();
        }
        drop(queue);
        // Results that wait to be late hold the board for a moment.
        let mut last = board;
        loop {
            match Arc::try_unwrap(last) {
                Ok(_closed) => return,
                Err(held) => {
                    last = held;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// Whether something is left to do before the next block may come: time passes only when all is done but
    /// what is late by design, so that no deadline cuts off what a fault delayed.
    async fn busy(&self, process: &Process) -> Option<String> {
        let calendar = Calendar::of(&profile());
        let head = *self.chain.head.borrow();
        for interval in process.board.rounds().await.unwrap() {
            let Some(tally) = process.board.tally(interval).await.unwrap() else {
                continue;
            };
            if tally.stage == Stage::Closed {
                return Some(format!("round {interval} is to be decided"));
            }
            let missing = process.board.missing(interval, tally.stage).await.unwrap();
            if missing.is_empty() || missing.iter().any(|id| !is_slow(id)) {
                return Some(format!(
                    "round {interval} in {:?} waits for {missing:?}",
                    tally.stage
                ));
            }
        }
        let archive = self.archive.clone();
        if let Some(eligible) = calendar.newest_eligible(BlockNumber::new(head))
            && ledger::load_plan(&archive, eligible)
                .await
                .unwrap()
                .is_none()
        {
            return Some(format!("interval {eligible} is to be opened"));
        }
        let open = ledger::undecided(&archive).await.unwrap();
        let known = process.board.rounds().await.unwrap();
        if let Some(lost) = open.iter().find(|id| !known.contains(id)) {
            return Some(format!("round {lost} is lost"));
        }
        let epoch = calendar.weight_epoch(BlockNumber::new(head));
        let start = calendar.submission_block(epoch).get();
        if start > START && !open.iter().any(|id| id.get() + LENGTH <= start) {
            let there = self
                .chain
                .submitted
                .lock()
                .unwrap()
                .iter()
                .any(|(block, ..)| *block >= start);
            let settled = nexis_scheduler::SubmissionRecord::load(&archive, epoch)
                .await
                .unwrap();
            let done = settled.is_some_and(|record| {
                matches!(record.state, nexis_scheduler::SubmissionState::Done(_))
            });
            if !there || !done {
                return Some(format!("weights of epoch {epoch} are to be submitted"));
            }
        }
        None
    }

    /// Perhaps something goes wrong.
    async fn disturb(&mut self, mut process: Process) -> Process {
        if self.chain.swallowed.swap(false, Ordering::SeqCst) {
            Self::stop(process).await;
            return self.process();
        }
        if !self.faults {
            return process;
        }
        match self.draws.below(60) {
            // Killed, everything in memory lost; the journal stays.
            0 => {
                Self::stop(process).await;
                return self.process();
            }
            // One scheduler dies and another takes its place.
            1 | 2 => {
                let which = usize::try_from(self.draws.below(2)).unwrap();
                let (_, task) = process.schedulers.remove(which);
                task.abort();
                let _aborted = task.await.is_err();
                let new = self.scheduler(&process);
                process.schedulers.push(new);
                self.clock.advance(LEASE * 2);
            }
            // One scheduler falls asleep in the middle of something, longer than its lease.
            3..=8 => {
                let which = usize::try_from(self.draws.below(2)).unwrap();
                process.schedulers[which].0.set(false);
                self.clock.advance(LEASE * 2);
            }
            9..=20 => process
                .schedulers
                .iter()
                .for_each(|(gate, _)| gate.set(true)),
            21 => self.chain.swallow.store(true, Ordering::SeqCst),
            _ => {}
        }
        process
    }

    async fn run(mut self) -> Ending {
        let mut process = self.process();
        let started = Instant::now();
        let mut why = None;
        while *self.chain.head.borrow() < END || why.is_some() {
            let took = started.elapsed();
            assert!(
                took < PATIENCE,
                "seed {}: nothing moves: {why:?}, head {}",
                self.seed,
                *self.chain.head.borrow()
            );
            for (_, task) in &mut process.schedulers {
                if task.is_finished() {
                    panic!(
                        "seed {}: a scheduler ended by itself: {:?}",
                        self.seed,
                        task.await
                    );
                }
            }
            process = self.disturb(process).await;
            why = self.busy(&process).await;
            if why.is_none() && *self.chain.head.borrow() < END {
                self.chain.head.send_modify(|head| *head += 1);
                why = Some("a new block".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Self::stop(process).await;
        self.ending().await
    }

    async fn ending(&self) -> Ending {
        let archive = self.archive.clone();
        let stored = ledger::decided(&archive).await.unwrap();
        let mut decisions = BTreeMap::new();
        for interval in &stored {
            let bytes = ledger::decision_bytes(&archive, *interval)
                .await
                .unwrap()
                .unwrap();
            decisions.insert(*interval, bytes);
        }
        for (name, versions) in self.decided.lock().unwrap().iter() {
            // A killed process may have stored what it never heard of; what was stored never changes.
            let only = decisions.get(&interval_of(name)).map(std::slice::from_ref);
            assert_eq!(
                Some(versions.as_slice()),
                only,
                "seed {}: {name} was decided differently later",
                self.seed
            );
        }
        for pair in stored.windows(2) {
            assert_eq!(
                pair[1].get(),
                pair[0].get() + LENGTH,
                "seed {}: an interval was lost",
                self.seed
            );
        }
        for interval in &stored {
            let evidence = ledger::load_evidence(&archive, *interval).await.unwrap();
            let index = ledger::load_index(&archive, evidence.plan.index)
                .await
                .unwrap();
            let (clips, again, absent) = nexis_scheduler::reduce::replay(&evidence, &index);
            assert_eq!(clips, evidence.clips, "seed {}", self.seed);
            let file = ledger::DecisionFile {
                interval_id: *interval,
                decisions: again,
                absent,
            };
            let bytes = ledger::decision_bytes(&archive, *interval).await.unwrap();
            assert_eq!(
                Some(file.to_bytes()),
                bytes,
                "seed {}: replay differs",
                self.seed
            );
        }
        let mut weights: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (block, uids, shares) in self.chain.submitted.lock().unwrap().iter() {
            weights
                .entry(block / PERIOD)
                .or_default()
                .push((uids.clone(), shares.clone()));
        }
        Ending { decisions, weights }
    }
}

fn world(seed: u64, faults: bool, folder: &Path) -> World<'_> {
    World {
        seed,
        faults,
        working: true,
        folder,
        archive: DirArchive::open(&folder.join("archive")).unwrap(),
        chain: Arc::new(SimChain::at(START)),
        clock: Arc::new(HandClock::new()),
        decided: Arc::default(),
        started: 0,
        draws: Draws::of(seed, 0),
    }
}

async fn run(seed: u64, faults: bool) -> Ending {
    let folder = tempfile::tempdir().unwrap();
    world(seed, faults, folder.path()).run().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passed_while_nothing_ran_cuts_nobody_off() {
    let calm = run(0, false).await;
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(0, false, folder.path());
    world.working = false;
    let process = world.process();
    let until = Instant::now() + PATIENCE;
    while process.board.rounds().await.unwrap().is_empty() {
        assert!(Instant::now() < until, "no round was opened");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    World::stop(process).await;
    world.chain.head.send_modify(|head| *head += 8);
    world.working = true;
    let ending = world.run().await;
    assert_eq!(ending.decisions, calm.decisions);
}

fn interval_of(name: &str) -> IntervalId {
    name.split('/').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_decisions_and_weights_are_those_of_the_undisturbed_run() {
    let calm = run(0, false).await;
    let intervals: Vec<&IntervalId> = calm.decisions.keys().collect();
    assert!(intervals.len() >= 6, "{intervals:?}");
    assert_eq!(calm.weights.len(), 2, "{:?}", calm.weights);
    let some = calm.decisions.values().next().unwrap();
    let text = String::from_utf8(some.clone()).unwrap();
    for said in ["\"accepted\":true", "\"accepted\":false", "\"absent\":[\""] {
        assert!(
            text.contains(said),
            "the simulated subnet is too simple, no {said}: {text}"
        );
    }
    let seeds: Vec<u64> = match std::env::var("NEXIS_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=SEEDS).collect(),
    };
    for some in seeds.chunks(SIDE_BY_SIDE) {
        let runs: Vec<_> = some
            .iter()
            .map(|seed| (*seed, tokio::spawn(run(*seed, true))))
            .collect();
        for (seed, ending) in runs {
            let ending = ending.await.unwrap_or_else(|fault| {
                panic!("seed {seed} (NEXIS_TEST_SEED={seed} repeats it): {fault}")
            });
            for (interval, bytes) in &calm.decisions {
                let got = ending
                    .decisions
                    .get(interval)
                    .map(|bytes| String::from_utf8_lossy(bytes));
                assert_eq!(
                    got,
                    Some(String::from_utf8_lossy(bytes)),
                    "seed {seed}: interval {interval}"
                );
            }
            assert_eq!(ending.decisions.len(), calm.decisions.len(), "seed {seed}");
            for (epoch, submitted) in &ending.weights {
                assert_eq!(
                    submitted.len(),
                    1,
                    "seed {seed}: epoch {epoch} was submitted {} times",
                    submitted.len()
                );
            }
            assert_eq!(ending.weights, calm.weights, "seed {seed}");
        }
    }
}
