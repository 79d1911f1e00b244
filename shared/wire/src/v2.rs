//! The shapes of version 2, frozen: old workers and schedulers of a fleet speak it during an upgrade, and archives hold
//! it for years. Nothing here changes any more; the bytes in `tests/golden/v2` hold it so. When a type of the protocol
//! crate that occurs here changes its form, its old form moves into this module.

use crate::job::{Sampling, VisionChecks};
use crate::report::ReportOutcome;
use nexis_protocol::clip::{AdvisoryKind, ClipVerdict, Measured};
use nexis_protocol::decision::Note;
use nexis_protocol::picture::{PictureChecks, Pictures};
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid, budget};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest message that programs of this version read.
pub(crate) const MAX_DECODED_BYTES: u64 = 256 << 20;

/// [`JobRules`](crate::JobRules) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct JobRules {
    netuid: Netuid,
    profile: Profile,
    enabled_specs: Vec<String>,
    expected_category: Option<String>,
    vision: VisionChecks,
    reject_advisories: Vec<AdvisoryKind>,
    pictures: PictureChecks,
    sampling: Sampling,
    fetch_budget_ms: u64,
    max_dataset_bytes: u64,
    max_asset_bytes: u64,
}

impl From<JobRules> for crate::JobRules {
    fn from(old: JobRules) -> Self {
        Self {
            netuid: old.netuid,
            profile: old.profile,
            enabled_specs: old.enabled_specs,
            expected_category: old.expected_category,
            vision: old.vision,
            reject_advisories: old.reject_advisories,
            pictures: old.pictures,
            sampling: old.sampling,
            fetch_budget_ms: old.fetch_budget_ms,
            max_dataset_bytes: old.max_dataset_bytes,
            max_asset_bytes: old.max_asset_bytes,
            // What programs of version 2 did: they had none of these bounds, or larger ones.
            max_dataset_rows: budget::MAX_ROWS,
            max_text_bytes: budget::MAX_TEXT_BYTES,
            max_row_text_bytes: budget::MAX_ROW_TEXT_BYTES,
            max_frame_bytes: old.max_asset_bytes,
            max_failure_bytes: budget::MAX_FAILURE_BYTES,
            decode_memory_bytes: budget::DECODE_MEMORY_BYTES,
            min_bytes_per_second: 0,
        }
    }
}

/// [`MinerJob`](crate::MinerJob) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct MinerJob {
    interval: IntervalId,
    hotkey: Hotkey,
    commitment: Option<String>,
    rules: JobRules,
}

impl From<MinerJob> for crate::MinerJob {
    fn from(old: MinerJob) -> Self {
        Self {
            interval: old.interval,
            hotkey: old.hotkey,
            commitment: old.commitment,
            rules: old.rules.into(),
        }
    }
}

/// [`ClipJob`](crate::ClipJob) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct ClipJob {
    interval: IntervalId,
    hotkey: Hotkey,
    row: u32,
    commitment: String,
    clip_id: String,
    clip_uri: String,
    first_frame_uri: String,
    clip_sha256: Option<Digest>,
    first_frame_sha256: Option<Digest>,
    width_px: u128,
    height_px: u128,
    duration_sec: f64,
    fps: f64,
    num_frames: u128,
    has_audio: bool,
    caption: String,
    check_caption: bool,
    check_category: bool,
    rules: JobRules,
}

impl From<ClipJob> for crate::ClipJob {
    fn from(old: ClipJob) -> Self {
        Self {
            interval: old.interval,
            hotkey: old.hotkey,
            row: old.row,
            commitment: old.commitment,
            clip_id: old.clip_id,
            clip_uri: old.clip_uri,
            first_frame_uri: old.first_frame_uri,
            clip_sha256: old.clip_sha256,
            first_frame_sha256: old.first_frame_sha256,
            width_px: old.width_px,
            height_px: old.height_px,
            duration_sec: old.duration_sec,
            fps: old.fps,
            num_frames: old.num_frames,
            has_audio: old.has_audio,
            caption: old.caption,
            check_caption: old.check_caption,
            check_category: old.check_category,
            rules: old.rules.into(),
        }
    }
}

/// [`MinerReport`](crate::MinerReport) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct MinerReport {
    interval: IntervalId,
    hotkey: Hotkey,
    outcome: ReportOutcome,
    manifest_sha256: Option<Digest>,
    dataset_sha256: Option<Digest>,
}

impl From<MinerReport> for crate::MinerReport {
    fn from(old: MinerReport) -> Self {
        Self {
            interval: old.interval,
            hotkey: old.hotkey,
            outcome: old.outcome,
            manifest_sha256: old.manifest_sha256,
            dataset_sha256: old.dataset_sha256,
            unreachable: None,
        }
    }
}

impl From<&crate::MinerReport> for MinerReport {
    fn from(new: &crate::MinerReport) -> Self {
        let mut outcome = new.outcome.clone();
        if let ReportOutcome::Screened(screened) = &mut outcome {
            screened.rows.relabel(crate::WireVersion::V2);
        }
        Self {
            interval: new.interval,
            hotkey: new.hotkey.clone(),
            outcome,
            manifest_sha256: new.manifest_sha256,
            dataset_sha256: new.dataset_sha256,
        }
    }
}

