//! A walk over Thrift's compact protocol, before the parquet decoder follows the same bytes.
//!
//! The decoder allocates what a list declares (an impossible amount aborts the process), ignores the declared type of a
//! field that it knows, and counts through lists of booleans without reading a byte. Here every known field must have
//! its type, fields must ascend (so none comes twice), and a list cannot be longer than the bytes that are left: then
//! decoder and walk cannot come apart.

/// Deepest nesting inside fields that parquet does not know.
const MAX_DEPTH: u32 = 16;

/// What a known field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A boolean, inside the field's own header.
    Flag,
    /// An integer of 16 to 64 bits.
    Int,
    /// One byte.
    Byte,
    /// Bytes or text.
    Bytes,
    /// A structure with these known fields.
    Struct(&'static [(i16, Shape)]),
    /// A list.
    List(&'static Shape),
}

use Shape::{Byte, Bytes, Flag, Int, List, Struct};

/// Field ids from the outermost structure to the one where something was found; list elements add none.
pub(crate) type Path<'a> = &'a [i16];

/// What a walk finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// An integer.
    Int(i64),
    /// A boolean.
    Flag(bool),
    /// A list of so many elements begins.
    List(u64),
    /// A structure begins.
    Struct,
}

const EMPTY: Shape = Struct(&[]);
const TIME: Shape = Struct(&[
    (1, Flag),
    (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)])),
]);
const LOGICAL_TYPE: Shape = Struct(&[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, Int), (2, Int)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Flag)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
]);
const SCHEMA_ELEMENT: Shape = Struct(&[
    (1, Int),
    (2, Int),
    (3, Int),
    (4, Bytes),
    (5, Int),
    (6, Int),
    (7, Int),
    (8, Int),
    (9, Int),
    (10, LOGICAL_TYPE),
]);
const STATISTICS: Shape = Struct(&[
    (1, Bytes),
    (2, Bytes),
    (3, Int),
    (4, Int),
    (5, Bytes),
    (6, Bytes),
    (7, Flag),
    (8, Flag),
]);
const KEY_VALUE: Shape = Struct(&[(1, Bytes), (2, Bytes)]);
const COLUMN_META_DATA: Shape = Struct(&[
    (1, Int),
    (2, List(&Int)),
    (3, List(&Bytes)),
    (4, Int),
    (5, Int),
    (6, Int),
    (7, Int),
    (8, List(&KEY_VALUE)),
    (9, Int),
    (10, Int),
    (11, Int),
    (12, STATISTICS),
    (14, Int),
    (15, Int),
]);
const COLUMN_CHUNK: Shape = Struct(&[
    (1, Bytes),
    (2, Int),
    (3, COLUMN_META_DATA),
    (4, Int),
    (5, Int),
    (6, Int),
    (7, Int),
]);
const SORTING_COLUMN: Shape = Struct(&[(1, Int), (2, Flag), (3, Flag)]);
const ROW_GROUP: Shape = Struct(&[
    (1, List(&COLUMN_CHUNK)),
    (2, Int),
    (3, Int),
    (4, List(&SORTING_COLUMN)),
    (5, Int),
    (6, Int),
    (7, Int),
]);
const COLUMN_ORDER: Shape = Struct(&[(1, EMPTY), (2, EMPTY)]);

/// A file's footer.
pub(crate) const FOOTER: Shape = Struct(&[
    (1, Int),
    (2, List(&SCHEMA_ELEMENT)),
    (3, Int),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Bytes),
    (7, List(&COLUMN_ORDER)),
]);

/// A page's header.
pub(crate) const PAGE_HEADER: Shape = Struct(&[
    (1, Int),
    (2, Int),
    (3, Int),
    (4, Int),
    (
        5,
        Struct(&[(1, Int), (2, Int), (3, Int), (4, Int), (5, STATISTICS)]),
    ),
    (6, EMPTY),
    (7, Struct(&[(1, Int), (2, Int), (3, Flag)])),
    (
        8,
        Struct(&[
            (1, Int),
            (2, Int),
            (3, Int),
            (4, Int),
            (5, Int),
            (6, Int),
            (7, Flag),
            (8, STATISTICS),
        ]),
    ),
]);

/// Walks one structure at the start of `bytes`. Answers how many bytes it takes; `None` when it is broken, or when
/// `found` says so.
pub(crate) fn walk(
    bytes: &[u8],
    shape: Shape,
    found: &mut dyn FnMut(Path<'_>, Found) -> bool,
) -> Option<usize> {
    let mut walk = Walk {
        bytes,
        path: Vec::with_capacity(8),
        found,
    };
    let Struct(fields) = shape else { return None };
    walk.structure(fields)?;
    Some(bytes.len() - walk.bytes.len())
}

struct Walk<'a, 'f> {
    bytes: &'a [u8],
    path: Vec<i16>,
    found: &'f mut dyn FnMut(Path<'_>, Found) -> bool,
}

const BOOL: [u8; 2] = [1, 2];
const BYTE: u8 = 3;
const INTS: [u8; 3] = [4, 5, 6];
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

