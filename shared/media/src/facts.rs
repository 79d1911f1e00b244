//! What the container says about its streams: frame count, frame rate, duration and sound, without decoding.
//!
//! Only samples whose bytes lie in the file count: a table of contents can promise anything. MP4/QuickTime and
//! Matroska/WebM are read here; other containers tell nothing.

mod matroska;
mod mp4;

use crate::front::{self, Container};
use serde::{Deserialize, Serialize};

/// What the container says. `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Duration of the first video stream as it is shown, seconds.
    pub duration_sec: Option<f64>,
    /// Mean frame rate of the first video stream, 1/s.
    pub fps: Option<f64>,
    /// Frames of the first video stream that are in the file.
    pub frames: Option<u64>,
    /// Whether a sound stream has anything in the file.
    pub has_audio: Option<bool>,
}

impl Facts {
    /// Whether every number is one that a clip can have.
    pub(crate) fn are_plausible(&self) -> bool {
        let sane = |number: Option<f64>| number.is_none_or(|n| n.is_finite() && n >= 0.0);
        sane(self.duration_sec) && sane(self.fps)
    }
}

/// Samples that are counted at most: a day of 100 pictures a second is nobody's clip, and tables can name one byte any
/// number of times.
const MOST_SAMPLES: u64 = 10_000_000;

/// Reads the facts of a clip.
pub fn facts(clip: &[u8]) -> Facts {
    match front::sniff(clip) {
        Some(Container::Mp4) => mp4::facts(clip),
        Some(Container::Matroska) => matroska::facts(clip),
        _ => None,
    }
    .unwrap_or_default()
}

/// Seconds of `ticks`, of which `per_sec` make a second.
fn seconds(ticks: u64, per_sec: u64) -> Option<f64> {
    (per_sec > 0).then(|| ticks as f64 / per_sec as f64)
}

/// Frames per second, when there is a duration to divide by.
fn rate(frames: u64, duration_sec: Option<f64>) -> Option<f64> {
    let duration = duration_sec.filter(|duration| *duration > 0.0)?;
    Some(frames as f64 / duration)
}
