//! All that a round saw, from which its decisions can be computed again to equal bytes.

use crate::{ClipPlan, ClipReport, Kind, MinerReport, RoundPlan, Wire};
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
}