/// [`ClipReport`](crate::ClipReport) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct ClipReport {
    interval: IntervalId,
    hotkey: Hotkey,
    row: u32,
    verdict: ClipVerdict,
    measured: Option<Measured>,
    pictures: Pictures,
    caption: Vec<Reason>,
    category: Vec<Reason>,
    frame_names: Vec<String>,
}

impl From<ClipReport> for crate::ClipReport {
    fn from(old: ClipReport) -> Self {
        Self {
            interval: old.interval,
            hotkey: old.hotkey,
            row: old.row,
            verdict: old.verdict,
            measured: old.measured,
            pictures: old.pictures,
            caption: old.caption,
            category: old.category,
            frame_names: old.frame_names,
            unreachable: None,
        }
    }
}

impl From<&crate::ClipReport> for ClipReport {
    fn from(new: &crate::ClipReport) -> Self {
        Self {
            interval: new.interval,
            hotkey: new.hotkey.clone(),
            row: new.row,
            verdict: new.verdict.clone(),
            measured: new.measured,
            pictures: new.pictures.clone(),
            caption: new.caption.clone(),
            category: new.category.clone(),
            frame_names: new.frame_names.clone(),
        }
    }
}

/// [`RoundPlan`](crate::RoundPlan) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct RoundPlan {
    interval: IntervalId,
    rules: JobRules,
    roster_block: u64,
    roster_hash: String,
    validator: Option<Hotkey>,
    seed: String,
    invalid: Vec<Hotkey>,
    miners: Vec<crate::PlannedMiner>,
    index: Digest,
    miners_deadline: u64,
    clips_deadline: u64,
}

impl From<RoundPlan> for crate::RoundPlan {
    fn from(old: RoundPlan) -> Self {
        Self {
            interval: old.interval,
            rules: old.rules.into(),
            roster_block: old.roster_block,
            roster_hash: old.roster_hash,
            validator: old.validator,
            seed: old.seed,
            invalid: old.invalid,
            miners: old.miners,
            index: old.index,
            miners_deadline: old.miners_deadline,
            clips_deadline: old.clips_deadline,
        }
    }
}

/// [`ClipPlan`](crate::ClipPlan) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct ClipPlan {
    miners: Vec<MinerOutcome>,
}

#[derive(Serialize, Deserialize)]
enum MinerOutcome {
    Absent,
    Rejected {
        reasons: Vec<Reason>,
        detail: String,
        notes: BTreeMap<String, Note>,
    },
    Judged {
        spec_id: String,
        category: Option<String>,
        kept: Vec<u32>,
        pruned_global: u32,
        pruned_cross: u32,
        failures: Vec<Reason>,
        sampled: Vec<PlannedClip>,
    },
}

#[derive(Serialize, Deserialize)]
struct PlannedClip {
    row: u32,
    position: u32,
    clip_id: String,
}

impl From<PlannedClip> for crate::PlannedClip {
    fn from(old: PlannedClip) -> Self {
        Self {
            row: old.row,
            position: old.position,
            clip_id: old.clip_id,
            // Version 2 decided on all sampled rows or not at all.
            protocol: true,
        }
    }
}

impl From<MinerOutcome> for crate::MinerOutcome {
    fn from(old: MinerOutcome) -> Self {
        match old {
            MinerOutcome::Absent => Self::Absent,
            MinerOutcome::Rejected {
                reasons,
                detail,
                notes,
            } => Self::Rejected {
                reasons,
                detail,
                notes,
            },
            MinerOutcome::Judged {
                spec_id,
                category,
                kept,
                pruned_global,
                pruned_cross,
                failures,
                sampled,
            } => Self::Judged {
                spec_id,
                category,
                kept,
                pruned_global,
                pruned_cross,
                failures,
                failures_omitted: 0,
                sampled: all(sampled),
            },
        }
    }
}

impl From<ClipPlan> for crate::ClipPlan {
    fn from(old: ClipPlan) -> Self {
        Self {
            miners: all(old.miners),
        }
    }
}

/// [`Evidence`](crate::Evidence) as version 2 has it.
#[derive(Serialize, Deserialize)]
pub struct Evidence {
    plan: RoundPlan,
    reports: Vec<MinerReport>,
    clips: ClipPlan,
    verdicts: Vec<ClipReport>,
    late: Vec<String>,
    decided_at: f64,
}

impl From<Evidence> for crate::Evidence {
    fn from(old: Evidence) -> Self {
        Self {
            plan: old.plan.into(),
            reports: all(old.reports),
            clips: old.clips.into(),
            verdicts: all(old.verdicts),
            late: old.late,
            decided_at: old.decided_at,
        }
    }
}

fn all<Old, New: From<Old>>(old: Vec<Old>) -> Vec<New> {
    old.into_iter().map(New::from).collect()
}
