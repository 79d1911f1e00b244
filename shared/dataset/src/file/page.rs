//! The pages of one column of one row group.

use super::budget::Budget;
use super::codec::Codec;
use super::footer::{Chunk, statistics};
use super::thrift::{Compact, Taken, Wire, required_fields};
use super::{Result, broken};

/// Longest header of a page that others read.
const HEADER_BYTES: usize = 16 << 20;

/// What a page's header says.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Header {
    kind: i32,
    decompressed: i32,
    compressed: i32,
    data: DataHeader,
    dictionary: DictionaryHeader,
    second: SecondHeader,
}

#[derive(Debug, Default, Clone, Copy)]
struct DataHeader {
    values: i32,
    encoding: i32,
    definition: i32,
    repetition: i32,
}

#[derive(Debug, Default, Clone, Copy)]
struct DictionaryHeader {
    values: i32,
    encoding: i32,
}

#[derive(Debug, Clone, Copy)]
struct SecondHeader {
    values: i32,
    rows: i32,
    encoding: i32,
    definition_bytes: i32,
    repetition_bytes: i32,
    is_compressed: bool,
}

impl Default for SecondHeader {
    fn default() -> Self {
        Self {
            values: 0,
            rows: 0,
            encoding: 0,
            definition_bytes: 0,
            repetition_bytes: 0,
            is_compressed: true,
        }
    }
}

const DATA: i32 = 0;
const DICTIONARY: i32 = 2;
const DATA_V2: i32 = 3;

/// A page, decompressed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Page<'a> {
    Dictionary {
        values: usize,
        encoding: i32,
        bytes: &'a [u8],
    },
    Data {
        values: usize,
        encoding: i32,
        levels: PageLevels,
        bytes: &'a [u8],
    },
}

/// Where a page's levels are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PageLevels {
    /// In front of the values, each kind in its encoding.
    First { repetition: i32, definition: i32 },
    /// In front of the values, with these lengths.
    Second {
        repetition: usize,
        definition: usize,
    },
}

/// Reads the pages one after the other.
pub(crate) struct Pages<'a> {
    rest: &'a [u8],
    seen: i64,
    total: i64,
    codec: Codec,
    room: Vec<u8>,
}

impl<'a> Pages<'a> {
    /// The pages of a chunk; an error when it lies outside the file.
    pub(crate) fn of(file: &'a [u8], chunk: &Chunk) -> Result<Self> {
        const OUTSIDE: super::Fault = broken("a column lies outside the file");
        if chunk.encrypted {
            return Err(broken("a column is encrypted"));
        }
        let begin = match chunk.dictionary_offset {
            Some(offset) if offset > 0 && offset < chunk.data_offset => offset,
            _ => chunk.data_offset,
        };
        let begin = usize::try_from(begin).map_err(|_| OUTSIDE)?;
        let length = usize::try_from(chunk.compressed).map_err(|_| OUTSIDE)?;
        let end = begin.checked_add(length).ok_or(OUTSIDE)?;
        Ok(Self {
            rest: file.get(begin..end).ok_or(OUTSIDE)?,
            seen: 0,
            total: chunk.values,
            codec: Codec::of(chunk.codec)?,
            room: Vec::new(),
        })
    }

    /// The next page that holds values or a dictionary.
    pub(crate) fn next(&mut self, budget: &mut Budget) -> Result<Option<Page<'_>>> {
        while self.seen < self.total && !self.rest.is_empty() {
            let (header, length) = Header::read(&self.rest[..self.rest.len().min(HEADER_BYTES)])?;
            self.rest = &self.rest[length..];
            header.check()?;
            let compressed = usize::try_from(header.compressed).unwrap_or(0);
            if !matches!(header.kind, DATA | DICTIONARY | DATA_V2) {
                self.rest = self.rest.get(compressed..).unwrap_or_default();
                continue;
            }
            let (body, after) = self
                .rest
                .split_at_checked(compressed)
                .ok_or(broken("a page is shorter than its header says"))?;
            self.rest = after;
            self.seen += i64::from(header.values());
            let plain = header.plain_bytes()?;
            let bytes = self.decompress(&header, body, plain, budget)?;
            return Ok(Some(header.page(bytes)));
        }
        Ok(None)
    }

    fn decompress<'b>(
        &'b mut self,
        header: &Header,
        body: &'a [u8],
        plain: usize,
        budget: &mut Budget,
    ) -> Result<&'b [u8]> {
        const BAD: super::Fault = broken("a page's header contradicts itself");
        if self.codec.is_none() || header.kind == DATA_V2 && !header.second.is_compressed {
            budget.bytes(body.len())?;
            return Ok(body);
        }
        let length = usize::try_from(header.decompressed).unwrap_or(0);
        budget.bytes(length)?;
        let (levels, packed) = body.split_at_checked(plain).ok_or(BAD)?;
        if self.room.len() < length {
            self.room.resize(length, 0);
        }
        let room = self.room.get_mut(..length).ok_or(BAD)?;
        let (before, values) = room.split_at_mut_checked(plain).ok_or(BAD)?;
        before.copy_from_slice(levels);
        self.codec.decompress(packed, values)?;
        Ok(room)
    }
}

/// What the headers of a chunk's pages say, without a page being decompressed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Survey {
    /// Bytes of the largest page of values.
    pub(crate) largest: usize,
    /// Bytes of all of them.
    pub(crate) data: usize,
    /// Bytes of the dictionary.
    pub(crate) dictionary: usize,
}

