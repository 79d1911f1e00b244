//! The laws of the board over a real Redis, alone and as a cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{self, clip, miner};
use nexis_ports::{Board, BoardError, Leadership, Posted, Stage, Write};
use nexis_protocol::{IntervalId, LeaderEpoch, Netuid};
use nexis_runtime::metrics::Metrics;
use nexis_testkit::{Redis, RedisCluster, eventually};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const ROUND: IntervalId = IntervalId::new(100);
const TTL: Duration = Duration::from_secs(600);

async fn connect(redis: &Redis, netuid: u16) -> RedisBoard {
    connect_to(&redis.url(), netuid).await
}

async fn connect_to(url: &str, netuid: u16) -> RedisBoard {
    RedisBoard::connect(RedisOptions::new(url, Netuid::new(netuid)))
        .await
        .unwrap()
}

async fn lead(board: &RedisBoard, who: &str) -> LeaderEpoch {
    match board.campaign(who, TTL).await.unwrap() {
        Leadership::Leader(epoch) => epoch,
        Leadership::Follower { holder } => panic!("{holder} leads"),
    }
}

async fn all_laws(url: &str) {
    // A subnet of its own per law: that several share a server is one of the promises.
    let netuid = AtomicU16::new(1);
    board::run_all(|| connect_to(url, netuid.fetch_add(1, Ordering::Relaxed))).await;
}

#[tokio::test]
async fn the_board_over_redis_keeps_the_laws() {
    let redis = Redis::start();
    all_laws(&redis.url()).await;
}

#[tokio::test]
async fn the_board_over_a_cluster_of_three_keeps_the_laws_and_outlives_a_restart_of_each_node() {
    let mut cluster = RedisCluster::start().await;
    // One address is enough to find the others.
    all_laws(&cluster.url()).await;
    // Each law had a subnet of its own, so that the keys lie on every node.
    for node in &cluster.nodes {
        assert!(
            node.ask("KEYS *:meta").contains(":meta"),
            "a node without a round"
        );
    }
    let board = connect_to(&cluster.urls(), 70).await;
    let epoch = lead(&board, "a").await;
    for place in 0..cluster.nodes.len() {
        let round = IntervalId::new(1_000 + place as u64);
        board
            .open(epoch, round, vec![1], &[miner(round, 1)])
            .await
            .unwrap();
        cluster.nodes[place].kill();
        cluster.nodes[place].start_again();
        cluster.is_whole().await;
        eventually(Duration::from_secs(30), async || {
            board.post(&miner(round, 1), b"r".to_vec()).await.is_ok()
        })
        .await;
        assert_eq!(
            lead(&board, "a").await,
            epoch,
            "the lease outlived node {place}"
        );
        let tally = board.tally(round).await.unwrap().unwrap();
        assert_eq!((tally.done, tally.expected), (1, 1));
    }
    assert_eq!(board.rounds().await.unwrap().len(), 3);
}

#[tokio::test]
async fn two_subnets_on_one_server_do_not_see_each_other() {
    let redis = Redis::start();
    let (ours, theirs) = (connect(&redis, 70).await, connect(&redis, 71).await);
    let (epoch, other) = (lead(&ours, "a").await, lead(&theirs, "b").await);
    let jobs = [miner(ROUND, 1), miner(ROUND, 2)];
    ours.open(epoch, ROUND, b"ours".to_vec(), &jobs)
        .await
        .unwrap();
    theirs
        .open(other, ROUND, b"theirs".to_vec(), &jobs[..1])
        .await
        .unwrap();
    ours.post(&jobs[0], b"report".to_vec()).await.unwrap();
    assert!(theirs.wanted(&jobs[0]).await.unwrap());
    theirs.retire(other, ROUND).await.unwrap();
    let clips = [clip(ROUND, 1, 0), clip(ROUND, 1, 1)];
    ours.advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    assert_eq!(
        theirs.post(&clips[0], vec![1]).await.unwrap(),
        Posted::Unknown
    );
    assert_eq!(ours.post(&clips[0], vec![1]).await.unwrap(), Posted::First);
    assert_eq!(
        ours.plan(ROUND, Stage::Miners).await.unwrap().unwrap(),
        b"ours"
    );
    assert_eq!(ours.tally(ROUND).await.unwrap().unwrap().done, 1);
    assert!(theirs.rounds().await.unwrap().is_empty());
}

