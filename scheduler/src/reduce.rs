//! From reports to decisions: every step of a round that decides something, as plain functions. `nexis replay` runs
//! the same ones over stored evidence and must get equal bytes.

use nexis_protocol::advisory::Advisory;
use nexis_protocol::arbitration::{Submission, arbitrate};
use nexis_protocol::claim::Claims;
use nexis_protocol::decision::{self, Decision, Judged, Outcome, RowFindings};
use nexis_protocol::likeness::{self, Shown};
use nexis_protocol::reason::Reason;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::{Hotkey, JobId, budget, checks, sampling};
use nexis_wire::{
    ClipJob, ClipPlan, ClipReport, Evidence, JobRules, MinerJob, MinerOutcome, MinerReport,
    PlannedClip, PlannedMiner, ReportOutcome, RoundPlan, Sampling, ScreenedReport, WireError,
};
use std::collections::{BTreeMap, BTreeSet};

/// The miners of a round, in the order in which they are decided. A hotkey listed twice can be drawn twice, as
/// elsewhere; the chain lists none twice.
pub fn draw_miners(
    rules: &JobRules,
    seed: &str,
    candidates: Vec<Hotkey>,
    invalid: &[Hotkey],
) -> Vec<Hotkey> {
    let invalid: BTreeSet<&Hotkey> = invalid.iter().collect();
    let mut profile = rules.profile.clone();
    if rules.sampling == Sampling::Full {
        profile.miner_sample_rate = 1.0;
        profile.miner_sample_max = u32::MAX;
    }
    sampling::select_miners(
        &candidates,
        |hotkey| invalid.contains(hotkey),
        seed,
        &profile,
    )
}

/// Ids of a round's miner jobs.
pub fn miner_ids(plan: &RoundPlan) -> Vec<JobId> {
    miner_jobs(plan).iter().map(MinerJob::id).collect()
}

/// A round's miner jobs, one per hotkey.
pub fn miner_jobs(plan: &RoundPlan) -> Vec<MinerJob> {
    let mut seen = BTreeSet::new();
    plan.miners
        .iter()
        .filter(|miner| seen.insert(&miner.hotkey))
        .map(|miner| MinerJob {
            interval: plan.interval,
            hotkey: miner.hotkey.clone(),
            commitment: miner.commitment.clone(),
            rules: plan.rules.clone(),
        })
        .collect()
}

/// The barrier: pruning, hard checks and the row sample, over whatever reports counted.
/// Does not depend on the order of `reports`.
pub fn arbitrate_round(plan: &RoundPlan, index: &RecordIndex, reports: &[MinerReport]) -> ClipPlan {
    let by_hotkey: BTreeMap<&Hotkey, &MinerReport> = reports
        .iter()
        .map(|report| (&report.hotkey, report))
        .collect();
    let screened: Vec<(&Hotkey, &ScreenedReport)> = plan
        .miners
        .iter()
        .filter_map(|miner| match &by_hotkey.get(&miner.hotkey)?.outcome {
            ReportOutcome::Screened(screened) => Some((&miner.hotkey, screened.as_ref())),
            ReportOutcome::Rejected { .. } => None,
        })
        .collect();
    let submissions: Vec<Submission<'_>> = screened
        .iter()
        .map(|(hotkey, screened)| Submission {
            hotkey: hotkey.as_str(),
            submitted_at: screened.submitted_at,
            claims: &screened.claims,
        })
        .collect();
    let mut arbitrated = arbitrate(&submissions, index, &plan.rules.profile).into_iter();
    let miners = plan
        .miners
        .iter()
        .map(|miner| {
            let Some(report) = by_hotkey.get(&miner.hotkey) else {
                return MinerOutcome::Absent;
            };
            let screened = match &report.outcome {
                ReportOutcome::Rejected {
                    reasons,
                    detail,
                    notes,
                } => {
                    return MinerOutcome::Rejected {
                        reasons: reasons.clone(),
                        detail: detail.clone(),
                        notes: notes.clone(),
                    };
                }
                ReportOutcome::Screened(screened) => screened,
            };
            let found = arbitrated
                .next()
                .expect("arbitration answers for every submission it is given, in their order");
            let positions = sample(plan, &miner.hotkey, &found.kept);
            let (profile, most) = (&plan.rules.profile, failure_bytes(plan));
            let rows = positions.iter().map(|&(position, _)| position as usize);
            let rows: Vec<u32> = rows.map(|position| found.kept[position]).collect();
            let sampled = planned(plan, &screened.claims, &found.kept, positions);
            let raises = found.raises || checks::sample_raises(&screened.claims, &rows);
            let (failures, failures_omitted) = if raises {
                (vec![Reason::ValidationException], 0)
            } else {
                checks::hard_checks_within(&screened.claims, &found.kept, profile, most)
                    .into_parts()
            };
            MinerOutcome::Judged {
                spec_id: screened.spec_id.clone(),
                category: screened.category.clone(),
                pruned_global: found.pruned_global,
                pruned_cross: found.pruned_cross,
                failures,
                failures_omitted,
                sampled,
                kept: found.kept,
            }
        })
        .collect();
    ClipPlan { miners }
}

