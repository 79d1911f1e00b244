//! MP4 and QuickTime: the first video stream in the order in which ffmpeg meets it.

use super::codec::{self, be16, be32};
use super::stream::{Codec, Found, SAMPLES, VideoStream};

pub(crate) type Boxed<'a> = ([u8; 4], usize, &'a [u8]);

/// Boxes inside `bytes`, which begin at `base` in the file. A box that is cut off is as long as what is left.
pub(crate) fn boxes(bytes: &[u8], base: usize) -> impl Iterator<Item = Boxed<'_>> {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let short = be32(bytes, at)? as usize;
        let kind: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
        let (head, size) = match short {
            0 => (8, bytes.len() - at),
            1 => (16, usize::try_from(be64(bytes, at + 8)?).ok()?),
            other => (8, other),
        };
        if size < head {
            return None;
        }
        let end = at.saturating_add(size).min(bytes.len());
        let body = bytes.get(at + head..end)?;
        let start = base + at + head;
        at = end;
        Some((kind, start, body))
    })
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some((u64::from(be32(bytes, at)?) << 32) | u64::from(be32(bytes, at + 4)?))
}

pub(crate) fn child(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes, 0)
        .find(|found| found.0 == kind)
        .map(|found| found.2)
}

/// The `moov`. Some writers hide it in a box that is skipped; ffmpeg finds it there, but not with fragments.
fn index(file: &[u8]) -> Option<&[u8]> {
    let hidden = |(kind, _, body): &Boxed<'_>| {
        matches!(kind, b"free" | b"hoov") && matches!(body.get(4..8), Some(b"mvhd" | b"cmov"))
    };
    let fragmented = || boxes(file, 0).any(|found| &found.0 == b"moof");
    child(file, *b"moov").or_else(|| {
        let hidden = boxes(file, 0).find(hidden)?;
        (!fragmented()).then_some(hidden.2)
    })
}

/// Looks for the first video stream.
pub(crate) fn first_video(file: &[u8]) -> Found<'_> {
    let Some(moov) = index(file) else {
        return Found::Unsettled;
    };
    for (kind, _, body) in boxes(moov, 0) {
        match &kind {
            b"trak" => match track(file, body) {
                Track::Video(stream) => return Found::Stream(stream),
                Track::Unknown => return Found::Unsettled,
                Track::Other => {}
            },
            b"udta" | b"meta" => {
                if let Some(stream) = cover(kind, body) {
                    return Found::Stream(stream);
                }
            }
            _ => {}
        }
    }
    Found::NoVideo
}

/// Cover art is a video stream to ffprobe.
fn cover(kind: [u8; 4], body: &[u8]) -> Option<VideoStream<'_>> {
    let meta = if &kind == b"udta" {
        child(body, *b"meta")?
    } else {
        body
    };
    let data = child(child(child(meta.get(4..)?, *b"ilst")?, *b"covr")?, *b"data")?;
    let picture = data.get(8..)?;
    let (codec, stated) = match codec::jpeg(picture) {
        Some(size) => (Codec::Mjpeg, size),
        None => (Codec::Png, codec::png(picture)?),
    };
    Some(VideoStream {
        codec,
        private: &[],
        stated,
        samples: vec![picture],
    })
}

enum Track<'a> {
    Video(VideoStream<'a>),
    Other,
    Unknown,
}

fn track<'a>(file: &'a [u8], trak: &'a [u8]) -> Track<'a> {
    let Some(media) = child(trak, *b"mdia") else {
        return Track::Other;
    };
    if child(media, *b"hdlr").and_then(|h| h.get(8..12)) != Some(b"vide") {
        return Track::Other;
    }
    video_track(file, trak, media).map_or(Track::Unknown, Track::Video)
}

fn video_track<'a>(file: &'a [u8], trak: &'a [u8], media: &'a [u8]) -> Option<VideoStream<'a>> {
    let table = child(child(media, *b"minf")?, *b"stbl")?;
    let (mut kind, _, entry) = boxes(child(table, *b"stsd")?.get(8..)?, 0).next()?;
    let extra = entry.get(78..)?;
    if &kind == b"encv" {
        kind = child(child(extra, *b"sinf")?, *b"frma")?
            .get(..4)?
            .try_into()
            .ok()?;
    }
    let (codec, private) = match &kind {
        b"avc1" | b"avc2" | b"avc3" | b"avc4" => (Codec::H264, child(extra, *b"avcC")),
        b"hvc1" | b"hev1" => (Codec::H265, child(extra, *b"hvcC")),
        b"vp08" => (Codec::Vp8, None),
        b"vp09" => (Codec::Vp9, None),
        b"av01" => (Codec::Av1, child(extra, *b"av1C")),
        b"mp4v" => esds(child(extra, *b"esds")?)?,
        b"jpeg" | b"mjpa" => (Codec::Mjpeg, None),
        b"png " => (Codec::Png, None),
        b"m1v " | b"m2v1" | b"mpg1" | b"mpg2" => (Codec::Mpeg2, None),
        b"s263" | b"h263" | b"H263" => (Codec::H263, None),
        b"apcn" | b"apcs" | b"apco" | b"apch" | b"ap4h" => (Codec::Stated("prores"), None),
        _ => (Codec::Stated("unknown"), None),
    };
    let mut samples = table_samples(file, table).unwrap_or_default();
    if samples.is_empty() {
        let id = child(trak, *b"tkhd")
            .and_then(|t| be32(t, if t.first() == Some(&1) { 20 } else { 12 }));
        samples = fragment_samples(file, id?);
    }
    let stated = match codec {
        // ffmpeg takes their size from the bitstream only, and shows 0 x 0 without a decodable picture.
        Codec::Mpeg4 | Codec::H263 => (0, 0),
        _ => (be16(entry, 24)?, be16(entry, 26)?),
    };
    Some(VideoStream {
        codec,
        private: private.unwrap_or(&[]),
        stated,
        samples,
    })
}

