//! What the scheduler counts, and the queues' depths.

use nexis_ports::SubmitOutcome;
use nexis_runtime::label;
use nexis_runtime::metrics::{Counter, Counters, Gauge, Gauges, Metrics};
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
    submissions: Counters<Submission>,
    epochs: Counters<Fate>,
    waits: Counter,
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
            submissions: metrics.counters("nexis_weight_submissions", "Submissions of weights"),
            epochs: metrics.counters(
                "nexis_weight_epochs",
                "Commits that the chain opened or did not open, and epochs that passed without weights",
            ),
            waits: metrics.counter(
                "nexis_scheduler_waits",
                "Steps that failed because the outside was away, and were tried again",
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
            Event::Waiting { .. } => {
                self.waits.inc();
            }
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
