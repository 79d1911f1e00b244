//! The coded size of the first video stream (PROTOCOL §10).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{front, libav};

/// The first video stream of a clip, as ffprobe reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Coded width in pixels; rotation and pixel aspect play no part.
    pub width: u32,
    /// Coded height in pixels.
    pub height: u32,
    /// ffprobe's name of the codec.
    pub codec: String,
}

/// Why a clip has no size. An ordinary answer: the row's own numbers decide then.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No demuxer takes the bytes.
    #[error("clip is no known container")]
    UnknownContainer,
    /// The container was read and has no video stream.
    #[error("clip has no video stream")]
    NoVideo,
    /// A stream's decoder refuses what the container says of it.
    #[error("clip has a stream that its decoder refuses")]
    Decoder,
    /// The bytes kept a demuxer busy for too long.
    #[error("clip keeps its demuxer busy for too long")]
    Deadline,
    /// An allocation failed on the way, so that whatever else was found is not what ffprobe finds.
    #[error("clip needs more memory than its decoder has")]
    Memory,
}

/// Coded width and height of the first video stream, as ffprobe reports them. Nothing named inside is opened.
///
/// An ordinary MP4 is settled by [`settled()`]; of all else libavformat is asked, which runs the demuxers that ffprobe
/// runs. That is C: hostile bytes come here in a child of a [`crate::Pool`].
pub fn probe(clip: &[u8], time: Duration) -> Result<Probed, ProbeError> {
    match front::settled(clip) {
        Some(probed) => Ok(probed),
        None => libav::probe(clip, time),
    }
}

/// What safe Rust alone says: the first video stream of an ordinary MP4, `None` for whatever is unusual in any way.
pub fn settled(clip: &[u8]) -> Option<Probed> {
    front::settled(clip)
}
