//! What the container says about its streams: frame count, frame rate, duration and sound, without decoding.
//!
//! Only samples whose bytes lie in the file count: a table of contents can promise anything. MP4/QuickTime and
//! Matroska/WebM are read here; of other containers libavformat counts the packets.

mod matroska;
mod mp4;

use std::time::Duration;

use crate::front::{self, Container};
use crate::libav;
use serde::{Deserialize, Serialize};

/// What the container says. `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Duration of the first video stream as it is shown, seconds.
    pub duration_sec: Option<f64>,
    /// Mean frame rate of the first video stream, 1/s.
    pub fps: Option<f64>,
    /// Frames of the first video stream that are in the file and, by its edit list, play.
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
pub(crate) const MOST_SAMPLES: u64 = 10_000_000;

/// Reads the facts of an MP4 or a Matroska file; other containers tell nothing here.
pub fn facts(clip: &[u8]) -> Facts {
    own(clip).flatten().unwrap_or_default()
}

/// Facts of any container; `readable` says that it has a size.
pub(crate) fn all(clip: &[u8], readable: bool, time: Duration) -> Facts {
    match own(clip) {
        Some(facts) => facts,
        None if readable => libav::facts(clip, time),
        None => None,
    }
    .unwrap_or_default()
}

/// What the readers here say; `None` when they do not know the container.
fn own(clip: &[u8]) -> Option<Option<Facts>> {
    match front::sniff(clip)? {
        Container::Mp4 => Some(mp4::facts(clip)),
        Container::Matroska => Some(matroska::facts(clip)),
        _ => None,
    }
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
