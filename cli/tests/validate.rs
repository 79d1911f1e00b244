//! `nexis validate` as a user runs it, on a subnet in this process: killed, interrupted, cut off from the outside;
//! and the commands that read what it leaves behind.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod program;

use nexis_chain::{At, ChainClient, ConnectOptions};
use nexis_localnet::{Localnet, MinerKind};
use nexis_protocol::Netuid;
use program::{Door, PATIENCE, Running, decisions, err, out, run, settings, subnet, with};
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MINERS: [MinerKind; 5] = [
    MinerKind::Honest,
    MinerKind::Honest,
    MinerKind::ClipHash,
    MinerKind::NoFiles,
    MinerKind::ShortCaption,
];
const BLOCK_MS: u64 = 150;
const KILLS: u32 = 6;
/// Calls that the chain takes in the life of a validator that is killed.
const LIFE: std::ops::Range<u64> = 5..150;

/// Notes every block at which the validator's weights changed, for as long as it lives.
struct Watcher {
    seen: Arc<Mutex<BTreeSet<u64>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    async fn of(net: &Localnet) -> Self {
        let mut options = ConnectOptions::new(net.chain_url().parse().unwrap());
        options.allow_other_genesis = true;
        let chain = ChainClient::new(options);
        let hotkey = net.validator();
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let note = Arc::clone(&seen);
        let last_update = async move |chain: &ChainClient, at: &At| {
            let snapshot = chain.snapshot(Netuid::new(70), at).await.ok()?;
            snapshot.neuron(&hotkey).map(|neuron| neuron.last_update)
        };
        let before = last_update(&chain, &At::Best)
            .await
            .expect("the validator is registered");
        let task = tokio::spawn(async move {
            // No final block is left out, so none of the changes is.
            let mut heads = chain.stream_finalized(None);
            loop {
                let at = At::Hash(heads.next().await.hash);
                if let Some(block) = last_update(&chain, &at).await
                    && block != before
                {
                    note.lock().unwrap().insert(block);
                }
            }
        });
        Self { seen, task }
    }

    fn seen(&self) -> BTreeSet<u64> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything that a validator which lost nothing leaves: intervals one after the other.
fn assert_without_gaps(decided: &[(u64, String)], what: &str) {
    for pair in decided.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 50, "{what}: an interval was lost");
    }
}

/// Each printed decision by interval and miner, and how often it was printed. Anything else is a failure.
fn printed(lines: &str) -> BTreeMap<(u64, String), u32> {
    let mut printed = BTreeMap::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line)
            .unwrap_or_else(|fault| panic!("not a JSON line ({fault}): {line}"));
        let interval = value["interval_id"].as_u64();
        let miner = value["miner_hotkey"].as_str();
        let (Some(interval), Some(miner)) = (interval, miner) else {
            panic!("not a decision: {line}");
        };
        *printed.entry((interval, miner.to_owned())).or_insert(0) += 1;
    }
    printed
}

