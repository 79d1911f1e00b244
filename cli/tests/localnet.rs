//! `nexis localnet` follows the profile in its settings.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod program;

use program::{Running, clips, err, run, with};
use std::collections::HashMap;

#[tokio::test(flavor = "multi_thread")]
async fn a_localnet_is_made_by_the_profile_in_its_settings() {
    let home = tempfile::tempdir().unwrap();
    let (folder, file) = (home.path().join("net"), home.path().join("net.env"));
    std::fs::create_dir_all(&folder).unwrap();
    let shared = tokio::task::spawn_blocking(clips).await.unwrap();
    std::os::unix::fs::symlink(shared, folder.join("clips")).unwrap();
    let env = with(
        &Vec::new(),
        &[
            ("NEXIS_PROFILE", "2026-04-13"),
            ("NEXIS_PROFILE_ROW_SAMPLE_MAX", "2"),
        ],
    );
    let arguments = [
        "localnet",
        "--workdir",
        folder.to_str().unwrap(),
        "--env-file",
        file.to_str().unwrap(),
    ];
    let mut net = Running::start(home.path(), &env, &arguments, "localnet");
    net.until("the localnet", |net| net.err().contains("running;"))
        .await;
    let text = std::fs::read_to_string(&file).unwrap();
    let told: HashMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(told["NEXIS_PROFILE"], "2026-04-13");
    assert_eq!(told["NEXIS_PROFILE_INTERVAL_LENGTH_BLOCKS"], "100");
    assert_eq!(told["NEXIS_PROFILE_WEIGHT_PERIOD_BLOCKS"], "300");
    assert_eq!(told["NEXIS_PROFILE_ROW_SAMPLE_MAX"], "2");
    // Each package lies under its interval's number, which the profile's grid decides.
    let buckets = std::fs::read_dir(folder.join("s3")).unwrap().flatten();
    let packages =
        buckets.flat_map(|bucket| std::fs::read_dir(bucket.path()).into_iter().flatten());
    let names = packages.flatten().map(|package| package.file_name());
    let intervals: Vec<u64> = names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    assert!(intervals.len() > 10, "{intervals:?}");
    assert!(
        intervals.iter().all(|interval| interval % 100 == 0),
        "{intervals:?}"
    );
    net.interrupt();
    let ended = net.end(program::PATIENCE).await;
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_profile_that_is_unknown_or_impossible_is_refused_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("NEXIS_PROFILE", "2026-04-31"),
        ("NEXIS_PROFILE_ROW_SAMPLE_MAX", "many"),
    ] {
        for command in ["localnet", "demo"] {
            let env = with(&Vec::new(), &[(name, value)]);
            let refused = run(home.path(), &env, &[command]);
            assert_eq!(
                refused.status.code(),
                Some(78),
                "{command} {name}: {}",
                err(&refused)
            );
            assert!(err(&refused).contains(name), "{}", err(&refused));
        }
    }
}
