//! Sizes out of parameter sets and picture headers.
//!
//! Every function takes hostile bytes and answers `None` for what does not parse.

use super::bits::Bits;

/// Width and height in pixels.
pub(crate) type Size = (u32, u32);

/// Bytes of a NAL unit without emulation prevention.
fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len().min(4096));
    let mut zeros = 0;
    for &byte in nal.iter().take(4096) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

fn cropped(size: u32, unit: u32, before: u32, after: u32) -> Option<u32> {
    let cut = unit.checked_mul(before.checked_add(after)?)?;
    // ffmpeg ignores a crop that leaves nothing.
    Some(if cut < size { size - cut } else { size })
}

/// An H.264 sequence parameter set (with its NAL header byte): id and cropped size.
pub(crate) fn h264_sps(nal: &[u8]) -> Option<(u32, Size)> {
    if nal.first()? & 0x1f != 7 {
        return None;
    }
    let rbsp = unescape(nal.get(1..)?);
    let mut bits = Bits::new(&rbsp);
    let profile = bits.take(8)?;
    bits.skip(16)?;
    let id = bits.ue()?;
    if id > 31 {
        return None;
    }
    let mut chroma = 1;
    if matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    ) {
        chroma = bits.ue()?;
        if chroma > 3 {
            return None;
        }
        if chroma == 3 {
            bits.skip(1)?;
        }
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?;
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.se()?;
            }
        }
        2 => {}
        _ => return None,
    }
    bits.ue()?;
    bits.skip(1)?;
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let units = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.flag()?;
    let field = if frames_only { 1 } else { 2 };
    let height = units.checked_mul(field)?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let mut size = (width, height);
    if bits.flag()? {
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        let across = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let down = if chroma == 1 { 2 } else { 1 } * field;
        size = (
            cropped(width, across, left, right)?,
            cropped(height, down, top, bottom)?,
        );
    }
    plausible(size).map(|size| (id, size))
}

fn scaling_list(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..count {
        if next != 0 {
            next = (last + bits.se()? + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// An H.264 picture parameter set: its id and the id of its sequence parameter set.
pub(crate) fn h264_pps(nal: &[u8]) -> Option<(u32, u32)> {
    if nal.first()? & 0x1f != 8 {
        return None;
    }
    let rbsp = unescape(nal.get(1..)?);
    let mut bits = Bits::new(&rbsp);
    Some((bits.ue()?, bits.ue()?))
}

/// A JPEG's frame header.
pub(crate) fn jpeg(bytes: &[u8]) -> Option<Size> {
    if bytes.get(..2)? != [0xff, 0xd8] {
        return None;
    }
    let mut at = 2;
    loop {
        while *bytes.get(at)? != 0xff {
            at += 1;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xff => at += 1,
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            0xd9 => return None,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let height = be16(bytes, at + 5)?;
                return plausible((be16(bytes, at + 7)?, height));
            }
            _ => at = at + 2 + be16(bytes, at + 2)? as usize,
        }
    }
}

/// Whether the bytes begin as a PNG does.
fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.get(12..16) == Some(b"IHDR")
}

/// A PNG's size. As a decoder has it, there is none before the first piece of the picture is whole.
pub(crate) fn png(bytes: &[u8]) -> Option<Size> {
    if !is_png(bytes) {
        return None;
    }
    let mut at = 8usize;
    loop {
        let end = at.checked_add(12)?.checked_add(be32(bytes, at)? as usize)?;
        if bytes.get(at + 4..at + 8)? == b"IDAT" {
            bytes.get(at..end)?;
            return plausible((be32(bytes, 16)?, be32(bytes, 20)?));
        }
        at = end;
    }
}

/// Two bytes, big-endian.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u32::from(u16::from_be_bytes(pair.try_into().ok()?)))
}

/// Four bytes, big-endian.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

fn plausible(size: Size) -> Option<Size> {
    (size.0 > 0 && size.1 > 0 && size.0 <= 65_536 && size.1 <= 65_536).then_some(size)
}
