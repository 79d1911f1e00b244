//! The laws of the board over a real Redis, alone and as a cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{self, clip, miner};
use nexis_ports::{Board, BoardError, Leadership, Posted, Stage, Write};
use nexis_protocol::{IntervalId, LeaderEpoch, Netuid};
use nexis_testkit::{Redis, eventually};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const ROUND: IntervalId = IntervalId::new(100);
const TTL: Duration = Duration::from_secs(600);

async fn connect(redis: &Redis, netuid: u16) -> RedisBoard {
    RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(netuid)))
        .await
        .unwrap()
}

async fn lead(board: &RedisBoard, who: &str) -> LeaderEpoch {
    match board.campaign(who, TTL).await.unwrap() {
        Leadership::Leader(epoch) => epoch,
        Leadership::Follower { holder } => panic!("{holder} leads"),
    }
}

async fn all_laws(redis: &Redis) {
    // A subnet of its own per law: that several share a server is one of the promises.
    let netuid = AtomicU16::new(1);
    board::run_all(|| connect(redis, netuid.fetch_add(1, Ordering::Relaxed))).await;
}

#[tokio::test]
async fn the_board_over_redis_keeps_the_laws() {
    all_laws(&Redis::start()).await;
}

#[tokio::test]
async fn the_board_over_a_cluster_keeps_the_laws() {
    all_laws(&Redis::start_cluster()).await;
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

#[tokio::test]
async fn every_key_of_an_interval_expires_even_when_nobody_retires_it() {
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
    assert!(redis.ask("KEYS *:i:*").lines().count() > 8);
    eventually(Duration::from_secs(20), || async {
        redis.ask("KEYS *:i:*").starts_with("*0")
    })
    .await;
    assert!(board.rounds().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_address_is_a_sentence_and_a_missing_server_is_transient() {
    let wrong = RedisBoard::connect(RedisOptions::new("rediss//x", Netuid::new(70))).await;
    assert!(matches!(wrong.err().unwrap(), BoardError::Refused(_)));
    let port = nexis_testkit::free_port();
    let away = RedisOptions::new(format!("redis://127.0.0.1:{port}"), Netuid::new(70));
    let away = RedisBoard::connect(away).await.err().unwrap();
    assert!(matches!(away, BoardError::Unavailable(_)), "{away}");
    let redis = Redis::start();
    redis.ask("CONFIG SET requirepass secret");
    let refused = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70))).await;
    assert!(matches!(refused.err().unwrap(), BoardError::Refused(_)));
}
