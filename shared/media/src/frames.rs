//! Up to six pictures of a clip, at 6/5 frames a second (PROTOCOL §10).

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use serde::{Deserialize, Serialize};

use crate::front;
use crate::pipeline::{self, PipelineError, Running};

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
    /// The bytes are no container that is read here.
    #[error("clip is no known container")]
    UnknownContainer,
    /// Decoding failed before the first picture.
    #[error("could not decode the clip")]
    Decode(#[source] PipelineError),
    /// A decoded picture could not be written as JPEG.
    #[error("could not write a picture as JPEG")]
    Encode(#[source] PipelineError),
}

/// The output slot of `-vf fps=6/5` that a time rounds to (half away from zero).
/// A microsecond is forgiven, since times arrive cut to whole nanoseconds.
fn slot(at: u64) -> u64 {
    (u128::from(at + 1_000) * 12 + 5_000_000_000)
        .div_euclid(10_000_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
}

struct Picked {
    number: u32,
    at: u64,
    sample: gst::Sample,
}

/// The first `wanted` pictures that `ffmpeg -vf fps=1.2` would pick, as JPEG.
///
/// Decoding stops at the frame after the last one needed. A clip that breaks off gives what came before.
pub fn frames(clip: &[u8], wanted: usize, budget: Budget) -> Result<Vec<Frame>, FramesError> {
    let container = front::sniff(clip).ok_or(FramesError::UnknownContainer)?;
    let picked = pick(clip, container, wanted, budget).map_err(FramesError::Decode)?;
    encode(picked, Instant::now() + budget.time).map_err(FramesError::Encode)
}

fn pick(
    clip: &[u8],
    container: front::Container,
    wanted: usize,
    budget: Budget,
) -> Result<Vec<Picked>, PipelineError> {
    let deadline = Instant::now() + budget.time;
    let opened = pipeline::open(clip, container, true)?;
    let mut picked: Vec<Picked> = Vec::new();
    let mut held: Option<Picked> = None;
    let mut next = None;
    let mut end = 0;
    for number in 0..budget.frames {
        let sample = match opened.next(deadline) {
            Ok(Some(sample)) => sample,
            Ok(None) => break,
            Err(error) if held.is_none() => return Err(error),
            Err(_) => break,
        };
        within(&sample, budget.pixels)?;
        let Some((at, length)) = shown(&sample, number) else {
            continue;
        };
        // Some decoders (GIF) give every picture the first one's time: then they follow one another.
        let at = match &held {
            Some(last) if at <= last.at => last.at.saturating_add(length),
            _ => at,
        };
        end = at.saturating_add(length);
        let next = next.get_or_insert(slot(at));
        while let Some(last) = &held
            && *next < slot(at)
            && picked.len() < wanted
        {
            picked.push(Picked {
                number: last.number,
                at: last.at,
                sample: last.sample.clone(),
            });
            *next += 1;
        }
        held = Some(Picked { number, at, sample });
        if picked.len() >= wanted {
            return Ok(picked);
        }
    }
    let mut next = next.unwrap_or(0);
    while let Some(last) = &held
        && next < slot(end)
        && picked.len() < wanted
    {
        picked.push(Picked {
            number: last.number,
            at: last.at,
            sample: last.sample.clone(),
        });
        next += 1;
    }
    Ok(picked)
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

fn within(sample: &gst::Sample, pixels: u64) -> Result<(), PipelineError> {
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

fn encode(picked: Vec<Picked>, deadline: Instant) -> Result<Vec<Frame>, PipelineError> {
    let mut frames: Vec<Frame> = Vec::new();
    for one in picked {
        let jpeg = match frames.last() {
            Some(last) if last.number == one.number => last.jpeg.clone(),
            _ => jpeg(&one.sample, deadline)?,
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
    let pipeline = gst::Pipeline::new();
    let running = Running(pipeline.clone());
    let source = app::AppSrc::builder().format(gst::Format::Time).build();
    source.set_caps(sample.caps_owned().as_ref());
    let encoder = pipeline::element("jpegenc")?;
    let sink = app::AppSink::builder().sync(false).max_buffers(1).build();
    let refused = |_| PipelineError::Refused;
    let parts = [
        source.upcast_ref(),
        &encoder,
        sink.upcast_ref::<gst::Element>(),
    ];
    pipeline.add_many(parts).map_err(refused)?;
    gst::Element::link_many(parts).map_err(refused)?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|_| PipelineError::Refused)?;
    let buffer = sample.buffer_owned().ok_or(PipelineError::Refused)?;
    source
        .push_buffer(buffer)
        .map_err(|_| PipelineError::Refused)?;
    source.end_of_stream().map_err(|_| PipelineError::Refused)?;
    loop {
        if let Some(done) = sink.try_pull_sample(gst::ClockTime::from_mseconds(20)) {
            let buffer = done.buffer().ok_or(PipelineError::Refused)?;
            let map = buffer.map_readable().map_err(|_| PipelineError::Refused)?;
            return Ok(map.as_slice().to_vec());
        }
        running.check()?;
        if sink.is_eos() || Instant::now() >= deadline {
            return Err(PipelineError::Deadline);
        }
    }
}
