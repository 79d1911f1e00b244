//! What travels between scheduler and workers.
//!
//! Owns: the four shapes that travel ([`MinerJob`], [`MinerReport`], [`ClipJob`], [`ClipReport`]), the plans
//! that the board keeps, the evidence that the archive keeps, the envelope around all of them, their older versions, and
//! the trace context beside them.
//! Never does: I/O. Start reading at [`Wire`].

mod envelope;
mod evidence;
mod job;
mod plan;
mod report;
mod row_set;
mod trace;
mod v2;
mod version;

pub use envelope::{Kind, Report, Wire, WireError};
pub use evidence::{Evidence, EvidenceEntry, EvidenceHead, MinerEvidence};
pub use job::{ClipJob, JobRules, MinerJob, Sampling, VisionChecks};
pub use plan::{ClipPlan, MinerOutcome, PlannedClip, PlannedMiner, RoundPlan};
pub use report::{ClipReport, MinerReport, PackedRows, ReportOutcome, ScreenedReport};
pub use trace::TraceContext;
pub use version::WireVersion;
