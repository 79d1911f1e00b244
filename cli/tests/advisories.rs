//! Clips that are wrong only to the eye: noted beside verdicts that stay what they are on the whole subnet, and failures
//! for the operator who lists them.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod program;

use nexis_localnet::{Localnet, MinerKind};
use program::{Env, err, out, run, settings, subnet, with};
use serde_json::Value;
use std::path::Path;

/// Slow: decoding is, and a stage closes after a number of blocks.
const BLOCK_MS: u64 = 1000;
const MINERS: [MinerKind; 7] = [
    MinerKind::Honest,
    MinerKind::JunkClip,
    MinerKind::WrongFrameCount,
    MinerKind::WrongFirstFrame,
    MinerKind::BlackClip,
    MinerKind::FrozenClip,
    MinerKind::Rewrapped,
];

/// Decisions of one interval, in the order of [`MINERS`].
fn judged(home: &Path, net: &Localnet, env: &Env) -> Vec<Value> {
    let done = run(home, env, &["validate", "--once", "--json"]);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));
    let decisions: Vec<Value> = out(&done)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |hotkey: &str| {
        let mut all = decisions.iter();
        all.find(|decision| decision["miner_hotkey"] == hotkey)
            .unwrap_or_else(|| panic!("no decision on {hotkey}"))
            .clone()
    };
    let miners = net.miners().iter();
    miners
        .map(|miner| of(miner.key.hotkey().as_str()))
        .collect()
}

fn explained(home: &Path, env: &Env, decision: &Value) -> String {
    let interval = decision["interval_id"].to_string();
    let hotkey = decision["miner_hotkey"].as_str().unwrap();
    let told = run(home, env, &["explain", &interval, hotkey]);
    assert!(told.status.success(), "{}", err(&told));
    out(&told)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_to_the_eye_is_told_and_rejects_only_where_it_is_listed() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let net = subnet(home, BLOCK_MS, &MINERS).await;

    let env = settings(&net, &home.join("told"));
    let env = with(&env, &[("NEXIS_PICTURE_CHECKS", "all")]);
    let decisions = judged(home, &net, &env);
    for (kind, decision) in MINERS.iter().zip(&decisions) {
        assert_eq!(decision["accepted"], true, "{kind}: {decision}");
        let told = explained(home, &env, decision);
        let advisory = match kind {
            MinerKind::Honest => "has_near_duplicate",
            _ => kind.advisory(),
        };
        assert!(
            told.contains(&format!("note: {advisory}: ")),
            "{kind}: {told}"
        );
        assert!(
            told.contains("by itself it changes nothing"),
            "{kind}: {told}"
        );
        let noted = decision["notes"]["advisories"].to_string();
        assert!(
            noted.contains(&format!("\"{advisory}:")),
            "{kind}: {decision}"
        );
    }
    let (honest, copy) = (&decisions[0], &decisions[6]);
    let original = honest["miner_hotkey"].as_str().unwrap();
    assert!(
        copy["notes"]["near_duplicates"]
            .to_string()
            .contains(original),
        "{copy}"
    );
    let told = explained(home, &env, honest);
    assert!(
        told.contains("1280x720, 150 frames, 30.00/s, 5.00 s, with sound"),
        "{told}"
    );
    let replay = run(home, &env, &["replay"]);
    assert!(
        out(&replay).contains("0 differ"),
        "{}{}",
        out(&replay),
        err(&replay)
    );

    // Off: the same clips, nothing but what containers say.
    let off = settings(&net, &home.join("off"));
    let off = with(&off, &[("NEXIS_PICTURE_CHECKS", "off")]);
    let decisions = judged(home, &net, &off);
    for (kind, decision) in MINERS.iter().zip(&decisions) {
        let expected = match kind {
            MinerKind::JunkClip | MinerKind::WrongFrameCount => kind.advisory(),
            _ => "null",
        };
        let noted = decision["notes"]["advisories"].to_string();
        assert!(noted.contains(expected), "{kind}: {decision}");
        assert_eq!(decision["accepted"], true, "{kind}: {decision}");
    }

    let kinds = MINERS[1..].iter().map(|kind| kind.advisory());
    let rejects = kinds.collect::<Vec<_>>().join(",");
    let strict = settings(&net, &home.join("strict"));
    let listed = [
        ("NEXIS_PICTURE_CHECKS", "all"),
        ("NEXIS_REJECT_ADVISORIES", &*rejects),
    ];
    let strict = with(&strict, &listed);
    let decisions = judged(home, &net, &strict);
    assert_eq!(decisions[0]["accepted"], true, "{}", decisions[0]);
    for (kind, decision) in MINERS.iter().zip(&decisions).skip(1) {
        assert_eq!(decision["accepted"], false, "{kind}: {decision}");
        let failures = decision["failures"].to_string();
        assert!(
            failures.contains(&format!("\"{}:", kind.advisory())),
            "{kind}: {decision}"
        );
        let told = explained(home, &strict, decision);
        assert!(
            told.contains("this validator rejects on it"),
            "{kind}: {told}"
        );
    }
    let replay = run(home, &strict, &["replay"]);
    assert!(
        out(&replay).contains("0 differ"),
        "{}{}",
        out(&replay),
        err(&replay)
    );
}

#[test]
fn an_advisory_that_cannot_reject_stops_the_start_with_a_sentence() {
    let home = tempfile::tempdir().unwrap();
    for (name, sentence) in [
        ("frozen_picture", "did you mean 'frozen_pictures'?"),
        ("has_near_duplicate", "reject 'near_duplicate', the copy"),
        ("near_duplicate", "NEXIS_PICTURE_CHECKS=all"),
    ] {
        let env = vec![("NEXIS_REJECT_ADVISORIES".to_owned(), name.to_owned())];
        let refused = run(home.path(), &env, &["validate", "--once"]);
        assert_eq!(refused.status.code(), Some(78), "{}", err(&refused));
        assert!(err(&refused).contains(sentence), "{}", err(&refused));
    }
}
