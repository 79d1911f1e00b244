//! Coded sizes out of parameter sets and frame headers.
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

/// The picture parameter set that an H.264 slice names.
pub(crate) fn h264_slice_pps(nal: &[u8]) -> Option<u32> {
    let rbsp = unescape(nal.get(1..nal.len().min(32))?);
    let mut bits = Bits::new(&rbsp);
    bits.ue()?;
    if bits.ue()? > 9 {
        return None;
    }
    bits.ue()
}

/// An H.265 sequence parameter set (with its two NAL header bytes): cropped size.
pub(crate) fn h265_sps(nal: &[u8]) -> Option<Size> {
    if (nal.first()? >> 1) & 0x3f != 33 {
        return None;
    }
    let rbsp = unescape(nal.get(2..)?);
    let mut bits = Bits::new(&rbsp);
    bits.skip(4)?;
    let sub_layers = bits.take(3)?;
    bits.skip(1 + 96)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    bits.ue()?;
    let chroma = bits.ue()?;
    if chroma > 3 {
        return None;
    }
    let planes = chroma == 3 && bits.flag()?;
    let (width, height) = (bits.ue()?, bits.ue()?);
    let mut size = (width, height);
    if bits.flag()? {
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        let across = if matches!(chroma, 1 | 2) && !planes {
            2
        } else {
            1
        };
        let down = if chroma == 1 && !planes { 2 } else { 1 };
        size = (
            cropped(width, across, left, right)?,
            cropped(height, down, top, bottom)?,
        );
    }
    plausible(size)
}

/// A VP9 key frame's size.
pub(crate) fn vp9_frame(frame: &[u8]) -> Option<Size> {
    let mut bits = Bits::new(frame);
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = bits.take(1)? | (bits.take(1)? << 1);
    if profile == 3 && bits.flag()? {
        return None;
    }
    let existing = bits.flag()?;
    let inter = bits.flag()?;
    if existing || inter {
        return None;
    }
    bits.skip(2)?;
    if bits.take(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    if bits.take(3)? != 7 {
        bits.skip(1)?;
        if profile == 1 || profile == 3 {
            bits.skip(3)?;
        }
    } else if profile == 1 || profile == 3 {
        bits.skip(1)?;
    }
    plausible((bits.take(16)? + 1, bits.take(16)? + 1))
}

/// A VP8 key frame's size.
pub(crate) fn vp8_frame(frame: &[u8]) -> Option<Size> {
    if frame.first()? & 1 != 0 || frame.get(3..6)? != [0x9d, 0x01, 0x2a] {
        return None;
    }
    let side = |at: usize| {
        let pair = [*frame.get(at)?, *frame.get(at + 1)?];
        Some(u32::from(u16::from_le_bytes(pair) & 0x3fff))
    };
    plausible((side(6)?, side(8)?))
}

/// The first AV1 sequence header among OBUs: the largest frame size it allows.
pub(crate) fn av1_obus(bytes: &[u8]) -> Option<Size> {
    obus(bytes)
        .find(|unit| unit.0 == 1)
        .and_then(|unit| av1_sequence(unit.1))
}

/// Whether the first picture among OBUs is whole.
pub(crate) fn av1_picture(bytes: &[u8]) -> bool {
    obus(bytes).any(|unit| matches!(unit.0, 3 | 6))
}

/// Kind and body of the OBUs that are whole.
fn obus(mut obus: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let header = *obus.first()?;
        if header & 0x80 != 0 {
            return None;
        }
        let kind = (header >> 3) & 15;
        let mut at = if header & 4 != 0 { 2 } else { 1 };
        let mut length = obus.len().checked_sub(at)?;
        if header & 2 != 0 {
            let mut value = 0u64;
            for step in 0..8 {
                let byte = *obus.get(at)?;
                at += 1;
                value |= u64::from(byte & 0x7f) << (7 * step);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            length = usize::try_from(value).ok()?;
        }
        let end = at.checked_add(length)?;
        let body = obus.get(at..end)?;
        obus = obus.get(end..)?;
        Some((kind, body))
    })
}

fn av1_sequence(body: &[u8]) -> Option<Size> {
    let mut bits = Bits::new(body);
    bits.skip(4)?;
    if bits.flag()? {
        bits.skip(5)?;
    } else {
        let mut delay_bits = None;
        if bits.flag()? {
            bits.skip(64)?;
            if bits.flag()? {
                bits.ue()?;
            }
            if bits.flag()? {
                delay_bits = Some(bits.take(5)? as usize + 1);
                bits.skip(42)?;
            }
        }
        let display_delay = bits.flag()?;
        for _ in 0..=bits.take(5)? {
            bits.skip(12)?;
            if bits.take(5)? > 7 {
                bits.skip(1)?;
            }
            if let Some(count) = delay_bits
                && bits.flag()?
            {
                bits.skip(2 * count + 1)?;
            }
            if display_delay && bits.flag()? {
                bits.skip(4)?;
            }
        }
    }
    let (across, down) = (bits.take(4)? + 1, bits.take(4)? + 1);
    plausible((bits.take(across)? + 1, bits.take(down)? + 1))
}

