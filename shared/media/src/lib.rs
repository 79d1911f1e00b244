//! What a clip is: its digest, the coded size of its first video stream, what its container says, up to six pictures
//! of it, and what these show.
//!
//! Owns: reading hostile clip bytes. Never does: network, files, asking anything that a clip names.
//! Start reading at [`probe()`], then [`frames()`]; [`Pool`] does both in
//! locked-up child processes.
//!
//! ```
//! # use std::time::Duration;
//! // Junk is an ordinary answer.
//! assert!(nexis_media::probe(b"no clip", Duration::from_secs(1)).is_err());
//! ```

mod digest;
mod facts;
mod frames;
mod front;
mod libav;
mod marks;
mod pipeline;
mod pool;
mod probe;
mod sandbox;
mod sight;
mod turn;

pub use digest::{StreamDigest, sha256};
pub use facts::{Facts, facts};
pub use frames::{Budget, Frame, FramesError, frames};
pub use pipeline::{ELEMENTS, PLUGINS, PipelineError, init};
pub use pool::{Asked, Look, Pool, PoolError, PoolOptions, Undecodable};
pub use probe::{ProbeError, Probed, probe, settled};
pub use sandbox::{Isolation, Landlock, Layers, child_main, child_main_with};
