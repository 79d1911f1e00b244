//! Thrift's compact protocol, as leniently and as strictly as the C++ library reads it.
//!
//! Known fields of another type are skipped like unknown ones, a field that comes twice counts the second time, a list's
//! elements are read as what they should be whatever the list says they are, and structures nest 64 deep at most. Nothing
//! is allocated by a declared length: what is declared and not there ends the reading.

use super::{Fault, Result, broken};

/// Deepest nesting of structures.
const MAX_DEPTH: u8 = 64;
/// Most elements of one list, and most bytes of one text.
const MAX_ELEMENTS: u32 = 1_000_000;
const MAX_TEXT: u32 = 100_000_000;

const CUT: Fault = Fault::Broken("a header ends in the middle");

/// What a field's header says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A boolean, with its value in the header.
    Bool(bool),
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Set,
    Map,
    Struct,
    Uuid,
    /// No type at all, as a list may say of its elements.
    Stop,
}

impl Wire {
    fn of(nibble: u8) -> Result<Self> {
        Ok(match nibble {
            1 => Self::Bool(true),
            2 => Self::Bool(false),
            3 => Self::Byte,
            4 => Self::I16,
            5 => Self::I32,
            6 => Self::I64,
            7 => Self::Double,
            8 => Self::Binary,
            9 => Self::List,
            10 => Self::Set,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(broken("a header has a field of no known type")),
        })
    }
}

/// A place in a message.
pub(crate) struct Compact<'a> {
    rest: &'a [u8],
    depth: u8,
}

/// What becomes of a field: the reader took its value, or it is to be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    No,
}

