//! What a person sees: progress bars while a round is worked on, a table per interval, weights per epoch; or
//! one JSON line per decision.

use indicatif::{ProgressBar, ProgressStyle};
use nexis_ports::{CommitTicket, SubmitOutcome};
use nexis_protocol::advisory::AdvisoryKind;
use nexis_protocol::decision::{Decision, Note};
use nexis_protocol::text::escaped;
use nexis_protocol::{Hotkey, IntervalId};
use nexis_scheduler::Event;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Tables and sentences.
    Text,
    /// One JSON object per decision and line; submissions go to standard error.
    Json,
}

/// Shows events on standard output; progress goes to standard error, and only when that is a terminal.
pub struct Show {
    style: Style,
    bar: Mutex<Option<(IntervalId, &'static str, ProgressBar)>>,
    waiting: Mutex<String>,
}

impl Show {
    /// Makes one.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            bar: Mutex::new(None),
            waiting: Mutex::new(String::new()),
        }
    }

    /// Shows one event.
    pub fn event(&self, event: &Event) {
        match event {
            Event::Progress {
                interval,
                stage,
                done,
                expected,
            } => {
                self.progress(*interval, stage, *done, *expected);
            }
            Event::Decided {
                interval,
                decisions,
                scores,
                absent,
            } => {
                self.finish_bar();
                self.decided(*interval, decisions, scores, absent);
            }
            Event::Submitted {
                epoch,
                outcome,
                weights,
            } => {
                self.finish_bar();
                self.submitted(epoch.get(), outcome, weights);
            }
            Event::Revealed { epoch, block } => self.weights(&format!(
                "weight epoch {epoch}: the chain opened the commit, its weights were read back at block {block}"
            )),
            Event::RevealMissed { epoch, again } => self.weights(&format!(
                "weight epoch {epoch}: THE CHAIN DID NOT OPEN THE COMMIT; {}; see `nexis doctor`",
                if *again { "committing again" } else { "newer weights follow" }
            )),
            Event::EpochMissed { epoch, last } => self.weights(&format!(
                "weight epoch {epoch}: ENDED WITHOUT WEIGHTS: {last}; see `nexis doctor`"
            )),
            Event::Held { interval, why } => {
                self.waiting(&format!("interval {interval} does not go on: {why}"));
            }
            Event::Waiting { on } => self.waiting(on),
            Event::Opened { interval, miners } if self.style == Style::Text => {
                self.line(&format!(
                    "interval {interval}: opened, {miners} miners drawn"
                ));
            }
            Event::Following { holder } if self.style == Style::Text => {
                self.line(&format!("standing by: {holder} leads"));
            }
            // The log has it, as an error.
            Event::Alert { .. } => self.finish_bar(),
            Event::Head { .. }
            | Event::Leading
            | Event::Opened { .. }
            | Event::Following { .. } => {}
        }
    }

    fn line(&self, text: &str) {
        let bar = self
            .bar
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let print = || {
            let mut out = std::io::stdout().lock();
            // A closed pipe (`nexis validate | head`) is the reader's choice, not our failure.
            let written = writeln!(out, "{text}").and_then(|()| out.flush());
            drop(written);
        };
        match bar.as_ref() {
            Some((_, _, bar)) => bar.suspend(print),
            None => print(),
        }
    }

    fn progress(&self, interval: IntervalId, stage: &'static str, done: u64, expected: u64) {
        let mut slot = self
            .bar
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let same = slot
            .as_ref()
            .is_some_and(|(of, at, _)| *of == interval && *at == stage);
        if !same {
            if let Some((_, _, old)) = slot.take() {
                old.finish_and_clear();
            }
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(expected)
                .with_style(style)
                .with_message(format!("interval {interval} {stage}"));
            *slot = Some((interval, stage, bar));
        }
        if let Some((_, _, bar)) = slot.as_ref() {
            bar.set_length(expected);
            bar.set_position(done);
        }
    }

    fn finish_bar(&self) {
        let mut slot = self
            .bar
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, _, bar)) = slot.take() {
            bar.finish_and_clear();
        }
    }

    fn waiting(&self, on: &str) {
        let mut last = self
            .waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last != on {
            on.clone_into(&mut last);
            eprintln!("waiting: {on}");
        }
    }

    fn decided(
        &self,
        interval: IntervalId,
        decisions: &[Decision],
        scores: &[(String, f64)],
        absent: &[Hotkey],
    ) {
        if self.style == Style::Json {
            for decision in decisions {
                let line = serde_json::to_value(decision).expect("plain data");
                self.line(&line.to_string());
            }
            return;
        }
        self.line(&decision_table(interval, decisions, scores, absent));
    }

    fn submitted(&self, epoch: u64, outcome: &SubmitOutcome, weights: &[(u16, Hotkey, f64)]) {
        let mut text = format!("weight epoch {epoch}: {}", outcome_sentence(outcome));
        for (uid, hotkey, share) in weights.iter().filter(|(_, _, share)| *share > 0.0) {
            text.push_str(&format!("\n  uid {uid:>4}  {hotkey}  {share:.6}"));
        }
        self.weights(&text);
    }

    fn weights(&self, text: &str) {
        if self.style == Style::Json {
            // Standard output is the decisions', one line each.
            eprintln!("{text}");
        } else {
            self.line(text);
        }
    }
}

