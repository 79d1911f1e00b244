//! What the server behind the address may do to us: fail over, evict, forbid.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{clip, miner};
use nexis_ports::{Board, BoardError, Leadership, Posted, Stage, Write};
use nexis_protocol::{IntervalId, LeaderEpoch, Netuid};
use nexis_testkit::{Redis, Relay, eventually};
use std::time::Duration;

const ROUND: IntervalId = IntervalId::new(100);
const SOON: Duration = Duration::from_secs(30);
const NETUID: Netuid = Netuid::new(70);

async fn connect(url: String) -> Result<RedisBoard, BoardError> {
    RedisBoard::connect(RedisOptions::new(url, NETUID)).await
}

async fn lead(board: &RedisBoard) -> LeaderEpoch {
    match board.campaign("a", Duration::from_secs(600)).await.unwrap() {
        Leadership::Leader(epoch) => epoch,
        Leadership::Follower { holder } => panic!("{holder} leads"),
    }
}

/// Every kind of call that a scheduler or a worker makes.
async fn a_whole_round(board: &RedisBoard) {
    let epoch = lead(board).await;
    let opened = board.open(epoch, ROUND, vec![1], &[miner(ROUND, 1)]).await;
    assert_eq!(opened.unwrap(), Write::Applied);
    assert!(board.wanted(&miner(ROUND, 1)).await.unwrap());
    assert_eq!(
        board.post(&miner(ROUND, 1), vec![1]).await.unwrap(),
        Posted::First
    );
    assert!(
        board
            .missing(ROUND, Stage::Miners)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(board.results(ROUND, Stage::Miners).await.unwrap().len(), 1);
    let clips = [clip(ROUND, 1, 0), clip(ROUND, 1, 9)];
    board
        .advance(epoch, ROUND, Stage::Clips, vec![2], &clips)
        .await
        .unwrap();
    assert!(board.wanted(&clips[0]).await.unwrap());
    board.post(&clips[0], vec![1]).await.unwrap();
    assert_eq!(board.missing(ROUND, Stage::Clips).await.unwrap().len(), 1);
    board
        .advance(epoch, ROUND, Stage::Closed, vec![3], &[])
        .await
        .unwrap();
    board.post(&clips[1], vec![1]).await.unwrap();
    assert_eq!(board.results(ROUND, Stage::Clips).await.unwrap().len(), 1);
    assert_eq!(board.late(ROUND).await.unwrap().len(), 1);
    board.tally(ROUND).await.unwrap().unwrap();
    board.plan(ROUND, Stage::Closed).await.unwrap().unwrap();
    assert_eq!(board.rounds().await.unwrap(), [ROUND]);
    board.set_fact(epoch, "fact", vec![1]).await.unwrap();
    board.fact("fact").await.unwrap().unwrap();
    board.changed(Duration::from_millis(10)).await;
    board.look().await.unwrap();
    board.retire(epoch, ROUND).await.unwrap();
    board.resign(epoch).await.unwrap();
}

#[tokio::test]
async fn after_a_failover_the_next_call_reaches_the_server_that_leads_now() {
    let (old, new) = (Redis::start(), Redis::start());
    let service = Relay::to(old.port());
    new.ask(&format!("REPLICAOF 127.0.0.1 {}", old.port()));
    let board = connect(format!("redis://127.0.0.1:{}", service.port()))
        .await
        .unwrap();
    let epoch = lead(&board).await;
    board
        .open(epoch, ROUND, vec![1], &[miner(ROUND, 1), miner(ROUND, 2)])
        .await
        .unwrap();
    // Several connections, and one that listens.
    board.changed(Duration::from_millis(10)).await;
    let wanted = (0..8).map(|_| board.rounds());
    futures::future::join_all(wanted).await;
    eventually(SOON, async || {
        new.ask("HGET {nexis:70:i:100}:meta stage")
            .starts_with("$1")
    })
    .await;

    // The service address moves; connections that there are stay with the old server, which becomes a replica.
    new.ask("REPLICAOF NO ONE");
    old.ask(&format!("REPLICAOF 127.0.0.1 {}", new.port()));
    service.point_to(new.port());
    assert_eq!(
        board.post(&miner(ROUND, 1), vec![1]).await.unwrap(),
        Posted::First
    );
    board.look().await.unwrap();
    assert_eq!(
        board.campaign("a", Duration::from_secs(600)).await.unwrap(),
        Leadership::Leader(epoch)
    );
    assert!(
        new.ask("HEXISTS {nexis:70:i:100}:m:got x")
            .starts_with(":0")
    );
    assert!(new.ask("HLEN {nexis:70:i:100}:m:got").starts_with(":1"));

    // Hints come from the new one, even when the old one goes.
    drop(old);
    board.changed(Duration::from_millis(10)).await;
    let other = connect(new.url()).await.unwrap();
    let (told, ()) = tokio::join!(
        tokio::time::timeout(SOON, async {
            while board.tally(ROUND).await.unwrap().unwrap().done < 2 {
                board.changed(Duration::from_secs(60)).await;
            }
        }),
        async {
            other.post(&miner(ROUND, 2), vec![1]).await.unwrap();
        }
    );
    told.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_take_writes_is_seen_by_a_look() {
    let redis = Redis::start();
    let board = connect(redis.url()).await.unwrap();
    board.look().await.unwrap();
    for (begin, end, why) in [
        (
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
            "used memory > 'maxmemory'",
        ),
        (
            "REPLICAOF 127.0.0.1 1",
            "REPLICAOF NO ONE",
            "read only replica",
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "NOREPLICAS",
        ),
    ] {
        redis.ask(begin);
        let fault = board.look().await.unwrap_err();
        assert!(matches!(fault, BoardError::Unavailable(_)), "{fault}");
        assert!(
            fault
                .to_string()
                .to_lowercase()
                .contains(&why.to_lowercase()),
            "{fault}"
        );
        redis.ask(end);
        eventually(SOON, async || board.look().await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_and_seen_when_it_begins_to() {
    let redis = Redis::start();
    for policy in [
        "allkeys-lru",
        "volatile-lru",
        "volatile-ttl",
        "allkeys-random",
    ] {
        redis.ask(&format!("CONFIG SET maxmemory-policy {policy}"));
        let refused = connect(redis.url()).await.err().unwrap();
        assert!(matches!(refused, BoardError::Refused(_)), "{refused}");
        let said = refused.to_string();
        assert!(
            said.contains(policy) && said.contains("noeviction"),
            "{said}"
        );
    }
    redis.ask("CONFIG SET maxmemory-policy noeviction");
    let board = connect(redis.url()).await.unwrap();
    redis.ask("CONFIG SET maxmemory-policy allkeys-lru");
    assert!(
        board
            .look()
            .await
            .unwrap_err()
            .to_string()
            .contains("allkeys-lru")
    );
    redis.ask("CONFIG SET maxmemory-policy noeviction");

    // Where INFO is forbidden CONFIG is asked, and where both are it starts.
    redis.ask("ACL SETUSER some on >secret ~* &* +@all -info");
    let url = redis.url().replace("redis://", "redis://some:secret@");
    redis.ask("CONFIG SET maxmemory-policy allkeys-lru");
    assert!(
        connect(url.clone())
            .await
            .err()
            .unwrap()
            .to_string()
            .contains("allkeys-lru")
    );
    redis.ask("ACL SETUSER some -config");
    connect(url).await.unwrap().look().await.unwrap();
}

/// The rules in docs/fleet.md.
fn documented_rules() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fleet.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rules = page
        .lines()
        .find(|line| line.starts_with("ACL SETUSER nexis "));
    rules
        .expect("docs/fleet.md has the rules of a user")
        .to_owned()
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_each_missing_one_is_named_at_the_start() {
    let redis = Redis::start();
    let rules = documented_rules();
    let url = redis.url().replace("redis://", "redis://nexis:PASSWORD@");
    assert!(redis.ask(&rules).starts_with("+OK"), "{rules}");
    a_whole_round(&connect(url.clone()).await.unwrap()).await;

    for (change, named) in [
        ("resetchannels", "channel: nexis:70:changed"),
        ("-hset", "commands: hset"),
        ("-getbit", "commands: getbit"),
        ("-smembers", "commands: smembers"),
        ("-zrem", "commands: zrem"),
        ("-multi", "multi"),
        ("-evalsha", "evalsha"),
        ("-script|load", "script|load"),
        ("-set", "set"),
        ("-publish", "publish"),
        ("-subscribe", "channel: nexis:70:changed"),
        ("resetkeys ~{nexis:70}:*", "keys: {nexis:70:i:*"),
        ("resetkeys ~{nexis:70:i:*", "keys: {nexis:70}:*"),
    ] {
        redis.ask(&rules);
        redis.ask(&format!("ACL SETUSER nexis {change}"));
        let refused = connect(url.clone()).await.err().expect(change);
        assert!(
            matches!(refused, BoardError::Refused(_)),
            "{change}: {refused}"
        );
        let said = refused.to_string();
        assert!(
            said.contains(named) && said.contains("docs/fleet.md"),
            "{change}: {said}"
        );
        assert!(
            !said.contains("PASSWORD") && !said.contains("'nexis'"),
            "{said}"
        );
    }
}
