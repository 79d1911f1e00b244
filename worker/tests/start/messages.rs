//! What the binary does with messages: those that are none, and those of a real scheduler.

use crate::process::{Worker, broker};
use crate::stores::empty_store;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use nexis_amqp::AmqpQueue;
use nexis_board::{RedisBoard, RedisOptions};
use nexis_local::DirArchive;
use nexis_ports::conformance::still::{NoBucket, StillChain};
use nexis_ports::{Message, Queue, Route};
use nexis_protocol::profile::Profile;
use nexis_protocol::{Hotkey, IntervalId, JobId, Netuid};
use nexis_scheduler::{Keeping, Scheduler, SchedulerOptions, SchedulerPorts};
use nexis_testkit::{RabbitMq, Redis, eventually};
use nexis_wire::{ClipPlan, JobRules, Sampling, TraceContext, Wire, WireVersion};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NETUID: Netuid = Netuid::new(70);
const SOON: Duration = Duration::from_secs(60);

/// Messages nobody can make use of, with the start of their reasons.
fn unusable() -> Vec<(&'static str, Vec<u8>)> {
    let plan = ClipPlan { miners: Vec::new() }.encode();
    let mut newer = plan.clone();
    newer[3] = WireVersion::CURRENT.number() + 1;
    let mut older = plan.clone();
    older[3] = WireVersion::ALL[0].number() - 1;
    // A clip job by its mark, and nothing in it.
    let mut damaged = plan.clone();
    damaged[4] = 3;
    damaged.truncate(9);
    vec![
        ("foreign: ", b"{\"task\":\"celery\"}".to_vec()),
        // Handed back again and again, for a worker that reads it.
        ("delivery-limit", newer),
        (
            "wire-version-older: wire version 1 is older than ours (3)",
            older,
        ),
        ("wrong-kind: ", plan),
        ("damaged: ", damaged),
    ]
}

/// One that did not come from any of our programs: no id, no headers.
async fn publish_bare(rabbit: &RabbitMq) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&rabbit.url(), properties).await;
    let connection = connection.expect("the broker is up");
    let channel = connection.create_channel().await.expect("a channel");
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    let options = BasicPublishOptions::default();
    let (exchange, key, bare) = ("nexis.70".into(), "clip".into(), BasicProperties::default());
    let sent = channel
        .basic_publish(exchange, key, options, b"", bare)
        .await;
    assert!(sent.expect("sent").await.expect("confirmed").is_ack());
    connection.close(200, "done".into()).await.ok();
}

