//! `nexis status`: what this validator has decided and submitted, from its archive.

use crate::show::{commit_sentence, outcome_sentence};
use anyhow::Result;
use nexis_local::DirArchive;
use nexis_scheduler::{SubmissionRecord, SubmissionState, ledger};
use std::fmt::Write as _;

/// Submissions shown: about a day's.
const SHOWN: usize = 32;

/// Describes the archive's newest state.
pub async fn status(archive: &DirArchive) -> Result<String> {
    let mut text = String::new();
    let decided = ledger::decided(archive).await?;
    let open = ledger::undecided(archive).await?;
    let _infallible = writeln!(
        text,
        "decided intervals: {}{}",
        decided.len(),
        match (decided.first(), decided.last()) {
            (Some(first), Some(last)) => format!(" ({first} to {last})"),
            _ => String::new(),
        }
    );
    let open: Vec<String> = open.iter().map(ToString::to_string).collect();
    let _infallible = writeln!(
        text,
        "open intervals: {}",
        if open.is_empty() {
            "none".into()
        } else {
            open.join(", ")
        }
    );
    let records = SubmissionRecord::recent(archive, SHOWN).await?;
    if records.is_empty() {
        text.push_str("weights: nothing submitted yet\n");
    }
    for record in records {
        let state = match &record.state {
            SubmissionState::Armed => "waiting for its turn".to_owned(),
            SubmissionState::Sent => "sent, its ending is being looked up on the chain".to_owned(),
            SubmissionState::Committed {
                block,
                extrinsic,
                ticket,
            } => commit_sentence(*block, extrinsic, ticket),
            SubmissionState::Done(outcome) => outcome_sentence(outcome),
            SubmissionState::Missed { last } => format!("missed: {last}"),
        };
        let error = record
            .last_error
            .map_or(String::new(), |error| format!("; last error: {error}"));
        let reveals = match record.missed_reveals {
            0 => String::new(),
            times => format!("; commits that were not revealed: {times}"),
        };
        let _infallible = writeln!(
            text,
            "weight epoch {}: {state} (attempts: {}{reveals}{error})",
            record.epoch, record.attempts
        );
    }
    Ok(text)
}
