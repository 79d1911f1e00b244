//! Ordinary clips, settled without a demuxer in C.
//!
//! An ordinary clip is an MP4 as encoders write it: an index and its data, one H.264 stream, at most one AAC-LC stream,
//! and nothing else. Its size is said twice, by the sample entry and by the one sequence parameter set, and both say the
//! same, so that it does not matter how far any decoder gets. Whatever is unusual in any way, down to a box that is not
//! listed here, is not settled: libavformat is asked then. So this file can be strict and must never be lenient.

use super::codec::{self, Size, be16, be32};
use super::mp4::be64;

/// Boxes of one level at most.
const MOST_BOXES: usize = 64;
/// Sides that every decoder takes, pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=8192;
/// What libavformat looks at first when it guesses the format of a file.
const GUESS: usize = 2048;

type Part<'a> = ([u8; 4], &'a [u8]);

/// Coded size of an ordinary clip; `None` when it is not one.
pub(super) fn size(file: &[u8]) -> Option<Size> {
    let parts = level(
        file,
        &[(*b"ftyp", 1), (*b"moov", 1), (*b"mdat", 1), (*b"free", 2)],
    )?;
    let (first, brands) = parts.first()?;
    let brand = brands.get(..4)?;
    if first != b"ftyp" || brand == b"qt  " || brands.len() > 56 || like_transport(file) {
        return None;
    }
    // An index can hide in a box that is skipped.
    if parts
        .iter()
        .any(|part| &part.0 == b"free" && part.1.len() > 7)
    {
        return None;
    }
    one(&parts, *b"mdat")?;
    let moov = level(
        one(&parts, *b"moov")?,
        &[(*b"mvhd", 1), (*b"trak", 2), (*b"udta", 1)],
    )?;
    plain(one(&moov, *b"mvhd")?, 100)?;
    let (mut found, mut sound, mut bytes) = (None, false, 0usize);
    for (kind, body) in &moov {
        match kind {
            b"trak" => {
                let track = track(body)?;
                bytes = bytes.checked_add(track.table.bytes)?;
                match track.kind {
                    Kind::Video(size) if found.is_none() => found = Some((size, track.table)),
                    Kind::Sound if !sound => sound = true,
                    _ => return None,
                }
            }
            b"udta" => tags(body)?,
            _ => {}
        }
    }
    let (size, table) = found?;
    // Tables that name bytes more than once would also make this walk long.
    (bytes <= file.len()).then_some(())?;
    pictures(file, &table)?;
    Some(size)
}

/// Whether the beginning could be taken for packets of a transport stream.
fn like_transport(file: &[u8]) -> bool {
    let head = &file[..file.len().min(GUESS)];
    [188, 192, 204].into_iter().any(|length| {
        (0..length).any(|phase| {
            let marks = head.iter().skip(phase).step_by(length);
            marks.filter(|byte| **byte == 0x47).count() > 5
        })
    })
}

/// The boxes that fill `bytes` to the last one: only listed kinds, each at most as often as it says.
fn level<'a>(bytes: &'a [u8], listed: &[([u8; 4], usize)]) -> Option<Vec<Part<'a>>> {
    let (mut at, mut parts) = (0usize, Vec::new());
    while at < bytes.len() {
        let kind: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
        let (head, size) = match be32(bytes, at)? as usize {
            1 if &kind == b"mdat" => (16, usize::try_from(be64(bytes, at + 8)?).ok()?),
            size => (8, size),
        };
        let end = at.checked_add(size)?;
        parts.push((kind, bytes.get(at.checked_add(head)?..end)?));
        at = end;
        if parts.len() > MOST_BOXES {
            return None;
        }
    }
    let count = |kind: &[u8; 4]| parts.iter().filter(|part| part.0 == *kind).count();
    let most = |kind: &[u8; 4]| {
        listed
            .iter()
            .find(|entry| entry.0 == *kind)
            .map(|entry| entry.1)
    };
    let fits = parts
        .iter()
        .all(|part| most(&part.0).is_some_and(|most| count(&part.0) <= most));
    fits.then_some(parts)
}

/// The one box of a kind.
fn one<'a>(parts: &[Part<'a>], kind: [u8; 4]) -> Option<&'a [u8]> {
    parts.iter().find(|part| part.0 == kind).map(|part| part.1)
}