#[tokio::test]
async fn verdicts_posted_at_once_share_calls_and_count_once_each() {
    const ROWS: u32 = 400;
    let redis = Redis::start();
    let metrics = Metrics::new();
    let options = RedisOptions {
        metrics: metrics.clone(),
        ..RedisOptions::new(redis.url(), Netuid::new(70))
    };
    let board = RedisBoard::connect(options).await.unwrap();
    let epoch = lead(&board, "a").await;
    let rounds = [ROUND, IntervalId::new(150)];
    let mut ids = Vec::new();
    for round in rounds {
        board
            .open(epoch, round, Vec::new(), &[miner(round, 1)])
            .await
            .unwrap();
        let rows: Vec<_> = (0..ROWS)
            .map(|row| clip(round, (row % 3) as u8, row))
            .collect();
        board
            .advance(epoch, round, Stage::Clips, Vec::new(), &rows)
            .await
            .unwrap();
        ids.extend(rows);
    }
    // Every verdict twice, those of both rounds mixed, and one that nobody asked for.
    let twice = ids
        .iter()
        .chain(&ids)
        .map(|id| board.post(id, id.to_string().into_bytes()));
    let answers = futures::future::join_all(twice).await;
    let count = |what| {
        answers
            .iter()
            .filter(|answer| answer.as_ref().unwrap() == &what)
            .count()
    };
    assert_eq!(count(Posted::First), ids.len());
    assert_eq!(count(Posted::Duplicate), ids.len());
    assert_eq!(
        board.post(&clip(ROUND, 1, ROWS), vec![1]).await.unwrap(),
        Posted::Unknown
    );
    for round in rounds {
        let tally = board.tally(round).await.unwrap().unwrap();
        assert_eq!((tally.done, tally.expected), (ROWS.into(), ROWS.into()));
        for (id, body) in board.results(round, Stage::Clips).await.unwrap() {
            assert_eq!(body, id.to_string().into_bytes());
        }
    }
    let calls = count_of(&metrics, "nexis_board_call_seconds_count{call=\"post\"}");
    assert!(calls < 100, "{calls} calls for {} posts", 2 * ids.len());
}