impl<'a> Compact<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            depth: 0,
        }
    }

    /// Bytes that were not read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads one structure. `field` gets every field's id and type and takes its value, or says that it did not.
    pub(crate) fn structure(
        &mut self,
        mut field: impl FnMut(&mut Self, i16, Wire) -> Result<Taken>,
    ) -> Result<()> {
        self.enter()?;
        let mut last = 0_i16;
        while let Some((id, wire)) = self.header(last)? {
            last = id;
            if field(self, id, wire)? == Taken::No {
                self.skip(wire, false)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a structure whose fields do not matter, but for being there and having these types.
    pub(crate) fn structure_with(&mut self, required: &[(i16, Wire)]) -> Result<()> {
        let mut seen = 0_u32;
        self.structure(|reader, id, wire| {
            let place = required.iter().position(|(known, kind)| {
                *known == id && std::mem::discriminant(kind) == std::mem::discriminant(&wire)
            });
            let Some(place) = place else {
                return Ok(Taken::No);
            };
            seen |= 1 << place;
            reader.skip(wire, false)?;
            Ok(Taken::Yes)
        })?;
        required_fields(seen.count_ones() as usize == required.len())
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(broken("a header nests too deep"));
        }
        Ok(())
    }

    fn header(&mut self, last: i16) -> Result<Option<(i16, Wire)>> {
        let head = self.byte()?;
        let (step, nibble) = (head >> 4, head & 0xf);
        if nibble == 0 {
            return Ok(None);
        }
        let id = if step == 0 {
            self.i16()?
        } else {
            last.wrapping_add(i16::from(step))
        };
        Ok(Some((id, Wire::of(nibble)?)))
    }

    /// Passes over a value; a boolean inside a list takes a byte.
    fn skip(&mut self, wire: Wire, in_list: bool) -> Result<()> {
        self.enter()?;
        match wire {
            Wire::Bool(_) => {
                if in_list {
                    self.byte()?;
                }
            }
            Wire::Stop => return Err(broken("a header has a value of no type")),
            Wire::Byte => drop(self.byte()?),
            Wire::I16 | Wire::I32 | Wire::I64 => drop(self.varint()?),
            Wire::Double => drop(self.take(8)?),
            Wire::Uuid => drop(self.take(16)?),
            Wire::Binary => drop(self.binary()?),
            Wire::Struct => self.structure(|_, _, _| Ok(Taken::No))?,
            Wire::List | Wire::Set => {
                let (count, element) = self.list()?;
                for _ in 0..count {
                    self.skip(element, true)?;
                }
            }
            Wire::Map => {
                let count = length(self.varint()?)?;
                if count > 0 {
                    let kinds = self.byte()?;
                    let (key, value) = (Wire::of(kinds >> 4)?, Wire::of(kinds & 0xf)?);
                    for _ in 0..count {
                        self.skip(key, true)?;
                        self.skip(value, true)?;
                    }
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A list's head: how many elements, and of what type it says that they are.
    pub(crate) fn list(&mut self) -> Result<(u32, Wire)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => length(self.varint()?)?,
            short => u32::from(short),
        };
        if count > MAX_ELEMENTS {
            return Err(broken(
                "a header has a list of more than a million elements",
            ));
        }
        let element = match head & 0xf {
            0 => Wire::Stop,
            nibble => Wire::of(nibble)?,
        };
        let least: u64 = match element {
            Wire::Struct | Wire::Stop => 0,
            Wire::Double => 8,
            Wire::Uuid => 16,
            _ => 1,
        };
        if u64::from(count) * least > self.rest.len() as u64 {
            return Err(CUT);
        }
        Ok((count, element))
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8]> {
        let length = length(self.varint()?)?;
        if length > MAX_TEXT {
            return Err(broken("a header has a text of more than 100 million bytes"));
        }
        self.take(length as usize)
    }

    #[expect(clippy::cast_possible_truncation, reason = "as the C++ library casts")]
    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(zigzag(self.varint()?) as i16)
    }

    #[expect(clippy::cast_possible_truncation, reason = "as the C++ library casts")]
    pub(crate) fn i32(&mut self) -> Result<i32> {
        let value = self.varint()? as u32;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.varint().map(zigzag)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken("a header has a number of more than ten bytes"))
    }
}

/// An error when a structure lacks a field that it must have.
pub(crate) fn required_fields(all: bool) -> Result<()> {
    if all {
        Ok(())
    } else {
        Err(broken("a header lacks a field"))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as the C++ library casts")]
fn length(value: u64) -> Result<u32> {
    let length = value as u32;
    if length > i32::MAX.cast_unsigned() {
        return Err(broken("a header has a negative length"));
    }
    Ok(length)
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(bytes: &[u8]) -> Result<Vec<(i16, i32)>> {
        let mut found = Vec::new();
        Compact::new(bytes).structure(|reader, id, wire| {
            if wire != Wire::I32 {
                return Ok(Taken::No);
            }
            found.push((id, reader.i32()?));
            Ok(Taken::Yes)
        })?;
        Ok(found)
    }

    #[test]
    fn fields_are_found_and_others_skipped() {
        // 1: 2, 2: a list of two booleans, 5: "x", 6: -3, 1 again: 7.
        let bytes = [
            0x15, 4, 0x19, 0x21, 1, 2, 0x38, 1, b'x', 0x15, 5, 0x05, 2, 14, 0,
        ];
        assert_eq!(ints(&bytes).unwrap(), [(1, 2), (6, -3), (1, 7)]);
    }

    #[test]
    fn what_is_declared_and_not_there_is_refused() {
        for (what, bytes) in [
            ("no end", &[0x15, 2][..]),
            (
                "a list longer than the message",
                &[0x19, 0xf5, 0xff, 0x7f, 0],
            ),
            ("a text longer than the message", &[0x18, 0x7f, 0]),
            (
                "a negative length",
                &[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f, 0],
            ),
            ("a type that is none", &[0x1e, 0]),
            (
                "eleven bytes of a number",
                &[
                    0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0,
                ],
            ),
        ] {
            assert!(ints(bytes).is_err(), "{what}");
        }
        let mut deep = [0x1c].repeat(1_000_000);
        assert!(ints(&deep).is_err(), "a million levels");
        deep.truncate(30);
        deep.extend([0; 31]);
        assert_eq!(ints(&deep).unwrap(), []);
    }

    #[test]
    fn a_structure_without_a_required_field_is_refused() {
        let required = [(1, Wire::I32), (2, Wire::Bool(true))];
        assert!(
            Compact::new(&[0x15, 2, 0x12, 0])
                .structure_with(&required)
                .is_ok()
        );
        assert!(
            Compact::new(&[0x15, 2, 0])
                .structure_with(&required)
                .is_err()
        );
        assert!(
            Compact::new(&[0x16, 2, 0x12, 0])
                .structure_with(&required)
                .is_err()
        );
    }
}
