//! Whole validators in one process, over the embedded ports, with a chain and a lease clock that are turned by hand:
//! whatever goes wrong, decisions and weights are those of the run in which nothing went wrong. Faults strike
//! between two named calls, not at times; the next block comes when everybody has looked and found nothing to do,
//! so a slow machine changes nothing. A failure prints its operations; `NEXIS_TEST_SEED=… cargo nextest run -p
//! nexis-scheduler simulation` draws those of a seed again.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

#[path = "world/chain.rs"]
mod chain;
#[path = "world/gates.rs"]
mod gates;
#[path = "world/outages.rs"]
mod outages;
#[path = "world/validator.rs"]
mod validator;
#[path = "world/worker.rs"]
mod worker;

use nexis_ports::{Board, Stage};
use nexis_protocol::IntervalId;
use nexis_scheduler::ledger;
use nexis_testkit::eventually;
use nexis_wire::{RoundPlan, Wire};
use outages::Outage;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use validator::{BLOCKS, DEADLINES, Draws, Ending, Op, PATIENCE, World};

const SEEDS: u64 = 32;
/// Blocks in which the intervals of an outage are decided.
const CATCH_UP: u64 = 16;
const SIDE_BY_SIDE: usize = 4;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn blocks(count: u64) -> Vec<Op> {
    (0..count).map(|_| Op::Block).collect()
}

fn run(name: &str, bad_workers: Option<u64>, ops: &[Op]) -> Ending {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(name, folder.path());
    if let Some(seed) = bad_workers {
        world = world.with_bad_workers(seed);
    }
    block_on(world.run(ops))
}

/// The run in which nothing goes wrong.
fn calm() -> &'static Ending {
    static CALM: OnceLock<Ending> = OnceLock::new();
    CALM.get_or_init(|| run("calm", None, &blocks(BLOCKS)))
}

fn assert_same(name: &str, ops: &[Op], ending: &Ending) {
    let calm = calm();
    for (interval, text) in &calm.decisions {
        let ours = ending.decisions.get(interval);
        assert_eq!(ours, Some(text), "{name}, interval {interval}: {ops:?}");
    }
    if ops.iter().any(|op| matches!(op, Op::Outage { .. })) {
        // Blocks passed while nothing could be done: the run had to be longer. Weights: see `tests/epochs`.
        return;
    }
    assert_eq!(ending.decisions, calm.decisions, "{name}: {ops:?}");
    assert_eq!(ending.weights, calm.weights, "{name}: {ops:?}");
}

/// Runs with these operations and compares with the calm run.
fn check(name: &str, bad_workers: Option<u64>, ops: &[Op]) {
    let ran = std::panic::catch_unwind(|| run(name, bad_workers, ops));
    match ran {
        Ok(ending) => assert_same(name, ops, &ending),
        Err(fault) => {
            eprintln!("{name} failed with {ops:?}");
            std::panic::resume_unwind(fault);
        }
    }
}

/// Numbers from 0, each taken by one of some threads.
fn side_by_side(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= count {
                            return;
                        }
                        work(number);
                    }
                })
            })
            .collect();
        for worker in workers {
            if let Err(fault) = worker.join() {
                std::panic::resume_unwind(fault);
            }
        }
    });
}

fn drawn(seed: u64) -> Vec<Op> {
    let mut draws = Draws::of(seed, 0);
    let (mut ops, mut turned) = (Vec::new(), 0);
    while turned < BLOCKS {
        let who = usize::try_from(draws.below(2)).unwrap();
        let calls = u32::try_from(draws.below(70)).unwrap();
        match draws.below(28) {
            0..=4 => ops.push(Op::Sleep { who, calls }),
            5..=7 => ops.push(Op::Die { who, calls }),
            8 => ops.push(Op::DieAll { who, calls }),
            9 => ops.push(Op::LoseBoard),
            10 => ops.push(Op::SwallowSubmission),
            // One in three lists has outages, so that the others are compared to the last block.
            11..=13 if seed.is_multiple_of(3) => {
                // A worker that reaches no store posts nothing while others may try; that is the worker's test.
                let kinds = Outage::ALL.map(|what| match what {
                    Outage::Stores => Outage::Workers,
                    other => other,
                });
                let what = kinds[usize::try_from(draws.below(kinds.len() as u64)).unwrap()];
                let blocks = 1 + draws.below((BLOCKS - turned).min(12));
                turned += blocks;
                ops.push(Op::Outage { what, blocks });
                continue;
            }
            14 => ops.push(Op::RestoreArchive),
            15 => ops.push(Op::Junk),
            _ => {}
        }
        ops.push(Op::Block);
        turned += 1;
    }
    if ops.iter().any(|op| matches!(op, Op::Outage { .. })) {
        ops.extend(blocks(CATCH_UP));
    }
    ops
}

