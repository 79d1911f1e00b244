//! Flat buffers, verified as the C++ library verifies them before a byte is followed.

use super::{Result, broken};

const BAD: super::Fault = broken("its ARROW:schema is no flat buffer");
const MAX_DEPTH: u32 = 128;

/// What a field of a table must be.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A number of so many bytes.
    Number(usize),
    Text,
    Table(&'static Spec),
    Tables(&'static Spec),
    /// A list of numbers of so many bytes.
    Numbers(usize),
    /// One of these tables, by the number in the field before it.
    Union(&'static [Option<&'static Spec>]),
}

/// The fields of a table, in order.
pub(crate) type Spec = [Shape];

/// A flat buffer, and how much of it was verified.
struct Verifier<'a> {
    bytes: &'a [u8],
    depth: u32,
    tables: usize,
}

/// A table in a buffer that was verified.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Verifies a buffer whose root is a table of that kind.
pub(crate) fn root<'a>(bytes: &'a [u8], spec: &'static Spec) -> Result<Table<'a>> {
    let mut verifier = Verifier {
        bytes,
        depth: 0,
        tables: 0,
    };
    let at = verifier.offset(0)?.ok_or(BAD)?;
    verifier.table(at, spec)?;
    Ok(Table { bytes, at })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Where a table's field stands, when it is there.
fn field(bytes: &[u8], table: usize, index: usize) -> Option<usize> {
    let vtable = vtable(bytes, table)?;
    let place = 4 + 2 * index;
    if usize::from(u16_at(bytes, vtable)?) < place + 2 {
        return None;
    }
    match u16_at(bytes, vtable + place)? {
        0 => None,
        offset => table.checked_add(usize::from(offset)),
    }
}

fn vtable(bytes: &[u8], table: usize) -> Option<usize> {
    let back = i64::from(u32_at(bytes, table)?.cast_signed());
    usize::try_from(i64::try_from(table).ok()? - back).ok()
}

impl Verifier<'_> {
    fn has(&self, at: usize, length: usize, align: usize) -> Result<()> {
        let fits = at
            .checked_add(length)
            .is_some_and(|end| end <= self.bytes.len());
        if fits && at.is_multiple_of(align) {
            Ok(())
        } else {
            Err(BAD)
        }
    }

    /// Where an offset leads; `None` when it is zero.
    fn offset(&self, at: usize) -> Result<Option<usize>> {
        self.has(at, 4, 4)?;
        let offset = u32_at(self.bytes, at).ok_or(BAD)?;
        if offset == 0 {
            return Err(BAD);
        }
        if offset > i32::MAX.cast_unsigned() {
            return Err(BAD);
        }
        let target = at + offset as usize;
        self.has(target, 1, 1)?;
        Ok(Some(target))
    }

    fn table(&mut self, at: usize, spec: &'static Spec) -> Result<()> {
        self.has(at, 4, 4)?;
        let vtable = vtable(self.bytes, at).ok_or(BAD)?;
        self.has(vtable, 2, 2)?;
        self.depth += 1;
        self.tables += 1;
        if self.depth > MAX_DEPTH || self.tables > self.bytes.len().saturating_mul(8) {
            return Err(BAD);
        }
        let length = usize::from(u16_at(self.bytes, vtable).ok_or(BAD)?);
        if !length.is_multiple_of(2) {
            return Err(BAD);
        }
        self.has(vtable, length, 1)?;
        for (index, shape) in spec.iter().enumerate() {
            if let Some(place) = field(self.bytes, at, index) {
                self.field(at, index, place, *shape)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(&mut self, table: usize, index: usize, place: usize, shape: Shape) -> Result<()> {
        if let Shape::Number(size) = shape {
            return self.has(place, size, size);
        }
        let target = self.offset(place)?.ok_or(BAD)?;
        match shape {
            Shape::Number(_) => Ok(()),
            Shape::Text => {
                let end = self.vector(target, 1)?;
                self.has(end, 1, 1)?;
                if self.bytes[end] == 0 {
                    Ok(())
                } else {
                    Err(BAD)
                }
            }
            Shape::Numbers(size) => self.vector(target, size).map(|_| ()),
            Shape::Table(spec) => self.table(target, spec),
            Shape::Tables(spec) => {
                let end = self.vector(target, 4)?;
                for at in (target + 4..end).step_by(4) {
                    let offset = u32_at(self.bytes, at).ok_or(BAD)?;
                    self.table(at.checked_add(offset as usize).ok_or(BAD)?, spec)?;
                }
                Ok(())
            }
            Shape::Union(members) => {
                let kind = field(self.bytes, table, index - 1)
                    .and_then(|at| self.bytes.get(at))
                    .map_or(0, |kind| usize::from(*kind));
                match members.get(kind) {
                    Some(Some(spec)) => self.table(target, spec),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The end of a list of elements of that size.
    fn vector(&self, at: usize, size: usize) -> Result<usize> {
        self.has(at, 4, 4)?;
        let count = u32_at(self.bytes, at).ok_or(BAD)? as usize;
        let length = count
            .checked_mul(size)
            .and_then(|length| length.checked_add(4));
        let length = length
            .filter(|length| *length <= self.bytes.len())
            .ok_or(BAD)?;
        self.has(at, length, 1)?;
        Ok(at + length)
    }
}

impl<'a> Table<'a> {
    fn place(&self, index: usize) -> Option<usize> {
        field(self.bytes, self.at, index)
    }

    pub(crate) fn u8(&self, index: usize) -> u8 {
        let byte = self.place(index).and_then(|at| self.bytes.get(at));
        byte.copied().unwrap_or(0)
    }

    pub(crate) fn i16(&self, index: usize, default: i16) -> i16 {
        let value = self.place(index).and_then(|at| u16_at(self.bytes, at));
        value.map_or(default, u16::cast_signed)
    }

    pub(crate) fn i32(&self, index: usize, default: i32) -> i32 {
        let value = self.place(index).and_then(|at| u32_at(self.bytes, at));
        value.map_or(default, u32::cast_signed)
    }

    pub(crate) fn i64(&self, index: usize) -> i64 {
        let bytes = self
            .place(index)
            .and_then(|at| self.bytes.get(at..)?.first_chunk());
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// Where the offset in a field leads.
    fn target(&self, index: usize) -> Option<usize> {
        let at = self.place(index)?;
        Some(at + u32_at(self.bytes, at)? as usize)
    }

    pub(crate) fn text(&self, index: usize) -> Option<&'a [u8]> {
        let at = self.target(index)?;
        let length = u32_at(self.bytes, at)? as usize;
        self.bytes.get(at + 4..at + 4 + length)
    }

    pub(crate) fn table(&self, index: usize) -> Option<Self> {
        let at = self.target(index)?;
        Some(Self { at, ..*self })
    }

    pub(crate) fn tables(&self, index: usize) -> Option<Vec<Self>> {
        let at = self.target(index)?;
        let count = u32_at(self.bytes, at)? as usize;
        (0..count)
            .map(|index| {
                let at = at + 4 + 4 * index;
                let at = at + u32_at(self.bytes, at)? as usize;
                Some(Self { at, ..*self })
            })
            .collect()
    }
}