async fn dead(queue: &AmqpQueue, count: usize) -> Vec<(Message, String)> {
    eventually(SOON, async || {
        queue.dead_depth(Route::Clip).await.expect("it answers") == count as u64
    })
    .await;
    queue.dead(Route::Clip, 100).await.expect("it answers")
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_with_its_reason_counted_once_and_jobs_keep_their_trace()
 {
    let rabbit = RabbitMq::start();
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a throw-away folder");
    let queue = broker(&rabbit).await;
    let store = empty_store().await;
    let env = [("NEXIS_R2_ENDPOINT", store.as_str())];
    let worker = Worker::start_with(folder.path(), &rabbit.url(), &redis.url(), &env);
    let mut letters = unusable();
    let messages = letters
        .iter()
        .enumerate()
        .map(|(place, (_, body))| Message {
            id: place.to_string(),
            body: body.clone(),
            trace: None,
        });
    queue
        .publish(Route::Clip, messages.collect())
        .await
        .expect("published");
    publish_bare(&rabbit).await;
    letters.push(("foreign: ", Vec::new()));
    let mut found = dead(&queue, letters.len()).await;
    found.sort_by(|a, b| (a.0.id.is_empty(), &a.0.id).cmp(&(b.0.id.is_empty(), &b.0.id)));
    for ((message, reason), (expected, body)) in found.iter().zip(&letters) {
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(&message.body, body, "{reason}");
    }
    let counts = worker.page("/metrics");
    for line in [
        "nexis_worker_dead_letters_total{reason=\"foreign\"} 2",
        "nexis_worker_dead_letters_total{reason=\"wire-version-older\"} 1",
        "nexis_worker_dead_letters_total{reason=\"wrong-kind\"} 1",
        "nexis_worker_dead_letters_total{reason=\"damaged\"} 1",
    ] {
        assert!(counts.contains(line), "{line} in {counts}");
    }
    eventually(SOON, async || {
        let counts = worker.page("/metrics");
        counts.contains("nexis_worker_jobs_total{kind=\"clip\",outcome=\"dead\"} 5")
            && counts.contains("nexis_worker_jobs_in_flight{kind=\"clip\"} 0")
    })
    .await;
    assert_eq!(queue.depth(Route::Clip).await.expect("it answers"), 0);

    // Played back, they die again: once each, and never go round.
    assert_eq!(queue.replay(Route::Clip, 2).await.expect("replayed"), 2);
    worker
        .shows(
            "/metrics",
            "nexis_worker_jobs_total{kind=\"clip\",outcome=\"dead\"} 7",
        )
        .await;
    assert_eq!(dead(&queue, letters.len()).await.len(), letters.len());
    assert_eq!(queue.purge(Route::Clip).await.expect("purged"), 6);
    assert_eq!(queue.dead_depth(Route::Clip).await.expect("it answers"), 0);

    a_job_stays_in_the_trace_that_the_scheduler_began(&worker, queue, &redis, folder.path()).await;
}

/// The worker's log lines carry the trace of the interval, below the span that published the job.
async fn a_job_stays_in_the_trace_that_the_scheduler_began(
    worker: &Worker,
    queue: AmqpQueue,
    redis: &Redis,
    folder: &Path,
) {
    let profile = Profile::default();
    let interval = IntervalId::new(10 * profile.interval_length_blocks);
    let scheduler = scheduler(queue, redis, folder, &profile).await;
    let miner = JobId::Miner {
        interval,
        hotkey: hotkey(1),
    };
    let published =
        TraceContext::of_interval(NETUID, Some(&hotkey(0)), interval).child(&miner.to_string());
    let own = published.child("attempt/1");
    let lines = [
        format!("\"job.id\":\"{miner}\""),
        format!("\"trace_id\":\"{}\"", own.trace_id()),
        format!("\"span_id\":\"{}\"", own.span_id()),
        format!("\"parent_span_id\":\"{}\"", published.span_id()),
        "\"job.outcome\":\"done\"".to_owned(),
    ];
    let seen = eventually(SOON, async || {
        let said = worker.said();
        said.lines()
            .any(|line| lines.iter().all(|part| line.contains(part)))
    });
    tokio::select! {
        ended = scheduler.run(CancellationToken::new()) => panic!("the scheduler ended: {ended:?}"),
        () = seen => {}
    }
}

fn hotkey(uid: u8) -> Hotkey {
    Hotkey::from_public_key(&[uid + 1; 32])
}

async fn scheduler(queue: AmqpQueue, redis: &Redis, folder: &Path, profile: &Profile) -> Scheduler {
    let board = RedisBoard::connect(RedisOptions::new(redis.url(), NETUID));
    let mut chain = StillChain::new(
        profile.interval_length_blocks * 11 + 10,
        [hotkey(0), hotkey(1)],
        hotkey(0),
    );
    // Only who committed credentials is a candidate.
    let credentials = "a1".repeat(64);
    chain.roster.commitments.insert(hotkey(1), credentials);
    let ports = SchedulerPorts {
        queue: Arc::new(queue),
        board: Arc::new(board.await.expect("the board is up")),
        // The interval before this one is the newest that may be judged.
        chain: Arc::new(chain),
        archive: Arc::new(DirArchive::open(folder).expect("an archive")),
        bucket: Arc::new(NoBucket),
    };
    let options = SchedulerOptions {
        name: "test".to_owned(),
        rules: JobRules {
            sampling: Sampling::Full,
            ..JobRules::plain(
                NETUID,
                Profile {
                    miner_sample_rate: 1.0,
                    ..profile.clone()
                },
            )
        },
        record_info: None,
        index: nexis_scheduler::IndexLimits::default(),
        exclude: BTreeSet::new(),
        miners_deadline_blocks: 20,
        clips_deadline_blocks: 40,
        lease: Duration::from_secs(10),
        republish_after: Duration::from_secs(30),
        poll: Duration::from_millis(200),
        submit: false,
        max_open_rounds: 1,
        retry_unit: Duration::from_secs(1),
        clock: || 0.0,
        keeping: Keeping::default(),
    };
    Scheduler::new(ports, options, Arc::new(|_| {}))
}
