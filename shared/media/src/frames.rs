//! Up to six pictures of a clip, at 6/5 frames a second (PROTOCOL §10).

use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use serde::{Deserialize, Serialize};

use crate::front;
use crate::libav::pictures;
use crate::pipeline::{self, PipelineError, Stage};
use crate::turn::Turn;

mod picker;
mod plan;
#[cfg(test)]
mod tests;

use picker::Picker;

/// A picture of the clip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Which decoded frame it is, from 0.
    pub number: u32,
    /// When it is shown, in nanoseconds from the start of the clip.
    pub at: u64,
    /// The picture as JPEG.
    pub jpeg: Vec<u8>,
}

/// What decoding one clip may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Frames decoded.
    pub frames: u32,
    /// Pixels of one picture.
    pub pixels: u64,
    /// Wall time.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            frames: 3_000,
            pixels: 8_294_400,
            time: Duration::from_secs(20),
        }
    }
}

/// Why a clip gave no pictures.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// Decoding failed before the first picture.
    #[error("could not decode the clip")]
    Decode(#[source] PipelineError),
    /// A decoded picture could not be written as JPEG.
    #[error("could not write a picture as JPEG")]
    Encode(#[source] PipelineError),
}

/// A decoded picture that was picked.
pub(crate) struct Picked {
    number: u32,
    at: u64,
    pub(crate) sample: gst::Sample,
}

/// The first `wanted` pictures that `ffmpeg -vf fps=1.2` would pick, turned as it turns them, as JPEG.
///
/// Decoding stops at the frame after the last one needed. A clip that breaks off gives what came before.
pub fn frames(clip: &[u8], wanted: usize, budget: Budget) -> Result<Vec<Frame>, FramesError> {
    let picked = picked(clip, wanted, budget, true)?;
    encode(&picked, budget)
}

/// The same pictures as they were decoded. Of a clip that is `readable`, which has a size, libavcodec decodes what
/// GStreamer does not.
pub(crate) fn picked(
    clip: &[u8],
    wanted: usize,
    budget: Budget,
    readable: bool,
) -> Result<Vec<Picked>, FramesError> {
    let deadline = Instant::now() + budget.time;
    let listed = match front::sniff(clip) {
        Some(container) => pick(clip, container, wanted, budget),
        None => Err(PipelineError::Unsupported("its container".to_owned())),
    };
    let found = match listed {
        Err(fault) if readable && fault.may_be_read_otherwise() => {
            pick_by_libav(clip, wanted, budget, deadline)
        }
        // Too short for a picture, or a stream of which nothing came out.
        Ok(none) if readable && none.is_empty() => {
            Ok(pick_by_libav(clip, wanted, budget, deadline).unwrap_or_default())
        }
        other => other,
    };
    let found = found.map_err(FramesError::Decode)?;
    let turn = Turn::of(clip, budget.time);
    let turned = found.into_iter().map(|one| {
        let sample = turn.apply(&one.sample).ok_or(PipelineError::Refused)?;
        Ok(Picked { sample, ..one })
    });
    turned
        .collect::<Result<_, _>>()
        .map_err(FramesError::Decode)
}

/// Picks from a full decode by libavcodec.
fn pick_by_libav(
    clip: &[u8],
    wanted: usize,
    budget: Budget,
    deadline: Instant,
) -> Result<Vec<Picked>, PipelineError> {
    let mut picker = Picker::new(wanted);
    let decoded = pictures::each(clip, budget, deadline, &mut |number, picture| {
        let (at, length) = (picture.at, picture.length);
        picker.offer(number, at, length, Arc::new(picture));
        !picker.is_full()
    });
    if !picker.has_any() {
        decoded?;
        return Err(PipelineError::Refused);
    }
    let picks = picker.finish().into_iter();
    picks
        .map(|pick| {
            Ok(Picked {
                number: pick.number,
                at: pick.at,
                sample: pick.what.converted(deadline)?,
            })
        })
        .collect()
}

fn pick(
    clip: &[u8],
    container: front::Container,
    wanted: usize,
    budget: Budget,
) -> Result<Vec<Picked>, PipelineError> {
    let deadline = Instant::now() + budget.time;
    if let Some(found) = plan::picked(clip, container, wanted, budget, deadline) {
        return Ok(found);
    }
    pick_from_all(clip, container, wanted, budget, deadline)
}

/// The same out of a full decode, up to the picture after the last one picked.
fn pick_from_all(
    clip: &[u8],
    container: front::Container,
    wanted: usize,
    budget: Budget,
    deadline: Instant,
) -> Result<Vec<Picked>, PipelineError> {
    let opened = pipeline::open(clip, container, Stage::Decoded)?;
    let mut picker = Picker::new(wanted);
    for number in 0..budget.frames {
        let sample = match opened.next(deadline) {
            Ok(Some(sample)) => sample,
            Ok(None) => break,
            Err(error) if !picker.has_any() => return Err(error),
            Err(_) => break,
        };
        within(&sample, budget.pixels)?;
        let Some((at, length)) = shown(&sample, number) else {
            continue;
        };
        picker.offer(number, at, length, sample);
        if picker.is_full() {
            break;
        }
    }
    let picks = picker.finish().into_iter();
    Ok(picks
        .map(|pick| Picked {
            number: pick.number,
            at: pick.at,
            sample: pick.what,
        })
        .collect())
}

/// When a picture is shown and for how long, nanoseconds. Some demuxers (GIF) leave both to the frame rate.
fn shown(sample: &gst::Sample, number: u32) -> Option<(u64, u64)> {
    let buffer = sample.buffer()?;
    let by_rate = frame_length(sample);
    let length = buffer.duration().map(gst::ClockTime::nseconds).or(by_rate);
    let at = match buffer.pts() {
        Some(pts) => {
            let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
            segment.to_running_time(pts)?.nseconds()
        }
        None => by_rate?.checked_mul(u64::from(number))?,
    };
    Some((at, length.unwrap_or(0)))
}

fn frame_length(sample: &gst::Sample) -> Option<u64> {
    let rate = sample
        .caps()?
        .structure(0)?
        .get::<gst::Fraction>("framerate")
        .ok()?;
    let (frames, seconds) = (
        u64::try_from(rate.numer()).ok()?,
        u64::try_from(rate.denom()).ok()?,
    );
    (seconds * 1_000_000_000).checked_div(frames)
}

pub(crate) fn within(sample: &gst::Sample, pixels: u64) -> Result<(), PipelineError> {
    let caps = sample
        .caps()
        .and_then(|caps| caps.structure(0))
        .ok_or(PipelineError::Refused)?;
    let side = |name| {
        caps.get::<i32>(name)
            .ok()
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0)
    };
    let (width, height) = (side("width"), side("height"));
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > pixels {
        return Err(PipelineError::TooLarge(width, height));
    }
    Ok(())
}

/// Writes the pictures as JPEG.
pub(crate) fn encode(picked: &[Picked], budget: Budget) -> Result<Vec<Frame>, FramesError> {
    let deadline = Instant::now() + budget.time;
    let mut frames: Vec<Frame> = Vec::new();
    for one in picked {
        let jpeg = match frames.last() {
            Some(last) if last.number == one.number => last.jpeg.clone(),
            _ => jpeg(&one.sample, deadline).map_err(FramesError::Encode)?,
        };
        frames.push(Frame {
            number: one.number,
            at: one.at,
            jpeg,
        });
    }
    Ok(frames)
}

fn jpeg(sample: &gst::Sample, deadline: Instant) -> Result<Vec<u8>, PipelineError> {
    let caps = sample.caps_owned().ok_or(PipelineError::Refused)?;
    let buffer = sample.buffer_owned().ok_or(PipelineError::Refused)?;
    let encoder = pipeline::element("jpegenc")?;
    let done = pipeline::pass(caps, buffer, vec![encoder], deadline)?;
    let buffer = done.buffer().ok_or(PipelineError::Refused)?;
    let map = buffer.map_readable().map_err(|_| PipelineError::Refused)?;
    Ok(map.as_slice().to_vec())
}
