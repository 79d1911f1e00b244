//! Wrong settings: all named together, nothing started; and refusals that say what to do.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod program;

use nexis_localnet::MinerKind;
use program::{Running, decisions, err, out, run, settings, subnet, with};
use std::path::Path;
use std::time::Duration;

#[test]
fn several_wrong_settings_are_told_at_once_with_the_nearest_names_and_nothing_starts() {
    let home = tempfile::tempdir().unwrap();
    let workdir = home.path().join("work");
    let env = with(
        &Vec::new(),
        &[
            ("NEXIS_WORKDIR", workdir.to_str().unwrap()),
            ("NEXIS_NETUDI", "70"),
            ("NEXIS_BLOCK_POL_SEC", "1"),
            ("NEXIS_VALIDATOR_PERMITS", "many"),
            ("NEXIS_LEASE_TTL", "10m"),
            ("NEXIS_PROFILE_MINER_SAMPEL_RATE", "1.0"),
        ],
    );
    let refused = run(home.path(), &env, &["validate", "--poll-sec", "soon"]);
    let text = err(&refused);
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(out(&refused).is_empty());
    for (wrong, said) in [
        ("NEXIS_NETUDI", "NEXIS_NETUID"),
        ("NEXIS_BLOCK_POL_SEC", "NEXIS_BLOCK_POLL_SEC"),
        ("NEXIS_VALIDATOR_PERMITS", "many"),
        ("NEXIS_LEASE_TTL", "12s"),
        (
            "NEXIS_PROFILE_MINER_SAMPEL_RATE",
            "NEXIS_PROFILE_MINER_SAMPLE_RATE",
        ),
        ("--poll-sec", "soon"),
    ] {
        let line = text.lines().find(|line| line.contains(wrong));
        assert!(
            line.is_some_and(|line| line.contains(said)),
            "{wrong} without {said}:\n{text}"
        );
    }
    assert!(!workdir.exists(), "a work folder was made");
}

/// A validator whose wallet is not there, on a chain that nobody serves.
fn lost_wallet(workdir: &Path, wallets: &Path) -> Vec<(String, String)> {
    with(
        &Vec::new(),
        &[
            ("NEXIS_WORKDIR", workdir.to_str().unwrap()),
            ("BT_NETWORK", "ws://127.0.0.1:9"),
            ("BT_WALLET_PATH", wallets.to_str().unwrap()),
            ("BT_WALLET_NAME", "mine"),
            ("BT_WALLET_HOTKEY", "first"),
        ],
    )
}

#[test]
fn settings_that_show_to_be_wrong_when_used_are_told_at_once_too() {
    let home = tempfile::tempdir().unwrap();
    let workdir = home.path().join("work");
    let wallets = home.path().join("wallets");
    let env = with(
        &lost_wallet(&workdir, &wallets),
        &[
            ("NEXIS_REJECT_ADVISORIES", "clip_silent"),
            ("NEXIS_PROFILE_MINER_SAMPLE_RATE", "often"),
        ],
    );
    let refused = run(home.path(), &env, &["validate"]);
    let text = err(&refused);
    assert_eq!(refused.status.code(), Some(78), "{text}");
    for said in [
        "BT_WALLET_PATH",
        "NEXIS_REJECT_ADVISORIES",
        "NEXIS_PROFILE_MINER_SAMPLE_RATE",
    ] {
        assert!(text.contains(said), "nothing about {said}:\n{text}");
    }
    assert!(!workdir.exists(), "a work folder was made");
}

#[test]
fn a_missing_wallet_is_refused_with_its_path_and_a_remedy() {
    let home = tempfile::tempdir().unwrap();
    let workdir = home.path().join("work");
    let wallets = home.path().join("wallets");
    let env = lost_wallet(&workdir, &wallets);
    let refused = run(home.path(), &env, &["validate"]);
    let text = err(&refused);
    assert_eq!(refused.status.code(), Some(78), "{text}");
    let path = wallets.join("mine/hotkeys/first");
    assert!(text.contains(path.to_str().unwrap()), "no path in:\n{text}");
    assert!(
        text.contains("BT_WALLET_PATH") && text.contains("BT_WALLET_HOTKEY"),
        "no remedy in:\n{text}"
    );
    assert!(!workdir.exists(), "a work folder was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_and_a_taken_work_folder_are_refused_clearly() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let net = subnet(home, 150, &[MinerKind::Honest, MinerKind::NoFiles]).await;

    let workdir = home.join("foreign");
    let genesis = format!("0x{}", "ab".repeat(32));
    let env = with(
        &settings(&net, &workdir),
        &[("NEXIS_CHAIN_GENESIS", &genesis)],
    );
    let mut foreign = Running::start(home, &env, &["validate"], "foreign");
    let status = foreign.end(Duration::from_secs(30)).await;
    assert!(!status.success());
    let text = foreign.err();
    assert!(text.contains("genesis") && text.contains("abab"), "{text}");
    assert!(decisions(&workdir).is_empty());

    let workdir = home.join("work");
    let env = settings(&net, &workdir);
    let mut holder = Running::start(home, &env, &["validate"], "holder");
    holder
        .until("its first decision", |_| !decisions(&workdir).is_empty())
        .await;
    let second = run(home, &env, &["validate"]);
    let text = err(&second);
    assert!(!second.status.success(), "two validators on one folder");
    assert!(
        text.contains("is in use by another process") && text.contains(workdir.to_str().unwrap()),
        "{text}"
    );
    assert!(
        holder.ended().is_none(),
        "the first one was disturbed: {}",
        holder.err()
    );
    holder.interrupt();
    assert_eq!(
        holder.end(Duration::from_secs(10)).await.code(),
        Some(0),
        "{}",
        holder.err()
    );
}
