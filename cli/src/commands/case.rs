//! `nexis check --case FILE`: a whole interval judged from folders, through the very functions that the fleet
//! runs, printed as the golden cases are (see tests/golden/README.md).

use anyhow::{Context, Result};
use async_trait::async_trait;
use nexis_bucket::DirBucket;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched};
use nexis_protocol::picture::PictureChecks;
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid, sampling};
use nexis_scheduler::{ledger, reduce};
use nexis_wire::{
    ClipReport, JobRules, MinerOutcome, MinerReport, PlannedMiner, ReportOutcome, RoundPlan,
};
use nexis_worker::fetch::{Means, Patience};
use nexis_worker::measure::Prober;
use nexis_worker::room::Room;
use nexis_worker::{clip_job, miner_job};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A case as golden/README.md describes it.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    root: PathBuf,
    interval_id: u64,
    hotkeys: Vec<Hotkey>,
    #[serde(default)]
    global_record_index: Option<Value>,
    #[serde(default)]
    record_info_raw: Option<String>,
    #[serde(default)]
    invalid_hotkeys: Vec<Hotkey>,
    #[serde(default)]
    validator_hotkey: Option<String>,
    #[serde(default)]
    expected_category: Option<String>,
    #[serde(default)]
    enabled_specs: Option<Vec<String>>,
    #[serde(default)]
    missing_credentials: Vec<Hotkey>,
    #[serde(default)]
    last_modified: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    no_last_modified: Option<Value>,
    #[serde(default)]
    interval_seed: Option<String>,
}

/// A folder of buckets whose manifests carry the times that the case gives.
struct CaseBucket {
    folder: DirBucket,
    manifest_times: BTreeMap<String, f64>,
}

#[async_trait]
impl Bucket for CaseBucket {
    async fn fetch(
        &self,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let mut fetched = self.folder.fetch(access, key, limits).await?;
        if let Fetched::Found(object) = &mut fetched {
            object.last_modified = self.manifest_times.get(&access.bucket).copied();
        }
        Ok(fetched)
    }
}

/// Judges the case in `file` and gives the JSON of its outcome.
pub async fn judge(file: &Path, profile: Profile, prober: &Arc<Prober>) -> Result<Value> {
    let text = std::fs::read(file).with_context(|| format!("reading case {}", file.display()))?;
    let case: Case = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is not a case: see tests/golden/README.md",
            file.display()
        )
    })?;
    let root = file.parent().unwrap_or(Path::new(".")).join(&case.root);
    let bucket = case_bucket(&case, root)?;
    let index = case_index(&case)?;
    let plan = case_plan(&case, profile, &index);
    // One job at a time, of files that are here.
    let room = Room::new(u64::MAX);
    let means = Means {
        bucket: &bucket,
        room: &room,
        patience: Patience::Whole,
    };
    let mut reports: Vec<MinerReport> = Vec::new();
    for job in reduce::miner_jobs(&plan) {
        reports.push(miner_job::run(&job, &means).await?.report);
    }
    let clips = reduce::arbitrate_round(&plan, &index, &reports);
    let tools = clip_job::Tools {
        means,
        prober,
        vision: None,
    };
    let mut verdicts: Vec<ClipReport> = Vec::new();
    for job in reduce::draw_jobs(&plan, &clips, &reports)? {
        verdicts.push(
            clip_job::run(&job, &tools, clip_job::Frames::Listed)
                .await?
                .report,
        );
    }
    let results = reduce::Results {
        plan: &plan,
        clips: &clips,
        reports: &reports,
        verdicts: &verdicts,
    };
    let (decisions, _) = reduce::decide_round(&results, 0.0);
    let mut out = Map::new();
    out.insert("case".into(), json!(case.name));
    out.insert("interval_id".into(), json!(case.interval_id));
    out.insert("profile".into(), json!(plan.rules.profile.name));
    let selected: Vec<&Hotkey> = plan.miners.iter().map(|miner| &miner.hotkey).collect();
    out.insert("selected_hotkeys".into(), json!(selected));
    let decided: Vec<&Hotkey> = decisions.iter().map(|one| &one.miner_hotkey).collect();
    out.insert("decision_order".into(), json!(decided));
    let mut shown = decisions.clone();
    shown.sort_by(|a, b| a.miner_hotkey.cmp(&b.miner_hotkey));
    out.insert(
        "decisions".into(),
        shown.iter().map(decision_json).collect(),
    );
    out.insert("weights".into(), weights(&plan, &clips.miners, &decisions));
    rows(
        &mut out,
        &plan,
        &clips.miners,
        &reports,
        &verdicts,
        &decisions,
    )?;
    Ok(Value::Object(out))
}

fn case_bucket(case: &Case, root: PathBuf) -> Result<CaseBucket> {
    let tells = case.no_last_modified.is_none();
    let manifest_times = case
        .last_modified
        .iter()
        .filter(|_| tells)
        .filter_map(|(hotkey, time)| Some((hotkey.to_lowercase(), (*time)?)))
        .collect();
    let folder = DirBucket::new(&root)
        .with_context(|| format!("opening the folder of buckets {}", root.display()))?;
    Ok(CaseBucket {
        folder,
        manifest_times,
    })
}

fn case_index(case: &Case) -> Result<RecordIndex> {
    if let Some(raw) = &case.record_info_raw {
        return RecordIndex::parse(raw.as_bytes()).context("reading record_info_raw of the case");
    }
    let Some(Value::Object(entries)) = &case.global_record_index else {
        return Ok(RecordIndex::default());
    };
    let starts = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect::<Vec<f64>>()
    };
    Ok(RecordIndex::from_entries(
        entries
            .iter()
            .map(|(key, value)| (key.clone(), starts(value))),
    ))
}