/// Bytes of failures that each decision of a round keeps.
fn failure_bytes(plan: &RoundPlan) -> u64 {
    budget::failure_bytes(plan.rules.max_failure_bytes, plan.miners.len() as u64)
}

/// Positions among the kept rows that are sampled, each with whether it is in the protocol's own sample.
fn sample(plan: &RoundPlan, hotkey: &Hotkey, kept: &[u32]) -> Vec<(u32, bool)> {
    let total = u32::try_from(kept.len()).expect("row numbers are 32 bits");
    let drawn = sampling::select_rows(
        total,
        hotkey.as_str(),
        plan.validator.as_ref().map(Hotkey::as_str),
        &plan.seed,
        &plan.rules.profile,
    );
    match plan.rules.sampling {
        Sampling::Protocol => drawn.into_iter().map(|position| (position, true)).collect(),
        Sampling::Full => {
            let drawn: BTreeSet<u32> = drawn.into_iter().collect();
            (0..total)
                .map(|position| (position, drawn.contains(&position)))
                .collect()
        }
    }
}

/// The sampled rows as far as a plan has room for them, the protocol's own first: all of an honest package of 5,000
/// rows, also when every miner of the subnet sends one.
fn planned(
    plan: &RoundPlan,
    claims: &Claims,
    kept: &[u32],
    positions: Vec<(u32, bool)>,
) -> Vec<PlannedClip> {
    let mut left = budget::sample_bytes(plan.miners.len() as u64);
    let (first, others): (Vec<_>, Vec<_>) = positions.into_iter().partition(|(_, drawn)| *drawn);
    let mut sampled: Vec<PlannedClip> = first
        .into_iter()
        .chain(others)
        .filter_map(|(position, protocol)| {
            let row = *kept.get(position as usize)?;
            let clip_id = claims.clip_id(row)?;
            left = left.checked_sub(budget::SAMPLE_BYTES + clip_id.len() as u64)?;
            Some(PlannedClip {
                row,
                position,
                clip_id: clip_id.to_owned(),
                protocol,
            })
        })
        .collect();
    sampled.sort_by_key(|clip| clip.position);
    sampled
}

/// What one miner's clip jobs are made of.
struct Drawn<'a> {
    hotkey: &'a Hotkey,
    commitment: &'a str,
    screened: &'a ScreenedReport,
    sampled: &'a [PlannedClip],
}

/// The miners of a plan that have clip jobs, in its order.
fn drawn<'a>(
    plan: &'a RoundPlan,
    clips: &'a ClipPlan,
    reports: &'a [MinerReport],
) -> impl Iterator<Item = Drawn<'a>> {
    let by_hotkey: BTreeMap<&Hotkey, &MinerReport> = reports
        .iter()
        .map(|report| (&report.hotkey, report))
        .collect();
    let mut seen = BTreeSet::new();
    let miners = plan.miners.iter().zip(&clips.miners);
    miners.filter_map(move |(miner, outcome)| {
        if !seen.insert(&miner.hotkey) {
            return None;
        }
        let MinerOutcome::Judged { sampled, .. } = outcome else {
            return None;
        };
        let ReportOutcome::Screened(screened) = &by_hotkey.get(&miner.hotkey)?.outcome else {
            return None;
        };
        let commitment = miner.commitment.as_deref()?;
        (!sampled.is_empty()).then_some(Drawn {
            hotkey: &miner.hotkey,
            commitment,
            screened,
            sampled,
        })
    })
}