/// What `explain`, `replay` and `status` say about a finished run.
fn stored_evidence_explains_itself(
    home: &Path,
    net: &Localnet,
    env: &program::Env,
    workdir: &Path,
) {
    let interval = decisions(workdir)[0].0;
    let explain = |kind: MinerKind| {
        let miner = net
            .miners()
            .iter()
            .find(|miner| miner.kind == kind)
            .unwrap();
        let hotkey = miner.key.hotkey();
        let told = run(
            home,
            env,
            &["explain", &interval.to_string(), hotkey.as_str()],
        );
        assert!(told.status.success(), "{}", err(&told));
        out(&told)
    };
    let honest = explain(MinerKind::Honest);
    assert!(
        honest.contains("accepted") && honest.contains("good"),
        "{honest}"
    );
    let cheat = explain(MinerKind::ClipHash);
    assert!(
        cheat.contains("rejected") && cheat.contains("clip_sha256_mismatch:"),
        "{cheat}"
    );
    let why = cheat.split("why:").nth(1).expect("a rejection says why");
    let words = why
        .lines()
        .filter(|line| line.starts_with("    "))
        .collect::<Vec<_>>();
    assert!(
        !words.is_empty()
            && words
                .iter()
                .all(|line| line.split_whitespace().count() >= 4),
        "{cheat}"
    );

    let unknown = run(home, env, &["explain", "1000000", net.validator().as_str()]);
    assert!(
        !unknown.status.success() && err(&unknown).contains("not decided here"),
        "{}",
        err(&unknown)
    );

    let status = out(&run(home, env, &["status"]));
    assert!(
        status.contains("weight epoch") && status.contains("weights are on the chain"),
        "{status}"
    );

    let replay = run(home, env, &["replay"]);
    assert!(replay.status.success(), "{}{}", out(&replay), err(&replay));
    assert!(
        out(&replay).contains("equal bytes") && out(&replay).contains("0 differ"),
        "{}",
        out(&replay)
    );

    let file = workdir.join(format!("archive/rounds/{interval:012}/decisions.json"));
    let whole = std::fs::read(&file).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    std::fs::write(
        &file,
        text.replacen("\"accepted\":true", "\"accepted\":false", 1),
    )
    .unwrap();
    let replay = run(home, env, &["replay", &interval.to_string()]);
    assert!(
        !replay.status.success() && out(&replay).contains("DIFFERS"),
        "{}",
        out(&replay)
    );
    std::fs::write(&file, whole).unwrap();

    let folder = workdir.join(format!("archive/rounds/{interval:012}/evidence"));
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() > 1, "a head and one object per miner");
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        std::fs::write(&file, damaged).unwrap();
        let replay = run(home, env, &["replay"]);
        assert!(
            !replay.status.success(),
            "damage to {} was not noticed: {}",
            file.display(),
            out(&replay)
        );
        std::fs::write(&file, whole).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_killed_at_random_moments_decides_and_submits_what_an_undisturbed_one_does() {
    let seed: u64 = std::env::var("NEXIS_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    println!("seed {seed} (NEXIS_TEST_SEED chooses another one)");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let net = subnet(home, BLOCK_MS, &MINERS).await;
    let watcher = Watcher::of(&net).await;
    let killed_in = home.join("killed");
    let calm_in = home.join("calm");
    let env = settings(&net, &killed_in);
    // Another hotkey: it decides the same and may not set weights.
    let calm_env = with(&settings(&net, &calm_in), &[("BT_WALLET_HOTKEY", "miner0")]);
    let mut calm = Running::start(home, &calm_env, &["validate"], "calm");
    let mut lines = String::new();
    let mut begun = None;
    for kill in 0..KILLS {
        let mut victim = Running::start(
            home,
            &env,
            &["validate", "--json"],
            &format!("killed{kill}"),
        );
        // The chain is asked by all that run here: a moment that falls anywhere in a step.
        let asked = net.chain().traffic().0 + random.random_range(LIFE);
        if kill == 0 {
            // Whoever never got as far as a plan starts anew, with what is the newest interval then.
            let rounds = killed_in.join("archive/rounds");
            victim
                .until("the first plan", |_| {
                    rounds
                        .read_dir()
                        .is_ok_and(|mut plans| plans.next().is_some())
                })
                .await;
        } else {
            victim
                .until("its last moment", |_| net.chain().traffic().0 >= asked)
                .await;
        }
        assert!(
            victim.ended().is_none(),
            "seed {seed}: it ended by itself:\n{}",
            victim.err()
        );
        victim.kill();
        begun = begun.or_else(|| {
            let plans = killed_in.join("archive/rounds").read_dir().ok()?;
            plans
                .filter_map(|plan| plan.unwrap().file_name().to_str()?.parse::<u64>().ok())
                .min()
        });
        lines.push_str(&victim.out());
    }
    let mut last = Running::start(home, &env, &["validate", "--json"], "last");
    last.until("weights on the chain", |_| !watcher.seen().is_empty())
        .await;
    // One folder per epoch, one file per version of its record.
    let records = killed_in.join("archive/records");
    let settled = |_: &Running| {
        let epochs = std::fs::read_dir(&records).into_iter().flatten().flatten();
        let versions = epochs.flat_map(|epoch| std::fs::read_dir(epoch.path()));
        versions.flatten().flatten().any(|version| {
            std::fs::read_to_string(version.path()).is_ok_and(|text| text.contains("\"done\""))
        })
    };
    last.until("the submission's record", settled).await;
    let enough = decisions(&killed_in).len() + 1;
    last.until("one more interval", |_| {
        decisions(&killed_in).len() >= enough
    })
    .await;
    last.interrupt();
    let status = last.end(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", last.err());
    lines.push_str(&last.out());

    let killed = decisions(&killed_in);
    let newest = killed.last().unwrap().0;
    calm.until("the undisturbed run", |_| {
        decisions(&calm_in).iter().any(|(id, _)| *id >= newest)
    })
    .await;
    let calm_decisions = decisions(&calm_in);
    assert_without_gaps(&killed, &format!("seed {seed}"));
    assert_eq!(
        Some(killed[0].0),
        begun,
        "seed {seed}: the interval it began with is missing"
    );
    for (interval, text) in &killed {
        let same = calm_decisions.iter().find(|(id, _)| id == interval);
        assert_eq!(
            Some(text),
            same.map(|(_, text)| text),
            "seed {seed}: interval {interval} differs"
        );
        assert!(!text.contains("\"absent\":[\""), "seed {seed}: {text}");
    }
    for ((interval, miner), times) in printed(&lines) {
        assert!(
            times == 1,
            "seed {seed}: interval {interval}, {miner} was printed {times} times"
        );
    }
    let updates = watcher.seen();
    assert_eq!(
        updates.len(),
        1,
        "seed {seed}: weights of one epoch were set at blocks {updates:?}"
    );
    assert!(net.chain().weights(0).iter().any(|(_, share)| *share > 0));
    calm.kill();
    stored_evidence_explains_itself(home, &net, &env, &killed_in);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_validator_ends_at_once_and_goes_on_later() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let net = subnet(home, BLOCK_MS, &[MinerKind::Honest, MinerKind::NoFiles]).await;
    let workdir = home.join("work");
    let env = settings(&net, &workdir);
    let mut first = Running::start(home, &env, &["validate"], "first");
    first
        .until("a plan", |_| workdir.join("archive/rounds").exists())
        .await;
    first.interrupt();
    let asked = Instant::now();
    let status = first.end(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", first.err());
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "it took {:?} to stop",
        asked.elapsed()
    );

    let once = run(home, &env, &["validate", "--once", "--json"]);
    assert_eq!(once.status.code(), Some(0), "{}", err(&once));
    let told = printed(&out(&once));
    let stored = decisions(&workdir);
    assert!(!stored.is_empty());
    assert_eq!(stored[0].0, net.first_interval().get());
    let interval = told.keys().next().expect("one interval was decided").0;
    let of_it: Vec<_> = told.keys().filter(|(id, _)| *id == interval).collect();
    assert_eq!(
        of_it.len(),
        2,
        "one line for each hotkey that committed credentials: {}",
        out(&once)
    );
    assert!(told.values().all(|times| *times == 1), "{}", out(&once));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_store_or_chain_it_waits_visibly_decides_nothing_and_goes_on_when_they_are_back() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let net = subnet(home, BLOCK_MS, &[MinerKind::Honest, MinerKind::NoFiles]).await;
    let store = Door::to(&net.store_endpoint(), false).await;
    let chain = Door::to(&net.chain_url(), true).await;
    let workdir = home.join("work");
    let env = with(
        &settings(&net, &workdir),
        &[
            (
                "NEXIS_R2_ENDPOINT",
                &format!("http://127.0.0.1:{}", store.port),
            ),
            ("BT_NETWORK", &format!("ws://127.0.0.1:{}", chain.port)),
            ("NEXIS_CHAIN_TIMEOUT", "2s"),
        ],
    );
    let mut validator = Running::start(home, &env, &["validate"], "validator");
    validator
        .until("waiting for the store", |it| {
            let waits =
                |line: &str| line.contains("waiting:") && line.contains("reading the global");
            it.err().lines().any(waits)
        })
        .await;
    assert!(decisions(&workdir).is_empty());
    store.set(true);
    validator
        .until("a decision", |_| !decisions(&workdir).is_empty())
        .await;

    chain.set(false);
    validator
        .until("waiting for the chain", |it| {
            it.err().contains("waiting: chain: reaching the chain")
        })
        .await;
    let before = decisions(&workdir).len();
    let blocks = net.chain().head().number;
    validator
        .until("60 blocks that the validator does not see", |_| {
            net.chain().head().number >= blocks + 60
        })
        .await;
    let during = decisions(&workdir).len();
    assert!(
        during <= before + 1,
        "{during} intervals decided without a chain, {before} before"
    );
    chain.set(true);
    validator
        .until("the next decisions", |_| {
            decisions(&workdir).len() >= during + 2
        })
        .await;
    let all = decisions(&workdir);
    assert_without_gaps(&all, "after an outage");
    assert_eq!(
        all[0].0,
        net.first_interval().get(),
        "the outage at the start cost an interval"
    );
    for (interval, text) in &all {
        let accepted = text.matches("\"accepted\":true").count();
        assert_eq!(
            accepted, 1,
            "interval {interval}: the honest miner, and only it, is accepted: {text}"
        );
    }
    validator.interrupt();
    assert_eq!(validator.end(PATIENCE).await.code(), Some(0));
}

#[test]
fn a_package_folder_gets_its_verdict_before_the_upload() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let clips = nexis_localnet::Clips::prepare(&program::clips()).unwrap();
    let kinds = [
        MinerKind::Honest,
        MinerKind::ClipHash,
        MinerKind::WrongResolution,
        MinerKind::BadSchema,
        MinerKind::WrongFirstFrame,
    ];
    let env = with(
        &Vec::new(),
        &[("NEXIS_DATASET_CATEGORY", nexis_localnet::CATEGORY)],
    );
    let check = |place: usize| {
        let miner = &nexis_localnet::miners(1, &kinds)[place];
        let folder = home.join(format!("{}", miner.kind));
        for upload in nexis_localnet::package(
            1,
            miner,
            nexis_protocol::IntervalId::new(1000),
            None,
            &clips,
        ) {
            let file = folder.join(upload.key.split_once('/').unwrap().1);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, upload.body).unwrap();
        }
        run(home, &env, &["check", folder.to_str().unwrap()])
    };
    let honest = check(0);
    assert_eq!(
        honest.status.code(),
        Some(0),
        "{}{}",
        out(&honest),
        err(&honest)
    );
    assert!(
        out(&honest).contains("would be ACCEPTED"),
        "{}",
        out(&honest)
    );
    // Made pictures are smoother than a camera's, and one of them may be noted as such; anything else would be wrong.
    let honest = out(&honest);
    let mut notes = honest.lines().filter(|line| line.contains("note on row"));
    assert!(
        notes.all(|note| note.contains(": upscaled_pictures: ")),
        "{honest}"
    );
    let odd = check(4);
    assert_eq!(odd.status.code(), Some(0), "{}", out(&odd));
    assert!(
        out(&odd).contains(": first_frame_differs: "),
        "{}",
        out(&odd)
    );
    for (place, code) in [
        (1, "clip_sha256_mismatch:"),
        (2, "invalid_resolution:"),
        (3, "dataset_schema_invalid"),
    ] {
        let cheat = check(place);
        assert_eq!(
            cheat.status.code(),
            Some(70),
            "{}{}",
            out(&cheat),
            err(&cheat)
        );
        let text = out(&cheat);
        assert!(
            text.contains("would be REJECTED") && text.contains(code),
            "{text}"
        );
        let mut lines = text
            .lines()
            .skip_while(|line| !line.trim_start().starts_with(code));
        assert!(lines.next().is_some());
        let words = lines.next().unwrap_or_default();
        assert!(
            words.split_whitespace().count() >= 4,
            "{code} is not explained: {text}"
        );
    }
}