#[test]
fn the_simulated_subnet_has_every_sort_of_ending() {
    let calm = calm();
    assert!(calm.decisions.len() >= 6, "{:?}", calm.decisions.keys());
    assert_eq!(calm.weights.len(), 2, "{:?}", calm.weights);
    let text = calm.decisions.values().next().unwrap();
    for said in ["\"accepted\":true", "\"accepted\":false", "\"absent\":[\""] {
        assert!(text.contains(said), "no {said}: {text}");
    }
}

#[test]
fn whatever_goes_wrong_decisions_and_weights_are_those_of_the_undisturbed_run() {
    let one: Option<u64> = match std::env::var("NEXIS_TEST_SEED") {
        Ok(seed) => Some(seed.parse().unwrap()),
        Err(_) => None,
    };
    side_by_side(one.map_or(SEEDS, |_| 1), |number| {
        let seed = one.unwrap_or(number + 1);
        let name = format!("NEXIS_TEST_SEED={seed}");
        check(&name, Some(seed), &drawn(seed));
    });
}

/// The blocks in which a round is opened, reduced and decided, and weights are sent, with one fault at each call.
#[test]
fn a_leader_may_sleep_or_die_before_any_of_its_calls() {
    const CALLS: u64 = 40;
    /// Four rounds and the beginning of an epoch.
    const SOME_BLOCKS: u64 = 36;
    side_by_side(CALLS, |number| {
        let calls = u32::try_from(number).unwrap();
        let mut ops = Vec::new();
        for block in 0..SOME_BLOCKS {
            // Who leads is not known here; the other one's mark does no harm.
            let who = usize::try_from(block % 2).unwrap();
            ops.push(match block / 2 % 3 {
                0 => Op::Sleep { who, calls },
                1 => Op::Die { who, calls },
                _ => Op::Sleep {
                    who,
                    calls: calls / 2,
                },
            });
            ops.push(Op::Block);
        }
        ops.extend(blocks(BLOCKS - SOME_BLOCKS));
        check(&format!("before call {calls}"), None, &ops);
    });
}

#[test]
fn a_deadline_that_passed_while_nothing_ran_cuts_nobody_off() {
    let folder = tempfile::tempdir().unwrap();
    let ending = block_on(async {
        let mut world = World::new("nothing ran", folder.path());
        world.working = false;
        let process = world.process();
        let board = &process.board;
        eventually(PATIENCE, || async move {
            !board.rounds().await.unwrap().is_empty()
        })
        .await;
        World::stop(process).await;
        world.chain.head.send_modify(|head| *head += 8);
        world.working = true;
        world.run(&blocks(BLOCKS - 8)).await
    });
    assert_eq!(ending.decisions, calm().decisions);
}

/// Block by block: one miner's report and one clip's verdict come only when their stage is closed.
#[test]
fn a_stage_that_waits_for_a_dead_job_closes_at_its_deadline_block_and_not_before() {
    // Not inside the run below: it is a run of its own.
    let calm = calm();
    let folder = tempfile::tempdir().unwrap();
    let closed = block_on(async {
        let mut world = World::new("deadlines", folder.path());
        let mut process = world.process();
        let mut closed: Vec<(IntervalId, u64, u64)> = Vec::new();
        let mut clips: Option<(IntervalId, u64, u64)> = None;
        for _ in 0..BLOCKS {
            let block = world.head();
            process = world.finish_block(process).await;
            for interval in process.board.rounds().await.unwrap() {
                let tally = process.board.tally(interval).await.unwrap().unwrap();
                let plan = process.board.plan(interval, Stage::Miners).await.unwrap();
                let plan = RoundPlan::decode(&plan.unwrap()).unwrap();
                match tally.stage {
                    Stage::Miners => assert!(block < plan.miners_deadline, "{interval}: {block}"),
                    Stage::Clips => {
                        assert!(block >= plan.miners_deadline, "{interval}: {block}");
                        assert!(block < plan.clips_deadline, "{interval}: {block}");
                        clips = Some((interval, plan.miners_deadline, plan.clips_deadline));
                    }
                    Stage::Closed => {}
                }
            }
            if let Some((interval, miners, deadline)) = clips
                && ledger::is_decided(&world.archive, interval).await.unwrap()
            {
                assert_eq!(block, deadline, "{interval} was decided");
                assert_eq!(deadline - miners, DEADLINES.1 - DEADLINES.0);
                closed.push((interval, miners, deadline));
                clips = None;
            }
            world.turn();
        }
        World::stop(process).await;
        let ending = world.ending().await;
        for (interval, ..) in &closed {
            let late = &ending.late[interval];
            assert!(late.iter().any(|id| id.starts_with("miner/")), "{late:?}");
        }
        assert_eq!(
            ending.decisions, calm.decisions,
            "late results changed something"
        );
        closed
    });
    assert!(closed.len() >= 2, "{closed:?}");
}