/// Miners that have sampled rows, each once, in the plan's order.
pub(crate) fn miners_with_clips<'a>(
    plan: &'a RoundPlan,
    clips: &'a ClipPlan,
) -> impl Iterator<Item = &'a Hotkey> {
    let mut seen = BTreeSet::new();
    let miners = plan.miners.iter().zip(&clips.miners);
    miners.filter_map(move |(miner, outcome)| {
        let sampled = match outcome {
            MinerOutcome::Judged { sampled, .. } => !sampled.is_empty(),
            MinerOutcome::Absent | MinerOutcome::Rejected { .. } => false,
        };
        (sampled && seen.insert(&miner.hotkey)).then_some(&miner.hotkey)
    })
}

/// A miner whose report must be among these, because arbitration has judged it, and is not.
pub(crate) fn unreported<'a>(
    plan: &'a RoundPlan,
    clips: &ClipPlan,
    reports: &[MinerReport],
) -> Option<&'a Hotkey> {
    let screened: BTreeSet<&Hotkey> = reports
        .iter()
        .filter(|report| matches!(report.outcome, ReportOutcome::Screened(_)))
        .map(|report| &report.hotkey)
        .collect();
    let mut miners = plan.miners.iter().zip(&clips.miners);
    miners.find_map(|(miner, outcome)| {
        let judged = matches!(outcome, MinerOutcome::Judged { .. });
        (judged && !screened.contains(&miner.hotkey)).then_some(&miner.hotkey)
    })
}

/// Ids of the clip jobs of a plan; unpacks no rows.
pub fn clip_ids(plan: &RoundPlan, clips: &ClipPlan, reports: &[MinerReport]) -> Vec<JobId> {
    drawn(plan, clips, reports)
        .flat_map(|of| {
            of.sampled.iter().map(|clip| JobId::Clip {
                interval: plan.interval,
                hotkey: of.hotkey.clone(),
                row: clip.row,
            })
        })
        .collect()
}

/// Which of a miner's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Those of the protocol's own sample.
    Protocol,
    /// Those that only `full` sampling adds.
    Extra,
}

/// The clip jobs of a plan, miner by miner, in the order in which they are published: the protocol's own sample of
/// every miner comes first. Those of all miners together can be more than a million.
pub fn draw_by_miner<'a>(
    plan: &'a RoundPlan,
    clips: &'a ClipPlan,
    reports: &'a [MinerReport],
) -> impl Iterator<Item = Result<Vec<ClipJob>, WireError>> {
    let shares = match plan.rules.sampling {
        Sampling::Protocol => &[Share::Protocol][..],
        Sampling::Full => &[Share::Protocol, Share::Extra][..],
    };
    let of_share = move |share: &Share| {
        let share = *share;
        drawn(plan, clips, reports).map(move |of| draw(plan, &of, share))
    };
    shares.iter().flat_map(of_share)
}

/// All clip jobs of a plan.
pub fn draw_jobs(
    plan: &RoundPlan,
    clips: &ClipPlan,
    reports: &[MinerReport],
) -> Result<Vec<ClipJob>, WireError> {
    let mut jobs = Vec::new();
    for of_miner in draw_by_miner(plan, clips, reports) {
        jobs.extend(of_miner?);
    }
    Ok(jobs)
}

