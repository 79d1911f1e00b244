//! FLV: the first video tags. The metadata's size plays no part, as in ffprobe.

use super::codec::{be24, be32};
use super::stream::{Codec, Found, SAMPLES, VideoStream};

const VIDEO: u8 = 9;

fn tags(file: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = be32(file, 5).map_or(usize::MAX, |head| (head as usize).saturating_add(4));
    std::iter::from_fn(move || {
        let kind = file.get(at)? & 0x1f;
        let size = be24(file, at + 1)? as usize;
        let begin = at + 11;
        // A tag that is cut off is as long as what is left.
        let body = file.get(begin..begin.saturating_add(size).min(file.len()))?;
        at = begin + size + 4;
        Some((kind, body))
    })
}

/// Looks for the first video tag.
pub(crate) fn first_video(file: &[u8]) -> Found<'_> {
    let mut stream: Option<VideoStream<'_>> = None;
    for (kind, body) in tags(file) {
        let Some((&head, data)) = body.split_first().filter(|_| kind == VIDEO) else {
            continue;
        };
        let stream = stream.get_or_insert_with(|| VideoStream {
            codec: codec(head & 15),
            private: &[],
            stated: (0, 0),
            samples: Vec::new(),
        });
        match (stream.codec, data.first()) {
            (Codec::H264, Some(0)) => stream.private = data.get(4..).unwrap_or_default(),
            (Codec::H264, Some(1)) => stream.samples.extend(data.get(4..)),
            (Codec::H264, _) => {}
            _ => stream.samples.push(data),
        }
        if stream.samples.len() >= SAMPLES {
            break;
        }
    }
    stream.map_or(Found::NoVideo, Found::Stream)
}

fn codec(number: u8) -> Codec {
    match number {
        2 => Codec::Flv1,
        3 => Codec::FlashScreen,
        6 => Codec::FlashScreen2,
        7 => Codec::H264,
        4 | 5 => Codec::Stated("vp6"),
        _ => Codec::Stated("unknown"),
    }
}
