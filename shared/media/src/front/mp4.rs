//! Boxes of MP4 and QuickTime.

use super::codec::be32;

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

/// Whether the pictures of every track are shown as they are coded. Only an index where it belongs is looked into.
pub(crate) fn is_upright(file: &[u8]) -> bool {
    let Some(moov) = child(file, *b"moov") else {
        return true;
    };
    let tracks = boxes(moov, 0).filter(|found| &found.0 == b"trak");
    let mut tracks = tracks.filter_map(|(_, _, track)| child(track, *b"tkhd"));
    let plain = |header: &[u8], at: usize| {
        let at = if header.first() == Some(&1) {
            at + 12
        } else {
            at
        };
        header
            .get(at..at + MATRIX.len())
            .is_none_or(|matrix| matrix == MATRIX)
    };
    child(moov, *b"mvhd").is_none_or(|movie| plain(movie, 36))
        && tracks.all(|track| plain(track, 40))
}

/// The matrix that changes nothing.
const MATRIX: [u8; 36] = [
    0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0,
];
