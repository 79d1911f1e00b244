//! Packed differences.

use super::hybrid::{leb128_u32, leb128_u64, packed_u64};
use super::{Result, broken};

const CUT: super::Fault = broken("differences end in the middle");

/// Reads a stream of differences of `bits` wide numbers at the start of `bytes`: the numbers, and how many bytes they
/// took. A stream that says that it has more than `most` numbers is refused.
pub(crate) fn read(bytes: &[u8], bits: u32, most: usize, into: &mut Vec<i64>) -> Result<usize> {
    let mut rest = bytes;
    let block = leb128_u32(&mut rest).ok_or(CUT)?;
    let miniblocks = leb128_u32(&mut rest).ok_or(CUT)?;
    let count = leb128_u32(&mut rest).ok_or(CUT)? as usize;
    let first = signed(&mut rest, bits)?;
    if block == 0 || !block.is_multiple_of(128) || miniblocks == 0 {
        return Err(broken("differences come in blocks of no possible size"));
    }
    let per_miniblock = block / miniblocks;
    if per_miniblock == 0 || !per_miniblock.is_multiple_of(32) {
        return Err(broken("differences come in blocks of no possible size"));
    }
    if count > most {
        return Err(broken("differences are more than their page has values"));
    }
    let Some(mut left) = count.checked_sub(1) else {
        return Ok(bytes.len() - rest.len());
    };
    let mut last = first;
    into.push(last);
    let (miniblocks, per_miniblock) = (miniblocks as usize, per_miniblock as usize);
    while left > 0 {
        let least = signed(&mut rest, bits)?;
        let (widths, after) = rest.split_at_checked(miniblocks).ok_or(CUT)?;
        rest = after;
        for &width in widths {
            if left == 0 {
                break;
            }
            if u32::from(width) > bits {
                return Err(broken("differences are wider than their numbers"));
            }
            let length = per_miniblock / 8 * usize::from(width);
            let taken = per_miniblock.min(left);
            let packed = rest.get(..length).ok_or(CUT)?;
            unpack(
                packed,
                u32::from(width),
                taken,
                bits,
                least,
                &mut last,
                into,
            );
            rest = &rest[length..];
            left -= taken;
        }
    }
    Ok(bytes.len() - rest.len())
}

fn unpack(
    packed: &[u8],
    width: u32,
    count: usize,
    bits: u32,
    least: i64,
    last: &mut i64,
    into: &mut Vec<i64>,
) {
    for place in 0..count {
        let difference = packed_u64(packed, place * width as usize, width).cast_signed();
        let next = last.wrapping_add(least).wrapping_add(difference);
        // As wide as the numbers are.
        *last = if bits == 32 { next << 32 >> 32 } else { next };
        into.push(*last);
    }
}

fn signed(bytes: &mut &[u8], bits: u32) -> Result<i64> {
    let value = if bits == 32 {
        leb128_u32(bytes).map(u64::from)
    } else {
        leb128_u64(bytes)
    };
    let value = value.ok_or(CUT)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_unpacked_as_the_specification_shows() {
        // 7, 5, 3, 1, 2, 3, 4, 5: first 7, least -2, then 0 0 0 3 3 3 3 in two bits each.
        let mut bytes = vec![0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111];
        bytes.extend([0; 6]);
        bytes.push(99);
        let mut all = Vec::new();
        assert_eq!(read(&bytes, 32, 8, &mut all).unwrap(), bytes.len() - 1);
        assert_eq!(all, [7, 5, 3, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_stream_that_promises_more_than_is_there_is_refused() {
        for (what, bytes) in [
            ("more than its page", &[0x80, 1, 4, 9, 0][..]),
            ("no block", &[0, 4, 8, 0]),
            ("a block of no multiple", &[33, 1, 8, 0]),
            ("no miniblock", &[0x80, 1, 0, 8, 0]),
            ("miniblocks of no multiple", &[0x80, 1, 3, 8, 0]),
            ("no bytes", &[0x80, 1, 4, 8, 0, 0, 2, 0, 0, 0]),
            ("too wide", &[0x80, 1, 4, 2, 0, 0, 33, 0, 0, 0]),
            (
                "first beyond 32 bits",
                &[0x80, 1, 4, 1, 0xff, 0xff, 0xff, 0xff, 0x1f],
            ),
        ] {
            assert!(read(bytes, 32, 8, &mut Vec::new()).is_err(), "{what}");
        }
        assert_eq!(
            read(&[0x80, 1, 4, 0, 0], 32, 8, &mut Vec::new()).unwrap(),
            5
        );
    }
}
