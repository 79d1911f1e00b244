//! Ogg: the first pages, which name the streams.

use super::codec::{be16, be24, le32};
use super::stream::{Codec, Found, VideoStream};

/// A page that is whole.
struct Page<'a> {
    serial: u32,
    /// The first packet of a stream.
    begins: bool,
    /// Its first packet began on an earlier page.
    continued: bool,
    sizes: &'a [u8],
    body: &'a [u8],
}

fn pages(file: &[u8]) -> impl Iterator<Item = Page<'_>> {
    let mut rest = file;
    std::iter::from_fn(move || {
        let page = rest.strip_prefix(b"OggS")?;
        let flags = *page.get(1)?;
        let segments = usize::from(*page.get(22)?);
        let sizes = page.get(23..23 + segments)?;
        let size: usize = sizes.iter().map(|size| usize::from(*size)).sum();
        let (body, next) = page.get(23 + segments..)?.split_at_checked(size)?;
        rest = next;
        Some(Page {
            serial: le32(page, 10)?,
            begins: flags & 2 != 0,
            continued: flags & 1 != 0,
            sizes,
            body,
        })
    })
}

/// Looks for the first video stream. As ffmpeg does, it wants a whole packet that is no header.
pub(crate) fn first_video(file: &[u8]) -> Found<'_> {
    let mut first = None;
    let (mut open, mut theora) = (Vec::new(), Vec::new());
    for page in pages(file) {
        if page.begins {
            first = first.or_else(|| video(page.body));
            if page.body.starts_with(b"\x80theora") {
                theora.push(page.serial);
            }
            continue;
        }
        let header = match theora.contains(&page.serial) {
            true => |packet: &[u8]| packet.first().is_none_or(|first| first & 0x80 != 0),
            false => named_header,
        };
        if media_ends(&page, header, &mut open) {
            return first.map_or(Found::NoVideo, Found::Stream);
        }
    }
    Found::Unsettled
}

/// Whether a packet with sound or picture ends on this page; `open` are the streams whose last packet is one and
/// goes on.
fn media_ends(page: &Page<'_>, header: fn(&[u8]) -> bool, open: &mut Vec<u32>) -> bool {
    let mut at = 0;
    let mut media = page.continued && open.contains(&page.serial);
    let mut begins = !page.continued;
    open.retain(|serial| *serial != page.serial);
    for size in page.sizes {
        if begins {
            media = page.body.get(at..).is_some_and(|packet| !header(packet));
        }
        at += usize::from(*size);
        begins = *size < 255;
        if begins && media {
            return true;
        }
    }
    if media {
        open.push(page.serial);
    }
    false
}

/// Header packets of the other codecs that Ogg is used with.
fn named_header(packet: &[u8]) -> bool {
    let names: [&[u8]; 5] = [b"vorbis", b"VP80", b"pusTags", b"peex", b"FLAC"];
    let rest = packet.get(1..).unwrap_or_default();
    packet.is_empty() || names.iter().any(|name| rest.starts_with(name))
}

fn video(head: &[u8]) -> Option<VideoStream<'_>> {
    let (codec, stated) = if head.starts_with(b"\x80theora") {
        (Codec::Stated("theora"), (be24(head, 14)?, be24(head, 17)?))
    } else if head.starts_with(b"OVP80\x01") {
        (Codec::Stated("vp8"), (be16(head, 8)?, be16(head, 10)?))
    } else {
        return None;
    };
    Some(VideoStream {
        codec,
        private: &[],
        stated,
        samples: Vec::new(),
    })
}
