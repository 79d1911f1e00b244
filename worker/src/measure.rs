//! Measuring clips in this process. (Isolation in child processes is the sandbox's affair.)

use nexis_media::{Budget, PipelineError};

/// What is wanted of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Up to six pictures for the model checks. Decoding is where the time goes.
    pub frames: bool,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Coded width and height of the first video stream, pixels; `None` when there is none.
    pub size_px: Option<(u32, u32)>,
    /// JPEGs.
    pub frames: Vec<Vec<u8>>,
}

/// Measures clips. Undecodable input is an ordinary answer.
#[derive(Debug)]
pub struct Prober(());

/// Pictures per clip (PROTOCOL §10).
const FRAMES: usize = 6;

impl Prober {
    /// Starts GStreamer.
    pub fn in_process() -> Result<Self, PipelineError> {
        nexis_media::init()?;
        Ok(Self(()))
    }

    /// Measures one clip. Blocks: call it off the async threads.
    pub fn measure(&self, clip: &[u8], want: Want) -> Measured {
        let size_px = match nexis_media::probe(clip) {
            Ok(probed) => Some((probed.width, probed.height)),
            Err(fault) => {
                tracing::debug!(error = %fault, "clip cannot be probed");
                None
            }
        };
        let frames = if want.frames { pictures(clip) } else { Vec::new() };
        Measured { size_px, frames }
    }
}

fn pictures(clip: &[u8]) -> Vec<Vec<u8>> {
    match nexis_media::frames(clip, FRAMES, Budget::default()) {
        Ok(frames) => frames.into_iter().map(|frame| frame.jpeg).collect(),
        Err(fault) => {
            tracing::debug!(error = %fault, "no pictures of the clip");
            Vec::new()
        }
    }
}
