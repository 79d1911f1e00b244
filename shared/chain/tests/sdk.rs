//! The Python tools against ours: they read what we wrote, set weights on the dev chain, and load each other's
//! hotkey files. `scripts/setup.sh test` puts them into `target/venv`.

mod subnet;

use nexis_chain::calls::Call;
use nexis_chain::{Outcome, Wallet};
use nexis_devchain::{Beacon, DevChain, DevChainConfig, GenesisNeuron, Mode, Spec};
use nexis_protocol::Hotkey;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use subnet::{NETUID, config, start, start_by_hand, wallet, with_blocks};
use tokio::process::Command;
use tokio::time::timeout;

fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `scripts/setup.sh test`",
        python.display()
    );
    python
}

async fn ask(arguments: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/check.py");
    let ended = Command::new(python())
        .arg(script)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&ended.stdout);
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{arguments:?}: {words}{complaint}");
    // The wallet library prints a line of its own now and then.
    serde_json::from_str(words.lines().last().unwrap()).unwrap()
}

/// A subnet in which a hotkey file that we made may set weights.
fn with_validator(hotkey: &Hotkey, base: DevChainConfig) -> DevChainConfig {
    let mut config = base;
    config.neurons.push(GenesisNeuron {
        hotkey: hotkey.public_key(),
        stake_rao: 9_000_000_000_000,
        permit: true,
    });
    config
}

