//! `dataset.parquet` to rows (PROTOCOL.md §5), within limits.
//!
//! Owns: everything that knows parquet. The bytes are a miner's: whatever they hold, the answer is rows or a
//! [`DatasetError`], never a panic and never more memory than [`Limits`] allow.

mod cells;
mod limits;
mod read;

pub use limits::Limits;
pub use read::{DatasetError, read};
