//! AVI: the first video stream's header and its first chunks.

use super::codec::le32;
use super::stream::{Codec, Found, SAMPLES, VideoStream};

/// Four letters and the body of each chunk; one that is cut off is as long as what is left.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let kind: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        let size = le32(bytes, at + 4)? as usize;
        let begin = at + 8;
        let body = bytes.get(begin..begin.saturating_add(size).min(bytes.len()))?;
        at = begin.saturating_add(size).saturating_add(size & 1);
        Some((kind, body))
    })
}

fn lists<'a>(bytes: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    chunks(bytes)
        .filter(|(kind, _)| kind == b"LIST")
        .filter_map(move |(_, body)| body.strip_prefix(name))
}

fn child<'a>(bytes: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    chunks(bytes)
        .find(|found| found.0 == kind)
        .map(|found| found.1)
}

/// Looks for the first video stream.
pub(crate) fn first_video(file: &[u8]) -> Found<'_> {
    let body = file.get(12..).unwrap_or_default();
    let Some(header) = lists(body, b"hdrl").next() else {
        return Found::Unsettled;
    };
    // Without a list of chunks ffmpeg gives up.
    let Some(movie) = lists(body, b"movi").next() else {
        return Found::Unsettled;
    };
    for (number, stream) in lists(header, b"strl").enumerate() {
        let kind = child(stream, b"strh").and_then(|head| head.get(..4));
        if kind == Some(b"vids") {
            let video = child(stream, b"strf").and_then(|format| video(format, movie, number));
            return video.map_or(Found::Unsettled, Found::Stream);
        }
    }
    Found::NoVideo
}

fn video<'a>(format: &'a [u8], movie: &'a [u8], number: usize) -> Option<VideoStream<'a>> {
    let tag: [u8; 4] = format.get(16..20)?.try_into().ok()?;
    let height = i32::from_ne_bytes(le32(format, 8)?.to_ne_bytes()).unsigned_abs();
    let name = format!("{number:02}");
    let mut samples = Vec::new();
    pictures(movie, name.as_bytes(), 2, &mut samples);
    Some(VideoStream {
        codec: Codec::of_bitmap(tag),
        private: format.get(40..).unwrap_or_default(),
        stated: (le32(format, 4)?, height),
        samples,
    })
}

/// Chunks of the stream called `name`, also those inside `rec ` lists.
fn pictures<'a>(list: &'a [u8], name: &[u8], depth: u8, samples: &mut Vec<&'a [u8]>) {
    for (kind, body) in chunks(list) {
        if samples.len() >= SAMPLES {
            return;
        }
        if kind.starts_with(name) {
            samples.push(body);
        } else if let Some(inner) = body.strip_prefix(b"rec ")
            && &kind == b"LIST"
            && depth > 0
        {
            pictures(inner, name, depth - 1, samples);
        }
    }
}
