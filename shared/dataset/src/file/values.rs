//! The values of a page, in every encoding that others read.

use super::hybrid::{self, Run, Runs};
use super::kind::Physical;
use super::{Result, broken, delta};

const PLAIN: i32 = 0;
const PLAIN_DICTIONARY: i32 = 2;
const RLE: i32 = 3;
const DELTA_BINARY_PACKED: i32 = 5;
const DELTA_LENGTH_BYTE_ARRAY: i32 = 6;
const DELTA_BYTE_ARRAY: i32 = 7;
const RLE_DICTIONARY: i32 = 8;
const BYTE_STREAM_SPLIT: i32 = 9;

const NEGATIVE: super::Fault = broken("a text has a negative length");
const FEW: super::Fault = broken("a page has fewer values than it should");

/// Values of one page. Numbers are little endian, as they are stored.
#[derive(Debug)]
pub(crate) enum Values<'a> {
    /// Each as wide as the column.
    Fixed {
        bytes: &'a [u8],
        width: usize,
    },
    Bools(Vec<bool>),
    Texts(Vec<&'a [u8]>),
    /// Places in a dictionary; all are within it.
    Indices {
        indices: Vec<u32>,
        dictionary: &'a Dictionary,
    },
}

/// The values that indices stand for.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    bytes: Vec<u8>,
    /// Where each value ends, when they are not equally long.
    ends: Vec<u32>,
    width: usize,
    count: usize,
}

impl Dictionary {
    /// Reads a dictionary's page. `distinct`: values that come twice count once, as when others keep the dictionary.
    pub(crate) fn read(
        bytes: &[u8],
        count: usize,
        encoding: i32,
        physical: Physical,
        distinct: bool,
    ) -> Result<Self> {
        if !matches!(encoding, PLAIN | PLAIN_DICTIONARY) {
            return Err(broken(
                "a dictionary has an encoding that others do not read",
            ));
        }
        match physical {
            Physical::Boolean => Err(broken("a column of booleans has a dictionary")),
            Physical::ByteArray => Self::texts(bytes, count, distinct),
            _ => {
                let width = physical.width().unwrap_or(1);
                let length = width.checked_mul(count).ok_or(FEW)?;
                Ok(Self {
                    bytes: bytes.get(..length).ok_or(FEW)?.to_vec(),
                    ends: Vec::new(),
                    width,
                    count,
                })
            }
        }
    }

    fn texts(bytes: &[u8], count: usize, distinct: bool) -> Result<Self> {
        let mut dictionary = Self::default();
        let mut seen = std::collections::HashSet::new();
        let mut rest = bytes;
        for _ in 0..count {
            let text = plain_text(&mut rest)?;
            if distinct && !seen.insert(text) {
                continue;
            }
            dictionary.bytes.extend_from_slice(text);
            let end = u32::try_from(dictionary.bytes.len());
            let end = end.map_err(|_| broken("a dictionary is too long"))?;
            dictionary.ends.push(end);
        }
        dictionary.count = dictionary.ends.len();
        Ok(dictionary)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let (begin, end) = if self.width > 0 {
            (index * self.width, (index + 1) * self.width)
        } else {
            let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            (begin as usize, self.ends[index] as usize)
        };
        &self.bytes[begin..end]
    }
}

impl Values<'_> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fixed { bytes, width } => bytes.len() / width,
            Self::Bools(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Indices { indices, .. } => indices.len(),
        }
    }

    /// Bytes that the values take beyond those of their page: texts that begin as others do.
    pub(crate) fn extra_bytes(&self, page: usize) -> usize {
        match self {
            Self::Texts(texts) => texts
                .iter()
                .map(|text| text.len())
                .sum::<usize>()
                .saturating_sub(page),
            _ => 0,
        }
    }

    /// A value's bytes; a boolean is one byte.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        match self {
            Self::Fixed { bytes, width } => &bytes[at * width..(at + 1) * width],
            Self::Bools(values) => {
                if values[at] {
                    &[1]
                } else {
                    &[0]
                }
            }
            Self::Texts(values) => values[at],
            Self::Indices {
                indices,
                dictionary,
            } => dictionary.get(indices[at] as usize),
        }
    }
}

/// What a decoder keeps from page to page.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pub(crate) dictionary: Option<Dictionary>,
    /// Values that do not stand in the page as such.
    room: Vec<u8>,
    numbers: Vec<i64>,
}

/// A page of a column and how many of its values are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoded<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) encoding: i32,
    /// Values and nulls of the page.
    pub(crate) slots: usize,
    pub(crate) wanted: usize,
    pub(crate) physical: Physical,
    /// Others keep the dictionary of this column.
    pub(crate) as_dictionary: bool,
}