#[test]
fn found_once_a_board_that_is_lost_twice_in_one_round_is_scored_once() {
    let mut ops = blocks(4);
    ops.extend([Op::LoseBoard, Op::DieAll { who: 0, calls: 9 }, Op::Block]);
    ops.extend([Op::LoseBoard, Op::Block]);
    ops.extend(blocks(BLOCKS - 6));
    check("the board is lost twice", None, &ops);
}

/// Whatever is unavailable, for less or for more than any deadline: the same decisions, and an operator hears of it.
#[test]
fn our_own_outage_is_no_verdict_about_miners() {
    const LENGTHS: [u64; 3] = [2, 5, 25];
    let cases = Outage::ALL.len() * LENGTHS.len();
    side_by_side(cases as u64, |number| {
        let number = usize::try_from(number).unwrap();
        let (what, length) = (
            Outage::ALL[number / LENGTHS.len()],
            LENGTHS[number % LENGTHS.len()],
        );
        // The block before an interval becomes eligible, and the following ones: every stage is hit by some case.
        let before = 6 + number as u64 % 5;
        let mut ops = blocks(before);
        ops.push(Op::Outage {
            what,
            blocks: length,
        });
        ops.extend(blocks(BLOCKS - before - length + CATCH_UP));
        let name = format!("{what:?} for {length} blocks after {before}");
        let ending = run(&name, None, &ops);
        assert_same(&name, &ops, &ending);
        let shows = matches!(
            what,
            Outage::Queue | Outage::Workers | Outage::HungWorkers | Outage::Stores
        );
        if length == 25 && shows {
            assert!(ending.held > 0, "{name}: no alert");
        }
    });
}

#[test]
fn results_that_cannot_be_read_are_done_again() {
    let mut ops = vec![Op::Junk];
    ops.extend(blocks(BLOCKS));
    check("junk", None, &ops);
}

/// Found in a review: the board remembered the interval as retired, and it was never decided again.
#[test]
fn an_interval_that_a_restored_archive_does_not_have_is_decided_again() {
    let mut ops = blocks(20);
    ops.push(Op::RestoreArchive);
    ops.extend(blocks(BLOCKS - 20));
    check("a restored archive", None, &ops);
}

/// The first proof of a burn to uid 0: stopped in one epoch, started late in another one, weights were signed before
/// anything of their window was decided. Now they are those of a validator that was never away, or are not sent.
#[test]
fn after_an_absence_weights_are_those_of_a_validator_that_was_never_away() {
    const BEFORE: u64 = 20;
    let calm = calm();
    // To the beginning of the next epoch, and to late in it.
    for away in [6, 22] {
        let folder = tempfile::tempdir().unwrap();
        let ending = block_on(async {
            let mut world = World::new("away", folder.path());
            let mut process = world.process();
            for _ in 0..BEFORE {
                process = world.finish_block(process).await;
                world.turn();
            }
            World::stop(process).await;
            world.chain.head.send_modify(|head| *head += away);
            world.run(&blocks(BLOCKS - BEFORE - away)).await
        });
        assert_eq!(ending.decisions, calm.decisions, "away for {away}");
        assert!(!ending.weights.is_empty(), "away for {away}");
        for (epoch, sent) in &ending.weights {
            assert_eq!(sent, &calm.weights[epoch], "away for {away}, epoch {epoch}");
        }
    }
}
