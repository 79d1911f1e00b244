//! `nexis validate` on a subnet where most stores send one byte a second.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod program;

use nexis_localnet::MinerKind;
use program::{PATIENCE, Running, decisions, settings, subnet, with};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const MINERS: usize = 15;
/// Every fifth store is fast.
const FAST: usize = 5;
/// The stage of the miner jobs is 20 blocks long, twice the time budget of one object, as on finney.
const BLOCK_MS: u64 = 300;
const BUDGET: &str = "3s";

/// A relay in front of the store that sends the bodies of some buckets' objects one byte a second.
async fn relay(store: &str, slow: BTreeSet<String>) -> String {
    let store = store.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slow = Arc::new(slow);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (store, slow) = (store.clone(), Arc::clone(&slow));
            tokio::spawn(async move { carry(near, &store, &slow).await.ok() });
        }
    });
    format!("http://{address}")
}

/// One request and its answer: neither side keeps the connection.
async fn carry(mut near: TcpStream, store: &str, slow: &BTreeSet<String>) -> std::io::Result<()> {
    let head = head(&mut near).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let bucket = path.split('/').nth(1).unwrap_or_default().to_owned();
    let mut far = TcpStream::connect(store).await?;
    let closing = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    far.write_all(closing.as_bytes()).await?;
    if !slow.contains(&bucket) {
        tokio::io::copy_bidirectional(&mut near, &mut far).await?;
        return Ok(());
    }
    let answer = self::head(&mut far).await?;
    near.write_all(answer.as_bytes()).await?;
    while let Ok(byte) = far.read_u8().await {
        near.write_all(&[byte]).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dripping_stores_keep_no_honest_miner_from_being_decided() {
    let home = tempfile::tempdir().unwrap();
    let net = subnet(home.path(), BLOCK_MS, &[MinerKind::Honest; MINERS]).await;
    let workdir = home.path().join("work");
    let usual = settings(&net, &workdir);
    let (_, store) = usual
        .iter()
        .find(|(name, _)| name == "NEXIS_R2_ENDPOINT")
        .expect("the localnet has a store");
    let hotkeys: Vec<_> = net
        .miners()
        .iter()
        .map(|miner| miner.key.hotkey())
        .collect();
    let fast: BTreeSet<String> = hotkeys
        .iter()
        .step_by(FAST)
        .map(|hotkey| hotkey.to_string())
        .collect();
    let slow = hotkeys
        .iter()
        .filter(|hotkey| !fast.contains(hotkey.as_str()))
        .map(|hotkey| hotkey.bucket_name());
    let relay = relay(store, slow.collect()).await;
    let env = with(
        &usual,
        &[
            ("NEXIS_R2_ENDPOINT", &relay),
            ("NEXIS_FETCH_BUDGET", BUDGET),
        ],
    );
    let arguments = ["validate", "--intervals", "1", "--json"];
    let mut validator = Running::start(home.path(), &env, &arguments, "validator");
    let ended = validator.end(PATIENCE).await;
    assert!(ended.success(), "{}", validator.err());
    let decided = decisions(&workdir);
    assert!(!decided.is_empty(), "{}", validator.err());
    for (interval, text) in decided {
        let value: Value = serde_json::from_str(&text).unwrap();
        let decisions = value["decisions"].as_array().unwrap();
        assert_eq!(decisions.len(), MINERS, "interval {interval}");
        for decision in decisions {
            let miner = decision["miner_hotkey"].as_str().unwrap();
            if fast.contains(miner) {
                assert_eq!(decision["accepted"], true, "{interval}: {decision}");
            } else {
                let missing = serde_json::json!(["missing_submission_files"]);
                assert_eq!(decision["failures"], missing, "{interval}: {decision}");
            }
        }
    }
}