impl Decoder {
    /// Decodes the wanted values. `room` is the most bytes that values may take beyond those of the page.
    pub(crate) fn decode<'a>(&'a mut self, page: Encoded<'a>, room: usize) -> Result<Values<'a>> {
        const NONE: super::Fault = broken("a page has an encoding that others do not read");
        let Encoded {
            bytes,
            wanted,
            physical,
            ..
        } = page;
        match (page.encoding, physical) {
            (PLAIN_DICTIONARY | RLE_DICTIONARY, _) => self.indices(bytes, wanted),
            (PLAIN, Physical::Boolean) => plain_bools(bytes, wanted),
            (PLAIN, Physical::ByteArray) => {
                let mut texts = Vec::with_capacity(wanted.min(bytes.len()));
                plain_texts(bytes, wanted, &mut texts)?;
                Ok(Values::Texts(texts))
            }
            (PLAIN, _) => {
                let width = physical.width().ok_or(NONE)?;
                let length = width.checked_mul(wanted).ok_or(FEW)?;
                let bytes = bytes.get(..length).ok_or(FEW)?;
                Ok(Values::Fixed { bytes, width })
            }
            (RLE, Physical::Boolean) => rle_bools(bytes, wanted),
            (DELTA_BINARY_PACKED, Physical::Int32 | Physical::Int64) => self.differences(page),
            (DELTA_LENGTH_BYTE_ARRAY, Physical::ByteArray) if !page.as_dictionary => {
                let texts = self.lengths(bytes, page.slots, wanted)?;
                Ok(Values::Texts(texts))
            }
            (DELTA_BYTE_ARRAY, Physical::ByteArray) if !page.as_dictionary => {
                self.prefixes(page, room)
            }
            (DELTA_BYTE_ARRAY, Physical::Fixed(width)) => {
                let values = self.prefixes(page, room)?;
                match &values {
                    Values::Texts(texts) if texts.iter().all(|text| text.len() == width) => {
                        Ok(values)
                    }
                    _ => Err(broken("a value of fixed length has another length")),
                }
            }
            (
                BYTE_STREAM_SPLIT,
                Physical::Int32
                | Physical::Int64
                | Physical::Float
                | Physical::Double
                | Physical::Fixed(_),
            ) => self.split(page),
            _ => Err(NONE),
        }
    }

    fn indices<'a>(&'a mut self, bytes: &'a [u8], wanted: usize) -> Result<Values<'a>> {
        let dictionary = self
            .dictionary
            .as_ref()
            .ok_or(broken("a page needs a dictionary that is not there"))?;
        let Some((&width, bytes)) = bytes.split_first() else {
            return if wanted == 0 {
                Ok(Values::Texts(Vec::new()))
            } else {
                Err(FEW)
            };
        };
        if width > 32 {
            return Err(broken("a page has indices of more than 32 bits"));
        }
        let mut indices = Vec::with_capacity(wanted);
        let most = u32::try_from(dictionary.len()).unwrap_or(u32::MAX);
        read_indices(bytes, u32::from(width), wanted, most, &mut indices)?;
        Ok(Values::Indices {
            indices,
            dictionary,
        })
    }

    fn differences<'a>(&'a mut self, page: Encoded<'a>) -> Result<Values<'a>> {
        let width = page.physical.width().unwrap_or(8);
        let bits = if width == 4 { 32 } else { 64 };
        self.numbers.clear();
        delta::read(page.bytes, bits, page.slots, &mut self.numbers)?;
        let numbers = self.numbers.get(..page.wanted).ok_or(FEW)?;
        self.room.clear();
        for number in numbers {
            self.room.extend_from_slice(&number.to_le_bytes()[..width]);
        }
        Ok(Values::Fixed {
            bytes: &self.room,
            width,
        })
    }

