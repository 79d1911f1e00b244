//! The coded size of the first video stream (PROTOCOL §10).

use serde::{Deserialize, Serialize};

use crate::front::{self, Front};

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
}

/// Coded width and height of the first video stream, read by the front parser alone: containers and parameter sets
/// in safe Rust, no decoder. Nothing named inside is opened.
pub fn probe(clip: &[u8]) -> Result<Probed, ProbeError> {
    match front::read(clip) {
        Front::Video(probed) => Ok(probed),
        Front::NoVideo => Err(ProbeError::NoVideo),
        Front::Unknown => Err(ProbeError::UnknownContainer),
    }
}
