//! Decompression of a page to exactly the length that it states.

use super::{Result, broken};
use flate2::{Decompress, FlushDecompress, Status};

const CORRUPT: super::Fault = broken("a page cannot be decompressed");

/// How a column is compressed, with what the decoder keeps between pages.
pub(crate) enum Codec {
    None,
    Snappy,
    Gzip,
    Brotli,
    Lz4Framed,
    Zstd(zstd::bulk::Decompressor<'static>),
    Lz4,
}

impl Codec {
    pub(crate) fn of(id: i32) -> Result<Self> {
        Ok(match id {
            0 => Self::None,
            1 => Self::Snappy,
            2 => Self::Gzip,
            4 => Self::Brotli,
            5 => Self::Lz4Framed,
            6 => Self::Zstd(zstd::bulk::Decompressor::new().map_err(|_| CORRUPT)?),
            7 => Self::Lz4,
            _ => return Err(broken("it has a compression that others do not read")),
        })
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Fills `output`; anything but exactly that much is an error.
    pub(crate) fn decompress(&mut self, input: &[u8], output: &mut [u8]) -> Result<()> {
        let length = output.len();
        let written = match self {
            Self::None => return Err(CORRUPT),
            Self::Snappy => snap::raw::Decoder::new().decompress(input, output).ok(),
            Self::Gzip if output.is_empty() => Some(0),
            Self::Gzip => gzip(input, output),
            Self::Brotli => brotli(input, output),
            Self::Lz4Framed => hadoop(input, output).or_else(|| lz4_block(input, output)),
            Self::Zstd(context) => context.decompress_to_buffer(input, output).ok(),
            Self::Lz4 => lz4_block(input, output),
        };
        if written == Some(length) {
            Ok(())
        } else {
            Err(CORRUPT)
        }
    }
}

/// One member, gzip or zlib, with its checksum; what stands behind it does not matter.
fn gzip(input: &[u8], output: &mut [u8]) -> Option<usize> {
    const WINDOW_BITS: u8 = 15;
    let mut inflate = if input.starts_with(&[0x1f, 0x8b]) {
        Decompress::new_gzip(WINDOW_BITS)
    } else {
        Decompress::new(true)
    };
    match inflate.decompress(input, output, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) => usize::try_from(inflate.total_out()).ok(),
        _ => None,
    }
}

fn brotli(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let done = brotli_decompressor::brotli_decode(input, output);
    matches!(
        done.result,
        brotli_decompressor::BrotliResult::ResultSuccess
    )
    .then_some(done.decoded_size)
}

fn lz4_block(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let length = i32::try_from(output.len()).ok()?;
    lz4::block::decompress_to_buffer(input, Some(length), output).ok()
}

/// Blocks as Hadoop frames them: the length of each, decompressed and compressed, in front of it.
fn hadoop(mut input: &[u8], output: &mut [u8]) -> Option<usize> {
    let mut written = 0;
    while let Some((head, rest)) = input.split_first_chunk::<8>() {
        let lengths = u64::from_be_bytes(*head);
        let decompressed = usize::try_from(lengths >> 32).ok()?;
        let compressed = usize::try_from(lengths & u64::from(u32::MAX)).ok()?;
        let (block, rest) = rest.split_at_checked(compressed)?;
        let room = output
            .get_mut(written..)
            .filter(|room| room.len() >= decompressed)?;
        if lz4_block(block, room)? != decompressed {
            return None;
        }
        written += decompressed;
        input = rest;
    }
    input.is_empty().then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = b"a calm lake, a calm lake, a calm lake, a calm lake under drifting clouds";

    fn compressed() -> Vec<(i32, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(TEXT).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(TEXT).unwrap();
        let block = lz4::block::compress(TEXT, None, false).unwrap();
        let (a, b) = TEXT.split_at(30);
        let mut framed = Vec::new();
        for part in [a, b] {
            let block = lz4::block::compress(part, None, false).unwrap();
            framed.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            framed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend(block);
        }
        vec![
            (1, snap::raw::Encoder::new().compress_vec(TEXT).unwrap()),
            (2, gzip.finish().unwrap()),
            (2, zlib.finish().unwrap()),
            (5, framed),
            (5, block.clone()),
            (6, zstd::bulk::compress(TEXT, 3).unwrap()),
            (7, block),
        ]
    }

    #[test]
    fn every_codec_gives_exactly_what_was_stated() {
        for (id, bytes) in compressed() {
            for (length, fits) in [
                (TEXT.len(), true),
                (TEXT.len() - 1, false),
                (TEXT.len() + 1, false),
            ] {
                let mut output = vec![0; length];
                let done = Codec::of(id).unwrap().decompress(&bytes, &mut output);
                assert_eq!(done.is_ok(), fits, "{id} {length}");
                assert!(!fits || output == TEXT);
            }
            let mut output = vec![0; TEXT.len()];
            let cut = &bytes[..bytes.len() - 1];
            assert!(
                Codec::of(id).unwrap().decompress(cut, &mut output).is_err(),
                "{id} cut"
            );
        }
    }

    #[test]
    fn a_gzip_checksum_that_is_wrong_is_an_error() {
        let (_, good) = compressed().swap_remove(1);
        for back in 1..=8 {
            let mut bytes = good.clone();
            let at = bytes.len() - back;
            bytes[at] ^= 1;
            let mut output = vec![0; TEXT.len()];
            assert!(
                Codec::of(2)
                    .unwrap()
                    .decompress(&bytes, &mut output)
                    .is_err(),
                "byte -{back}"
            );
        }
        let mut output = vec![0; TEXT.len()];
        let longer = [&good[..], b"rest"].concat();
        assert!(
            Codec::of(2)
                .unwrap()
                .decompress(&longer, &mut output)
                .is_ok()
        );
    }

    #[test]
    fn a_codec_that_nobody_reads_is_refused() {
        for id in [3, 8, -1] {
            assert!(Codec::of(id).is_err());
        }
    }
}
