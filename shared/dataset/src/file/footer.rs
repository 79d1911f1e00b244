//! A file's footer: its schema as a flat list, its row groups, its key-value pairs.

use super::thrift::{Compact, Taken, Wire, required_fields};
use super::{Fault, Result, broken};

/// Bytes behind the footer: its length and the magic.
const TAIL_BYTES: usize = 8;

/// What a footer says.
#[derive(Debug, Default)]
pub(crate) struct Footer<'a> {
    pub(crate) schema: Vec<Element<'a>>,
    pub(crate) groups: Vec<Group>,
    /// The value of the first `ARROW:schema`.
    pub(crate) arrow_schema: Option<&'a [u8]>,
    /// How many column orders are stated, when any are.
    pub(crate) column_orders: Option<usize>,
}

/// One element of the schema, as it stands there.
#[derive(Debug, Default, Clone)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) physical: Option<i32>,
    pub(crate) length: i32,
    pub(crate) repetition: i32,
    pub(crate) children: i32,
    pub(crate) converted: Option<i32>,
    pub(crate) scale: i32,
    pub(crate) precision: i32,
    pub(crate) logical: Option<Logical>,
}

/// A logical type, as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    Text,
    Map,
    List,
    Enum,
    Decimal {
        scale: i32,
        precision: i32,
    },
    Date,
    Time {
        utc: bool,
        unit: Option<Unit>,
    },
    Timestamp {
        utc: bool,
        unit: Option<Unit>,
    },
    Integer {
        bits: i8,
        signed: bool,
    },
    Null,
    Json,
    Bson,
    Uuid,
    Float16,
    Variant,
    Geometry,
    Geography,
    /// None that is known.
    Unknown,
}

/// Resolution of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Second,
    Milli,
    Micro,
    Nano,
}

/// One row group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) rows: i64,
}

/// One column of one row group.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) codec: i32,
    pub(crate) values: i64,
    pub(crate) compressed: i64,
    pub(crate) data_offset: i64,
    pub(crate) dictionary_offset: Option<i64>,
    pub(crate) sizes: SizeStatistics,
    /// Its pages or its own header are encrypted.
    pub(crate) encrypted: bool,
}

/// How long the histograms of a chunk are, which must fit its column.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SizeStatistics {
    pub(crate) repetition: usize,
    pub(crate) definition: usize,
    /// It says how long its texts are.
    pub(crate) has_texts: bool,
}

/// Splits the footer off a file.
pub(crate) fn split(bytes: &[u8], most: usize) -> Result<&[u8]> {
    let (body, tail) = bytes
        .split_last_chunk::<TAIL_BYTES>()
        .ok_or(broken("it is shorter than a footer"))?;
    let [a, b, c, d, magic @ ..] = *tail;
    if magic == *b"PARE" {
        return Err(broken("it is encrypted"));
    }
    if magic != *b"PAR1" {
        return Err(broken("it does not end in PAR1"));
    }
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let begin = body.len().checked_sub(length);
    let footer = begin.and_then(|begin| body.get(begin..));
    let footer = footer.ok_or(broken("its footer is longer than the file"))?;
    if length > most {
        return Err(Fault::Beyond {
            what: "footer bytes",
            limit: most,
        });
    }
    Ok(footer)
}

impl<'a> Footer<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut footer = Self::default();
        let mut seen = 0_u8;
        Compact::new(bytes).structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => drop(reader.i32()?),
                (2, Wire::List) => {
                    footer.schema = list(reader, Element::read)?;
                    seen |= 2;
                }
                (3, Wire::I64) => {
                    reader.i64()?;
                    seen |= 4;
                }
                (4, Wire::List) => {
                    footer.groups = list(reader, Group::read)?;
                    seen |= 8;
                }
                (5, Wire::List) => {
                    let pairs = list(reader, pair)?;
                    footer.arrow_schema = pairs
                        .into_iter()
                        .find(|(key, _)| *key == b"ARROW:schema")
                        .map(|(_, value)| value);
                }
                (6, Wire::Binary) => drop(reader.binary()?),
                (7, Wire::List) => {
                    let orders = list(reader, |reader| reader.structure_with(&[]))?;
                    footer.column_orders = Some(orders.len());
                }
                _ => return Ok(Taken::No),
            }
            seen |= u8::from(id == 1);
            Ok(Taken::Yes)
        })?;
        required_fields(seen == 0b1111)?;
        Ok(footer)
    }
}

fn list<'a, T>(
    reader: &mut Compact<'a>,
    mut element: impl FnMut(&mut Compact<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let (count, _) = reader.list()?;
    (0..count).map(|_| element(reader)).collect()
}

