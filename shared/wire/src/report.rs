//! Answers of workers.

use crate::envelope;
use crate::{Kind, Report, Wire, WireError, WireVersion, v2};
use nexis_protocol::claim::Claims;
use nexis_protocol::clip::{ClipVerdict, Measured};
use nexis_protocol::decision::Note;
use nexis_protocol::picture::Pictures;
use nexis_protocol::reason::Reason;
use nexis_protocol::row::Rows;
use nexis_protocol::{Digest, Hotkey, IntervalId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows kept encoded: the scheduler decodes them only to draw clip jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedRows(Vec<u8>);

/// Rows on their own, so that they can be packed.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct RowsMessage(Rows);

impl Wire for RowsMessage {
    const KIND: Kind = Kind::Rows;
    // The shape has not changed since.
    type V2 = Self;
}

impl PackedRows {
    /// Packs.
    pub fn pack(rows: Rows) -> Self {
        Self(RowsMessage(rows).encode())
    }
    /// Unpacks.
    pub fn unpack(&self) -> Result<Rows, WireError> {
        RowsMessage::decode(&self.0).map(|message| message.0)
    }
    /// Size as kept, bytes.
    pub const fn len_bytes(&self) -> usize {
        self.0.len()
    }
    /// Whether [`unpack`](Self::unpack) will accept their size.
    fn check(&self) -> Result<(), WireError> {
        envelope::check_size(Kind::Rows, &self.0)
    }
    /// Marks the rows as written in another version that has them in the same shape.
    pub(crate) fn relabel(&mut self, version: WireVersion) {
        envelope::relabel(&mut self.0, version);
    }
}

/// A package that passed PROTOCOL §6.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScreenedReport {
    /// The spec it follows.
    pub spec_id: String,
    /// Its category.
    pub category: Option<String>,
    /// When it was submitted, seconds since the epoch (PROTOCOL §7.2).
    pub submitted_at: f64,
    /// What pruning and the hard checks need of each row.
    pub claims: Claims,
    /// The rows themselves.
    pub rows: PackedRows,
}

/// How the screening ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReportOutcome {
    /// A check of PROTOCOL §6 failed.
    Rejected {
        /// The codes.
        reasons: Vec<Reason>,
        /// The same in words, for the miner.
        detail: String,
        /// What goes into the decision's notes.
        notes: BTreeMap<String, Note>,
    },
    /// All passed.
    Screened(Box<ScreenedReport>),
}

/// A miner job's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerReport {
    /// The interval.
    pub interval: IntervalId,
    /// The miner.
    pub hotkey: Hotkey,
    /// What came out.
    pub outcome: ReportOutcome,
    /// SHA-256 of the manifest's bytes, when it was read.
    pub manifest_sha256: Option<Digest>,
    /// SHA-256 of the data set's bytes, when it was read.
    pub dataset_sha256: Option<Digest>,
    /// The last fault, when files count as missing only because their store could not be reached to the end of the
    /// budget; `None` when the store answered.
    pub unreachable: Option<String>,
}

impl Wire for MinerReport {
    const KIND: Kind = Kind::MinerReport;
    type V2 = v2::MinerReport;

    fn check(&self) -> Result<(), WireError> {
        match &self.outcome {
            ReportOutcome::Rejected { .. } => Ok(()),
            ReportOutcome::Screened(screened) => screened.rows.check(),
        }
    }
}

impl Report for MinerReport {}

/// A clip job's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipReport {
    /// The interval.
    pub interval: IntervalId,
    /// The miner.
    pub hotkey: Hotkey,
    /// The row.
    pub row: u32,
    /// What came out.
    pub verdict: ClipVerdict,
    /// What the clip's container says, when it could be probed.
    pub measured: Option<Measured>,
    /// What was seen of its pictures: also what clips of different miners are compared by.
    pub pictures: Pictures,
    /// Failures of the caption check.
    pub caption: Vec<Reason>,
    /// Failures of the category check.
    pub category: Vec<Reason>,
    /// Names of the frames that a model check would see, in order (PROTOCOL §10).
    pub frame_names: Vec<String>,
    /// The last fault, when an asset counts as missing only because its store could not be reached to the end of the
    /// budget; `None` when the store answered.
    pub unreachable: Option<String>,
}

impl Wire for ClipReport {
    const KIND: Kind = Kind::ClipVerdict;
    type V2 = v2::ClipReport;
}

impl Report for ClipReport {}
