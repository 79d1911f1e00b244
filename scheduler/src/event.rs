use nexis_ports::SubmitOutcome;
use nexis_protocol::decision::Decision;
use nexis_protocol::{BlockNumber, Hotkey, IntervalId, WeightEpoch};
use std::sync::Arc;

/// What happened, for whoever shows it (terminal, JSON lines, metrics).
#[derive(Debug, Clone)]
pub enum Event {
    /// A new finalized block; `eligible` is the newest interval that may be validated.
    Head {
        /// Its height.
        block: BlockNumber,
    },
    /// A round was opened.
    Opened {
        /// Its interval.
        interval: IntervalId,
        /// Miners drawn.
        miners: usize,
    },
    /// Results came in.
    Progress {
        /// The interval.
        interval: IntervalId,
        /// `miners` or `clips`.
        stage: &'static str,
        /// Results that are there.
        done: u64,
        /// Results that are waited for.
        expected: u64,
    },
    /// A round's decisions are in the archive.
    Decided {
        /// The interval.
        interval: IntervalId,
        /// In the round's order.
        decisions: Vec<Decision>,
        /// Interval scores, normalised to 1.
        scores: Vec<(String, f64)>,
        /// Miners without a decision because no report of ours came in time.
        absent: Vec<Hotkey>,
    },
    /// A submission was tried.
    Submitted {
        /// The epoch.
        epoch: WeightEpoch,
        /// How it ended.
        outcome: SubmitOutcome,
        /// The weights: (uid, hotkey, share).
        weights: Vec<(u16, Hotkey, f64)>,
    },
    /// The chain opened a commit; its weights were read back.
    Revealed {
        /// The epoch whose weights they are.
        epoch: WeightEpoch,
        /// Head at which they were seen.
        block: BlockNumber,
    },
    /// The chain did not open a commit.
    RevealMissed {
        /// The epoch whose weights it held.
        epoch: WeightEpoch,
        /// Whether they are committed again.
        again: bool,
    },
    /// An epoch ended without weights on the chain.
    EpochMissed {
        /// The epoch.
        epoch: WeightEpoch,
        /// Why, as far as known.
        last: String,
    },
    /// We lead from now on.
    Leading,
    /// Somebody else leads.
    Following {
        /// Its name.
        holder: String,
    },
    /// An interval does not go on, for a reason that is not its miners' doing. It is tried again.
    Held {
        /// The interval.
        interval: IntervalId,
        /// Why, for an operator.
        why: String,
    },
    /// Something needs an operator's hand; the log has it as an error.
    Alert {
        /// What, and what to do.
        what: String,
    },
    /// The outside is away; we try again.
    Waiting {
        /// For what, in one sentence.
        on: String,
    },
}

/// Takes events. Must not block.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;