/// One sentence about a commit that waits.
pub fn commit_sentence(block: u64, extrinsic: &str, ticket: &CommitTicket) -> String {
    format!(
        "weights committed at block {block} ({extrinsic}), to be revealed by beacon round {} between blocks {} and {}",
        ticket.reveal_round, ticket.reveal_block, ticket.reveal_deadline
    )
}

/// One sentence about a submission's end.
pub fn outcome_sentence(outcome: &SubmitOutcome) -> String {
    match outcome {
        SubmitOutcome::Verified { block, extrinsic } => {
            format!("weights are on the chain, read back at block {block} ({extrinsic})")
        }
        SubmitOutcome::Committed {
            block,
            extrinsic,
            ticket,
        } => commit_sentence(*block, extrinsic, ticket),
        SubmitOutcome::Refused {
            error,
            remedy,
            retry_at,
        } => {
            let when = retry_at.map_or(String::new(), |block| format!(" (from block {block} on)"));
            format!("refused by the chain: {error}: {remedy}{when}")
        }
        SubmitOutcome::Unknown { detail } => {
            format!("outcome unknown ({detail}); looking at the chain before trying again")
        }
    }
}

/// The table of an interval, as `validate` prints it.
pub fn decision_table(
    interval: IntervalId,
    decisions: &[Decision],
    scores: &[(String, f64)],
    absent: &[Hotkey],
) -> String {
    let accepted = decisions
        .iter()
        .filter(|decision| decision.accepted)
        .count();
    let mut text = format!(
        "interval {interval}: {accepted} accepted, {} rejected\n  {:<48} {:<8} {:>5} {:>7} {:>7} {:>8}  first failure",
        decisions.len() - accepted,
        "miner",
        "verdict",
        "rows",
        "pruned",
        "sampled",
        "score",
    );
    for decision in decisions {
        let score = scores
            .iter()
            .find(|(hotkey, _)| hotkey == decision.miner_hotkey.as_str())
            .map_or(0.0, |(_, score)| *score);
        let more = decision.failures.len().saturating_sub(1);
        let first = decision
            .failures
            .first()
            .map_or(String::new(), ToString::to_string);
        let failures = if more == 0 {
            first
        } else {
            format!("{first} (+{more} more)")
        };
        text.push_str(&format!(
            "\n  {:<48} {:<8} {:>5} {:>7} {:>7} {:>8.4}  {}",
            decision.miner_hotkey,
            if decision.accepted {
                "accept"
            } else {
                "REJECT"
            },
            decision.record_count,
            pruned(decision),
            decision.sampled_rows,
            score,
            shorten(&failures, 72),
        ));
    }
    let mut noted: BTreeMap<AdvisoryKind, u32> = BTreeMap::new();
    for kind in decisions.iter().flat_map(Decision::advisories) {
        *noted.entry(kind).or_default() += 1;
    }
    if !noted.is_empty() {
        let noted = noted
            .iter()
            .map(|(kind, count)| format!("{} {count}", kind.as_str()));
        let noted = noted.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("\n  noted beside these verdicts: {noted}"));
    }
    for hotkey in absent {
        text.push_str(&format!(
            "\n  {hotkey:<48} (no decision: our own checks were not done in time)"
        ));
    }
    text
}

fn pruned(decision: &Decision) -> u64 {
    [
        "global_overlap_pruned_count",
        "cross_miner_overlap_pruned_count",
    ]
    .iter()
    .filter_map(|name| match decision.notes.get(*name) {
        Some(Note::Count(count)) => Some(*count),
        _ => None,
    })
    .sum()
}

fn shorten(text: &str, most: usize) -> String {
    // Failure codes carry text that a miner chose.
    let clean = escaped(text);
    if clean.chars().count() <= most {
        return clean;
    }
    clean
        .chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Adds a line that may hold text that a miner chose: nothing in it can end the line or steer the terminal.
pub fn push_line(text: &mut String, line: &str) {
    text.push_str(&escaped(line));
    text.push('\n');
}

/// Numbers, separated by commas.
pub fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
