//! A look at a column's pages before the decoder follows them.
//!
//! The decoder allocates by the counts that page headers and delta streams declare. A few bytes can declare billions.

use crate::error::{DatasetError, within};
use crate::thrift::{Found, PAGE_HEADER, varint, walk, zigzag};
use polars_parquet::parquet::compression::{Compression, DecompressionContext, decompress};
use polars_parquet::parquet::page::{split_buffer_v1, split_buffer_v2};
use polars_parquet::parquet::schema::types::PhysicalType;
use polars_parquet::read::ColumnChunkMetadata;

/// Bytes that an array holds per value whatever its type (a text's view, a validity bit and more).
const VALUE_BYTES: usize = 16;
/// Most bytes of a page's header. Statistics make it long; they are cut by honest writers.
const HEADER_BYTES: usize = 1 << 20;
/// Longest block of a delta stream, values. Writers use 128 or 256.
const DELTA_BLOCK: u64 = 1 << 16;

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

const DELTA_BINARY_PACKED: i64 = 5;
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;

const BROKEN: DatasetError = DatasetError::Broken {
    what: "a page is broken",
};

#[derive(Debug, Default)]
struct Header {
    kind: i64,
    decompressed: usize,
    compressed: usize,
    values: usize,
    encoding: i64,
    /// Bytes of levels in front of the values; only pages of the second kind say so.
    levels: [usize; 2],
    is_compressed: bool,
}

impl Header {
    /// A header and its length.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut header = Self {
            is_compressed: true,
            ..Self::default()
        };
        let mut fits = true;
        let mut set = |field: &mut usize, value: i64| match usize::try_from(value) {
            Ok(value) => *field = value,
            Err(_) => fits = false,
        };
        let bytes = &bytes[..bytes.len().min(HEADER_BYTES)];
        let length = walk(bytes, PAGE_HEADER, &mut |path, found| {
            match (path, found) {
                ([1], Found::Int(value)) => header.kind = value,
                ([2], Found::Int(value)) => set(&mut header.decompressed, value),
                ([3], Found::Int(value)) => set(&mut header.compressed, value),
                ([5 | 7 | 8, 1], Found::Int(value)) => set(&mut header.values, value),
                ([5, 2] | [8, 4], Found::Int(value)) => header.encoding = value,
                ([8, 6], Found::Int(value)) => set(&mut header.levels[0], value),
                ([8, 5], Found::Int(value)) => set(&mut header.levels[1], value),
                ([8, 7], Found::Flag(value)) => header.is_compressed = value,
                _ => {}
            }
            true
        })?;
        fits.then_some((header, length))
    }
}

/// Bytes that decoding a column chunk takes, at most; an error when its pages declare more than they can hold.
///
/// `values_limit` is the number of values that the chunk may have, and `bytes_limit` what decoding it may take.
pub(crate) fn decoded_bytes(
    bytes: &[u8],
    chunk: &ColumnChunkMetadata,
    values_limit: usize,
    bytes_limit: usize,
) -> Result<usize, DatasetError> {
    const MUCH: &str = "bytes in a column";
    let values = usize::try_from(chunk.num_values()).map_err(|_| BROKEN)?;
    within(values, values_limit, "values in a column")?;
    let width = match chunk.physical_type() {
        PhysicalType::FixedLenByteArray(width) => width.max(VALUE_BYTES),
        _ => VALUE_BYTES,
    };
    let mut taken = bytes.len().saturating_add(values.saturating_mul(width));
    within(taken, bytes_limit, MUCH)?;
    let (mut rest, mut seen) = (bytes, 0_usize);
    while seen < values {
        let (header, length) = Header::read(rest).ok_or(BROKEN)?;
        let body = rest
            .get(length..)
            .and_then(|body| body.get(..header.compressed))
            .ok_or(BROKEN)?;
        rest = &rest[length + header.compressed..];
        taken = taken.saturating_add(header.decompressed);
        within(taken, bytes_limit, MUCH)?;
        if header.kind == DICTIONARY {
            // No type takes less than a byte per value, and no dictionary is of booleans.
            if header.values > header.decompressed {
                return Err(BROKEN);
            }
            taken = taken.saturating_add(header.values.saturating_mul(VALUE_BYTES));
        } else if matches!(header.kind, DATA | DATA_V2) {
            seen = seen.saturating_add(header.values);
            if seen > values {
                return Err(BROKEN);
            }
            if matches!(
                header.encoding,
                DELTA_BINARY_PACKED | DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY
            ) {
                let prefixes = delta_page(&header, body, chunk).ok_or(BROKEN)??;
                taken = taken.saturating_add(prefixes);
            }
        } else {
            return Err(BROKEN);
        }
        within(taken, bytes_limit, MUCH)?;
    }
    Ok(taken)
}