/// A box of version 0 and this length.
fn plain(body: &[u8], length: usize) -> Option<()> {
    (body.len() == length && body.first() == Some(&0)).then_some(())
}

/// A table of version 0 without flags: its number of entries, and these, which fill it.
fn table(body: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let count = be32(body, 4)? as usize;
    let entries = body.get(8..)?;
    (be32(body, 0)? == 0 && entries.len() == count.checked_mul(width)?).then_some((count, entries))
}

enum Kind {
    Video(Size),
    Sound,
}

struct Track<'a> {
    kind: Kind,
    table: Table<'a>,
}

fn track(body: &[u8]) -> Option<Track<'_>> {
    let parts = level(body, &[(*b"tkhd", 1), (*b"edts", 1), (*b"mdia", 1)])?;
    plain(one(&parts, *b"tkhd")?, 84)?;
    if let Some(edits) = one(&parts, *b"edts") {
        let (count, entries) = table(one(&level(edits, &[(*b"elst", 1)])?, *b"elst")?, 12)?;
        let usual = entries
            .chunks_exact(12)
            .all(|entry| entry.get(8..) == Some(&[0, 1, 0, 0]));
        (count <= 2 && usual).then_some(())?;
    }
    let media = level(
        one(&parts, *b"mdia")?,
        &[(*b"mdhd", 1), (*b"hdlr", 1), (*b"minf", 1)],
    )?;
    let header = one(&media, *b"mdhd")?;
    plain(header, 24)?;
    (be32(header, 12)? > 0).then_some(())?;
    let handler = one(&media, *b"hdlr")?;
    (be32(handler, 0)? == 0 && be32(handler, 4)? == 0 && handler.len() < 128).then_some(())?;
    let inner = one(&media, *b"minf")?;
    let heads = [(*b"vmhd", 1), (*b"smhd", 1), (*b"dinf", 1), (*b"stbl", 1)];
    let inner = level(inner, &heads)?;
    let data = one(&level(one(&inner, *b"dinf")?, &[(*b"dref", 1)])?, *b"dref")?;
    // One reference, to this same file.
    let here: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\x0curl \0\0\0\x01";
    (data == here).then_some(())?;
    let tables = one(&inner, *b"stbl")?;
    match (
        handler.get(8..12)?,
        one(&inner, *b"vmhd"),
        one(&inner, *b"smhd"),
    ) {
        (b"vide", Some(head), None) if head.len() == 12 => {
            let (table, entry) = Table::read(tables, *b"avc1")?;
            let kind = Kind::Video(picture_entry(entry)?);
            Some(Track { kind, table })
        }
        (b"soun", None, Some(head)) if head.len() == 8 => {
            let (table, entry) = Table::read(tables, *b"mp4a")?;
            sound_entry(entry)?;
            let kind = Kind::Sound;
            Some(Track { kind, table })
        }
        _ => None,
    }
}

/// Where a track's samples lie.
struct Table<'a> {
    sizes: &'a [u8],
    runs: &'a [u8],
    chunks: &'a [u8],
    /// Bytes of all samples together.
    bytes: usize,
}

impl<'a> Table<'a> {
    /// Reads `stbl`, and gives the one sample entry along with it.
    fn read(body: &'a [u8], format: [u8; 4]) -> Option<(Self, &'a [u8])> {
        let parts = level(
            body,
            &[
                (*b"stsd", 1),
                (*b"stts", 1),
                (*b"ctts", 1),
                (*b"stss", 1),
                (*b"stsc", 1),
                (*b"stsz", 1),
                (*b"stco", 1),
                (*b"sgpd", 1),
                (*b"sbgp", 1),
            ],
        )?;
        let described = one(&parts, *b"stsd")?;
        (be32(described, 0)? == 0 && be32(described, 4)? == 1).then_some(())?;
        let entry = one(&level(described.get(8..)?, &[(format, 1)])?, format)?;
        let sizes = one(&parts, *b"stsz")?;
        let count = be32(sizes, 8)? as usize;
        let fits = be32(sizes, 0)? == 0 && be32(sizes, 4)? == 0 && count > 0;
        (fits && sizes.len() == count.checked_mul(4)?.checked_add(12)?).then_some(())?;
        let sizes = sizes.get(12..)?;
        let sum = sizes.chunks_exact(4).try_fold(0usize, |sum, entry| {
            sum.checked_add(be32(entry, 0)? as usize)
        });
        for kind in [*b"stts", *b"ctts"] {
            if let Some(times) = one(&parts, kind) {
                runs_over(table(times, 8)?.1, count)?;
            } else if &kind == b"stts" {
                return None;
            }
        }
        if let Some(keys) = one(&parts, *b"stss") {
            table(keys, 4)?;
        }
        groups(one(&parts, *b"sgpd"), one(&parts, *b"sbgp"))?;
        let (_, runs) = table(one(&parts, *b"stsc")?, 12)?;
        let (_, chunks) = table(one(&parts, *b"stco")?, 4)?;
        let read = Self {
            sizes,
            runs,
            chunks,
            bytes: sum?,
        };
        (read.places()?.len() == count).then_some((read, entry))
    }

