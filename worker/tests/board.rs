//! A job is not lost, and makes no dead letter, because the board is away or does not let the worker in.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made;

use nexis_board::{RedisBoard, RedisOptions};
use nexis_local::{LocalQueue, LocalQueueOptions};
use nexis_media::PoolOptions;
use nexis_ports::conformance::board::{clip, miner};
use nexis_ports::conformance::still::NoBucket;
use nexis_ports::{Board, Leadership, Message, Queue, Route, Stage};
use nexis_protocol::profile::Profile;
use nexis_protocol::{IntervalId, JobId, Netuid};
use nexis_runtime::metrics::Metrics;
use nexis_testkit::{Redis, eventually};
use nexis_wire::{ClipJob, JobRules, Wire};
use nexis_worker::measure::Prober;
use nexis_worker::{Worker, WorkerOptions, WorkerPorts};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ROUND: IntervalId = IntervalId::new(1_000);
const NETUID: Netuid = Netuid::new(70);
const JOBS: u32 = 8;
const SOON: Duration = Duration::from_secs(60);

fn job(row: u32) -> ClipJob {
    let JobId::Clip { hotkey, .. } = clip(ROUND, 0, row) else {
        panic!("it is a clip");
    };
    let profile = Profile::by_name("readme").unwrap();
    made::job(ROUND, hotkey, row, JobRules::plain(NETUID, profile))
}

/// A round that waits for the verdicts of all jobs.
async fn open(redis: &Redis) -> RedisBoard {
    let board = RedisBoard::connect(RedisOptions::new(redis.url(), NETUID)).await;
    let board = board.unwrap();
    let leads = board.campaign("a", Duration::from_secs(600)).await;
    let Leadership::Leader(epoch) = leads.unwrap() else {
        panic!("an empty board has no leader");
    };
    let ids: Vec<JobId> = (0..JOBS).map(|row| clip(ROUND, 0, row)).collect();
    board
        .open(epoch, ROUND, Vec::new(), &[miner(ROUND, 0)])
        .await
        .unwrap();
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &ids)
        .await
        .unwrap();
    board
}

/// How often a job was handed back.
fn returns(metrics: &Metrics) -> u64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| {
        line.strip_prefix("nexis_worker_jobs_total{kind=\"clip\",outcome=\"retry\"} ")
    });
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_outlive_a_board_without_rights_and_one_without_memory() {
    let redis = Redis::start();
    let board = open(&redis).await;
    redis.ask("ACL SETUSER worker on >secret ~* &* +@all");
    let url = redis.url().replace("redis://", "redis://worker:secret@");
    let theirs = RedisBoard::connect(RedisOptions::new(url, NETUID)).await;
    // A job that is counted as failed once is a dead letter.
    let queue = Arc::new(LocalQueue::new(LocalQueueOptions {
        delivery_limit: 0,
        ..LocalQueueOptions::default()
    }));
    let messages = (0..JOBS).map(|row| Message {
        id: job(row).id().to_string(),
        body: job(row).encode(),
        trace: None,
    });
    queue
        .publish(Route::Clip, messages.collect())
        .await
        .unwrap();
    let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-worker")));
    let prober = Prober::with(PoolOptions {
        program,
        ..PoolOptions::new(1)
    });
    let ports = WorkerPorts {
        queue: queue.clone(),
        board: Arc::new(theirs.unwrap()),
        bucket: Arc::new(NoBucket),
        prober: Arc::new(prober.unwrap()),
        vision: None,
    };
    let metrics = Metrics::new();
    let worker = Worker::new(ports, WorkerOptions::default()).metered(&metrics);
    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let stop = soft.clone();

    redis.ask("ACL SETUSER worker -@scripting");
    let working = tokio::spawn(async move { worker.run(soft, hard).await });
    let more_than_once = u64::from(JOBS) * 2;
    eventually(SOON, async || returns(&metrics) > more_than_once).await;
    redis.ask("CONFIG SET maxmemory 1");
    redis.ask("ACL SETUSER worker +@scripting");
    // No verdict can be written; only a try of each job can tell.
    let before = returns(&metrics);
    eventually(SOON, async || returns(&metrics) > before).await;
    assert_eq!(board.tally(ROUND).await.unwrap().unwrap().done, 0);
    redis.ask("CONFIG SET maxmemory 0");
    eventually(SOON, async || {
        let tally = board.tally(ROUND).await.unwrap().unwrap();
        tally.done == tally.expected
    })
    .await;
    assert!(queue.dead(Route::Clip, 10).await.unwrap().is_empty());
    stop.cancel();
    working.await.unwrap().unwrap();
}
