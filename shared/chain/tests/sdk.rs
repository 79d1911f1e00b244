//! The Python tools against ours: they read what we wrote, set weights on the dev chain, and load each other's
//! hotkey files. `scripts/setup.sh test` puts them into `target/venv`.

mod subnet;

use nexis_chain::{Outcome, Wallet};
use nexis_devchain::{DevChainConfig, GenesisNeuron, Spec};
use nexis_protocol::Hotkey;
use serde_json::Value;
use std::path::{Path, PathBuf};
use subnet::{NETUID, config, start, wallet};
use tokio::process::Command;

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
    let (chain, _client) = start(with_validator(
        made.hotkey(),
        DevChainConfig {
            commit_reveal: true,
            ..config(Spec::S439)
        },
    ))
    .await;
    let result = ask(&["set", &chain.url(), path]).await["result"].to_string();
    assert!(result.contains("TimelockedWeightsCommitted"), "{result}");
    let head = chain.head().number;
    assert_eq!(chain.weight_changes(3, 1_000..head + 1).len(), 1);
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
