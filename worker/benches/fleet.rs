//! Trivial clip jobs through RabbitMQ and Redis with our queue, board, wire and worker; the same through Celery and
//! through a bare publish-and-consume loop; all in one run. `make bench-fleet` does the set-up.
//!
//! Our workers are processes of their own (this program, started again) that run the whole worker over a bucket in
//! which nothing is found, so that a job is as good as nothing and the way there and back is what is measured. A rate
//! counts from the first job encoded and published to the last result read back from the board and decoded.

#[path = "fleet/bare.rs"]
mod bare;
#[path = "fleet/cpu.rs"]
mod cpu;
#[path = "fleet/ours.rs"]
mod ours;
#[path = "fleet/peer.rs"]
mod peer;

use nexis_testkit::{RabbitMq, Redis};
use peer::Confirms;

/// Numbers of workers that are measured.
const WORKERS: [usize; 3] = [1, 2, 4];
/// Jobs in hand per worker, and the prefetch of every consumer that is measured.
const PERMITS: u16 = 256;

fn number(name: &str, or: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(or, |text| text.parse().expect("a number"))
}

fn main() {
    // The children that read clips are this same program.
    if nexis_worker::child_main().is_some() {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if arguments.get(1).is_some_and(|word| word == "worker") {
        return runtime.block_on(ours::work(&arguments[2..]));
    }
    let jobs = number("NEXIS_BENCH_JOBS", 20_000);
    let peers_jobs = number("NEXIS_BENCH_PEER_JOBS", 3_000);
    let rounds = number("NEXIS_BENCH_ROUNDS", 3);
    let rabbit = RabbitMq::start();
    let redis = Redis::start();
    // What docs/fleet.md tells the operator; the tests' servers sync every write.
    redis.ask("CONFIG SET appendfsync everysec");
    println!(
        "jobs per second; {jobs} jobs (Celery: {peers_jobs}), prefetch {PERMITS}, quorum queues, Redis syncing every second, best of {rounds} rounds"
    );
    let sizes = ours::sizes();
    println!(
        "a job's message has {} bytes, its verdict {}",
        sizes.0, sizes.1
    );
    println!("load average: {}", load());

    let bare = best(rounds, || {
        runtime.block_on(bare::measure(&rabbit.url(), jobs))
    });
    println!(
        "bare loop, publishing with a window of confirms   {:>8.0}",
        bare.publish
    );
    println!(
        "bare loop, both at once, acking each              {:>8.0}",
        bare.each.rate
    );
    println!("    {}", bare.each.usage.per(jobs));
    println!(
        "bare loop, both at once, acking per 50            {:>8.0}",
        bare.fifty.rate
    );
    println!("    {}", bare.fifty.usage.per(jobs));

    let mut most = 0.0_f64;
    let mut subnet = 100;
    let mut ours_of = Vec::new();
    let mut ours_with = |workers| {
        best(rounds, || {
            subnet += 1;
            let (amqp, redis) = (rabbit.url(), redis.url());
            runtime.block_on(ours::measure(&amqp, &redis, subnet, jobs, workers))
        })
    };
    for workers in WORKERS {
        let rates = ours_with(workers);
        println!(
            "ours, {workers} worker(s): end to end                     {:>8.0}",
            rates.end_to_end
        );
        println!(
            "ours, {workers} worker(s): publishing, all confirmed      {:>8.0}",
            rates.publish
        );
        println!("    {}", rates.usage.per(jobs));
        most = most.max(rates.end_to_end);
        ours_of.push(rates);
    }
    redis.ask("CONFIG SET appendfsync always");
    let synced = ours_with(2);
    redis.ask("CONFIG SET appendfsync everysec");
    println!(
        "ours, 2 worker(s), Redis syncing every write      {:>8.0}",
        synced.end_to_end
    );
    let alone = best(rounds, || {
        subnet += 1;
        runtime.block_on(ours::publish_alone(&rabbit.url(), subnet, jobs))
    });
    println!(
        "ours, publishing to nobody, all confirmed         {:>8.0} ({:.0} % of the bare loop)",
        alone.publish,
        100.0 * alone.publish / bare.publish
    );
    println!(
        "ours, encoding and publishing to nobody           {:>8.0} (encoding alone {:.0})",
        alone.whole, alone.encode
    );

    if peers_jobs == 0 {
        println!("Celery is left out");
    }
    for (confirms, how) in [(Confirms::Yes, "confirmed"), (Confirms::No, "unconfirmed")] {
        if peers_jobs == 0 {
            break;
        }
        let peers = peer::measure(
            &rabbit.url(),
            &redis.url(),
            peers_jobs,
            rounds,
            &WORKERS,
            confirms,
        );
        for (rates, ours) in peers.iter().zip(&ours_of) {
            println!(
                "Celery, {} worker(s): end to end {:>6.0}, publishing {how} {:>6.0}; ours is {:.1} x",
                rates.workers,
                rates.end_to_end,
                rates.publish,
                ours.end_to_end / rates.end_to_end
            );
        }
    }
    println!(
        "ours at best is {:.0} % of the bare loop acking each, {:.0} % of it acking per 50",
        100.0 * most / bare.each.rate,
        100.0 * most / bare.fifty.rate
    );
    println!("load average: {}", load());
}

/// The best of several rounds: what disturbs only ever makes slower.
fn best<R: PartialOrd>(rounds: usize, mut measure: impl FnMut() -> R) -> R {
    let mut best = measure();
    for _ in 1..rounds {
        let again = measure();
        if again > best {
            best = again;
        }
    }
    best
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