fn count_of(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_leader_paused_while_another_process_took_over_changes_nothing() {
    let redis = Redis::start();
    let (old, new) = (connect(&redis, 70).await, connect(&redis, 70).await);
    let old_epoch = lead(&old, "old").await;
    old.open(old_epoch, ROUND, b"plan".to_vec(), &[miner(ROUND, 1)])
        .await
        .unwrap();
    old.resign(old_epoch).await.unwrap();
    let new_epoch = lead(&new, "new").await;
    assert!(new_epoch > old_epoch);
    let late = IntervalId::new(150);
    let refused = [
        old.open(old_epoch, late, Vec::new(), &[miner(late, 1)])
            .await,
        old.advance(old_epoch, ROUND, Stage::Closed, Vec::new(), &[])
            .await,
        old.retire(old_epoch, ROUND).await,
    ];
    for refused in refused {
        match refused {
            Err(BoardError::Fenced { newest, .. }) => assert_eq!(newest, new_epoch),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(new.rounds().await.unwrap(), [ROUND]);
    assert_eq!(
        new.tally(ROUND).await.unwrap().unwrap().stage,
        Stage::Miners
    );
}

#[tokio::test]
async fn a_restarted_server_loses_nothing_and_costs_no_error_afterwards() {
    let mut redis = Redis::start();
    let board = connect(&redis, 70).await;
    let epoch = lead(&board, "a").await;
    board
        .open(
            epoch,
            ROUND,
            Vec::new(),
            &[miner(ROUND, 1), miner(ROUND, 2)],
        )
        .await
        .unwrap();
    board.post(&miner(ROUND, 1), b"r".to_vec()).await.unwrap();
    redis.kill();
    let away = board.post(&miner(ROUND, 2), b"r".to_vec()).await;
    assert!(matches!(away, Err(BoardError::Unavailable(_))), "{away:?}");
    redis.start_again();
    // Scripts are gone from the server's cache: they are sent again.
    assert_eq!(
        board.post(&miner(ROUND, 1), b"r".to_vec()).await.unwrap(),
        Posted::Duplicate
    );
    assert_eq!(
        board.post(&miner(ROUND, 2), b"r".to_vec()).await.unwrap(),
        Posted::First
    );
    assert_eq!(
        lead(&board, "a").await,
        epoch,
        "the lease outlived the restart"
    );
    let waker = connect(&redis, 70).await;
    board.changed(Duration::from_secs(5)).await;
    let change = async { waker.retire(epoch, ROUND).await.unwrap() };
    tokio::time::timeout(Duration::from_secs(20), async {
        let (write, ()) = tokio::join!(change, board.changed(Duration::from_secs(60)));
        assert_eq!(write, Write::Applied);
    })
    .await
    .expect("hints come again after a restart");
}

#[tokio::test]
async fn an_emptied_board_fences_the_leader_of_before_and_starts_above_it() {
    let redis = Redis::start();
    let board = connect(&redis, 70).await;
    let before = lead(&board, "a").await;
    board
        .open(before, ROUND, Vec::new(), &[miner(ROUND, 1)])
        .await
        .unwrap();
    redis.ask("FLUSHALL");
    for write in [
        board
            .open(before, ROUND, Vec::new(), &[miner(ROUND, 1)])
            .await,
        board
            .advance(
                before,
                ROUND,
                Stage::Clips,
                Vec::new(),
                &[clip(ROUND, 1, 0)],
            )
            .await,
        board.retire(before, ROUND).await,
    ] {
        assert!(matches!(write, Err(BoardError::Fenced { .. })), "{write:?}");
    }
    let after = lead(&board, "a").await;
    assert!(after > before);
    let opened = board
        .open(after, ROUND, Vec::new(), &[miner(ROUND, 1)])
        .await
        .unwrap();
    assert_eq!(opened, Write::Applied);
}

/// A round may be held open for longer than anything is kept: no key of it may go before the round does.
#[tokio::test]
async fn an_open_rounds_keys_stay_and_a_retired_ones_expire() {
    let redis = Redis::start();
    let options = RedisOptions {
        retention: Duration::from_secs(2),
        ..RedisOptions::new(redis.url(), Netuid::new(70))
    };
    let board = RedisBoard::connect(options).await.unwrap();
    let epoch = lead(&board, "a").await;
    board
        .open(epoch, ROUND, vec![1], &[miner(ROUND, 1), miner(ROUND, 2)])
        .await
        .unwrap();
    board.post(&miner(ROUND, 1), vec![1]).await.unwrap();
    let clips = [clip(ROUND, 1, 0), clip(ROUND, 1, 9)];
    board
        .advance(epoch, ROUND, Stage::Clips, vec![2], &clips)
        .await
        .unwrap();
    board.post(&clips[0], vec![1]).await.unwrap();
    board.post(&miner(ROUND, 2), vec![1]).await.unwrap();
    board
        .advance(epoch, ROUND, Stage::Closed, vec![3], &[])
        .await
        .unwrap();
    board.post(&clips[1], vec![1]).await.unwrap();
    let keys = redis.ask("KEYS *:i:*");
    let keys: Vec<&str> = keys.lines().filter(|line| line.contains("nexis")).collect();
    assert!(keys.len() > 6, "{keys:?}");
    for key in keys {
        let ttl = redis.ask(&format!("TTL {}", key.trim()));
        assert!(ttl.contains("-1"), "{key}: {ttl}");
    }
    board.retire(epoch, ROUND).await.unwrap();
    eventually(Duration::from_secs(20), || async {
        redis.ask("KEYS *:i:*").starts_with("*0")
    })
    .await;
    assert!(board.rounds().await.unwrap().is_empty());
}

/// A leader that dies between the mark and the list leaves the id on the list; the next one takes it off.
#[tokio::test]
async fn ids_of_rounds_that_are_not_open_leave_the_list_when_somebody_takes_over() {
    let redis = Redis::start();
    let board = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70)))
        .await
        .unwrap();
    let epoch = lead(&board, "a").await;
    board
        .open(epoch, ROUND, vec![1], &[miner(ROUND, 1)])
        .await
        .unwrap();
    board.retire(epoch, ROUND).await.unwrap();
    redis.ask(&format!("ZADD {{nexis:70}}:rounds {ROUND} {ROUND}"));
    redis.ask("ZADD {nexis:70}:rounds 3 junk");
    assert!(board.rounds().await.unwrap().is_empty());
    board.resign(epoch).await.unwrap();
    let other = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70)))
        .await
        .unwrap();
    lead(&other, "b").await;
    let listed = redis.ask("ZRANGE {nexis:70}:rounds 0 -1");
    assert!(!listed.contains(&ROUND.to_string()), "{listed}");
}

