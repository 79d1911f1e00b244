//! Two workers over a real broker and board, one of which reaches no object store.

use crate::process::{Worker, broker};
use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{hotkey, miner};
use nexis_ports::{Board, Leadership, Message, Queue, Route, Stage};
use nexis_protocol::profile::Profile;
use nexis_protocol::{IntervalId, JobId, Netuid};
use nexis_testkit::{RabbitMq, Redis, eventually, free_port};
use nexis_wire::{JobRules, MinerJob, MinerReport, Wire as _};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ROUND: IntervalId = IntervalId::new(1_000);
const NETUID: Netuid = Netuid::new(70);
const MINERS: u8 = 24;
const SOON: Duration = Duration::from_secs(120);

/// A store that holds nothing and says so; its address.
pub async fn empty_store() -> String {
    const BODY: &str = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0)
                {}
                let answer = format!(
                    "HTTP/1.1 404 Not Found\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
                    BODY.len()
                );
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            });
        }
    });
    format!("http://{address}")
}

fn job(number: u8) -> MinerJob {
    MinerJob {
        interval: ROUND,
        hotkey: hotkey(number),
        // Each miner has an account of its own.
        commitment: Some(format!("{number:032x}{}", "a1".repeat(48))),
        rules: JobRules {
            fetch_budget_ms: 4_000,
            ..JobRules::plain(NETUID, Profile::default())
        },
    }
}

async fn open(redis: &Redis) -> RedisBoard {
    let board = RedisBoard::connect(RedisOptions::new(redis.url(), NETUID)).await;
    let board = board.expect("the board is up");
    let leads = board.campaign("a", Duration::from_secs(600)).await;
    let Leadership::Leader(epoch) = leads.expect("it answers") else {
        panic!("an empty board has no leader");
    };
    let ids: Vec<JobId> = (0..MINERS).map(|number| miner(ROUND, number)).collect();
    let opened = board.open(epoch, ROUND, Vec::new(), &ids).await;
    opened.expect("it opens");
    board
}

#[tokio::test]
async fn a_worker_that_reaches_no_store_is_not_ready_and_leaves_every_miner_to_the_other() {
    let rabbit = RabbitMq::start();
    let redis = Redis::start();
    let folder = || tempfile::tempdir().expect("a throw-away folder");
    let queue = broker(&rabbit).await;
    let board = open(&redis).await;
    let (sick_folder, well_folder) = (folder(), folder());
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let store = empty_store().await;
    let start = |folder: &tempfile::TempDir, store: &str| {
        let env = [("NEXIS_R2_ENDPOINT", store)];
        Worker::start_with(folder.path(), &rabbit.url(), &redis.url(), &env)
    };
    let sick = start(&sick_folder, &nowhere);
    let messages = |numbers: std::ops::Range<u8>| {
        let messages = numbers.map(|number| Message {
            id: job(number).id().to_string(),
            body: job(number).encode(),
            trace: None,
        });
        messages.collect()
    };
    // It gets the first jobs alone, and learns from them that no store answers.
    let sent = queue.publish(Route::Miner, messages(0..MINERS / 2)).await;
    sent.expect("published");
    sick.shows("/readyz", "object stores: no store answered the last")
        .await;
    sick.shows("/readyz", "taking miner jobs: paused").await;
    assert!(sick.page("/readyz").starts_with("HTTP/1.1 503"));
    assert!(sick.page("/livez").starts_with("HTTP/1.1 200"));
    let tally = board.tally(ROUND).await.expect("it answers");
    assert_eq!(tally.expect("it is open").done, 0, "nobody was looked at");

    let well = start(&well_folder, &store);
    let sent = queue
        .publish(Route::Miner, messages(MINERS / 2..MINERS))
        .await;
    sent.expect("published");
    eventually(SOON, async || {
        let tally = board.tally(ROUND).await.expect("it answers");
        tally.expect("it is open").done == u64::from(MINERS)
    })
    .await;
    for (id, report) in board
        .results(ROUND, Stage::Miners)
        .await
        .expect("it answers")
    {
        let report = MinerReport::decode(&report).expect("readable");
        assert_eq!(report.unreachable, None, "{id}");
    }
    well.shows("/readyz", "HTTP/1.1 200").await;
    assert!(sick.page("/readyz").starts_with("HTTP/1.1 503"));
    assert_eq!(queue.dead_depth(Route::Miner).await.expect("it answers"), 0);
}
