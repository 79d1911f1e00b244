//! Queue, board and archive for one process: what `nexis validate` runs on instead of RabbitMQ, Redis
//! and an object store, under the same laws (`nexis_ports::conformance`).
//!
//! Owns: the embedded implementations and the journal format on disk.
//! Never does: decide anything about a round. Start reading at [`LocalBoard`].
//!
//! The queue is in memory: losing it costs a re-publish, which the scheduler does anyway when the board
//! shows a gap. The board is in memory too, and every change is in its journal before it is visible.

mod archive;
mod board;
mod clock;
mod journal;
mod queue;
mod state;

pub use archive::{DirArchive, Sharing};
pub use board::{LocalBoard, LocalBoardError, Recovery};
pub use clock::{Clock, HandClock, TokioClock};
pub use queue::{LocalQueue, LocalQueueOptions};