/// Surveys a chunk.
pub(crate) fn survey(file: &[u8], chunk: &Chunk) -> Result<Survey> {
    let mut pages = Pages::of(file, chunk)?;
    let mut survey = Survey::default();
    while pages.seen < pages.total && !pages.rest.is_empty() {
        let (header, length) = Header::read(&pages.rest[..pages.rest.len().min(HEADER_BYTES)])?;
        header.check()?;
        let compressed = usize::try_from(header.compressed).unwrap_or(0);
        let end = length.saturating_add(compressed);
        pages.rest = pages.rest.get(end..).unwrap_or_default();
        let decompressed = usize::try_from(header.decompressed).unwrap_or(0);
        let bytes = if pages.codec.is_none() {
            compressed
        } else {
            decompressed
        };
        if header.kind == DICTIONARY {
            survey.dictionary = survey.dictionary.saturating_add(bytes);
            continue;
        }
        pages.seen += i64::from(header.values());
        survey.largest = survey.largest.max(bytes);
        survey.data = survey.data.saturating_add(bytes);
    }
    Ok(survey)
}

impl Header {
    /// Values and nulls of the page.
    fn values(&self) -> i32 {
        match self.kind {
            DATA => self.data.values,
            DATA_V2 => self.second.values,
            _ => 0,
        }
    }

    /// A header and its length.
    fn read(bytes: &[u8]) -> Result<(Self, usize)> {
        let mut header = Self::default();
        let mut seen = 0;
        let mut reader = Compact::new(bytes);
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => header.kind = reader.i32()?,
                (2, Wire::I32) => header.decompressed = reader.i32()?,
                (3, Wire::I32) => header.compressed = reader.i32()?,
                (5, Wire::Struct) => header.data = DataHeader::read(reader)?,
                (6, Wire::Struct) => reader.structure_with(&[])?,
                (7, Wire::Struct) => header.dictionary = DictionaryHeader::read(reader)?,
                (8, Wire::Struct) => header.second = SecondHeader::read(reader)?,
                _ => return Ok(Taken::No),
            }
            if (1..=3).contains(&id) {
                seen |= 1 << id;
            }
            Ok(Taken::Yes)
        })?;
        required_fields(seen == 0b1110)?;
        Ok((header, bytes.len() - reader.left()))
    }

    fn check(&self) -> Result<()> {
        let second = [
            self.second.values,
            self.second.rows,
            self.second.definition_bytes,
            self.second.repetition_bytes,
        ];
        let sound = self.compressed >= 0
            && self.decompressed >= 0
            && match self.kind {
                DATA => self.data.values >= 0,
                DICTIONARY => self.dictionary.values >= 0,
                DATA_V2 => second.iter().all(|number| *number >= 0),
                _ => true,
            };
        if sound {
            Ok(())
        } else {
            Err(broken("a page's header has a negative number"))
        }
    }

    /// Bytes in front of a page that are never compressed.
    fn plain_bytes(&self) -> Result<usize> {
        if self.kind != DATA_V2 {
            return Ok(0);
        }
        let levels = self
            .second
            .definition_bytes
            .checked_add(self.second.repetition_bytes);
        levels
            .and_then(|levels| usize::try_from(levels).ok())
            .ok_or(broken("a page's levels are too long"))
    }

    fn page<'a>(&self, bytes: &'a [u8]) -> Page<'a> {
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        match self.kind {
            DICTIONARY => Page::Dictionary {
                values: count(self.dictionary.values),
                encoding: self.dictionary.encoding,
                bytes,
            },
            DATA => Page::Data {
                values: count(self.data.values),
                encoding: self.data.encoding,
                levels: PageLevels::First {
                    repetition: self.data.repetition,
                    definition: self.data.definition,
                },
                bytes,
            },
            _ => Page::Data {
                values: count(self.second.values),
                encoding: self.second.encoding,
                levels: PageLevels::Second {
                    repetition: count(self.second.repetition_bytes),
                    definition: count(self.second.definition_bytes),
                },
                bytes,
            },
        }
    }
}

impl DataHeader {
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut header = Self::default();
        let mut seen = 0;
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => header.values = reader.i32()?,
                (2, Wire::I32) => header.encoding = reader.i32()?,
                (3, Wire::I32) => header.definition = reader.i32()?,
                (4, Wire::I32) => header.repetition = reader.i32()?,
                (5, Wire::Struct) => return statistics(reader).map(|()| Taken::Yes),
                _ => return Ok(Taken::No),
            }
            seen |= 1 << id;
            Ok(Taken::Yes)
        })?;
        required_fields(seen == 0b1_1110)?;
        Ok(header)
    }
}

impl DictionaryHeader {
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut header = Self::default();
        let mut seen = 0;
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => header.values = reader.i32()?,
                (2, Wire::I32) => header.encoding = reader.i32()?,
                _ => return Ok(Taken::No),
            }
            seen |= 1 << id;
            Ok(Taken::Yes)
        })?;
        required_fields(seen == 0b110)?;
        Ok(header)
    }
}

impl SecondHeader {
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut header = Self::default();
        let mut seen = 0;
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => header.values = reader.i32()?,
                (2, Wire::I32) => drop(reader.i32()?),
                (3, Wire::I32) => header.rows = reader.i32()?,
                (4, Wire::I32) => header.encoding = reader.i32()?,
                (5, Wire::I32) => header.definition_bytes = reader.i32()?,
                (6, Wire::I32) => header.repetition_bytes = reader.i32()?,
                (7, Wire::Bool(value)) => {
                    header.is_compressed = value;
                    return Ok(Taken::Yes);
                }
                (8, Wire::Struct) => return statistics(reader).map(|()| Taken::Yes),
                _ => return Ok(Taken::No),
            }
            seen |= 1 << id;
            Ok(Taken::Yes)
        })?;
        required_fields(seen == 0b111_1110)?;
        Ok(header)
    }
}