/// Checks the delta streams of a page, which have counts of their own. Answers the bytes that its values take from the
/// values before them.
fn delta_page(
    header: &Header,
    body: &[u8],
    chunk: &ColumnChunkMetadata,
) -> Option<Result<usize, DatasetError>> {
    let levels: usize = header.levels[0].checked_add(header.levels[1])?;
    let mut page;
    let page = if chunk.compression() == Compression::Uncompressed
        || header.kind == DATA_V2 && !header.is_compressed
    {
        body
    } else {
        let (plain, packed) = if header.kind == DATA_V2 {
            body.split_at_checked(levels)?
        } else {
            (&[][..], body)
        };
        page = vec![0; header.decompressed];
        let (before, after) = page.split_at_mut_checked(plain.len())?;
        before.copy_from_slice(plain);
        let mut context = DecompressionContext::Unset;
        if let Err(error) = decompress(chunk.compression(), packed, after, &mut context) {
            return Some(Err(error.into()));
        }
        &page[..]
    };
    let descriptor = &chunk.descriptor().descriptor;
    let split = if header.kind == DATA_V2 {
        (levels <= page.len()).then(|| split_buffer_v2(page, header.levels[0], header.levels[1]))?
    } else {
        split_buffer_v1(
            page,
            descriptor.max_rep_level > 0,
            descriptor.max_def_level > 0,
        )
    };
    let mut values = match split {
        Ok(split) => split.values,
        Err(error) => return Some(Err(error.into())),
    };
    let mut prefixes = 0_usize;
    if header.encoding == DELTA_BYTE_ARRAY {
        let stream = Deltas::read(&mut values, header.values)?;
        stream.each(&mut values, |prefix| {
            prefixes = prefixes.saturating_add(usize::try_from(prefix).ok()?);
            Some(())
        })?;
    }
    Deltas::read(&mut values, header.values)?;
    Some(Ok(prefixes))
}

/// The head of a stream of packed differences.
struct Deltas {
    block: usize,
    miniblocks: usize,
    count: usize,
    first: i64,
}

impl Deltas {
    fn read(bytes: &mut &[u8], values: usize) -> Option<Self> {
        let block = varint(bytes)?;
        let miniblocks = varint(bytes)?;
        let count = usize::try_from(varint(bytes)?).ok()?;
        let first = zigzag(varint(bytes)?);
        let fits = count <= values
            && (1..=DELTA_BLOCK).contains(&block)
            && miniblocks > 0
            && block.is_multiple_of(miniblocks)
            && (block / miniblocks).is_multiple_of(32);
        fits.then_some(Self {
            block: usize::try_from(block).ok()?,
            miniblocks: usize::try_from(miniblocks).ok()?,
            count,
            first,
        })
    }

    /// Unpacks all numbers.
    fn each(&self, bytes: &mut &[u8], mut take: impl FnMut(i64) -> Option<()>) -> Option<()> {
        let Some(mut left) = self.count.checked_sub(1) else {
            return Some(());
        };
        let mut last = self.first;
        take(last)?;
        let per_miniblock = self.block / self.miniblocks;
        while left > 0 {
            let least = zigzag(varint(bytes)?);
            let (widths, rest) = bytes.split_at_checked(self.miniblocks)?;
            *bytes = rest;
            for &width in widths {
                if left == 0 {
                    break;
                }
                if width > 64 {
                    return None;
                }
                let width = usize::from(width);
                let (packed, rest) = bytes.split_at_checked(per_miniblock * width / 8)?;
                *bytes = rest;
                for place in 0..per_miniblock.min(left) {
                    let difference = bits(packed, place * width, width).cast_signed();
                    last = last.wrapping_add(least).wrapping_add(difference);
                    take(last)?;
                }
                left = left.saturating_sub(per_miniblock);
            }
        }
        Some(())
    }
}

/// `width` bits from bit `from` on, least first.
fn bits(bytes: &[u8], from: usize, width: usize) -> u64 {
    (0..width).fold(0, |value, bit| {
        let at = from + bit;
        let set = bytes
            .get(at / 8)
            .is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        value | u64::from(set) << bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_unpacked_as_the_specification_shows() {
        // 7, 5, 3, 1, 2, 3, 4, 5: first 7, least -2, then 0 0 0 3 3 3 3 in two bits each.
        let mut bytes = vec![32, 1, 8, 14, 3, 2, 0b1100_0000, 0b0011_1111];
        bytes.extend([0; 6]);
        let mut rest = &bytes[..];
        let deltas = Deltas::read(&mut rest, 8).unwrap();
        let mut all = Vec::new();
        deltas
            .each(&mut rest, |value| {
                all.push(value);
                Some(())
            })
            .unwrap();
        assert_eq!(all, [7, 5, 3, 1, 2, 3, 4, 5]);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_stream_that_promises_more_than_its_page_is_refused() {
        let head = |block: u8, mini: u8, count: u8| [block, mini, count, 0];
        assert!(Deltas::read(&mut &head(32, 1, 9)[..], 8).is_none());
        assert!(Deltas::read(&mut &head(0, 1, 8)[..], 8).is_none());
        assert!(Deltas::read(&mut &head(32, 0, 8)[..], 8).is_none());
        assert!(Deltas::read(&mut &head(32, 3, 8)[..], 8).is_none());
        assert!(Deltas::read(&mut &[0xff, 0xff, 0xff, 0x7f, 1, 8, 0][..], 8).is_none());
    }
}
