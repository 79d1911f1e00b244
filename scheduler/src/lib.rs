//! The scheduler: everything between a new block and weights on the chain that is not a worker's job.
//!
//! Owns: rounds (open, barrier, clip stage, decisions), the ledger of decisions in the archive, submissions.
//! Never does: look at a miner's bytes. Start reading at [`Scheduler::run`], then `round`; all that is
//! decided rather than performed is in [`reduce`], which is pure.

mod backlog;
mod barrier;
mod context;
mod error;
mod event;
mod evidence;
pub mod identity;
mod jobs;
mod lead;
pub mod ledger;
mod open;
pub mod progress;
mod pulse;
pub mod reduce;
mod round;
mod run;
#[cfg(feature = "settings")]
pub mod settings;
mod stage_clock;
mod submit;
mod trouble;
pub mod window;

pub use context::{IndexLimits, Keeping, Scheduler, SchedulerOptions, SchedulerPorts};
pub use error::SchedulerError;
pub use event::{Event, Observer};
pub use submit::{SubmissionRecord, SubmissionState};
