//! Which failures of a real server pass by themselves, and which somebody has to mend.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{clip, miner};
use nexis_ports::{Board, BoardError, FaultClass, Leadership, Posted, Stage};
use nexis_protocol::{IntervalId, Netuid};
use nexis_testkit::{Redis, eventually};
use std::time::Duration;

const ROUND: IntervalId = IntervalId::new(100);
const SOON: Duration = Duration::from_secs(30);

async fn connect(url: String) -> RedisBoard {
    let options = RedisOptions::new(url, Netuid::new(70));
    RedisBoard::connect(options).await.unwrap()
}

/// A round whose clip stage waits for a thousand verdicts.
async fn with_clips(redis: &Redis) -> RedisBoard {
    let board = connect(redis.url()).await;
    let leads = board.campaign("a", Duration::from_secs(600)).await;
    let Leadership::Leader(epoch) = leads.unwrap() else {
        panic!("an empty board has no leader");
    };
    let miners = [miner(ROUND, 0)];
    board.open(epoch, ROUND, Vec::new(), &miners).await.unwrap();
    let clips: Vec<_> = (0..1_000).map(|row| clip(ROUND, 0, row)).collect();
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    board
}

async fn fault(board: &RedisBoard, row: u32) -> BoardError {
    let posted = board.post(&clip(ROUND, 0, row), vec![7; 100]).await;
    posted.expect_err("the server does not take it")
}

fn assert_passes(what: &str, fault: &BoardError) {
    assert_eq!(fault.class(), FaultClass::Transient, "{what}: {fault}");
}

#[tokio::test]
async fn a_server_that_cannot_write_now_may_later() {
    let redis = Redis::start();
    let board = with_clips(&redis).await;
    let troubles = [
        (
            "no memory left",
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
        ),
        ("a replica", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        (
            "too few replicas",
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
        ),
    ];
    for (row, (what, begin, end)) in (0..).zip(troubles) {
        redis.ask(begin);
        assert_passes(what, &fault(&board, row).await);
        redis.ask(end);
        let posted = board.post(&clip(ROUND, 0, row), vec![7; 100]).await;
        assert_eq!(posted.unwrap(), Posted::First, "{what} is over");
    }
    redis.ask("CONFIG SET replica-serve-stale-data no");
    redis.ask("REPLICAOF 127.0.0.1 1");
    assert_passes("a replica without its master", &fault(&board, 9).await);
}

#[tokio::test]
async fn a_server_with_too_many_clients_or_a_script_without_end_is_only_busy() {
    let redis = Redis::start();
    let board = with_clips(&redis).await;
    redis.ask("CONFIG SET busy-reply-threshold 100");
    let url = redis.url();
    let endless = tokio::task::spawn_blocking(move || {
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("EVAL")
            .arg("while true do end")
            .arg(0)
            .query::<()>(&mut connection)
    });
    eventually(SOON, async || redis.ask("PING").starts_with("-BUSY")).await;
    assert_passes("busy with a script", &fault(&board, 0).await);
    redis.ask("SCRIPT KILL");
    endless.await.unwrap().expect_err("it was killed");
    // Those of this board stay; one more is too many.
    redis.ask("CONFIG SET maxclients 1");
    let refused = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70))).await;
    assert_passes("too many clients", &refused.err().unwrap());
}

#[tokio::test]
async fn missing_rights_do_not_pass_by_themselves() {
    let redis = Redis::start();
    let board = with_clips(&redis).await;
    drop(board);
    redis.ask("ACL SETUSER worker on >secret ~* &* +@all");
    let url = redis.url().replace("redis://", "redis://worker:secret@");
    let board = connect(url).await;
    redis.ask("ACL SETUSER worker -@scripting");
    let refused = fault(&board, 0).await;
    assert!(matches!(refused, BoardError::Refused(_)), "{refused}");
    redis.ask("ACL SETUSER worker +@scripting");
    let posted = board.post(&clip(ROUND, 0, 0), vec![7; 100]).await;
    assert_eq!(posted.unwrap(), Posted::First);
}
