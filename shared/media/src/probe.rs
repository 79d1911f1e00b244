//! The coded size of the first video stream (PROTOCOL §10).

use serde::{Deserialize, Serialize};

use crate::front::{self, Front};
use crate::pipeline::{self, PipelineError};

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
    /// The bytes are no container that is read here.
    #[error("clip is no known container")]
    UnknownContainer,
    /// The container was read and has no video stream.
    #[error("clip has no video stream")]
    NoVideo,
    /// The demuxer gave up.
    #[error("could not demux the clip")]
    Demux(#[source] PipelineError),
}

/// Coded width and height of the first video stream.
///
/// The front parser wins whenever it settles the file (MP4 and QuickTime, Matroska and WebM, JPEG, PNG, GIF;
/// H.264, H.265, VP8, VP9, AV1, MPEG-4 part 2, MJPEG). Everything else it recognises (AVI, FLV, MPEG-TS, a
/// codec it does not know) goes through a GStreamer demuxer and parser. Nothing named inside is opened.
pub fn probe(clip: &[u8]) -> Result<Probed, ProbeError> {
    match front::read(clip) {
        Front::Video(probed) => Ok(probed),
        Front::NoVideo => Err(ProbeError::NoVideo),
        Front::Unknown => Err(ProbeError::UnknownContainer),
        Front::Other(container) => pipeline::size(clip, container).map_err(ProbeError::Demux),
    }
}