fn case_plan(case: &Case, profile: Profile, index: &RecordIndex) -> RoundPlan {
    let interval = IntervalId::new(case.interval_id);
    let seed = case
        .interval_seed
        .clone()
        .filter(|seed| !seed.is_empty())
        .unwrap_or_else(|| sampling::interval_seed(interval));
    let rules = JobRules {
        enabled_specs: case.enabled_specs.clone().unwrap_or_default(),
        expected_category: case.expected_category.clone(),
        // Golden cases show that no advisory changes a verdict, so all of them are looked for.
        pictures: PictureChecks::All,
        max_asset_bytes: 1 << 30,
        max_frame_bytes: 1 << 30,
        ..JobRules::plain(Netuid::new(70), profile)
    };
    // Folders need no credentials; the text only has to have the committed form.
    let commitment = "0".repeat(32) + &"a".repeat(96);
    let miners = reduce::draw_miners(&rules, &seed, case.hotkeys.clone(), &case.invalid_hotkeys)
        .into_iter()
        .map(|hotkey| PlannedMiner {
            commitment: (!case.missing_credentials.contains(&hotkey)).then(|| commitment.clone()),
            hotkey,
        })
        .collect();
    RoundPlan {
        interval,
        rules,
        roster_block: 0,
        roster_hash: String::new(),
        validator: case
            .validator_hotkey
            .as_deref()
            .and_then(|key| key.trim().parse().ok()),
        seed,
        invalid: case.invalid_hotkeys.clone(),
        miners,
        index: Digest::of(index.serialize().as_bytes()),
        miners_deadline: u64::MAX,
        clips_deadline: u64::MAX,
    }
}

fn decision_json(decision: &nexis_protocol::decision::Decision) -> Value {
    let mut value = serde_json::to_value(decision).expect("plain data");
    if let Value::Object(fields) = &mut value {
        fields.remove("checked_at");
        if let Some(Value::Object(notes)) = fields.get_mut("notes") {
            notes.remove("advisories");
            notes.remove("near_duplicates");
            if let Some(error) = notes.get_mut("error") {
                *error = json!("<error>"); // Its wording is ours; only that there is one counts.
            }
        }
    }
    value
}

/// Interval weights over the miners whose package could be loaded.
fn weights(
    plan: &RoundPlan,
    outcomes: &[MinerOutcome],
    decisions: &[nexis_protocol::decision::Decision],
) -> Value {
    let scores = ledger::interval_scores(&plan.rules.profile, &[], decisions);
    let mut out = Map::new();
    for (miner, outcome) in plan.miners.iter().zip(outcomes) {
        if matches!(outcome, MinerOutcome::Judged { .. }) {
            let share = scores
                .iter()
                .find(|(hotkey, _)| hotkey == miner.hotkey.as_str())
                .map_or(0.0, |(_, share)| *share);
            out.insert(miner.hotkey.to_string(), json!(share));
        }
    }
    Value::Object(out)
}

fn rows(
    out: &mut Map<String, Value>,
    plan: &RoundPlan,
    outcomes: &[MinerOutcome],
    reports: &[MinerReport],
    verdicts: &[ClipReport],
    decisions: &[nexis_protocol::decision::Decision],
) -> Result<()> {
    let mut kept_ids = Map::new();
    let mut sampled_ids = Map::new();
    let mut sampled_indices = Map::new();
    let mut frames = Map::new();
    for (miner, outcome) in plan.miners.iter().zip(outcomes) {
        let MinerOutcome::Judged { kept, sampled, .. } = outcome else {
            continue;
        };
        let key = miner.hotkey.to_string();
        let report = reports.iter().find(|report| report.hotkey == miner.hotkey);
        if let Some(ReportOutcome::Screened(screened)) = report.map(|report| &report.outcome) {
            let rows = screened.rows.unpack()?;
            let ids: Vec<&str> = kept
                .iter()
                .filter_map(|row| Some(rows.get(*row as usize)?.clip_id))
                .collect();
            kept_ids.insert(key.clone(), json!(ids));
        }
        sampled_ids.insert(
            key.clone(),
            sampled.iter().map(|clip| json!(clip.clip_id)).collect(),
        );
        sampled_indices.insert(
            key.clone(),
            sampled.iter().map(|clip| json!(clip.position)).collect(),
        );
        let raised = decisions
            .iter()
            .any(|d| d.miner_hotkey == miner.hotkey && d.failures == [Reason::ValidationException]);
        if raised {
            continue;
        }
        let mut of_miner = Map::new();
        for clip in sampled {
            let verdict = verdicts
                .iter()
                .find(|v| v.hotkey == miner.hotkey && v.row == clip.row);
            if let Some(verdict) = verdict.filter(|verdict| !verdict.frame_names.is_empty()) {
                of_miner.insert(clip.clip_id.clone(), json!(verdict.frame_names));
            }
        }
        frames.insert(key, Value::Object(of_miner));
    }
    out.insert("kept_clip_ids".into(), Value::Object(kept_ids));
    out.insert("sampled_clip_ids".into(), Value::Object(sampled_ids));
    out.insert("sampled_indices".into(), Value::Object(sampled_indices));
    out.insert("semantic_frames".into(), Value::Object(frames));
    Ok(())
}