/// Reveals lie some rounds of the beacon ahead, however late in an epoch the commit comes: the SDK would name a
/// round that the chain has already.
fn in_time() -> DevChainConfig {
    DevChainConfig {
        commit_reveal: true,
        tempo: 40,
        reveal_period: 3,
        ..config(Spec::S439)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_reads_our_subnet_and_sets_weights_with_our_hotkey_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let made = Wallet::create(folder.path(), "made", "default").unwrap();
    let (chain, client) = start(with_validator(made.hotkey(), config(Spec::S439))).await;
    let published = client
        .set_commitment(&wallet("//Bob"), NETUID, vec![b'k'; 128])
        .await
        .unwrap();
    assert!(matches!(published, Outcome::Included(_)), "{published:?}");

    let seen = ask(&["metagraph", &chain.url()]).await;
    let keys: Vec<String> = ["//Alice", "//Bob", "//Charlie"]
        .map(|uri| wallet(uri).hotkey().to_string())
        .into_iter()
        .chain([made.hotkey().to_string()])
        .collect();
    assert_eq!(seen["substrate_interface"]["keys"], serde_json::json!(keys));
    assert_eq!(seen["bittensor"]["hotkeys"], serde_json::json!(keys));
    let commitment = seen["substrate_interface"]["commitment"].as_str().unwrap();
    assert!(
        commitment.contains(&"k".repeat(128)) || commitment.contains(&"6b".repeat(128)),
        "{commitment}"
    );
    let graph = seen["bittensor"]["commitments"].as_str().unwrap();
    assert!(graph.contains("commitments=1"), "{graph}");

    ask(&["set", &chain.url(), path]).await;
    assert_eq!(chain.weights(3), [(1, 65535), (2, 21845)]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_commits_where_weights_are_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let made = Wallet::create(folder.path(), "made", "default").unwrap();
    let (chain, _client) = start(with_validator(made.hotkey(), in_time())).await;
    let result = ask(&["set", &chain.url(), path]).await["result"].to_string();
    assert!(result.contains("TimelockedWeightsCommitted"), "{result}");
    let head = chain.head().number;
    assert_eq!(chain.weight_changes(3, 1_000..head + 1).len(), 1);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_reads_every_hyperparameter_that_we_keep() {
    for spec in [Spec::S439, Spec::S461] {
        let (chain, _client) = start(DevChainConfig {
            commit_reveal: true,
            tempo: 37,
            weights_version: 12,
            ..config(spec)
        })
        .await;
        let seen = ask(&["hyperparameters", &chain.url()]).await;
        assert_eq!(seen["tempo"], 37, "{spec:?}: {seen}");
        assert_eq!(seen["weights_version"], 12, "{spec:?}: {seen}");
        assert_eq!(seen["commit_reveal_weights_enabled"], true, "{spec:?}");
        assert_eq!(seen.as_object().unwrap().len(), 13, "{spec:?}: {seen}");
        chain.stop().await;
    }
}

/// The round of quicknet whose signature is published in the documentation of drand's clients, and that signature.
const ROUND: u64 = 1_000;
const SIGNATURE: &str = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125\
                         e342b73a8dd2bacbe47e4b6b63ed5e39";

/// The SDK has quicknet's key built in, so that a chain with a beacon of its own can open none of its commits. A chain
/// in quicknet's early days can: the SDK's sealing, the real beacon's signature, our opening.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sdk_sealed_is_opened_with_the_real_beacons_signature() {
    let (chain, client) = start_by_hand(DevChainConfig {
        commit_reveal: true,
        tempo: 20,
        beacon: Beacon::Quicknet {
            signatures: vec![(ROUND, hex::decode(SIGNATURE).unwrap())],
        },
        // Quicknet's first second, and 2,900 more: the round comes out 97 s later.
        start_time: Some(Duration::from_secs(1_692_803_367 + 2_900)),
        ..config(Spec::S461)
    })
    .await;
    let alice = wallet("//Alice");
    let key = hex::encode(alice.hotkey().public_key());
    let made = ask(&["seal", "1001", "1000", "20", &ROUND.to_string(), &key]).await;
    assert_eq!(made["round"], ROUND, "{made}");
    let call = Call::CommitWeights {
        netuid: NETUID,
        mechanism: None,
        sealed: hex::decode(made["sealed"].as_str().unwrap()).unwrap(),
        reveal_round: ROUND,
        version: 4,
    };
    let mut noted = Vec::new();
    let sending = client.submit(&alice, &call, &mut noted);
    let sent = with_blocks(&chain, sending).await.unwrap();
    assert!(matches!(sent, Outcome::Included(_)), "{sent:?}");
    assert!(chain.weights(0).is_empty());
    chain.new_blocks(40);
    assert_eq!(chain.weights(0), [(1, 65535), (2, 21845)]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_sdk_made_for_another_beacon_is_dropped_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let made = Wallet::create(folder.path(), "made", "default").unwrap();
    let (chain, client) = start(with_validator(made.hotkey(), in_time())).await;
    ask(&["set", &chain.url(), path]).await;
    assert_eq!(chain.sealed_commits(), 1);
    let gone = timeout(Duration::from_secs(60), async {
        let mut heads = client.stream_best();
        while chain.sealed_commits() > 0 {
            heads.next().await;
        }
    });
    gone.await.unwrap();
    assert!(chain.weights(3).is_empty(), "nothing was opened");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_committed_by_hash_with_one_client_are_revealed_with_the_sdk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let made = Wallet::create(folder.path(), "made", "default").unwrap();
    let config = DevChainConfig {
        commit_reveal: true,
        tempo: 20,
        mode: Mode::Manual,
        block_time: Duration::from_secs(12),
        ..config(Spec::S439)
    };
    let chain = DevChain::start(with_validator(made.hotkey(), config)).await;
    let chain = chain.unwrap();
    let url = chain.url();
    let committing = ["commit", &url, path, "5", "6", "7"];
    let committed = with_blocks(&chain, ask(&committing)).await;
    assert_eq!(committed["success"], true, "{committed}");
    // The next epoch begins 20 blocks after the first block.
    chain.new_blocks(1_021 - chain.head().number);
    let revealing = ["reveal", &url, path, "5", "6", "7"];
    let revealed = with_blocks(&chain, ask(&revealing)).await;
    assert_eq!(revealed["success"], true, "{revealed}");
    assert_eq!(chain.weights(3), [(1, 65535), (2, 21845)]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hotkey_files_pass_both_ways_plain_and_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, password) in [("plain", None), ("sealed", Some("a secret of the tests"))] {
        let theirs = folder.path().join(name);
        let path = theirs.to_str().unwrap();
        let mut arguments = vec!["make", path];
        arguments.extend(password);
        let address = ask(&arguments).await["address"]
            .as_str()
            .unwrap()
            .to_owned();
        let loaded = Wallet::load(&theirs, "made", "default", password).unwrap();
        assert_eq!(loaded.hotkey().as_str(), address, "{name}");
        if password.is_some() {
            let refused = Wallet::load(&theirs, "made", "default", Some("another")).map(|_| ());
            assert!(refused.is_err(), "the password decides");
        }
    }
    let ours = folder.path().join("ours");
    let made = Wallet::create(&ours, "made", "default").unwrap();
    let loaded = ask(&["load", ours.to_str().unwrap()]).await;
    assert_eq!(loaded["address"], made.hotkey().as_str());
}
