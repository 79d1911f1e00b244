//! Our queue, board, wire and worker.

use crate::cpu;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue, Line};
use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{clip, miner};
use nexis_ports::conformance::still::NoBucket;
use nexis_ports::{Board, Leadership, Message, Queue, Route, Stage};
use nexis_protocol::clip::ClipVerdict;
use nexis_protocol::picture::Pictures;
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::{Digest, IntervalId, JobId, Netuid};
use nexis_wire::{ClipJob, ClipReport, JobRules, TraceContext, Wire};
use nexis_worker::measure::Prober;
use nexis_worker::{Worker, WorkerOptions, WorkerPorts};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

const ROUND: IntervalId = IntervalId::new(1_000);
/// Rows per miner; a sample of the protocol is of this order.
const ROWS: u32 = 250;
const SOON: Duration = Duration::from_secs(300);

/// Jobs per second.
#[derive(PartialEq, PartialOrd)]
pub struct Rates {
    pub end_to_end: f64,
    pub publish: f64,
    /// Processor time of all processes, for all jobs.
    pub usage: Usage,
}

/// Seconds of processor time.
#[derive(PartialEq, PartialOrd)]
pub struct Usage {
    broker: f64,
    redis: f64,
    workers: f64,
    own: f64,
}

impl Usage {
    pub fn now() -> Self {
        let mut usage = Self {
            broker: 0.0,
            redis: 0.0,
            workers: 0.0,
            own: 0.0,
        };
        for (name, seconds) in cpu::seconds() {
            *match name.as_str() {
                "own" => &mut usage.own,
                name if name.starts_with("redis") => &mut usage.redis,
                // This program, started again, and the children of that.
                name if name.starts_with("fleet") || name == "exe" => &mut usage.workers,
                _ => &mut usage.broker,
            } += seconds;
        }
        usage
    }

    pub fn since(self, before: &Self) -> Self {
        Self {
            broker: self.broker - before.broker,
            redis: self.redis - before.redis,
            workers: self.workers - before.workers,
            own: self.own - before.own,
        }
    }

    /// In words.
    pub fn per(&self, jobs: usize) -> String {
        let each = |seconds: f64| seconds * 1e6 / jobs as f64;
        format!(
            "{:.0} µs of processor time a job: broker {:.0}, Redis {:.0}, workers {:.0}, publishing and reading back {:.0}",
            each(self.broker + self.redis + self.workers + self.own),
            each(self.broker),
            each(self.redis),
            each(self.workers),
            each(self.own)
        )
    }
}

/// Clip jobs as a scheduler makes them.
pub fn jobs(netuid: Netuid, count: usize) -> Vec<ClipJob> {
    let profile = Profile::by_name("readme").expect("it exists");
    let rules = JobRules::plain(netuid, profile);
    (0..u32::try_from(count).expect("a few"))
        .map(|n| {
            let id = clip(
                ROUND,
                u8::try_from(n / ROWS % 256).expect("below 256"),
                n % ROWS + n / ROWS / 256 * ROWS,
            );
            let JobId::Clip { hotkey, row, .. } = id else {
                unreachable!("it is a clip")
            };
            let name = Digest::of(format!("{hotkey}/{row}").as_bytes()).to_string();
            ClipJob {
                interval: ROUND,
                hotkey,
                row,
                commitment: "a1".repeat(64),
                clip_uri: format!("clips/{name}.mp4"),
                first_frame_uri: format!("frames/{name}.jpg"),
                clip_sha256: Some(Digest::of(name.as_bytes())),
                first_frame_sha256: Some(Digest::of(b"frame")),
                clip_id: name,
                width_px: 1280,
                height_px: 720,
                duration_sec: 5.0,
                fps: 25.0,
                num_frames: 125,
                has_audio: true,
                caption: "A person walks along a street between parked cars in the rain."
                    .to_owned(),
                check_caption: false,
                check_category: false,
                rules: rules.clone(),
            }
        })
        .collect()
}

fn messages(jobs: &[ClipJob]) -> Vec<Message> {
    jobs.iter()
        .map(|job| {
            let id = job.id().to_string();
            let trace = TraceContext::of_interval(job.rules.netuid, None, ROUND).child(&id);
            Message {
                trace: Some(trace.to_string()),
                body: job.encode(),
                id,
            }
        })
        .collect()
}

/// What a job looks like on the queue, for the bare loop.
pub fn bodies(count: usize) -> Vec<Vec<u8>> {
    let jobs = jobs(Netuid::new(1), count);
    messages(&jobs)
        .into_iter()
        .map(|message| message.body)
        .collect()
}

/// Bytes of a job as it travels, and of the verdict of one whose clip is not there.
pub fn sizes() -> (usize, usize) {
    let job = jobs(Netuid::new(1), 1).remove(0);
    let verdict = ClipReport {
        interval: job.interval,
        hotkey: job.hotkey.clone(),
        row: job.row,
        verdict: ClipVerdict {
            failures: vec![
                Reason::MissingClipAsset {
                    clip_id: job.clip_id.clone(),
                },
                Reason::MissingFirstFrameAsset {
                    clip_id: job.clip_id.clone(),
                },
            ],
            advisories: Vec::new(),
        },
        measured: None,
        pictures: Pictures::default(),
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: Vec::new(),
        unreachable: None,
    };
    (job.encode().len(), verdict.encode().len())
}