fn draw(plan: &RoundPlan, of: &Drawn<'_>, share: Share) -> Result<Vec<ClipJob>, WireError> {
    let is_of_share = |clip: &PlannedClip| clip.protocol == (share == Share::Protocol);
    if !of.sampled.iter().any(is_of_share) {
        return Ok(Vec::new());
    }
    let rows = of.screened.rows.unpack()?;
    let model_rows = plan.rules.profile.vision_max_rows as usize;
    let vision = plan.rules.vision;
    let job = |(nth, clip): (usize, &PlannedClip)| {
        let Some(row) = rows.get(clip.row as usize) else {
            return Err(WireError::Damaged(
                "a report has fewer rows than its claims",
            ));
        };
        Ok(ClipJob {
            interval: plan.interval,
            hotkey: of.hotkey.clone(),
            row: clip.row,
            commitment: of.commitment.to_owned(),
            clip_id: row.clip_id.to_owned(),
            clip_uri: row.clip_uri.to_owned(),
            first_frame_uri: row.first_frame_uri.to_owned(),
            clip_sha256: row.clip_sha256,
            first_frame_sha256: row.first_frame_sha256,
            width_px: row.width,
            height_px: row.height,
            duration_sec: row.duration_sec,
            fps: row.fps,
            num_frames: row.num_frames,
            has_audio: row.has_audio,
            caption: row.caption.to_owned(),
            check_caption: vision.caption && nth < model_rows,
            check_category: vision.category && nth < model_rows,
            rules: plan.rules.clone(),
        })
    };
    let sampled = of.sampled.iter().enumerate();
    sampled
        .filter(|(_, clip)| is_of_share(clip))
        .map(job)
        .collect()
}

/// What a round's decisions are made of.
#[derive(Debug, Clone, Copy)]
pub struct Results<'a> {
    /// How it was opened.
    pub plan: &'a RoundPlan,
    /// What arbitration made of the reports.
    pub clips: &'a ClipPlan,
    /// Reports that counted.
    pub reports: &'a [MinerReport],
    /// Verdicts that counted.
    pub verdicts: &'a [ClipReport],
}

/// What is said about clips of the round that look like another miner's, by (hotkey, row).
pub fn likenesses(results: &Results<'_>) -> BTreeMap<(Hotkey, u32), Advisory> {
    let submitted: BTreeMap<&Hotkey, f64> = results
        .reports
        .iter()
        .filter_map(|report| match &report.outcome {
            ReportOutcome::Screened(screened) => Some((&report.hotkey, screened.submitted_at)),
            ReportOutcome::Rejected { .. } => None,
        })
        .collect();
    let miners = results.plan.miners.iter().zip(&results.clips.miners);
    let ids: BTreeMap<(&Hotkey, u32), &str> = miners
        .filter_map(|(miner, outcome)| match outcome {
            MinerOutcome::Judged { sampled, .. } => Some((&miner.hotkey, sampled)),
            MinerOutcome::Absent | MinerOutcome::Rejected { .. } => None,
        })
        .flat_map(|(hotkey, sampled)| {
            let ids = sampled.iter();
            ids.map(move |clip| ((hotkey, clip.row), clip.clip_id.as_str()))
        })
        .collect();
    let shown: Vec<Shown<'_>> = results
        .verdicts
        .iter()
        .filter_map(|verdict| {
            Some(Shown {
                hotkey: &verdict.hotkey,
                submitted_at: *submitted.get(&verdict.hotkey)?,
                row: verdict.row,
                clip_id: ids.get(&(&verdict.hotkey, verdict.row))?,
                pictures: &verdict.pictures,
            })
        })
        .collect();
    likeness::near_duplicates(&shown)
}

/// Verdicts and likenesses by (hotkey, row).
struct Findings<'a> {
    verdicts: BTreeMap<(&'a Hotkey, u32), &'a ClipReport>,
    likenesses: BTreeMap<(Hotkey, u32), (Advisory, Option<Reason>)>,
}

impl<'a> Findings<'a> {
    fn of(results: &Results<'a>) -> Self {
        let rejects = &results.plan.rules.reject_advisories;
        let failure = |advisory: &Advisory| {
            let kind = advisory.kind;
            let rejects = kind.may_reject() && rejects.contains(&kind);
            rejects.then(|| Reason::Advisory {
                kind,
                clip_id: advisory.clip_id.clone(),
            })
        };
        Self {
            verdicts: results
                .verdicts
                .iter()
                .map(|verdict| ((&verdict.hotkey, verdict.row), verdict))
                .collect(),
            likenesses: likenesses(results)
                .into_iter()
                .map(|(key, advisory)| {
                    let failure = failure(&advisory);
                    (key, (advisory, failure))
                })
                .collect(),
        }
    }

