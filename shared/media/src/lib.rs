//! What a clip is: its digest, the coded size of its first video stream, and up to six pictures of it.
//!
//! Owns: reading hostile clip bytes. Never does: network, files, asking anything that a clip names.
//! Start reading at [`probe()`], then [`frames()`].
//!
//! ```
//! // Junk is an ordinary answer.
//! assert!(nexis_media::probe(b"no clip").is_err());
//! ```

mod digest;
mod frames;
mod front;
mod pipeline;
mod probe;

pub use digest::{StreamDigest, sha256};
pub use frames::{Budget, Frame, FramesError, frames};
pub use pipeline::{ELEMENTS, PipelineError, init};
pub use probe::{ProbeError, Probed, probe};
