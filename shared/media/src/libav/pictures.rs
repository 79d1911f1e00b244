//! Pictures of clips that GStreamer's closed list does not read, decoded by libavcodec as ffmpeg does.
//!
//! The same decoders have seen the clip before, when its size was found.

use std::time::Instant;

use ffmpeg_next as av;
use gstreamer as gst;

use super::memory::Watch;
use super::raw;
use crate::frames::Budget;
use crate::pipeline::{self, PipelineError};

/// A decoded picture.
pub(crate) struct Decoded {
    /// Nanoseconds from the start of the clip.
    pub(crate) at: u64,
    /// Nanoseconds that it is shown for; 0 when that is not known.
    pub(crate) length: u64,
    sample: gst::Sample,
}

impl Decoded {
    /// The picture in I420.
    pub(crate) fn converted(&self, deadline: Instant) -> Result<gst::Sample, PipelineError> {
        let caps = self.sample.caps_owned().ok_or(PipelineError::Refused)?;
        let buffer = self.sample.buffer_owned().ok_or(PipelineError::Refused)?;
        pipeline::pass(caps, buffer, pipeline::to_i420()?.into(), deadline)
    }
}

/// Decodes the first video stream and hands over picture after picture until `take` has enough.
pub(crate) fn each(
    clip: &[u8],
    budget: Budget,
    deadline: Instant,
    take: &mut dyn FnMut(u32, Decoded) -> bool,
) -> Result<(), PipelineError> {
    pipeline::init()?;
    let time = deadline.saturating_duration_since(Instant::now());
    let mut input = super::open(clip, time, &Watch::begin()).map_err(|_| PipelineError::Refused)?;
    let mut stream = Stream::open(&input).ok_or(PipelineError::Refused)?;
    let mut taken = Taken {
        number: 0,
        budget,
        take,
    };
    loop {
        if Instant::now() >= deadline {
            return Err(PipelineError::Deadline);
        }
        let mut packet = av::Packet::empty();
        if packet.read(&mut input).is_err() {
            break;
        }
        if packet.stream() != stream.index {
            continue;
        }
        // A packet that the decoder refuses is skipped, as ffmpeg does.
        if stream.decoder.send_packet(&packet).is_ok() && !stream.drain(&mut taken)? {
            return Ok(());
        }
    }
    // What the decoder still holds. One that refuses this has nothing more.
    stream.decoder.send_eof().ok();
    stream.drain(&mut taken)?;
    Ok(())
}

/// Who takes the pictures, and how many have come.
struct Taken<'a> {
    number: u32,
    budget: Budget,
    take: &'a mut dyn FnMut(u32, Decoded) -> bool,
}

impl Taken<'_> {
    /// Whether another picture is wanted.
    fn offer(&mut self, decoded: Decoded) -> bool {
        let number = self.number;
        self.number += 1;
        (self.take)(number, decoded) && self.number < self.budget.frames
    }
}

/// The stream that is decoded, and what turns its times into nanoseconds.
struct Stream {
    index: usize,
    decoder: av::codec::decoder::Video,
    unit: f64,
    start: i64,
    /// Nanoseconds of a picture at the mean rate.
    usual: u64,
}

impl Stream {
    fn open(input: &av::format::context::Input) -> Option<Self> {
        let mut streams = input.streams();
        let video =
            streams.find(|stream| stream.parameters().medium() == av::media::Type::Video)?;
        let mut context = av::codec::Context::from_parameters(video.parameters()).ok()?;
        context.set_threading(av::codec::threading::Config::count(1));
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(video.time_base());
        let rate = f64::from(video.avg_frame_rate());
        Some(Self {
            index: video.index(),
            decoder: decoder.video().ok()?,
            unit: f64::from(video.time_base()),
            start: Some(video.start_time())
                .filter(|start| *start != i64::MIN)
                .unwrap_or(0),
            usual: nanoseconds(rate.recip()).unwrap_or(0),
        })
    }

    /// Hands over what the decoder has ready; says whether more is wanted.
    fn drain(&mut self, taken: &mut Taken<'_>) -> Result<bool, PipelineError> {
        let mut frame = av::frame::Video::empty();
        while self.decoder.receive_frame(&mut frame).is_ok() {
            let (width, height) = (frame.width(), frame.height());
            if u64::from(width) * u64::from(height) > taken.budget.pixels {
                return Err(PipelineError::TooLarge(width, height));
            }
            let sample = raw::sample(&frame)
                .ok_or_else(|| PipelineError::Unsupported(format!("{:?}", frame.format())))?;
            let ticks = frame
                .timestamp()
                .map(|at| at.saturating_sub(self.start) as f64);
            let at = ticks.and_then(|ticks| nanoseconds(ticks * self.unit));
            let decoded = Decoded {
                at: at.unwrap_or(self.usual * u64::from(taken.number)),
                length: self.usual,
                sample,
            };
            if !taken.offer(decoded) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is negative or not finite was refused, and a larger time saturates"
)]
fn nanoseconds(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1e9).round() as u64)
}
