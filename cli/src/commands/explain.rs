//! `nexis explain INTERVAL HOTKEY`: why, in words, from stored evidence.

use crate::show::push_line;
use anyhow::{Result, bail};
use nexis_local::DirArchive;
use nexis_protocol::clip::{Advisory, AdvisoryKind, Measured};
use nexis_protocol::decision::Decision;
use nexis_protocol::{Hotkey, IntervalId};
use nexis_scheduler::ledger;
use nexis_scheduler::reduce::{self, Results};
use nexis_wire::{ClipReport, Evidence, JobRules, MinerOutcome, MinerReport, ReportOutcome};
use std::fmt::Write as _;

/// Explains one decision.
pub async fn explain(
    archive: &DirArchive,
    interval: IntervalId,
    hotkey: &Hotkey,
) -> Result<String> {
    let Some(file) = ledger::load(archive, interval).await? else {
        let decided = ledger::decided(archive).await?;
        let known = match (decided.first(), decided.last()) {
            (Some(first), Some(last)) => format!("intervals {first} to {last} are"),
            _ => "none is yet".to_owned(),
        };
        bail!("interval {interval} is not decided here; {known}");
    };
    let evidence = ledger::load_evidence(archive, interval).await?;
    let mut text = String::new();
    let place = evidence
        .plan
        .miners
        .iter()
        .position(|miner| miner.hotkey == *hotkey);
    let Some(place) = place else {
        bail!(
            "{hotkey} was not drawn for interval {interval}: {} of the subnet's hotkeys were, seed {}",
            evidence.plan.miners.len(),
            evidence.plan.seed
        );
    };
    let Some(decision) = file.decisions.iter().find(|d| d.miner_hotkey == *hotkey) else {
        return Ok(format!(
            "{hotkey} in interval {interval}: no decision, because our own workers had not looked at all of it \
             before the deadlines (blocks {} and {}); that is never held against the miner",
            evidence.plan.miners_deadline, evidence.plan.clips_deadline
        ));
    };
    header(&mut text, decision, &evidence, place);
    let report = evidence
        .reports
        .iter()
        .find(|report| report.hotkey == *hotkey);
    screening(&mut text, report);
    if let Some(outcome) = evidence.clips.miners.get(place) {
        pruning(&mut text, outcome);
    }
    let likenesses = reduce::likenesses(&Results {
        plan: &evidence.plan,
        clips: &evidence.clips,
        reports: &evidence.reports,
        verdicts: &evidence.verdicts,
    });
    for verdict in evidence
        .verdicts
        .iter()
        .filter(|verdict| verdict.hotkey == *hotkey)
    {
        let likeness = likenesses.get(&(hotkey.clone(), verdict.row));
        row(&mut text, verdict, likeness, &evidence.plan.rules);
    }
    if !decision.failures.is_empty() {
        text.push_str("why:\n");
        for reason in &decision.failures {
            push_line(&mut text, &format!("  {reason}"));
            push_line(&mut text, &format!("    {}", reason.explain()));
        }
    }
    Ok(text)
}

fn header(text: &mut String, decision: &Decision, evidence: &Evidence, place: usize) {
    let verdict = if decision.accepted {
        "accepted"
    } else {
        "rejected"
    };
    push_line(
        text,
        &format!(
            "{} in interval {}: {verdict}, {} rows counted, {} sampled",
            decision.miner_hotkey,
            decision.interval_id,
            decision.record_count,
            decision.sampled_rows
        ),
    );
    push_line(
        text,
        &format!(
            "  drawn as {} of {} at block {}, profile {}, checked {}",
            place + 1,
            evidence.plan.miners.len(),
            evidence.plan.roster_block,
            evidence.plan.rules.profile.name,
            decision.checked_at
        ),
    );
}

fn screening(text: &mut String, report: Option<&MinerReport>) {
    let Some(report) = report else { return };
    if let Some(digest) = report.manifest_sha256 {
        push_line(text, &format!("  manifest.json   sha256 {digest}"));
    }
    if let Some(digest) = report.dataset_sha256 {
        push_line(text, &format!("  dataset.parquet sha256 {digest}"));
    }
    match &report.outcome {
        ReportOutcome::Rejected { detail, .. } => {
            push_line(text, &format!("  not loaded: {detail}"));
        }
        ReportOutcome::Screened(screened) => {
            push_line(
                text,
                &format!(
                    "  loaded: {} rows, spec {}, category {}, submitted at {} (seconds since 1970)",
                    screened.claims.len(),
                    screened.spec_id,
                    screened.category.as_deref().unwrap_or("none"),
                    screened.submitted_at
                ),
            );
        }
    }
}

/// One sampled row: what its clip is, and what is noted about it.
fn row(text: &mut String, verdict: &ClipReport, likeness: Option<&Advisory>, rules: &JobRules) {
    let rejects = |kind: AdvisoryKind| kind.may_reject() && rules.reject_advisories.contains(&kind);
    let alike = likeness.filter(|advisory| rejects(advisory.kind));
    let failures = verdict.verdict.failures.len()
        + verdict.caption.len()
        + verdict.category.len()
        + usize::from(alike.is_some());
    push_line(
        text,
        &format!(
            "  row {}: {}{}",
            verdict.row,
            if failures == 0 {
                "good".to_owned()
            } else {
                format!("{failures} failure(s)")
            },
            verdict
                .measured
                .as_ref()
                .map_or(String::new(), |seen| format!(", {}", stream(seen)))
        ),
    );
    for advisory in verdict.verdict.advisories.iter().chain(likeness) {
        let weight = if rejects(advisory.kind) {
            "this validator rejects on it"
        } else {
            "by itself it changes nothing"
        };
        push_line(
            text,
            &format!(
                "    note: {}: {} ({}); {weight}",
                advisory.kind.as_str(),
                advisory.kind.explain(),
                advisory.detail
            ),
        );
    }
}

/// The clip's video stream as it was measured.
fn stream(seen: &Measured) -> String {
    let mut text = format!("{}x{}", seen.width_px, seen.height_px);
    if let Some(frames) = seen.num_frames {
        let _infallible = write!(text, ", {frames} frames");
    }
    if let Some(fps) = seen.fps {
        let _infallible = write!(text, ", {fps:.2}/s");
    }
    if let Some(duration) = seen.duration_sec {
        let _infallible = write!(text, ", {duration:.2} s");
    }
    match seen.has_audio {
        Some(true) => text.push_str(", with sound"),
        Some(false) => text.push_str(", without sound"),
        None => {}
    }
    text
}

fn pruning(text: &mut String, outcome: &MinerOutcome) {
    let MinerOutcome::Judged {
        kept,
        pruned_global,
        pruned_cross,
        sampled,
        ..
    } = outcome
    else {
        return;
    };
    push_line(
        text,
        &format!(
            "  pruned: {pruned_global} by the global index, {pruned_cross} in favour of other miners; {} rows left",
            kept.len()
        ),
    );
    let rows: Vec<String> = sampled
        .iter()
        .map(|clip| format!("{} ({})", clip.row, clip.clip_id))
        .collect();
    push_line(
        text,
        &format!(
            "  sampled rows: {}",
            if rows.is_empty() {
                "none".to_owned()
            } else {
                rows.join(", ")
            }
        ),
    );
}
