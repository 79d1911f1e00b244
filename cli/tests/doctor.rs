//! `nexis doctor` as an operator runs it: on a subnet that takes weights, without a hotkey file, without a chain.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod program;

use nexis_localnet::MinerKind;
use program::{out, run, settings, subnet, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_is_listed_and_the_exit_code_says_whether_weights_can_be_set() {
    let home = tempfile::tempdir().unwrap();
    let net = subnet(home.path(), 250, &[MinerKind::Honest]).await;
    let workdir = home.path().join("work");
    let env = settings(&net, &workdir);

    let well = run(home.path(), &env, &["doctor"]);
    let page = out(&well);
    for condition in [
        "wallet",
        "ws://",
        "registered",
        "permit",
        "stake",
        "rate limit",
        "version key",
        "minimum weights",
        "commit-reveal",
        "tempo",
        "finality",
        "endpoint",
        "clock",
        "runtime",
    ] {
        assert!(page.contains(condition), "{condition}: {page}");
    }
    assert_eq!(well.status.code(), Some(0), "{page}");
    assert!(!page.contains("FAIL"), "{page}");

    let stranger = with(&env, &[("BT_WALLET_HOTKEY", "nobody")]);
    let without = run(home.path(), &stranger, &["doctor"]);
    let page = out(&without);
    assert_eq!(without.status.code(), Some(78), "{page}");
    assert!(
        page.contains("FAIL  wallet") && page.contains("nexis wallet"),
        "{page}"
    );

    let elsewhere = with(
        &env,
        &[
            ("BT_NETWORK", "ws://127.0.0.1:1"),
            ("NEXIS_CHAIN_TIMEOUT", "1s"),
        ],
    );
    let cut_off = run(home.path(), &elsewhere, &["doctor"]);
    let page = out(&cut_off);
    assert_eq!(cut_off.status.code(), Some(75), "{page}");
    assert!(page.contains("not usable"), "{page}");
    assert!(
        page.contains("the last snapshot of the subnet is of block"),
        "{page}"
    );
}