fn pair<'a>(reader: &mut Compact<'a>) -> Result<(&'a [u8], &'a [u8])> {
    let (mut key, mut value) = (None, &[][..]);
    reader.structure(|reader, id, wire| {
        match (id, wire) {
            (1, Wire::Binary) => key = Some(reader.binary()?),
            (2, Wire::Binary) => value = reader.binary()?,
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    })?;
    required_fields(key.is_some())?;
    Ok((key.unwrap_or_default(), value))
}

impl<'a> Element<'a> {
    fn read(reader: &mut Compact<'a>) -> Result<Self> {
        let mut element = Self::default();
        let mut named = false;
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => element.physical = Some(reader.i32()?),
                (2, Wire::I32) => element.length = reader.i32()?,
                (3, Wire::I32) => element.repetition = reader.i32()?,
                (4, Wire::Binary) => {
                    element.name = reader.binary()?;
                    named = true;
                }
                (5, Wire::I32) => element.children = reader.i32()?,
                (6, Wire::I32) => element.converted = Some(reader.i32()?),
                (7, Wire::I32) => element.scale = reader.i32()?,
                (8, Wire::I32) => element.precision = reader.i32()?,
                (9, Wire::I32) => drop(reader.i32()?),
                (10, Wire::Struct) => element.logical = Some(Logical::read(reader)?),
                _ => return Ok(Taken::No),
            }
            Ok(Taken::Yes)
        })?;
        required_fields(named)?;
        Ok(element)
    }
}

impl Logical {
    /// The union's members in the order in which the C++ library asks for them: the first one that is set counts.
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut found: [Option<Self>; 19] = [None; 19];
        reader.structure(|reader, id, wire| {
            let place = usize::try_from(id).unwrap_or(0);
            let Some(slot) = found.get_mut(place) else {
                return Ok(Taken::No);
            };
            if wire != Wire::Struct || matches!(place, 0 | 9) {
                return Ok(Taken::No);
            }
            *slot = Some(Self::member(place, reader)?);
            Ok(Taken::Yes)
        })?;
        Ok(found.into_iter().flatten().next().unwrap_or(Self::Unknown))
    }

    fn member(id: usize, reader: &mut Compact<'_>) -> Result<Self> {
        match id {
            5 => return Self::decimal(reader),
            7 | 8 => {
                let (utc, unit) = time(reader)?;
                return Ok(if id == 7 {
                    Self::Time { utc, unit }
                } else {
                    Self::Timestamp { utc, unit }
                });
            }
            10 => return Self::integer(reader),
            _ => reader.structure_with(&[])?,
        }
        Ok(match id {
            1 => Self::Text,
            2 => Self::Map,
            3 => Self::List,
            4 => Self::Enum,
            6 => Self::Date,
            11 => Self::Null,
            12 => Self::Json,
            13 => Self::Bson,
            14 => Self::Uuid,
            15 => Self::Float16,
            16 => Self::Variant,
            17 => Self::Geometry,
            _ => Self::Geography,
        })
    }

    fn decimal(reader: &mut Compact<'_>) -> Result<Self> {
        let (mut scale, mut precision) = (None, None);
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => scale = Some(reader.i32()?),
                (2, Wire::I32) => precision = Some(reader.i32()?),
                _ => return Ok(Taken::No),
            }
            Ok(Taken::Yes)
        })?;
        required_fields(scale.is_some() && precision.is_some())?;
        Ok(Self::Decimal {
            scale: scale.unwrap_or_default(),
            precision: precision.unwrap_or_default(),
        })
    }

    fn integer(reader: &mut Compact<'_>) -> Result<Self> {
        let (mut bits, mut signed) = (None, None);
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::Byte) => bits = Some(reader.byte()?.cast_signed()),
                (2, Wire::Bool(value)) => signed = Some(value),
                _ => return Ok(Taken::No),
            }
            Ok(Taken::Yes)
        })?;
        required_fields(bits.is_some() && signed.is_some())?;
        Ok(Self::Integer {
            bits: bits.unwrap_or_default(),
            signed: signed.unwrap_or_default(),
        })
    }
}

fn time(reader: &mut Compact<'_>) -> Result<(bool, Option<Unit>)> {
    let (mut utc, mut unit) = (None, None);
    reader.structure(|reader, id, wire| {
        match (id, wire) {
            (1, Wire::Bool(value)) => utc = Some(value),
            (2, Wire::Struct) => {
                let mut set = [false; 4];
                reader.structure(|reader, id, wire| {
                    let place = usize::try_from(id).unwrap_or(0);
                    if wire != Wire::Struct || !(1..=3).contains(&place) {
                        return Ok(Taken::No);
                    }
                    set[place] = true;
                    reader.structure_with(&[])?;
                    Ok(Taken::Yes)
                })?;
                unit = Some(match set {
                    [_, true, _, _] => Some(Unit::Milli),
                    [_, _, true, _] => Some(Unit::Micro),
                    [_, _, _, true] => Some(Unit::Nano),
                    _ => None,
                });
            }
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    })?;
    required_fields(utc.is_some() && unit.is_some())?;
    Ok((utc.unwrap_or_default(), unit.unwrap_or_default()))
}

impl Group {
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut group = Self::default();
        let mut seen = 0_u8;
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::List) => {
                    group.chunks = list(reader, Chunk::read)?;
                    seen |= 1;
                }
                (2, Wire::I64) => {
                    reader.i64()?;
                    seen |= 2;
                }
                (3, Wire::I64) => {
                    group.rows = reader.i64()?;
                    seen |= 4;
                }
                (4, Wire::List) => {
                    let sorting = [(1, Wire::I32), (2, Wire::Bool(true)), (3, Wire::Bool(true))];
                    list(reader, |reader| reader.structure_with(&sorting))?;
                }
                _ => return Ok(Taken::No),
            }
            Ok(Taken::Yes)
        })?;
        required_fields(seen == 0b111)?;
        Ok(group)
    }
}