    /// Offset and length of every sample.
    fn places(&self) -> Option<Vec<(usize, usize)>> {
        let mut places = Vec::new();
        let mut sizes = self.sizes.chunks_exact(4);
        let mut runs = self.runs.chunks_exact(12).peekable();
        let (mut next, mut each) = (1, 0);
        for (number, chunk) in (1..).zip(self.chunks.chunks_exact(4)) {
            if number == next {
                let run = runs.next()?;
                each = be32(run, 4)?;
                (be32(run, 0)? == number && each > 0 && be32(run, 8)? == 1).then_some(())?;
                next = runs.peek().map_or(Some(u32::MAX), |run| be32(run, 0))?;
                (next > number).then_some(())?;
            }
            let mut at = be32(chunk, 0)? as usize;
            for _ in 0..each {
                let size = be32(sizes.next()?, 0)? as usize;
                places.push((at, size));
                at = at.checked_add(size)?;
            }
        }
        runs.peek().is_none().then_some(places)
    }
}

/// Runs of a count and a value that cover exactly `count` samples.
fn runs_over(entries: &[u8], count: usize) -> Option<()> {
    let mut left = count;
    for entry in entries.chunks_exact(8) {
        let run = be32(entry, 0)? as usize;
        left = (run > 0).then(|| left.checked_sub(run))??;
    }
    (left == 0).then_some(())
}

/// How the encoder's lead-in is marked: the one group that ffmpeg's writer makes.
fn groups(described: Option<&[u8]>, used: Option<&[u8]>) -> Option<()> {
    let (described, used) = match (described, used) {
        (None, None) => return Some(()),
        (described, used) => (described?, used?),
    };
    let version_1 = described.get(..16)? == b"\x01\0\0\0roll\0\0\0\x02\0\0\0\x01";
    let version_0 = used.get(..12)? == b"\0\0\0\0roll\0\0\0\x01";
    (version_1 && version_0 && described.len() == 18 && used.len() == 20).then_some(())
}

/// The size, when sample entry and parameter set agree on it.
fn picture_entry(entry: &[u8]) -> Option<Size> {
    let stated = (be16(entry, 24)?, be16(entry, 26)?);
    let name = entry.get(42..74)?;
    // Some names of encoders make ffmpeg take the stream for something else.
    let written = name.get(1..)?;
    let usual = written.starts_with(b"Lavc") || written.starts_with(b"AVC ");
    let usual = usual || name.iter().all(|byte| *byte == 0);
    // 24 bits a pixel, no colour table.
    (usual && name[0] < 32 && entry.get(74..78)? == [0, 24, 0xff, 0xff]).then_some(())?;
    let extra = level(
        entry.get(78..)?,
        &[(*b"avcC", 1), (*b"pasp", 1), (*b"btrt", 1), (*b"colr", 1)],
    )?;
    for (kind, length) in [(*b"pasp", 8), (*b"btrt", 12), (*b"colr", 11)] {
        if one(&extra, kind).is_some_and(|body| body.len() != length) {
            return None;
        }
    }
    if let Some(colour) = one(&extra, *b"colr") {
        colour.starts_with(b"nclx").then_some(())?;
    }
    let sets = one(&extra, *b"avcC")?;
    (sets.first() == Some(&1) && sets.get(4..6)? == [0xff, 0xe1]).then_some(())?;
    let (sequence, rest) = set(sets.get(6..)?)?;
    let (picture, rest) = set(rest.strip_prefix(&[1])?)?;
    (rest.is_empty() || rest.len() == 4).then_some(())?;
    (sequence.get(1..4)? == sets.get(1..4)?).then_some(())?;
    let (id, coded) = codec::h264_sps(sequence)?;
    let (_, named) = codec::h264_pps(picture)?;
    let sides = SIDES.contains(&coded.0) && SIDES.contains(&coded.1);
    (coded == stated && id == named && sides).then_some(coded)
}

