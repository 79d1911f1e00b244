//! `dataset.parquet` to rows (PROTOCOL.md §5), within limits, and back.
//!
//! Owns: everything that knows parquet. The bytes are a miner's: whatever they hold, the answer is rows or a
//! [`DatasetError`], never a panic and never more memory than [`Limits`] allow.
//! Never does: I/O, verdicts (`nexis_protocol::screen` turns an error into a code).
//! Start reading at [`read()`].
//!
//! ```
//! use nexis_dataset::{Limits, read, write};
//! use nexis_protocol::{profile::Profile, row::Rows};
//!
//! let bytes = write(&Rows::default())?;
//! let rows = read(&bytes, &Limits::default(), &Profile::default())?;
//! assert!(rows.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cells;
mod error;
mod file;
mod limits;
mod quiet;
mod read;
mod survey;
mod take;
mod write;

pub use error::DatasetError;
pub use limits::Limits;
pub use read::{REQUIRED, read};
pub use survey::needed_memory;
pub use write::{WriteError, write};
