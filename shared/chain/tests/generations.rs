//! Three generations of the Python SDK on the dev chain: each reads the metagraph, commitments and the next epoch, and
//! sets weights. `scripts/setup.sh test` installs them below `target/`.

mod subnet;

use nexis_chain::{Outcome, Wallet};
use nexis_devchain::{DevChainConfig, GenesisNeuron, Spec};
use serde_json::{Value, json};
use std::path::Path;
use subnet::{NETUID, config, start, wallet};
use tokio::process::Command;

/// What the generation in `target/ENVIRONMENT` makes of a subnet, and the weights that it left there.
async fn asked(environment: &str, spec: Spec) -> (Value, Vec<(u16, u16)>, Value, u64) {
    let folder = tempfile::tempdir().unwrap();
    let made = Wallet::create(folder.path(), "made", "default").unwrap();
    let mut settings = DevChainConfig {
        // Longer than any of these tests takes.
        tempo: 30_000,
        // The oldest one asks for the state of a block that it read long before.
        state_blocks: 100_000,
        ..config(spec)
    };
    settings.neurons.push(GenesisNeuron {
        hotkey: made.hotkey().public_key(),
        stake_rao: 9_000_000_000_000,
        permit: true,
    });
    let next_epoch = settings.start_block + 30_000;
    let (chain, client) = start(settings).await;
    let published = client
        .set_commitment(&wallet("//Bob"), NETUID, vec![b'k'; 128])
        .await
        .unwrap();
    assert!(matches!(published, Outcome::Included(_)), "{published:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target").join(environment).join("bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `scripts/setup.sh test`",
        python.display()
    );
    let ended = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/sdk/generation.py"
        ))
        .arg(chain.url())
        .arg(folder.path())
        .env("HOME", folder.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&ended.stdout);
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{environment}: {words}{complaint}");
    let answers = serde_json::from_str(words.lines().last().unwrap()).unwrap();
    let keys: Vec<String> = ["//Alice", "//Bob", "//Charlie"]
        .map(|uri| wallet(uri).hotkey().to_string())
        .into_iter()
        .chain([made.hotkey().to_string()])
        .collect();
    let weights = chain.weights(3);
    chain.stop().await;
    (answers, weights, json!(keys), next_epoch)
}

/// Everything that is the same for a generation that can do it all.
fn all_is_well(name: &str, answers: &Value, keys: &Value, next_epoch: u64) {
    for question in ["metagraph", "info", "neurons"] {
        assert_eq!(
            &answers[question]["said"], keys,
            "{name} {question}: {answers}"
        );
    }
    assert_eq!(
        answers["next_epoch"]["said"], next_epoch,
        "{name}: {answers}"
    );
    assert_eq!(answers["weights"]["said"], true, "{name}: {answers}");
}

const SET: [(u16, u16); 2] = [(1, 65535), (2, 21845)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_11_reads_the_subnet_and_its_epoch_and_sets_weights() {
    for spec in [Spec::S439, Spec::S461] {
        let (answers, weights, keys, next_epoch) = asked("venv", spec).await;
        all_is_well("11", &answers, &keys, next_epoch);
        let graph = answers["commitments"]["said"].as_str().unwrap();
        assert!(graph.contains("commitments=1"), "{graph}");
        assert_eq!(weights, SET, "{spec:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_10_reads_the_subnet_and_its_epoch_and_sets_weights() {
    let (answers, weights, keys, next_epoch) = asked("sdk-10.5.0", Spec::S439).await;
    all_is_well("10", &answers, &keys, next_epoch);
    let bob = wallet("//Bob").hotkey().to_string();
    let committed = answers["commitments"]["said"][&bob].as_str();
    assert_eq!(committed, Some("k".repeat(128).as_str()), "{answers}");
    assert_eq!(weights, SET);
}

/// It cannot encode the newtype that subnets' numbers are since spec 428, so that its metagraph fails there as on the
/// real chain. On a runtime of its own time it reads all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_9_does_on_each_runtime_what_it_does_on_the_real_one() {
    let bob = wallet("//Bob").hotkey().to_string();
    let (answers, weights, keys, _) = asked("sdk-9.12.2", Spec::S419).await;
    assert_eq!(answers["metagraph"]["said"], keys, "{answers}");
    let committed = answers["commitments"]["said"][&bob].as_str();
    assert_eq!(committed, Some("k".repeat(128).as_str()), "{answers}");
    assert_eq!(answers["weights"]["said"], true, "{answers}");
    assert_eq!(weights, SET);
    let (answers, weights, _, _) = asked("sdk-9.12.2", Spec::S439).await;
    let fault = answers["metagraph"]["fault"].as_str();
    assert!(
        fault.is_some_and(|fault| fault.contains("Composite")),
        "{answers}"
    );
    assert_eq!(answers["weights"]["said"], true, "{answers}");
    assert_eq!(weights, SET);
}