/// A parameter set with its length in front, and what follows it.
fn set(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = (be16(bytes, 0)? as usize).checked_add(2)?;
    Some((bytes.get(2..end)?, bytes.get(end..)?))
}

fn sound_entry(entry: &[u8]) -> Option<()> {
    let (version, channels) = (be16(entry, 8)?, be16(entry, 16)?);
    (version == 0 && (1..=8).contains(&channels)).then_some(())?;
    let extra = level(entry.get(28..)?, &[(*b"esds", 1), (*b"btrt", 1)])?;
    if one(&extra, *b"btrt").is_some_and(|body| body.len() != 12) {
        return None;
    }
    let body = one(&extra, *b"esds")?;
    (be32(body, 0)? == 0).then_some(())?;
    let (stream, rest) = descriptor(body.get(4..)?, 3)?;
    rest.is_empty().then_some(())?;
    (stream.get(2) == Some(&0)).then_some(())?;
    let (decoder, layer) = descriptor(stream.get(3..)?, 4)?;
    // Sound in MPEG-4 AAC.
    decoder.starts_with(&[0x40, 0x15]).then_some(())?;
    let (config, rest) = descriptor(decoder.get(13..)?, 5)?;
    rest.is_empty().then_some(())?;
    let (layer, rest) = descriptor(layer, 6)?;
    (layer == [2] && rest.is_empty()).then_some(())?;
    let setting = be16(config, 0)?;
    let (kind, rate, channels) = (setting >> 11, setting >> 7 & 15, setting >> 3 & 15);
    let usual =
        kind == 2 && rate <= 12 && (1..=7).contains(&channels) && setting.trailing_zeros() >= 3;
    (usual && matches!(config.get(2..)?, [] | [0x56, 0xe5, 0])).then_some(())
}

/// A descriptor of MPEG-4: its content, and what follows it.
fn descriptor(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let rest = rest.strip_prefix(&[0x80, 0x80, 0x80]).unwrap_or(rest);
    let length = usize::from(*rest.first()?);
    let body = rest.get(1..length.checked_add(1)?)?;
    (length < 128).then_some((body, rest.get(1 + length..)?))
}

/// Tags as players show them: text under names that begin with `©`. Cover art would be a video stream.
fn tags(body: &[u8]) -> Option<()> {
    let meta = one(&level(body, &[(*b"meta", 1)])?, *b"meta")?;
    (be32(meta, 0)? == 0).then_some(())?;
    let parts = level(meta.get(4..)?, &[(*b"hdlr", 1), (*b"ilst", 1)])?;
    let handler = one(&parts, *b"hdlr")?;
    (handler.get(8..12)? == b"mdir" && handler.len() < 64).then_some(())?;
    let mut rest = one(&parts, *b"ilst")?;
    while !rest.is_empty() {
        let end = be32(rest, 0)? as usize;
        let item = rest.get(8..end)?;
        (rest[4] == 0xa9).then_some(())?;
        let text = one(&level(item, &[(*b"data", 1)])?, *b"data")?;
        (be32(text, 0)? == 1 && be32(text, 4)? == 0 && text.len() < 1024).then_some(())?;
        rest = &rest[end..];
    }
    Some(())
}

/// Every picture lies in the file, in units that fill it, and none brings a parameter set of its own.
fn pictures(file: &[u8], table: &Table<'_>) -> Option<()> {
    for (number, (at, size)) in table.places()?.into_iter().enumerate() {
        let mut rest = file.get(at..at.checked_add(size)?)?;
        let mut key = false;
        while !rest.is_empty() {
            let end = (be32(rest, 0)? as usize).checked_add(4)?;
            let kind = rest.get(4..end)?.first()?;
            key |= kind & 0x9f == 5;
            matches!(kind & 0x9f, 1 | 5 | 6 | 9 | 12).then_some(())?;
            rest = &rest[end..];
        }
        (number > 0 || key).then_some(())?;
    }
    Some(())
}
