//! Matroska and WebM: the first video track and its first blocks.

use super::stream::{Codec, Found, SAMPLES, VideoStream};

/// A variable-length number; `keep` leaves the length marker in, as ids do.
pub(crate) fn number(bytes: &[u8], at: &mut usize, keep: bool) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let mut value = u64::from(first);
    if !keep {
        value &= (1 << (8 - length)) - 1;
    }
    for byte in bytes.get(*at + 1..*at + length)? {
        value = (value << 8) | u64::from(*byte);
    }
    *at += length;
    if !keep && value == (1 << (7 * length)) - 1 {
        return Some(u64::MAX);
    }
    Some(value)
}

/// Elements inside `bytes`: id, body, and whether the body is whole. One of unknown or too large a size reaches to
/// the end.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8], bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let id = number(bytes, &mut at, true)?;
        let size = number(bytes, &mut at, false)?;
        let stated = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        let end = stated.min(bytes.len());
        let body = bytes.get(at..end)?;
        at = end;
        Some((id, body, stated == end))
    })
}

pub(crate) fn elements(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    pieces(bytes).map(|(id, body, _)| (id, body))
}

pub(crate) fn child(bytes: &[u8], id: u64) -> Option<&[u8]> {
    elements(bytes)
        .find(|found| found.0 == id)
        .map(|found| found.1)
}

pub(crate) fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Looks for the first video track.
pub(crate) fn first_video(file: &[u8]) -> Found<'_> {
    let Some(segment) = child(file, 0x1853_8067) else {
        return Found::Unsettled;
    };
    // Tracks that are cut off are none to ffmpeg.
    let tracks = pieces(segment).find(|found| found.0 == 0x1654_AE6B);
    let Some((_, tracks, true)) = tracks else {
        return Found::Unsettled;
    };
    for (id, entry) in elements(tracks) {
        if id == 0xAE && child(entry, 0x83).map(unsigned) == Some(1) {
            return track(segment, entry).map_or(Found::Unsettled, Found::Stream);
        }
    }
    // Attached pictures come after the tracks in ffprobe's order.
    if child(segment, 0x1941_A469).is_some() {
        Found::Unsettled
    } else {
        Found::NoVideo
    }
}

fn track<'a>(segment: &'a [u8], entry: &'a [u8]) -> Option<VideoStream<'a>> {
    let mut private = child(entry, 0x63A2).unwrap_or(&[]);
    let codec = match child(entry, 0x86)? {
        b"V_MPEG4/ISO/AVC" => Codec::H264,
        b"V_MPEGH/ISO/HEVC" => Codec::H265,
        b"V_VP8" => Codec::Vp8,
        b"V_VP9" => Codec::Vp9,
        b"V_AV1" => Codec::Av1,
        b"V_MPEG4/ISO/ASP" | b"V_MPEG4/ISO/SP" => Codec::Mpeg4,
        b"V_MPEG1" | b"V_MPEG2" => Codec::Mpeg2,
        b"V_MJPEG" => Codec::Mjpeg,
        b"V_THEORA" => Codec::Stated("theora"),
        b"V_FFV1" => Codec::Stated("ffv1"),
        b"V_PRORES" => Codec::Stated("prores"),
        b"V_UNCOMPRESSED" => Codec::Stated("rawvideo"),
        b"V_MS/VFW/FOURCC" => {
            let tag: [u8; 4] = private.get(16..20)?.try_into().ok()?;
            private = private.get(40..).unwrap_or(&[]);
            Codec::of_bitmap(tag)
        }
        _ => Codec::Stated("unknown"),
    };
    let number = unsigned(child(entry, 0xD7)?);
    let video = child(entry, 0xE0)?;
    let side = |id| child(video, id).and_then(|b| u32::try_from(unsigned(b)).ok());
    let stated = (side(0xB0)?, side(0xBA)?);
    let mut samples = Vec::new();
    // Of compressed or encrypted tracks only the container's word is taken.
    if child(entry, 0x6D80).is_none() {
        blocks(segment, number, &mut samples);
    }
    Some(VideoStream {
        codec,
        private,
        stated,
        samples,
    })
}

fn blocks<'a>(segment: &'a [u8], track: u64, samples: &mut Vec<&'a [u8]>) {
    for (id, body) in elements(segment) {
        if id != 0x1F43_B675 {
            continue;
        }
        for (id, body) in elements(body) {
            let block = match id {
                0xA3 => Some(body),
                0xA0 => child(body, 0xA1),
                _ => None,
            };
            if let Some(frame) = block.and_then(|block| frame(block, track)) {
                samples.push(frame);
            }
            if samples.len() >= SAMPLES {
                return;
            }
        }
    }
}

fn frame(block: &[u8], track: u64) -> Option<&[u8]> {
    let mut at = 0;
    if number(block, &mut at, false)? != track || block.get(at + 2)? & 0x06 != 0 {
        return None;
    }
    block.get(at + 3..)
}