    fn row(&self, hotkey: &Hotkey, row: u32) -> Option<RowFindings<'_>> {
        let verdict = self.verdicts.get(&(hotkey, row))?;
        let likeness = self.likenesses.get(&(hotkey.clone(), row));
        Some(RowFindings {
            assets: &verdict.verdict.failures,
            caption: &verdict.caption,
            category: &verdict.category,
            advisories: &verdict.verdict.advisories,
            likeness: likeness.map(|(advisory, _)| advisory),
            likeness_failure: likeness.and_then(|(_, failure)| failure.as_ref()),
        })
    }
}

/// Decisions of a round, load failures first and then the loaded miners, both in the order in which they were drawn
/// (PROTOCOL §14), and the miners for which none can be made because no report of ours came in time, or a row of the
/// protocol's sample has no verdict and nothing else speaks against the miner: neither an accept nor a
/// reject may be invented.
pub fn decide_round(results: &Results<'_>, decided_at: f64) -> (Vec<Decision>, Vec<Hotkey>) {
    let findings = Findings::of(results);
    let plan = results.plan;
    let mut not_loaded = Vec::new();
    let mut loaded = Vec::new();
    let mut absent = Vec::new();
    for (miner, outcome) in plan.miners.iter().zip(&results.clips.miners) {
        let list = match outcome {
            MinerOutcome::Rejected { .. } => &mut not_loaded,
            MinerOutcome::Judged { .. } | MinerOutcome::Absent => &mut loaded,
        };
        match decide_miner(plan, &miner.hotkey, outcome, &findings, decided_at) {
            Some(decision) => list.push(decision),
            None => absent.push(miner.hotkey.clone()),
        }
    }
    not_loaded.append(&mut loaded);
    (not_loaded, absent)
}

/// The order in which earlier versions listed decisions: as the miners were drawn. Their files are compared in it.
pub fn in_selection_order(plan: &RoundPlan, mut decisions: Vec<Decision>) -> Vec<Decision> {
    let place = |decision: &Decision| {
        let of = |miner: &PlannedMiner| miner.hotkey == decision.miner_hotkey;
        plan.miners.iter().position(of)
    };
    decisions.sort_by_cached_key(place);
    decisions
}

fn decide_miner(
    plan: &RoundPlan,
    hotkey: &Hotkey,
    outcome: &MinerOutcome,
    findings: &Findings<'_>,
    decided_at: f64,
) -> Option<Decision> {
    let outcome = match outcome {
        MinerOutcome::Absent => return None,
        MinerOutcome::Rejected { reasons, notes, .. } => Outcome::Rejected {
            reasons,
            notes: notes.clone(),
        },
        MinerOutcome::Judged {
            spec_id,
            category,
            kept,
            pruned_global,
            pruned_cross,
            failures,
            failures_omitted,
            sampled,
        } => Outcome::Judged(Judged {
            spec_id,
            category: category.as_deref(),
            record_count: u32::try_from(kept.len()).expect("row numbers are 32 bits"),
            pruned_global: *pruned_global,
            pruned_cross: *pruned_cross,
            hard: failures,
            hard_omitted: *failures_omitted,
            max_failure_bytes: failure_bytes(plan),
            // What `full` sampling added and nobody looked at is no reason to leave the miner undecided.
            rows: sampled
                .iter()
                .map(|clip| (clip.protocol, findings.row(hotkey, clip.row)))
                .filter(|(protocol, findings)| *protocol || findings.is_some())
                .map(|(_, findings)| findings)
                .collect(),
        }),
    };
    let unchecked = match &outcome {
        Outcome::Judged(judged) => judged.rows.iter().any(Option::is_none),
        Outcome::Rejected { .. } => false,
    };
    let decision = decision::decide(hotkey, plan.interval, &outcome, decided_at);
    (!unchecked || !decision.accepted).then_some(decision)
}

/// Computes a round's decisions again from its evidence.
pub fn replay(evidence: &Evidence, index: &RecordIndex) -> (ClipPlan, Vec<Decision>, Vec<Hotkey>) {
    let clips = arbitrate_round(&evidence.plan, index, &evidence.reports);
    let results = Results {
        plan: &evidence.plan,
        clips: &clips,
        reports: &evidence.reports,
        verdicts: &evidence.verdicts,
    };
    let (decisions, absent) = decide_round(&results, evidence.decided_at);
    (clips, decisions, absent)
}
