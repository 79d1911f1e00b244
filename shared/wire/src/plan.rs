//! What the leader decided at the start of a stage. Kept on the board and in the archive: whoever leads next
//! goes on from it, and a replay starts from it.

use crate::{JobRules, Kind, Wire, row_set, v2};
use nexis_protocol::decision::Note;
use nexis_protocol::reason::Reason;
use nexis_protocol::{Digest, Hotkey, IntervalId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The plan of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// The interval.
    pub interval: IntervalId,
    /// The rules of all its jobs.
    pub rules: JobRules,
    /// Block that the roster was read at.
    pub roster_block: u64,
    /// Hash of that block.
    pub roster_hash: String,
    /// The validator's own hotkey, which one profile mixes into the row sample.
    pub validator: Option<Hotkey>,
    /// Seed of both samples.
    pub seed: String,
    /// Hotkeys left out because the evidence API lists them as invalid.
    pub invalid: Vec<Hotkey>,
    /// The miners drawn, in the order in which they are decided, each with its commitment.
    pub miners: Vec<PlannedMiner>,
    /// Digest of the global index as read, under which the archive keeps it.
    pub index: Digest,
    /// Block at which the miner stage closes whoever is missing.
    pub miners_deadline: u64,
    /// Block at which the clip stage closes whoever is missing.
    pub clips_deadline: u64,
}

/// A miner of the round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMiner {
    /// Its key.
    pub hotkey: Hotkey,
    /// Its committed 128 characters, when they can be used.
    pub commitment: Option<String>,
}

impl Wire for RoundPlan {
    const KIND: Kind = Kind::RoundPlan;
    type V2 = v2::RoundPlan;
}

/// What arbitration and sampling made of the reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipPlan {
    /// One per miner of the round, in the round's order.
    pub miners: Vec<MinerOutcome>,
}

/// One miner after arbitration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MinerOutcome {
    /// No report came before the deadline.
    Absent,
    /// Rejected while it was loaded.
    Rejected {
        /// The codes.
        reasons: Vec<Reason>,
        /// In words.
        detail: String,
        /// What goes into the decision's notes.
        notes: BTreeMap<String, Note>,
    },
    /// Loaded, pruned and checked.
    Judged {
        /// The spec.
        spec_id: String,
        /// The category.
        category: Option<String>,
        /// Rows left after pruning, indices into the data set.
        #[serde(with = "row_set")]
        kept: Vec<u32>,
        /// Rows dropped by the global index.
        pruned_global: u32,
        /// Rows dropped in favour of other miners.
        pruned_cross: u32,
        /// Failures of the hard checks, or the one code of a package on which others raise.
        failures: Vec<Reason>,
        /// How many failures more there are than a plan keeps.
        failures_omitted: u64,
        /// The sampled rows, ascending by position among the kept ones.
        sampled: Vec<PlannedClip>,
    },
}

/// One sampled row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedClip {
    /// Index in the data set as published.
    pub row: u32,
    /// Position among the kept rows.
    pub position: u32,
    /// The row's clip id.
    pub clip_id: String,
    /// Whether the protocol's own sample has this row; sampling `full` adds the others.
    pub protocol: bool,
}

impl Wire for ClipPlan {
    const KIND: Kind = Kind::ClipPlan;
    type V2 = v2::ClipPlan;
}
