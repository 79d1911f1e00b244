//! How long after the last report of 256 miners × 1,000 rows does a worker hold the first clip job, and when are all of
//! them on the queue? What does the interval take of memory, here and in Redis? With a real scheduler, RabbitMQ and
//! Redis: reports on the board → read, arbitrated, plan stored, round moved on → clip jobs. `make bench-barrier`;
//! NEXIS_BENCH_MINERS and NEXIS_BENCH_ROWS choose how much.

#[path = "barrier/outside.rs"]
mod outside;
#[path = "barrier/reports.rs"]
mod reports;

use futures::StreamExt;
use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_board::{RedisBoard, RedisOptions};
use nexis_local::DirArchive;
use nexis_ports::conformance::looked_on::LookedOn;
use nexis_ports::conformance::still::NoBucket;
use nexis_ports::{Board, Posted, Queue, Route, Settlement};
use nexis_protocol::profile::Profile;
use nexis_protocol::{JobId, Netuid};
use nexis_scheduler::{Keeping, Scheduler, SchedulerOptions, SchedulerPorts};
use nexis_testkit::{RabbitMq, Redis};
use nexis_wire::{JobRules, MinerJob, Sampling, Wire};
use outside::{Marks, Timed, still_chain};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn number(name: &str, or: u16) -> u16 {
    let given = std::env::var(name).ok();
    given.map_or(or, |text| text.parse().expect("a number"))
}

fn rules(netuid: Netuid, sampling: Sampling) -> JobRules {
    let mut profile = Profile::by_name("readme").expect("it exists");
    profile.miner_sample_rate = 1.0;
    profile.miner_sample_max = u32::MAX;
    JobRules {
        sampling,
        ..JobRules::plain(netuid, profile)
    }
}

