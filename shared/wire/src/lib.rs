//! What travels between scheduler and workers.
//!
//! Owns: the four shapes that travel ([`MinerJob`], [`MinerReport`], [`ClipJob`], [`ClipReport`]), the plans
//! that the board keeps, the envelope around all of them, and the trace context beside it.
//! Never does: I/O. Start reading at [`Wire`].

mod envelope;
mod evidence;
mod job;
mod plan;
mod report;
mod trace;

pub use envelope::{Kind, MAX_DECODED_BYTES, WIRE_VERSION, Wire, WireError};
pub use evidence::Evidence;
pub use job::{ClipJob, JobRules, MinerJob, Sampling, VisionChecks};
pub use plan::{ClipPlan, MinerOutcome, PlannedClip, PlannedMiner, RoundPlan};
pub use report::{ClipReport, MinerReport, PackedRows, ReportOutcome, ScreenedReport};
pub use trace::TraceContext;