async fn queue(amqp: &str, netuid: Netuid) -> AmqpQueue {
    let options = AmqpOptions::new(amqp, Topology::new(netuid));
    let queue = AmqpQueue::connect(options).await.expect("the broker is up");
    queue.apply().await.expect("it takes the topology");
    queue
}

/// A worker process; ends with the measurement.
struct Process(Child);

impl Process {
    fn start(amqp: &str, redis: &str, netuid: Netuid) -> Self {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["worker", amqp, redis, &netuid.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends when this closes.
        drop(self.0.stdin.take());
        self.0.wait().expect("ours");
    }
}

/// The worker's process: `AMQP REDIS NETUID`.
pub async fn work(arguments: &[String]) {
    let [amqp, redis, netuid] = arguments else {
        panic!("three arguments")
    };
    let netuid = Netuid::new(netuid.parse().expect("a number"));
    let queue = AmqpQueue::connect(AmqpOptions::new(amqp, Topology::new(netuid)))
        .await
        .expect("the broker is up");
    let board = RedisBoard::connect(RedisOptions::new(redis, netuid))
        .await
        .expect("the board is up");
    let ports = WorkerPorts {
        queue: Arc::new(queue),
        board: Arc::new(board),
        bucket: Arc::new(NoBucket),
        prober: Arc::new(Prober::sandboxed(1).expect("a clip decoder starts")),
        vision: None,
    };
    let options = WorkerOptions {
        permits: crate::PERMITS,
        fetches: crate::PERMITS,
        ..WorkerOptions::default()
    };
    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let worker = Worker::new(ports, options);
    let mut leash = tokio::io::stdin();
    tokio::select! {
        ended = worker.run(soft, hard) => panic!("the worker ended: {ended:?}"),
        _ = leash.read_u8() => {}
    }
}

/// Waits until so many consume.
async fn consumers(amqp: &str, queue: String, count: usize) {
    let connection = Connection::connect(amqp, ConnectionProperties::default())
        .await
        .expect("the broker is up");
    let channel = connection.create_channel().await.expect("a channel");
    let end = Instant::now() + SOON;
    loop {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let look = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
        if look.await.expect("it is there").consumer_count() as usize == count {
            break;
        }
        assert!(Instant::now() < end, "the workers do not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection.close(200, "done".into()).await.ok();
}

/// One round: published by us, done by worker processes, read back and decoded by us.
pub async fn measure(amqp: &str, redis: &str, subnet: u16, count: usize, workers: usize) -> Rates {
    let netuid = Netuid::new(subnet);
    let queue = queue(amqp, netuid).await;
    let board = RedisBoard::connect(RedisOptions::new(redis, netuid))
        .await
        .expect("the board is up");
    let leads = board.campaign("bench", SOON * 4).await.expect("it answers");
    let Leadership::Leader(epoch) = leads else {
        panic!("an empty board has no leader");
    };
    board
        .open(epoch, ROUND, Vec::new(), &[miner(ROUND, 0)])
        .await
        .expect("opened");
    let jobs = jobs(netuid, count);
    let ids: Vec<JobId> = jobs.iter().map(ClipJob::id).collect();
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &ids)
        .await
        .expect("advanced");
    let processes: Vec<Process> = (0..workers)
        .map(|_| Process::start(amqp, redis, netuid))
        .collect();
    consumers(
        amqp,
        Topology::new(netuid).queue(Line::current(Route::Clip)),
        workers,
    )
    .await;

    let (began, before) = (Instant::now(), Usage::now());
    let all = messages(&jobs);
    queue.publish(Route::Clip, all).await.expect("published");
    let published = began.elapsed();
    loop {
        let tally = board
            .tally(ROUND)
            .await
            .expect("it answers")
            .expect("it is open");
        if tally.done == tally.expected {
            break;
        }
        assert!(began.elapsed() < SOON, "{tally:?}");
        board.changed(Duration::from_millis(200)).await;
    }
    let results = board
        .results(ROUND, Stage::Clips)
        .await
        .expect("it answers");
    let read = results
        .iter()
        .filter(|(_, bytes)| ClipReport::decode(bytes).is_ok())
        .count();
    let (ended, usage) = (began.elapsed(), Usage::now().since(&before));
    assert_eq!(read, count);
    drop(processes);
    board.retire(epoch, ROUND).await.expect("retired");
    queue.close().await;
    Rates {
        end_to_end: count as f64 / ended.as_secs_f64(),
        publish: count as f64 / published.as_secs_f64(),
        usage,
    }
}

/// Jobs per second while nobody consumes.
#[derive(PartialEq, PartialOrd)]
pub struct Alone {
    /// Encoded and published.
    pub whole: f64,
    /// Published, as the bare loop's payloads are: encoded before.
    pub publish: f64,
    /// Encoded.
    pub encode: f64,
}

/// Publishing while nobody consumes.
pub async fn publish_alone(amqp: &str, subnet: u16, count: usize) -> Alone {
    let netuid = Netuid::new(subnet);
    let queue = queue(amqp, netuid).await;
    let jobs = jobs(netuid, count);
    let began = Instant::now();
    let all = messages(&jobs);
    let encoded = began.elapsed();
    queue.publish(Route::Clip, all).await.expect("published");
    let published = began.elapsed();
    queue.close().await;
    let rate = |took: Duration| count as f64 / took.as_secs_f64();
    Alone {
        whole: rate(published),
        publish: rate(published - encoded),
        encode: rate(encoded),
    }
}