    /// Texts whose lengths stand in front of all of them.
    fn lengths<'a>(
        &mut self,
        bytes: &'a [u8],
        slots: usize,
        wanted: usize,
    ) -> Result<Vec<&'a [u8]>> {
        self.numbers.clear();
        let taken = delta::read(bytes, 32, slots, &mut self.numbers)?;
        let lengths = self.numbers.get(..wanted).ok_or(FEW)?;
        let mut rest = &bytes[taken..];
        let mut texts = Vec::with_capacity(wanted);
        for &length in lengths {
            let length = usize::try_from(length).map_err(|_| NEGATIVE)?;
            let (text, after) = rest.split_at_checked(length).ok_or(FEW)?;
            texts.push(text);
            rest = after;
        }
        Ok(texts)
    }

    /// Texts of which each begins as the one before it.
    fn prefixes<'a>(&'a mut self, page: Encoded<'a>, room: usize) -> Result<Values<'a>> {
        let mut prefixes = Vec::new();
        let taken = delta::read(page.bytes, 32, page.slots, &mut prefixes)?;
        let suffixes = self.lengths(&page.bytes[taken..], page.slots, page.wanted)?;
        let prefixes = prefixes.get(..page.wanted).ok_or(FEW)?;
        let mut total = 0_usize;
        for (&prefix, suffix) in prefixes.iter().zip(&suffixes) {
            let prefix = usize::try_from(prefix).map_err(|_| NEGATIVE)?;
            total = total.saturating_add(prefix).saturating_add(suffix.len());
        }
        if total > room.saturating_add(page.bytes.len()) {
            return Err(super::Fault::Beyond {
                what: "bytes in its pages",
                limit: room,
            });
        }
        self.room.clear();
        self.room.reserve_exact(total);
        let mut ends = Vec::with_capacity(page.wanted);
        let mut last = 0..0;
        for (&prefix, suffix) in prefixes.iter().zip(suffixes) {
            let prefix = usize::try_from(prefix).map_err(|_| NEGATIVE)?;
            if prefix > last.len() {
                return Err(broken("a text begins as a text that is shorter"));
            }
            let begin = self.room.len();
            self.room
                .extend_from_within(last.start..last.start + prefix);
            self.room.extend_from_slice(suffix);
            last = begin..self.room.len();
            ends.push(last.end);
        }
        let mut begin = 0;
        let room = &self.room;
        let texts = ends
            .into_iter()
            .map(|end| &room[std::mem::replace(&mut begin, end)..end]);
        Ok(Values::Texts(texts.collect()))
    }

    fn split<'a>(&'a mut self, page: Encoded<'a>) -> Result<Values<'a>> {
        let width = page.physical.width().unwrap_or(1);
        let length = page.bytes.len();
        let count = length / width;
        if page
            .slots
            .checked_mul(width)
            .is_none_or(|most| most < length)
            || !length.is_multiple_of(width)
        {
            return Err(broken("split bytes do not make values"));
        }
        if count < page.wanted {
            return Err(FEW);
        }
        self.room.clear();
        self.room.resize(page.wanted * width, 0);
        for (place, value) in self.room.chunks_exact_mut(width).enumerate() {
            for (stream, byte) in value.iter_mut().enumerate() {
                *byte = page.bytes[stream * count + place];
            }
        }
        Ok(Values::Fixed {
            bytes: &self.room,
            width,
        })
    }
}

fn read_indices(
    bytes: &[u8],
    width: u32,
    wanted: usize,
    most: u32,
    into: &mut Vec<u32>,
) -> Result<()> {
    let mut left = wanted;
    for run in Runs::new(bytes, width) {
        if left == 0 {
            break;
        }
        let begin = into.len();
        match run {
            Run::Repeated { value, count } => {
                let count = count.min(left);
                into.resize(begin + count, value);
                left -= count;
                if value >= most {
                    return Err(broken("an index is beyond its dictionary"));
                }
            }
            Run::Packed { bytes, count } => {
                let count = count.min(left);
                into.extend((0..count).map(|at| hybrid::packed(bytes, at, width)));
                left -= count;
                if into[begin..]
                    .iter()
                    .copied()
                    .max()
                    .is_some_and(|largest| largest >= most)
                {
                    return Err(broken("an index is beyond its dictionary"));
                }
            }
        }
    }
    if left == 0 { Ok(()) } else { Err(FEW) }
}

fn plain_texts<'a>(bytes: &'a [u8], count: usize, into: &mut Vec<&'a [u8]>) -> Result<()> {
    let mut rest = bytes;
    for _ in 0..count {
        into.push(plain_text(&mut rest)?);
    }
    Ok(())
}

/// The next text, whose length stands in front of it.
#[inline]
fn plain_text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(FEW)?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| NEGATIVE)?;
    let (text, after) = after.split_at_checked(length).ok_or(FEW)?;
    *rest = after;
    Ok(text)
}

fn plain_bools(bytes: &[u8], wanted: usize) -> Result<Values<'_>> {
    if wanted > bytes.len().saturating_mul(8) {
        return Err(FEW);
    }
    let bit = |at: usize| bytes[at / 8] >> (at % 8) & 1 == 1;
    Ok(Values::Bools((0..wanted).map(bit).collect()))
}

