//! How much of Redis a full interval takes: 256 miners with 5,000 rows each must stay well under 1 GiB.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use futures::StreamExt;
use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::conformance::board::{clip, miner};
use nexis_ports::{Board, Leadership, Posted, Stage};
use nexis_protocol::{IntervalId, Netuid};
use nexis_testkit::Redis;
use std::time::Duration;

/// One sixteenth of the subnet; rows per miner as at full size, so that each key is as large.
const MINERS: u8 = 16;
const ROWS: u32 = 5_000;
const SUBNET_ROWS: u64 = 256 * 5_000;
/// Bytes of a verdict as the wire writes it, rounded up.
const VERDICT: usize = 120;

fn used(redis: &Redis) -> u64 {
    let info = redis.ask("INFO memory");
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_full_subnets_rows_fit_in_half_a_gigabyte() {
    let redis = Redis::start();
    redis.ask("CONFIG SET appendfsync no");
    let board = RedisBoard::connect(RedisOptions::new(redis.url(), Netuid::new(70)))
        .await
        .unwrap();
    let Leadership::Leader(epoch) = board.campaign("a", Duration::from_secs(600)).await.unwrap()
    else {
        panic!("an empty board has no leader");
    };
    let round = IntervalId::new(100);
    let before = used(&redis);
    board
        .open(epoch, round, Vec::new(), &[miner(round, 0)])
        .await
        .unwrap();
    let ids: Vec<_> = (0..MINERS)
        .flat_map(|n| (0..ROWS).map(move |row| clip(round, n, row)))
        .collect();
    board
        .advance(epoch, round, Stage::Clips, Vec::new(), &ids)
        .await
        .unwrap();
    let began = std::time::Instant::now();
    futures::stream::iter(&ids)
        .for_each_concurrent(16, |id| {
            let board = &board;
            async move {
                assert_eq!(
                    board.post(id, vec![7; VERDICT]).await.unwrap(),
                    Posted::First
                );
            }
        })
        .await;
    let took = began.elapsed();
    let rows = u64::from(MINERS) * u64::from(ROWS);
    let whole = (used(&redis) - before) * SUBNET_ROWS / rows;
    println!(
        "{} MiB for {SUBNET_ROWS} rows; {rows} posted in {took:?}",
        whole >> 20
    );
    assert!(whole < 512 << 20, "{whole} bytes");
    assert!(board.missing(round, Stage::Clips).await.unwrap().is_empty());
    assert_eq!(
        board.results(round, Stage::Clips).await.unwrap().len() as u64,
        rows
    );
}
