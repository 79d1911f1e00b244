//! The outside world as traits, so that the same scheduler and worker run on RabbitMQ and Redis
//! in a fleet and on an embedded queue and board in one process.
//!
//! Owns: the contracts, and (feature `conformance`) the suites that every implementation passes.
//! Never does: I/O. Start reading at [`Board`], which holds the progress of a round.

mod archive;
mod board;
mod bucket;
mod chain;
#[cfg(feature = "conformance")]
pub mod conformance;
mod fault;
mod queue;

pub use archive::{Archive, ArchiveError};
pub use board::{Board, BoardError, Leadership, Posted, Stage, Tally, Write};
pub use bucket::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
pub use chain::{
    Chain, ChainError, CommitTicket, Head, Neuron, Obstacle, RevealState, Roster, SignedSubmission,
    Standing, SubmissionJournal, SubmitOutcome, SubnetParameters, WeightRequest,
};
pub use fault::FaultClass;
pub use queue::{Acknowledge, Deliveries, Delivery, Message, Queue, QueueError, Route, Settlement};
