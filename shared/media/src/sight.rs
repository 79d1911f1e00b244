//! Looking at pictures for what they show: the clip's first (turned as a player shows it), the first-frame asset, those from all over the clip.

use std::time::Instant;

use gstreamer as gst;
use nexis_protocol::picture::{Mark, Sight};

use crate::frames::{Budget, Picked, within};
use crate::front::{self, codec};
use crate::libav::pictures;
use crate::marks::{Grid, Luma, mark};
use crate::pipeline::{self, PipelineError, Stage};
use crate::turn::Turn;

/// Looks at the clip's first picture.
pub(crate) fn first(clip: &[u8], budget: Budget) -> Sight {
    let deadline = Instant::now() + budget.time;
    let first = match first_picture(clip, budget) {
        Err(fault) if fault.may_be_read_otherwise() => first_by_libav(clip, budget, deadline),
        other => other,
    };
    let turned = first.and_then(|first| {
        let turn = Turn::of(clip, budget.time);
        turn.apply(&first).ok_or(PipelineError::Refused)
    });
    sight(turned)
}

/// Looks at the asset that is said to show the same.
pub(crate) fn asset(asset: &[u8], budget: Budget) -> Sight {
    sight(picture(asset, budget))
}

fn sight(sample: Result<gst::Sample, PipelineError>) -> Sight {
    let mark = sample.ok().and_then(|sample| of(&sample, None));
    mark.map_or(Sight::Undecodable, |(mark, _)| Sight::Seen(mark))
}

/// Looks at pictures from all over the clip, in order.
pub(crate) fn marks(sampled: &[Picked]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut before: Option<Grid> = None;
    for picked in sampled {
        if let Some((mark, grid)) = of(&picked.sample, before.as_ref()) {
            marks.push(mark);
            before = Some(grid);
        }
    }
    marks
}

/// Marks a decoded picture. Every decoding pipeline here ends in I420, whose luma comes first, in rows of a multiple of
/// four bytes.
fn of(sample: &gst::Sample, before: Option<&Grid>) -> Option<(Mark, Grid)> {
    let caps = sample.caps()?.structure(0)?;
    let side = |name| usize::try_from(caps.get::<i32>(name).ok()?).ok();
    let (width, height) = (side("width")?, side("height")?);
    let map = sample.buffer()?.map_readable().ok()?;
    let luma = Luma::new(width, height, width.next_multiple_of(4), map.as_slice())?;
    Some(mark(luma, before))
}

/// The first picture of the first video stream: decodes one key frame, and what the codec needs to let go of it.
fn first_picture(clip: &[u8], budget: Budget) -> Result<gst::Sample, PipelineError> {
    let container = front::sniff(clip);
    let container = container.ok_or_else(|| PipelineError::Unsupported("its bytes".to_owned()))?;
    let opened = pipeline::open(clip, container, Stage::Decoded)?;
    let sample = opened.next(Instant::now() + budget.time)?;
    let sample = sample.ok_or(PipelineError::Refused)?;
    within(&sample, budget.pixels)?;
    Ok(sample)
}

/// The same by libavcodec.
fn first_by_libav(
    clip: &[u8],
    budget: Budget,
    deadline: Instant,
) -> Result<gst::Sample, PipelineError> {
    let mut first = None;
    pictures::each(clip, budget, deadline, &mut |_, picture| {
        first = Some(picture);
        false
    })?;
    first.ok_or(PipelineError::Refused)?.converted(deadline)
}

/// Elements that read a single picture, by its first bytes, after a look at its size.
fn reader(picture: &[u8], budget: Budget) -> Result<&'static [&'static str], PipelineError> {
    let (reader, (width, height)): (&'static [&'static str], _) =
        if let Some(size) = codec::jpeg(picture) {
            (&["jpegparse", "jpegdec"], size)
        } else if let Some(size) = codec::png(picture) {
            (&["pngdec"], size)
        } else if let Some(size) = webp(picture) {
            (&["webpdec"], size)
        } else {
            return Err(PipelineError::Unsupported("its bytes".to_owned()));
        };
    if u64::from(width) * u64::from(height) > budget.pixels {
        return Err(PipelineError::TooLarge(width, height));
    }
    Ok(reader)
}

/// Size of a WebP picture.
fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let byte = |at: usize| bytes.get(at).copied().map(u32::from);
    match bytes.get(12..16)? {
        // Key frame of VP8: three bytes of tag and three of start code, then 14 bits for each side.
        b"VP8 " => Some((
            (byte(26)? | byte(27)? << 8) & 0x3fff,
            (byte(28)? | byte(29)? << 8) & 0x3fff,
        )),
        b"VP8L" => {
            let bits = byte(21)? | byte(22)? << 8 | byte(23)? << 16 | byte(24)? << 24;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => Some((
            (byte(24)? | byte(25)? << 8 | byte(26)? << 16) + 1,
            (byte(27)? | byte(28)? << 8 | byte(29)? << 16) + 1,
        )),
        _ => None,
    }
}

fn media_type(reader: &[&str]) -> &'static str {
    match reader.last() {
        Some(&"pngdec") => "image/png",
        Some(&"webpdec") => "image/webp",
        _ => "image/jpeg",
    }
}

/// Decodes a single picture: JPEG, PNG or WebP.
fn picture(bytes: &[u8], budget: Budget) -> Result<gst::Sample, PipelineError> {
    let reader = reader(bytes, budget)?;
    let deadline = Instant::now() + budget.time;
    if reader == ["pngdec"] && bytes.get(24) == Some(&16) {
        // GStreamer mistakes samples of 16 bits.
        return first_by_libav(bytes, budget, deadline);
    }
    pipeline::init()?;
    let mut elements = Vec::new();
    for name in reader {
        elements.push(pipeline::element(name)?);
    }
    elements.extend(pipeline::to_i420()?);
    let caps = gst::Caps::builder(media_type(reader)).build();
    let buffer = gst::Buffer::from_slice(bytes.to_vec());
    let sample = pipeline::pass(caps, buffer, elements, deadline)?;
    within(&sample, budget.pixels)?;
    Ok(sample)
}
