//! `nexis status`: what this validator has decided and submitted, from its archive. It costs the same however old the
//! archive is: nothing is listed, intervals and epochs are looked up by the calendar.

use crate::show::{commit_sentence, list, outcome_sentence};
use anyhow::Result;
use nexis_local::DirArchive;
use nexis_ports::Archive as _;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{BlockNumber, IntervalId, WeightEpoch};
use nexis_scheduler::identity::{self, Era};
use nexis_scheduler::progress::{self, Progress};
use nexis_scheduler::window::IntervalState;
use nexis_scheduler::{SubmissionRecord, SubmissionState};
use std::fmt::Write as _;

/// Submissions shown: about a day's.
const SHOWN: u64 = 32;
/// Intervals named one by one.
const NAMED: usize = 12;

/// Describes the archive's newest state.
pub async fn status(archive: &DirArchive, profile: &Profile) -> Result<String> {
    let Some(era) = identity::current_era(archive).await? else {
        return Ok("nothing decided yet, or the archive was written by an earlier version: start the validator once\n".to_owned());
    };
    // As it was when the archive was written, whatever the settings say now.
    let mut profile = profile.clone();
    profile.interval_length_blocks = era.interval_length_blocks;
    profile.weight_period_blocks = era.weight_period_blocks;
    let calendar = Calendar::of(&profile);
    let mark = progress::mark(archive, era.number).await?;
    // The mark is renewed once per epoch.
    let head = BlockNumber::new(mark.head.saturating_add(era.weight_period_blocks));
    let mut known = progress::progress(archive, &profile, &era, head).await?;
    // Intervals after the newest one that was opened may not have ended yet.
    let newest = known.newest;
    known
        .undecided
        .retain(|(interval, state)| *state != IntervalState::NotOpened || Some(*interval) < newest);
    let mut text = String::new();
    intervals(&mut text, archive, calendar, &known).await?;
    windows(&mut text, archive, &profile, &era, mark.head).await?;
    let records = SubmissionRecord::recent(archive, SHOWN).await?;
    if records.is_empty() {
        text.push_str("weights: nothing submitted yet\n");
    }
    for record in records {
        let _infallible = writeln!(text, "{}", submission(calendar, &record));
    }
    Ok(text)
}

async fn intervals(
    text: &mut String,
    archive: &DirArchive,
    calendar: Calendar,
    known: &Progress,
) -> Result<()> {
    let count = match (known.first, known.decided_through) {
        (Some(first), Some(last)) => {
            let length = calendar.next(first).get() - first.get();
            last.get().saturating_sub(first.get()) / length + 1
        }
        _ => 0,
    };
    let decided = count + known.decided_after;
    let range = match (known.first, known.newest) {
        (Some(first), Some(newest)) if decided > 0 => format!(" ({first} to {newest})"),
        _ => String::new(),
    };
    let _infallible = writeln!(text, "decided intervals: {decided}{range}");
    let named = |state| match known.in_state(state) {
        none if none.is_empty() => "none".to_owned(),
        some if some.len() <= NAMED => list(&some),
        some => format!("{} and {} more", list(&some[..NAMED]), some.len() - NAMED),
    };
    let _infallible = writeln!(text, "open intervals: {}", named(IntervalState::Open));
    if !known.in_state(IntervalState::NotOpened).is_empty() {
        let _infallible = writeln!(
            text,
            "intervals not opened yet (catching up): {}",
            named(IntervalState::NotOpened)
        );
    }
    for interval in known.in_state(IntervalState::Quarantined) {
        let reason = quarantine(archive, interval).await?;
        let _infallible = writeln!(text, "quarantined interval {interval}: {reason}");
    }
    Ok(())
}

async fn quarantine(archive: &DirArchive, interval: IntervalId) -> Result<String> {
    let name = format!("rounds/{:012}/{}", interval.get(), progress::QUARANTINE);
    let reason = archive.get(&name).await?.unwrap_or_default();
    let note: serde_json::Value = serde_json::from_slice(&reason).unwrap_or_default();
    let why = note.get("why").and_then(serde_json::Value::as_str);
    Ok(why.unwrap_or("the reason cannot be read").to_owned())
}

/// The window of the running epoch and of the next one.
async fn windows(
    text: &mut String,
    archive: &DirArchive,
    profile: &Profile,
    era: &Era,
    head: u64,
) -> Result<()> {
    let calendar = Calendar::of(profile);
    let first = identity::first_interval(archive, era.number).await?;
    let running = calendar.weight_epoch(BlockNumber::new(head)).get();
    for epoch in [running, running + 1].map(WeightEpoch::new) {
        let window = progress::window_state(archive, profile, epoch, first).await?;
        let missing = match window.is_complete() {
            true => String::new(),
            false => format!("; missing: {}", window.missing()),
        };
        let _infallible = writeln!(
            text,
            "window of weight epoch {epoch} (due at block {}): {} of {} intervals decided{missing}",
            calendar.submission_block(epoch),
            window.decided(),
            window.intervals.len(),
        );
    }
    Ok(())
}

fn submission(calendar: Calendar, record: &SubmissionRecord) -> String {
    let state = match &record.state {
        SubmissionState::Armed => format!(
            "pending: due at block {}, when its window is decided",
            calendar.submission_block(record.epoch)
        ),
        SubmissionState::Sent => "sent, its ending is being looked up on the chain".to_owned(),
        SubmissionState::Committed {
            block,
            extrinsic,
            ticket,
        } => commit_sentence(*block, extrinsic, ticket),
        SubmissionState::Done(outcome) => outcome_sentence(outcome),
        SubmissionState::Missed { last } => format!("missed: {last}"),
    };
    let mut notes = format!("attempts: {}", record.attempts);
    if record.missed_reveals > 0 {
        let _infallible = write!(
            notes,
            "; commits that were not revealed: {}",
            record.missed_reveals
        );
    }
    if !record.left_out.is_empty() {
        let _infallible = write!(notes, "; without intervals {}", list(&record.left_out));
    }
    if let Some(error) = &record.last_error {
        let _infallible = write!(notes, "; last error: {error}");
    }
    format!("weight epoch {}: {state} ({notes})", record.epoch)
}