impl Chunk {
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut chunk = Self::default();
        let (mut placed, mut encrypted) = (false, false);
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::Binary) => drop(reader.binary()?),
                (2, Wire::I64) => {
                    reader.i64()?;
                    placed = true;
                }
                (3, Wire::Struct) => {
                    chunk = Self::meta_data(reader)?;
                }
                (8, Wire::Struct) => {
                    encrypted |= crypto(reader)?;
                }
                _ => return Ok(Taken::No),
            }
            Ok(Taken::Yes)
        })?;
        required_fields(placed)?;
        chunk.encrypted = encrypted;
        Ok(chunk)
    }

    fn meta_data(reader: &mut Compact<'_>) -> Result<Self> {
        let mut chunk = Self::default();
        let mut seen = 0_u16;
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I32) => drop(reader.i32()?),
                (2, Wire::List) => drop(list(reader, Compact::i32)?),
                (3, Wire::List) => drop(list(reader, |reader| reader.binary().map(|_| ()))?),
                (4, Wire::I32) => chunk.codec = reader.i32()?,
                (5, Wire::I64) => chunk.values = reader.i64()?,
                (6, Wire::I64) => drop(reader.i64()?),
                (7, Wire::I64) => chunk.compressed = reader.i64()?,
                (8, Wire::List) => drop(list(reader, pair)?),
                (9, Wire::I64) => chunk.data_offset = reader.i64()?,
                (11, Wire::I64) => chunk.dictionary_offset = Some(reader.i64()?),
                (12, Wire::Struct) => statistics(reader)?,
                (13, Wire::List) => {
                    let stats = [(1, Wire::I32), (2, Wire::I32), (3, Wire::I32)];
                    list(reader, |reader| reader.structure_with(&stats))?;
                }
                (16, Wire::Struct) => chunk.sizes = SizeStatistics::read(reader)?,
                (17, Wire::Struct) => geospatial(reader)?,
                _ => return Ok(Taken::No),
            }
            seen |= 1_u16.checked_shl(u32::from(id.unsigned_abs())).unwrap_or(0);
            Ok(Taken::Yes)
        })?;
        // 1 to 7, and 9.
        required_fields(seen & 0b10_1111_1110 == 0b10_1111_1110)?;
        Ok(chunk)
    }
}

/// Statistics are read for what is wrong with them, and for nothing else.
pub(crate) fn statistics(reader: &mut Compact<'_>) -> Result<()> {
    reader.structure(|reader, id, wire| {
        match (id, wire) {
            (1 | 2 | 5 | 6, Wire::Binary) => drop(reader.binary()?),
            (3 | 4, Wire::I64) => drop(reader.i64()?),
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    })
}

impl SizeStatistics {
    fn read(reader: &mut Compact<'_>) -> Result<Self> {
        let mut sizes = Self::default();
        reader.structure(|reader, id, wire| {
            match (id, wire) {
                (1, Wire::I64) => {
                    reader.i64()?;
                    sizes.has_texts = true;
                }
                (2, Wire::List) => sizes.repetition = list(reader, Compact::i64)?.len(),
                (3, Wire::List) => sizes.definition = list(reader, Compact::i64)?.len(),
                _ => return Ok(Taken::No),
            }
            Ok(Taken::Yes)
        })?;
        Ok(sizes)
    }
}

fn geospatial(reader: &mut Compact<'_>) -> Result<()> {
    reader.structure(|reader, id, wire| {
        match (id, wire) {
            (1, Wire::Struct) => {
                let sides = [1, 2, 3, 4].map(|side| (side, Wire::Double));
                reader.structure_with(&sides)?;
            }
            (2, Wire::List) => drop(list(reader, Compact::i32)?),
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    })
}

/// Whether the column is encrypted, by whatever key.
fn crypto(reader: &mut Compact<'_>) -> Result<bool> {
    let mut encrypted = false;
    reader.structure(|reader, id, wire| {
        match (id, wire) {
            (1, Wire::Struct) => reader.structure_with(&[])?,
            (2, Wire::Struct) => reader.structure_with(&[(1, Wire::List)])?,
            _ => return Ok(Taken::No),
        }
        encrypted = true;
        Ok(Taken::Yes)
    })?;
    Ok(encrypted)
}
