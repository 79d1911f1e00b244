//! What the scheduler counts, and the queues' depths.

use nexis_ports::SubmitOutcome;
use nexis_protocol::advisory::AdvisoryKind;
use nexis_protocol::decision::Decision;
use nexis_runtime::label;
use nexis_runtime::metrics::{Counter, Counters, Gauge, Gauges, Label, Metrics};
use nexis_scheduler::Event;

label! {
    /// A stage of a round.
    enum StageOf as "stage" {
        Miners => "miners",
        Clips => "clips",
    }
}

label! {
    /// What was decided about a miner.
    enum Verdict as "verdict" {
        Accepted => "accepted",
        Rejected => "rejected",
        /// No report of ours came in time.
        Absent => "absent",
    }
}

label! {
    /// How a submission of weights ended.
    enum Submission as "outcome" {
        Verified => "verified",
        Committed => "committed",
        Refused => "refused",
        Unknown => "unknown",
    }
}

label! {
    /// What a weight epoch came to after the sending: anything but revealed wants a look.
    enum Fate as "fate" {
        Revealed => "revealed",
        NotRevealed => "not_revealed",
        Missed => "missed",
    }
}

/// A kind of advisory beside a verdict.
#[derive(Clone, Copy)]
struct Noted(AdvisoryKind);

const KINDS: usize = AdvisoryKind::ALL.len();

const NOTED: [Noted; KINDS] = {
    let mut all = [Noted(AdvisoryKind::ALL[0]); KINDS];
    let mut at = 1;
    while at < KINDS {
        all[at] = Noted(AdvisoryKind::ALL[at]);
        at += 1;
    }
    all
};

impl Label for Noted {
    const NAME: &'static str = "advisory";
    const ALL: &'static [Self] = &NOTED;
    fn as_str(self) -> &'static str {
        self.0.as_str()
    }
}

/// The scheduler's instruments.
pub struct Meter {
    leader: Gauge,
    terms: Counter,
    head: Gauge,
    opened: Counter,
    decided: Counter,
    expected: Gauges<StageOf>,
    done: Gauges<StageOf>,
    decisions: Counters<Verdict>,
    advisories: Counters<Noted>,
    submissions: Counters<Submission>,
    epochs: Counters<Fate>,
    alerts: Counter,
    waits: Counter,
    held: Counter,
}

impl Meter {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            leader: metrics.gauge("nexis_scheduler_leader", "1 while this process leads"),
            terms: metrics.counter("nexis_scheduler_terms", "Times this process began to lead"),
            head: metrics.gauge("nexis_chain_head_block", "Newest finalized block seen"),
            opened: metrics.counter("nexis_intervals_opened", "Intervals opened"),
            decided: metrics.counter("nexis_intervals_decided", "Intervals decided"),
            expected: metrics.gauges(
                "nexis_stage_results_expected",
                "Results that the newest stage waits for",
            ),
            done: metrics.gauges(
                "nexis_stage_results_done",
                "Results that are there of those waited for",
            ),
            decisions: metrics.counters("nexis_decisions", "Decisions on miners"),
            advisories: metrics.counters("nexis_advisories", "Advisories beside decisions"),
            submissions: metrics.counters("nexis_weight_submissions", "Submissions of weights"),
            epochs: metrics.counters(
                "nexis_weight_epochs",
                "Commits that the chain opened or did not open, and epochs that passed without weights",
            ),
            alerts: metrics.counter(
                "nexis_scheduler_alerts",
                "Alerts: conditions that need an operator",
            ),
            waits: metrics.counter(
                "nexis_scheduler_waits",
                "Steps that failed because a server was unavailable, and were tried again",
            ),
            held: metrics.counter(
                "nexis_intervals_held",
                "Alerts about intervals that do not go on for a reason that is not their miners' doing",
            ),
        }
    }

    pub fn count(&self, event: &Event) {
        match event {
            Event::Head { block } => {
                self.head
                    .set(i64::try_from(block.get()).unwrap_or(i64::MAX));
            }
            Event::Opened { .. } => {
                self.opened.inc();
            }
            Event::Progress {
                stage,
                done,
                expected,
                ..
            } => {
                let of = if *stage == "miners" {
                    StageOf::Miners
                } else {
                    StageOf::Clips
                };
                self.expected.set(of, whole(*expected));
                self.done.set(of, whole(*done));
            }
            Event::Decided {
                decisions, absent, ..
            } => {
                self.decided.inc();
                let accepted = decisions.iter().filter(|one| one.accepted).count();
                self.decisions.add(Verdict::Accepted, accepted as u64);
                let rejected = decisions.len() - accepted;
                self.decisions.add(Verdict::Rejected, rejected as u64);
                self.decisions.add(Verdict::Absent, absent.len() as u64);
                for kind in decisions.iter().flat_map(Decision::advisories) {
                    self.advisories.inc(Noted(kind));
                }
            }
            Event::Submitted { outcome, .. } => self.submissions.inc(match outcome {
                SubmitOutcome::Verified { .. } => Submission::Verified,
                SubmitOutcome::Committed { .. } => Submission::Committed,
                SubmitOutcome::Refused { .. } => Submission::Refused,
                SubmitOutcome::Unknown { .. } => Submission::Unknown,
            }),
            Event::Revealed { .. } => self.epochs.inc(Fate::Revealed),
            Event::RevealMissed { .. } => self.epochs.inc(Fate::NotRevealed),
            Event::EpochMissed { .. } => self.epochs.inc(Fate::Missed),
            Event::Leading => {
                self.leader.set(1);
                self.terms.inc();
            }
            Event::Following { .. } => {
                self.leader.set(0);
            }
            Event::Held { .. } => {
                self.held.inc();
            }
            Event::Alert { .. } => {
                self.alerts.inc();
            }
            Event::Waiting { .. } => {
                self.waits.inc();
            }
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::decision::Note;
    use nexis_protocol::{Hotkey, IntervalId};
    use std::collections::BTreeMap;

    #[test]
    fn every_kind_of_advisory_is_counted_from_zero_on() {
        let metrics = Metrics::new();
        let meter = Meter::new(&metrics);
        let noted = ["frozen_pictures:a", "frozen_pictures:b", "audio_differs:a"];
        let decision = Decision {
            miner_hotkey: Hotkey::from_public_key(&[1; 32]),
            interval_id: IntervalId::new(50),
            accepted: true,
            failures: Vec::new(),
            record_count: 2,
            sampled_rows: 2,
            checked_at: String::new(),
            notes: BTreeMap::from([(
                "advisories".to_owned(),
                Note::List(noted.map(str::to_owned).to_vec()),
            )]),
        };
        meter.count(&Event::Decided {
            interval: IntervalId::new(50),
            decisions: vec![decision],
            scores: Vec::new(),
            absent: Vec::new(),
        });
        let page = metrics.render();
        for (advisory, count) in [
            ("frozen_pictures", 2),
            ("audio_differs", 1),
            ("near_duplicate", 0),
        ] {
            let line = format!("nexis_advisories_total{{advisory=\"{advisory}\"}} {count}\n");
            assert!(page.contains(&line), "{line}{page}");
        }
    }
}
