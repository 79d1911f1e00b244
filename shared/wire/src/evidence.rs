//! All that a round saw, from which its decisions can be computed again to equal bytes: in one piece, or as one object
//! per miner and a head that names them.

use crate::envelope::Unwritten;
use crate::{
    ClipPlan, ClipReport, Kind, MinerOutcome, MinerReport, RoundPlan, Wire, WireError, v2,
};
use nexis_protocol::{Digest, Hotkey};
use serde::{Deserialize, Serialize};

/// The evidence of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How it was opened.
    pub plan: RoundPlan,
    /// Reports that counted, ascending by hotkey.
    pub reports: Vec<MinerReport>,
    /// What arbitration made of them.
    pub clips: ClipPlan,
    /// Verdicts that counted, ascending by hotkey and row.
    pub verdicts: Vec<ClipReport>,
    /// Ids of results that came too late to count.
    pub late: Vec<String>,
    /// When it was decided, seconds since the epoch: the one value taken from a clock.
    pub decided_at: f64,
}

impl Wire for Evidence {
    const KIND: Kind = Kind::Evidence;
    type V2 = v2::Evidence;
}

/// What is common to all miners of a round. Written last: where it stands, all it names is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceHead {
    /// How the round was opened.
    pub plan: RoundPlan,
    /// Ids of results that came too late to count.
    pub late: Vec<String>,
    /// When it was decided, seconds since the epoch: the one value taken from a clock.
    pub decided_at: f64,
    /// One per miner of the plan, in its order.
    pub miners: Vec<EvidenceEntry>,
}

impl Wire for EvidenceHead {
    const KIND: Kind = Kind::EvidenceHead;
    type V2 = Unwritten<Self>;
}

/// Where a miner's evidence is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceEntry {
    /// The miner.
    pub hotkey: Hotkey,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
}

/// What a round saw of one miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerEvidence {
    /// The miner.
    pub hotkey: Hotkey,
    /// Its report, when one counted.
    pub report: Option<MinerReport>,
    /// What arbitration made of it.
    pub outcome: MinerOutcome,
    /// Verdicts that counted, ascending by row.
    pub verdicts: Vec<ClipReport>,
}

impl Wire for MinerEvidence {
    const KIND: Kind = Kind::MinerEvidence;
    type V2 = Unwritten<Self>;

    fn check(&self) -> Result<(), WireError> {
        self.report.as_ref().map_or(Ok(()), Wire::check)
    }
}