impl Walk<'_, '_> {
    // Recursion goes as deep as the shapes above are nested, and MAX_DEPTH below that.
    fn structure(&mut self, fields: &'static [(i16, Shape)]) -> Option<()> {
        self.say(Found::Struct)?;
        let mut last = 0;
        while let Some((id, kind)) = self.header(last)? {
            last = id;
            self.path.push(id);
            match fields.iter().find(|(known, _)| *known == id) {
                Some((_, shape)) => self.field(kind, *shape)?,
                None => self.skip(kind, MAX_DEPTH)?,
            }
            self.path.pop();
        }
        Some(())
    }

    /// A field's id and kind; `None` inside at the end of a structure.
    #[expect(clippy::option_option, reason = "broken, or at the end, or a field")]
    fn header(&mut self, last: i16) -> Option<Option<(i16, u8)>> {
        let head = self.byte()?;
        let (step, kind) = (head >> 4, head & 0xf);
        if kind == 0 {
            return Some(None);
        }
        let id = if step == 0 {
            i16::try_from(self.zigzag()?).ok()?
        } else {
            last.checked_add(i16::from(step))?
        };
        (id > last).then_some(Some((id, kind)))
    }

    fn field(&mut self, kind: u8, shape: Shape) -> Option<()> {
        match shape {
            Flag if BOOL.contains(&kind) => self.say(Found::Flag(kind == 1)),
            Int if INTS.contains(&kind) => {
                let value = self.zigzag()?;
                self.say(Found::Int(value))
            }
            Byte if kind == BYTE => self.take(1),
            Bytes if kind == BINARY => self.blob(),
            Struct(fields) if kind == STRUCT => self.structure(fields),
            List(element) if kind == LIST => {
                let (count, kind) = self.list()?;
                self.say(Found::List(count))?;
                if count > 0 && matches!(element, Flag) {
                    return None;
                }
                (0..count).try_for_each(|_| self.field(kind, *element))
            }
            _ => None,
        }
    }

    /// A field that parquet does not know.
    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            kind if BOOL.contains(&kind) => Some(()),
            BYTE => self.take(1),
            kind if INTS.contains(&kind) => self.zigzag().map(|_| ()),
            DOUBLE => self.take(8),
            BINARY => self.blob(),
            LIST => {
                let (count, kind) = self.list()?;
                // The decoder reads no byte for a boolean in a list.
                if count > 0 && BOOL.contains(&kind) {
                    return None;
                }
                (0..count).try_for_each(|_| self.skip(kind, depth))
            }
            STRUCT => {
                let mut last = 0;
                while let Some((id, kind)) = self.header(last)? {
                    last = id;
                    self.skip(kind, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        // Every element takes a byte at least.
        (count <= self.bytes.len() as u64).then_some((count, head & 0xf))
    }

    fn blob(&mut self) -> Option<()> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    fn say(&mut self, what: Found) -> Option<()> {
        (self.found)(&self.path, what).then_some(())
    }

    fn take(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        varint(&mut self.bytes)
    }

    fn zigzag(&mut self) -> Option<i64> {
        self.varint().map(zigzag)
    }
}

/// A varint of 10 bytes at most, taken off the front.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift).unwrap_or(0);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The signed number behind a varint.
pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walks(bytes: &[u8]) -> Option<Vec<(Vec<i16>, Found)>> {
        let mut all = Vec::new();
        walk(bytes, FOOTER, &mut |path, found| {
            all.push((path.to_vec(), found));
            true
        })
        .map(|_| all)
    }

    #[test]
    fn known_fields_are_found_where_they_are() {
        // Version 2, a schema of one element with two children.
        let bytes = [0x15, 4, 0x19, 0x1c, 0x55, 4, 0, 0];
        assert_eq!(
            walks(&bytes).unwrap(),
            [
                (vec![], Found::Struct),
                (vec![1], Found::Int(2)),
                (vec![2], Found::List(1)),
                (vec![2], Found::Struct),
                (vec![2, 5], Found::Int(2)),
            ]
        );
    }

    #[test]
    fn what_could_lead_the_decoder_elsewhere_is_refused() {
        for (what, bytes) in [
            ("a field of another type", &[0x18, 1, b'x', 0][..]),
            ("a field that comes twice", &[0x15, 2, 0x05, 2, 2, 0]),
            (
                "a list longer than the file",
                &[0x29, 0xfc, 0xff, 0xff, 0xff, 0x07, 0],
            ),
            ("elements of another type", &[0x29, 0x15, 2, 0]),
            ("booleans in an unknown list", &[0x09, 40, 0x21, 1, 1, 0]),
            ("no end", &[0x15, 2]),
        ] {
            assert_eq!(walks(bytes), None, "{what}");
        }
        let mut deep = vec![0x0c, 40];
        deep.extend([0x1c].repeat(1_000_000));
        assert_eq!(walks(&deep), None, "a million levels");
    }

    #[test]
    fn numbers_are_unwound_from_their_zigzag() {
        assert_eq!([0, 1, 2, u64::MAX].map(zigzag), [0, -1, 1, i64::MIN]);
        assert_eq!(varint(&mut &[0xff; 10][..]), None);
    }
}