/// The first MPEG-4 part 2 video object layer in a stream of start codes.
pub(crate) fn mpeg4_vol(bytes: &[u8]) -> Option<Size> {
    let at = bytes
        .windows(4)
        .position(|w| w[..3] == [0, 0, 1] && (0x20..=0x2f).contains(&w[3]))?;
    let mut bits = Bits::new(bytes.get(at + 4..)?);
    bits.skip(9)?;
    let mut version = 1;
    if bits.flag()? {
        version = bits.take(4)?;
        bits.skip(3)?;
    }
    if bits.take(4)? == 15 {
        bits.skip(16)?;
    }
    if bits.flag()? {
        bits.skip(3)?;
        if bits.flag()? {
            bits.skip(79)?;
        }
    }
    let shape = bits.take(2)?;
    if shape == 3 && version != 1 {
        bits.skip(4)?;
    }
    bits.skip(1)?;
    let resolution = bits.take(16)?;
    bits.skip(1)?;
    if bits.flag()? {
        bits.skip((32 - resolution.saturating_sub(1).leading_zeros()).max(1) as usize)?;
    }
    if shape != 0 {
        return None;
    }
    bits.skip(1)?;
    let width = bits.take(13)?;
    bits.skip(1)?;
    plausible((width, bits.take(13)?))
}

/// Picture sizes that H.263 numbers.
fn h263_format(number: u32) -> Option<Size> {
    Some(match number {
        1 => (128, 96),
        2 => (176, 144),
        3 => (352, 288),
        4 => (704, 576),
        5 => (1408, 1152),
        _ => return None,
    })
}

/// An H.263 picture header's size.
pub(crate) fn h263_picture(bytes: &[u8]) -> Option<Size> {
    let mut bits = Bits::new(bytes);
    if bits.take(22)? != 0x20 {
        return None;
    }
    bits.skip(8 + 5)?;
    let format = bits.take(3)?;
    if format != 7 {
        return h263_format(format);
    }
    if bits.take(3)? != 1 {
        return None;
    }
    let format = bits.take(3)?;
    if format != 6 {
        return h263_format(format);
    }
    bits.skip(15 + 9)?;
    if bits.flag()? {
        bits.skip(2)?;
    }
    bits.skip(4)?;
    let width = (bits.take(9)? + 1) * 4;
    bits.skip(1)?;
    plausible((width, bits.take(9)? * 4))
}

/// A Sorenson H.263 picture header's size.
pub(crate) fn flv1_picture(bytes: &[u8]) -> Option<Size> {
    let mut bits = Bits::new(bytes);
    if bits.take(17)? != 1 {
        return None;
    }
    bits.skip(5 + 8)?;
    plausible(match bits.take(3)? {
        0 => (bits.take(8)?, bits.take(8)?),
        1 => (bits.take(16)?, bits.take(16)?),
        2 => (352, 288),
        3 => (176, 144),
        4 => (128, 96),
        5 => (320, 240),
        6 => (160, 120),
        _ => return None,
    })
}

/// The size in a picture of either Flash screen video: block sizes beside the sides.
pub(crate) fn flash_screen(bytes: &[u8]) -> Option<Size> {
    let side = |at| be16(bytes, at).map(|n| n & 0x0fff);
    plausible((side(0)?, side(2)?))
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
pub(crate) fn is_png(bytes: &[u8]) -> bool {
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

/// A GIF's logical screen.
pub(crate) fn gif(bytes: &[u8]) -> Option<Size> {
    if !matches!(bytes.get(..6)?, b"GIF87a" | b"GIF89a") {
        return None;
    }
    let side = |at: usize| {
        Some(u32::from(u16::from_le_bytes([
            *bytes.get(at)?,
            *bytes.get(at + 1)?,
        ])))
    };
    plausible((side(6)?, side(8)?))
}

/// Two bytes, big-endian.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u32::from(u16::from_be_bytes(pair.try_into().ok()?)))
}

/// Three bytes, big-endian.
pub(crate) fn be24(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk::<3>()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// Two bytes, little-endian.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u32::from(u16::from_le_bytes(*pair)))
}

/// Four bytes, little-endian.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*four))
}

/// Four bytes, big-endian.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

fn plausible(size: Size) -> Option<Size> {
    (size.0 > 0 && size.1 > 0 && size.0 <= 65_536 && size.1 <= 65_536).then_some(size)
}