fn esds(body: &[u8]) -> Option<(Codec, Option<&[u8]>)> {
    let mut at = 4;
    let mut codec = None;
    while let Some(&tag) = body.get(at) {
        at += 1;
        let mut length = 0usize;
        for _ in 0..4 {
            let byte = *body.get(at)?;
            at += 1;
            length = (length << 7) | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        match tag {
            3 => {
                let flags = *body.get(at + 2)?;
                at += 3 + if flags & 0x80 != 0 { 2 } else { 0 };
                if flags & 0x40 != 0 {
                    at += 1 + usize::from(*body.get(at)?);
                }
                at += if flags & 0x20 != 0 { 2 } else { 0 };
            }
            4 => {
                codec = Some(match body.get(at)? {
                    0x20 => Codec::Mpeg4,
                    0x21 => Codec::H264,
                    0x23 => Codec::H265,
                    0x60..=0x65 | 0x6a => Codec::Mpeg2,
                    0x6c => Codec::Mjpeg,
                    0x6d => Codec::Png,
                    0xb1 => Codec::Vp9,
                    _ => Codec::Stated("unknown"),
                });
                at += 13;
            }
            5 => {
                let end = at.checked_add(length)?.min(body.len());
                return Some((codec?, body.get(at..end)));
            }
            _ => at = at.checked_add(length)?,
        }
    }
    Some((codec?, None))
}

fn piece(file: &[u8], at: usize, size: usize) -> &[u8] {
    let end = at.saturating_add(size).min(file.len());
    file.get(at..end).unwrap_or(&[])
}

fn table_samples<'a>(file: &'a [u8], table: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let sizes = child(table, *b"stsz")?;
    let (fixed, count) = (be32(sizes, 4)? as usize, be32(sizes, 8)? as usize);
    let (wide, chunks) = match child(table, *b"stco") {
        Some(chunks) => (false, chunks),
        None => (true, child(table, *b"co64")?),
    };
    let runs = child(table, *b"stsc")?;
    let run_count = be32(runs, 4)? as usize;
    let mut samples = Vec::new();
    let mut run = 0;
    for chunk in 0..be32(chunks, 4)? as usize {
        while run + 1 < run_count && be32(runs, 8 + 12 * (run + 1))? as usize <= chunk + 1 {
            run += 1;
        }
        let mut at = if wide {
            usize::try_from(be64(chunks, 8 + 8 * chunk)?).ok()?
        } else {
            be32(chunks, 8 + 4 * chunk)? as usize
        };
        for _ in 0..be32(runs, 8 + 12 * run + 4)? {
            if samples.len() >= count.min(SAMPLES) {
                return Some(samples);
            }
            let size = if fixed > 0 {
                fixed
            } else {
                be32(sizes, 12 + 4 * samples.len())? as usize
            };
            samples.push(piece(file, at, size));
            at = at.saturating_add(size);
        }
        if chunk > 4 * SAMPLES {
            break;
        }
    }
    Some(samples)
}

fn fragment_samples(file: &[u8], track: u32) -> Vec<&[u8]> {
    let mut samples = Vec::new();
    for (kind, start, moof) in boxes(file, 0) {
        if &kind != b"moof" {
            continue;
        }
        // An 8-byte header is what every writer uses; a moof of more than 4 GB does not occur.
        let moof_at = start.saturating_sub(8);
        for (kind, _, traf) in boxes(moof, start) {
            if &kind == b"traf" && read_traf(file, traf, moof_at, track, &mut samples).is_none() {
                return samples;
            }
        }
        if samples.len() >= SAMPLES {
            break;
        }
    }
    samples
}

fn read_traf<'a>(
    file: &'a [u8],
    traf: &'a [u8],
    moof_at: usize,
    track: u32,
    samples: &mut Vec<&'a [u8]>,
) -> Option<()> {
    let head = child(traf, *b"tfhd")?;
    let flags = be32(head, 0)?;
    if be32(head, 4)? != track {
        return Some(());
    }
    let mut at = 8;
    let mut base = moof_at;
    if flags & 1 != 0 {
        base = usize::try_from(be64(head, at)?).ok()?;
        at += 8;
    }
    at += if flags & 2 != 0 { 4 } else { 0 } + if flags & 8 != 0 { 4 } else { 0 };
    let default = if flags & 0x10 != 0 {
        be32(head, at)? as usize
    } else {
        0
    };
    for (_, _, run) in boxes(traf, 0).filter(|found| &found.0 == b"trun") {
        let flags = be32(run, 0)?;
        let count = be32(run, 4)?;
        let mut at = 8;
        let mut place = base;
        if flags & 1 != 0 {
            let offset = i32::from_be_bytes(be32(run, at)?.to_be_bytes());
            place = base.checked_add_signed(isize::try_from(offset).ok()?)?;
            at += 4;
        }
        at += if flags & 4 != 0 { 4 } else { 0 };
        for _ in 0..count {
            at += if flags & 0x100 != 0 { 4 } else { 0 };
            let mut size = default;
            if flags & 0x200 != 0 {
                size = be32(run, at)? as usize;
                at += 4;
            }
            at += if flags & 0x400 != 0 { 4 } else { 0 } + if flags & 0x800 != 0 { 4 } else { 0 };
            if samples.len() >= SAMPLES {
                return Some(());
            }
            samples.push(piece(file, place, size));
            place = place.saturating_add(size);
        }
        base = place;
    }
    Some(())
}