/// Whatever somebody else wrote into a round's keys concerns that round alone.
#[tokio::test]
async fn junk_in_a_rounds_keys_touches_no_other_round() {
    let redis = Redis::start();
    let board = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70)))
        .await
        .unwrap();
    let epoch = lead(&board, "a").await;
    let other = IntervalId::new(ROUND.get() + 50);
    for round in [ROUND, other] {
        board
            .open(epoch, round, vec![1], &[miner(round, 1), miner(round, 2)])
            .await
            .unwrap();
        board.post(&miner(round, 1), vec![1]).await.unwrap();
    }
    let tag = format!("{{nexis:70:i:{ROUND}}}");
    redis.ask(&format!("HSET {tag}:m:got junk junk"));
    redis.ask(&format!("SADD {tag}:m:want junk"));
    let results = board.results(ROUND, Stage::Miners).await.unwrap();
    assert_eq!(results, [(miner(ROUND, 1), vec![1])]);
    assert_eq!(
        board.missing(ROUND, Stage::Miners).await.unwrap(),
        [miner(ROUND, 2)]
    );
    redis.ask(&format!("HSET {tag}:meta stage junk"));
    assert_eq!(board.rounds().await.unwrap(), [ROUND, other]);
    assert!(board.tally(ROUND).await.is_err());
    redis.ask(&format!("SET {tag}:meta junk"));
    assert_eq!(board.rounds().await.unwrap(), [ROUND, other]);
    board.resign(epoch).await.unwrap();
    let next = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70)))
        .await
        .unwrap();
    let epoch = lead(&next, "b").await;
    let plan = next.advance(epoch, other, Stage::Closed, vec![2], &[]);
    assert_eq!(plan.await.unwrap(), Write::Applied);
    // The round can be put right again.
    assert!(next.tally(ROUND).await.is_err());
    next.discard(epoch, ROUND).await.unwrap();
    let ids = [miner(ROUND, 1)];
    let opened = next.open(epoch, ROUND, vec![1], &ids);
    assert_eq!(opened.await.unwrap(), Write::Applied);
}

#[tokio::test]
async fn a_wrong_address_is_a_sentence_and_a_missing_server_is_transient() {
    let wrong = RedisBoard::connect(RedisOptions::new("rediss//x", Netuid::new(70))).await;
    assert!(matches!(wrong.err().unwrap(), BoardError::Refused(_)));
    let two = "redis://:hidden@127.0.0.1:1,nonsense";
    let wrong = RedisBoard::connect(RedisOptions::new(two, Netuid::new(70))).await;
    let wrong = wrong.err().unwrap();
    assert!(
        matches!(&wrong, BoardError::Refused(said) if !said.contains("hidden")),
        "{wrong}"
    );
    let port = nexis_testkit::free_port();
    let away = RedisOptions::new(format!("redis://127.0.0.1:{port}"), Netuid::new(70));
    let away = RedisBoard::connect(away).await.err().unwrap();
    assert!(matches!(away, BoardError::Unavailable(_)), "{away}");
    let redis = Redis::start();
    redis.ask("CONFIG SET requirepass secret");
    let refused = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70))).await;
    assert!(matches!(refused.err().unwrap(), BoardError::Refused(_)));
}