fn options(rules: JobRules) -> SchedulerOptions {
    SchedulerOptions {
        name: "bench".to_owned(),
        rules,
        record_info: None,
        index: nexis_scheduler::IndexLimits::default(),
        exclude: BTreeSet::new(),
        miners_deadline_blocks: 1_000,
        clips_deadline_blocks: 2_000,
        lease: Duration::from_secs(15),
        republish_after: Duration::from_secs(600),
        poll: Duration::from_secs(2),
        submit: false,
        max_open_rounds: 1,
        retry_unit: Duration::from_secs(1),
        clock: || 0.0,
        keeping: Keeping::default(),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (miners, rows) = (
        number("NEXIS_BENCH_MINERS", 256),
        number("NEXIS_BENCH_ROWS", 1_000),
    );
    let rabbit = RabbitMq::start();
    let redis = Redis::start();
    // What docs/fleet.md tells the operator; the tests' servers sync every write.
    redis.ask("CONFIG SET appendfsync everysec");
    println!("{miners} miners x {rows} rows; load average: {}", load());
    for (netuid, name, sampling) in [
        (1, "sampled as the protocol says", Sampling::Protocol),
        (2, "every row", Sampling::Full),
    ] {
        println!("{name}:");
        runtime.block_on(measure(&rabbit, &redis, netuid, sampling, miners, rows));
    }
    println!("load average: {}", load());
}

async fn queue(rabbit: &RabbitMq, netuid: Netuid) -> AmqpQueue {
    let options = AmqpOptions::new(rabbit.url(), Topology::new(netuid));
    let queue = AmqpQueue::connect(options).await.expect("the broker is up");
    queue.apply().await.expect("it takes the topology");
    queue
}

async fn board(redis: &Redis, netuid: Netuid) -> RedisBoard {
    let options = RedisOptions::new(redis.url(), netuid);
    RedisBoard::connect(options).await.expect("the board is up")
}

async fn measure(
    rabbit: &RabbitMq,
    redis: &Redis,
    netuid: u16,
    sampling: Sampling,
    miners: u16,
    rows: u16,
) {
    let netuid = Netuid::new(netuid);
    redis.ask("FLUSHALL");
    redis.ask("CONFIG RESETSTAT");
    let empty = redis_bytes(redis, "used_memory:");
    let (theirs, posting) = (queue(rabbit, netuid).await, board(redis, netuid).await);
    let marks = Arc::new(Marks::default());
    let archive = tempfile::tempdir().expect("a throw-away folder");
    let ports = SchedulerPorts {
        queue: Arc::new(Timed::new(queue(rabbit, netuid).await, &marks)),
        board: Arc::new(LookedOn::new(
            board(redis, netuid).await,
            Arc::clone(&marks),
        )),
        chain: Arc::new(still_chain(miners)),
        archive: Arc::new(DirArchive::open(archive.path()).expect("it is empty")),
        bucket: Arc::new(NoBucket),
    };
    let rules = rules(netuid, sampling);
    let profile = rules.profile.clone();
    let scheduler = Scheduler::new(ports, options(rules), Arc::new(|_| {}));
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { scheduler.run(stop).await }
    });

    // All reports but the last are on the board before anything is measured.
    let mut deliveries = theirs.consume(Route::Miner, 64).await.expect("a consumer");
    let (mut last, mut report_bytes) = (None, 0);
    for at in 0..miners {
        let delivery = deliveries.next().await.expect("a job for each miner");
        let job = MinerJob::decode(&delivery.message.body).expect("ours");
        let report = reports::report(&job, at, rows, &profile).encode();
        report_bytes += report.len();
        if at + 1 == miners {
            last = Some((job.id(), report, delivery));
        } else {
            posting.post(&job.id(), report).await.expect("posted");
            delivery
                .settle(Settlement::Ack)
                .await
                .expect("acknowledged");
        }
    }
    let (id, bytes, delivery) = last.expect("there are miners");
    let mut clips = theirs.consume(Route::Clip, 256).await.expect("a consumer");
    let before = resident("VmRSS");
    // Makes the kernel forget the highest mark, so that it is that of what follows.
    std::fs::write("/proc/self/clear_refs", "5").expect("it is ours");

    let began = Instant::now();
    posting.post(&id, bytes).await.expect("posted");
    delivery
        .settle(Settlement::Ack)
        .await
        .expect("acknowledged");
    let (mut taken, mut first) = (Vec::new(), None);
    let mut expected = None;
    while expected != Some(taken.len() as u64) {
        let delivery = tokio::time::timeout(Duration::from_secs(600), clips.next()).await;
        let delivery = delivery.expect("it ends").expect("whole");
        first.get_or_insert_with(|| began.elapsed());
        taken.push(delivery.message.id.clone());
        tokio::spawn(delivery.settle(Settlement::Ack));
        if expected.is_none() {
            let tally = posting.tally(id.interval()).await.expect("it answers");
            expected = Some(tally.expect("it is open").expected);
        }
    }
    while !marks.is_published() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!(
        "  first clip job in a worker's hands after {:?}",
        first.expect("there are clip jobs")
    );
    for (what, from, to) in marks.parts() {
        println!(
            "    {what}: {from:?} to {to:?}",
            from = from - began,
            to = to - began
        );
    }
    println!(
        "  {} jobs; memory grew by {} MiB at its highest (reports on the board: {} MiB)",
        taken.len(),
        resident("VmHWM").saturating_sub(before) >> 10,
        report_bytes >> 20,
    );
    stop.cancel();
    running
        .await
        .expect("it does not panic")
        .expect("it ends well");
    theirs.close().await;
    let began = Instant::now();
    futures::stream::iter(&taken)
        .for_each_concurrent(1_024, |id| post(&posting, id))
        .await;
    println!(
        "  {} verdicts posted in {:?}; the interval takes {} MiB of Redis, {} MiB at its highest",
        taken.len(),
        began.elapsed(),
        (redis_bytes(redis, "used_memory:") - empty) >> 20,
        (redis_bytes(redis, "used_memory_peak:") - empty) >> 20,
    );
}

/// What a worker posts of a clip that passes.
async fn post(board: &RedisBoard, id: &str) {
    let id: JobId = id.parse().expect("ours");
    let JobId::Clip {
        interval,
        hotkey,
        row,
    } = &id
    else {
        panic!("not a clip: {id}")
    };
    let report = reports::verdict(*interval, hotkey, *row);
    let posted = board.post(&id, report.encode()).await;
    assert_eq!(posted.expect("posted"), Posted::First);
}

fn redis_bytes(redis: &Redis, line: &str) -> u64 {
    let info = redis.ask("INFO memory");
    let number = info.lines().find_map(|text| text.strip_prefix(line));
    number.expect("it says so").trim().parse().expect("bytes")
}

/// A line of `/proc/self/status`, KiB.
fn resident(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let line = status.lines().find_map(|text| text.strip_prefix(line));
    let digits: String = line
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().expect("a number of kB")
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
