//! ASF: the first video stream's properties.

use super::codec::{le16, le32};
use super::stream::{Codec, Found, VideoStream};

/// First bytes of a file: the identifier of its header object.
pub(crate) const MAGIC: [u8; 16] =
    *b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";
const STREAM: [u8; 16] = *b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65";
const VIDEO: [u8; 16] = *b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b";
const DATA: [u8; 16] = *b"\x36\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";

/// Objects: an identifier, a length of eight bytes, a body.
fn objects(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let kind = bytes.get(at..at + 16)?;
        let low = le32(bytes, at + 16)? as usize;
        let size = if le32(bytes, at + 20)? == 0 {
            low
        } else {
            usize::MAX
        };
        if size < 24 {
            return None;
        }
        let end = at.saturating_add(size).min(bytes.len());
        let body = bytes.get(at + 24..end)?;
        at = end;
        Some((kind, body))
    })
}

/// Looks for the first video stream.
pub(crate) fn first_video(file: &[u8]) -> Found<'_> {
    let mut header = None;
    let mut data = false;
    for (kind, body) in objects(file) {
        if kind == MAGIC {
            header = header.or(body.get(6..));
        }
        data |= kind == DATA;
    }
    // Without a data object ffmpeg gives up.
    let Some(header) = header.filter(|_| data) else {
        return Found::Unsettled;
    };
    for (kind, body) in objects(header) {
        if kind == STREAM && body.get(..16) == Some(&VIDEO) {
            return body
                .get(54..)
                .and_then(video)
                .map_or(Found::Unsettled, Found::Stream);
        }
    }
    Found::NoVideo
}

/// Codecs of this family keep no size in their pictures: what the container says is what ffprobe says.
fn video(specific: &[u8]) -> Option<VideoStream<'_>> {
    let format = specific.get(11..)?;
    le16(specific, 9)?;
    let tag: [u8; 4] = format.get(16..20)?.try_into().ok()?;
    Some(VideoStream {
        codec: Codec::of_bitmap(tag),
        private: format.get(40..).unwrap_or_default(),
        stated: (le32(format, 4)?, le32(format, 8)?),
        samples: Vec::new(),
    })
}