fn rle_bools(bytes: &[u8], wanted: usize) -> Result<Values<'_>> {
    const BAD: super::Fault = broken("a page of booleans has a wrong length");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(BAD)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| BAD)?;
    let runs = rest.get(..length).ok_or(BAD)?;
    let mut values = Vec::with_capacity(wanted);
    if hybrid::values(runs, 1, wanted, &mut values) < wanted {
        return Err(FEW);
    }
    Ok(Values::Bools(
        values.into_iter().map(|value| value & 1 == 1).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: &[u8], encoding: i32, physical: Physical, wanted: usize) -> Encoded<'_> {
        Encoded {
            bytes,
            encoding,
            slots: wanted,
            wanted,
            physical,
            as_dictionary: false,
        }
    }

    fn all(bytes: &[u8], encoding: i32, physical: Physical, wanted: usize) -> Result<Vec<Vec<u8>>> {
        let mut decoder = Decoder::default();
        let values = decoder.decode(page(bytes, encoding, physical, wanted), 1 << 20)?;
        assert_eq!(values.len(), wanted);
        Ok((0..wanted).map(|at| values.get(at).to_vec()).collect())
    }

    #[test]
    fn plain_values_are_as_they_stand() {
        assert_eq!(
            all(&[1, 0, 0, 0, 2, 0, 0, 0, 9], 0, Physical::Int32, 2).unwrap(),
            [[1, 0, 0, 0], [2, 0, 0, 0]]
        );
        assert_eq!(
            all(&[0b101], 0, Physical::Boolean, 3).unwrap(),
            [[1], [0], [1]]
        );
        assert_eq!(
            all(
                &[2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0],
                0,
                Physical::ByteArray,
                2
            )
            .unwrap(),
            [&b"ab"[..], b""]
        );
        assert_eq!(
            all(b"abcdef", 0, Physical::Fixed(3), 2).unwrap(),
            [b"abc", b"def"]
        );
        for (bytes, physical) in [
            (&[1, 0, 0][..], Physical::Int32),
            (&[], Physical::Boolean),
            (&[3, 0, 0, 0, b'a'], Physical::ByteArray),
            (&[0xff, 0xff, 0xff, 0xff, b'a'], Physical::ByteArray),
            (b"ab", Physical::Fixed(3)),
        ] {
            assert!(all(bytes, 0, physical, 1).is_err(), "{physical:?}");
        }
    }

    #[test]
    fn split_bytes_are_put_together() {
        assert_eq!(
            all(b"adbecf", 9, Physical::Fixed(3), 2).unwrap(),
            [b"abc", b"def"]
        );
        assert!(all(b"adbec", 9, Physical::Fixed(3), 2).is_err());
        assert!(
            all(b"adbecfadb", 9, Physical::Fixed(3), 2).is_err(),
            "more than the page has"
        );
        assert!(all(b"", 9, Physical::ByteArray, 0).is_err());
    }

    #[test]
    fn texts_are_built_from_what_they_begin_with() {
        // Prefixes 0, 2, 0; rests of length 3, 1, 1: abc, abd, e. Differences have four bits each.
        let stream = |first: u8, packed: u8| {
            let mut bytes = vec![0x80, 1, 4, 3, first, 3, 4, 0, 0, 0, packed];
            bytes.extend([0; 15]);
            bytes
        };
        let bytes = [&stream(0, 0x04)[..], &stream(6, 0x20), b"abcde"].concat();
        assert_eq!(
            all(&bytes, 7, Physical::ByteArray, 3).unwrap(),
            [&b"abc"[..], b"abd", b"e"]
        );
        assert!(
            all(&bytes, 7, Physical::Fixed(3), 3).is_err(),
            "one is shorter"
        );
        let mut decoder = Decoder::default();
        assert!(
            decoder
                .decode(page(&bytes, 7, Physical::ByteArray, 3), 0)
                .is_ok(),
            "no more than the page"
        );
    }

    #[test]
    fn indices_stay_within_their_dictionary() {
        let mut decoder = Decoder::default();
        let texts = [1, 0, 0, 0, b'a', 1, 0, 0, 0, b'b', 1, 0, 0, 0, b'a'];
        assert!(
            decoder
                .decode(page(&[1, 4, 1], 8, Physical::ByteArray, 2), 0)
                .is_err(),
            "no dictionary"
        );
        decoder.dictionary =
            Some(Dictionary::read(&texts, 3, 0, Physical::ByteArray, false).unwrap());
        let values = decoder
            .decode(page(&[2, 4, 1, 2, 2], 8, Physical::ByteArray, 3), 0)
            .unwrap();
        assert_eq!(
            [values.get(0), values.get(1), values.get(2)],
            [b"b", b"b", b"a"]
        );
        assert!(
            decoder
                .decode(page(&[2, 4, 3], 8, Physical::ByteArray, 2), 0)
                .is_err()
        );
        assert!(
            decoder
                .decode(page(&[33, 4, 0], 8, Physical::ByteArray, 2), 0)
                .is_err()
        );
        decoder.dictionary =
            Some(Dictionary::read(&texts, 3, 0, Physical::ByteArray, true).unwrap());
        assert!(
            decoder
                .decode(page(&[2, 2, 2], 8, Physical::ByteArray, 1), 0)
                .is_err(),
            "a counts once"
        );
        assert!(Dictionary::read(&texts, 4, 0, Physical::ByteArray, false).is_err());
        assert!(Dictionary::read(&texts, 3, 8, Physical::ByteArray, false).is_err());
    }
}
