//! `ARROW:schema`: the types that the writer had, as far as they change how a column is read.

use super::flatbuffer::{Shape, Spec, Table, root};
use super::footer::Unit;
use super::kind::{Kind, Physical};
use super::python::Zone;
use super::schema::{Field, Leaf, ListKind, Schema, Shape as FieldShape};
use super::{Fault, Result, broken};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

const BAD: Fault = broken("its ARROW:schema is no schema");
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Metadata versions V4 and V5.
const VERSIONS: std::ops::RangeInclusive<i16> = 3..=4;
const SCHEMA: u8 = 1;

static NONE: &Spec = &[];
static ONE_ENUM: &Spec = &[Shape::Number(2)];
static INT: &Spec = &[Shape::Number(4), Shape::Number(1)];
static DECIMAL: &Spec = &[Shape::Number(4), Shape::Number(4), Shape::Number(4)];
static TIME: &Spec = &[Shape::Number(2), Shape::Number(4)];
static TIMESTAMP: &Spec = &[Shape::Number(2), Shape::Text];
static UNION: &Spec = &[Shape::Number(2), Shape::Numbers(4)];
static ONE_INT: &Spec = &[Shape::Number(4)];
static ONE_BOOL: &Spec = &[Shape::Number(1)];
static TYPES: &[Option<&Spec>] = &[
    None,
    Some(NONE),
    Some(INT),
    Some(ONE_ENUM),
    Some(NONE),
    Some(NONE),
    Some(NONE),
    Some(DECIMAL),
    Some(ONE_ENUM),
    Some(TIME),
    Some(TIMESTAMP),
    Some(ONE_ENUM),
    Some(NONE),
    Some(NONE),
    Some(UNION),
    Some(ONE_INT),
    Some(ONE_INT),
    Some(ONE_BOOL),
    Some(ONE_ENUM),
    Some(NONE),
    Some(NONE),
    Some(NONE),
    Some(NONE),
    Some(NONE),
    Some(NONE),
    Some(NONE),
    Some(NONE),
];
static KEY_VALUE: &Spec = &[Shape::Text, Shape::Text];
static DICTIONARY: &Spec = &[
    Shape::Number(8),
    Shape::Table(INT),
    Shape::Number(1),
    Shape::Number(2),
];
static FIELD: [Shape; 7] = [
    Shape::Text,
    Shape::Number(1),
    Shape::Number(1),
    Shape::Union(TYPES),
    Shape::Table(DICTIONARY),
    Shape::Tables(&FIELD),
    Shape::Tables(KEY_VALUE),
];
static SCHEMA_SPEC: &Spec = &[
    Shape::Number(2),
    Shape::Tables(&FIELD),
    Shape::Tables(KEY_VALUE),
    Shape::Numbers(8),
];
// Of the headers that are no schema none is read: such a message is refused for its type.
static HEADERS: &[Option<&Spec>] = &[None, Some(SCHEMA_SPEC)];
static MESSAGE: &Spec = &[
    Shape::Number(2),
    Shape::Number(1),
    Shape::Union(HEADERS),
    Shape::Number(8),
    Shape::Tables(KEY_VALUE),
];

/// A type that the writer had.
#[derive(Debug)]
enum Type {
    /// One that changes nothing.
    Other,
    Int {
        bits: i32,
        signed: bool,
    },
    Text,
    Fixed(i32),
    WideDecimal,
    Timestamp(Option<Zone>),
    Duration(Unit),
    Struct,
    List,
    OtherList,
    FixedSizeList(i32),
    Map,
}

#[derive(Debug)]
struct Origin {
    kind: Type,
    children: Vec<Origin>,
    dictionary: bool,
    extension: Option<Extension>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    Uuid,
    Bool8,
    /// One whose values are those of its storage.
    Transparent,
}

/// Changes the types of a schema to those that the writer had.
pub(crate) fn restore(schema: &mut Schema<'_>, value: &[u8]) -> Result<()> {
    let bytes = BASE64
        .decode(value)
        .map_err(|_| broken("its ARROW:schema is not base64"))?;
    let fields = read(&bytes)?;
    if fields.len() == schema.fields.len() {
        for (origin, field) in fields.iter().zip(&mut schema.fields) {
            apply(origin, field, &mut schema.leaves);
        }
    }
    Ok(())
}

fn read(bytes: &[u8]) -> Result<Vec<Origin>> {
    let (head, mut rest) = bytes.split_first_chunk::<4>().ok_or(BAD)?;
    let mut length = *head;
    if length == CONTINUATION {
        let (head, after) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        (length, rest) = (*head, after);
    }
    let length = usize::try_from(i32::from_le_bytes(length)).map_err(|_| BAD)?;
    if length == 0 {
        return Err(BAD);
    }
    let message = root(rest.get(..length).ok_or(BAD)?, MESSAGE)?;
    if !VERSIONS.contains(&message.i16(0, 0)) || message.u8(1) != SCHEMA || message.i64(3) != 0 {
        return Err(BAD);
    }
    let schema = message.table(2).ok_or(BAD)?;
    metadata(schema, 2)?;
    schema
        .tables(1)
        .ok_or(BAD)?
        .into_iter()
        .map(Origin::read)
        .collect()
}

type Pair<'a> = (&'a [u8], &'a [u8]);

fn metadata(table: Table<'_>, index: usize) -> Result<Vec<Pair<'_>>> {
    table
        .tables(index)
        .unwrap_or_default()
        .into_iter()
        .map(|pair| pair.text(0).zip(pair.text(1)).ok_or(BAD))
        .collect()
}

impl Origin {
    fn read(field: Table<'_>) -> Result<Self> {
        let metadata = metadata(field, 6)?;
        let children = field.tables(5).unwrap_or_default();
        let children = children
            .into_iter()
            .map(Self::read)
            .collect::<Result<Vec<_>>>()?;
        let kind = Type::read(field.u8(2), field.table(3).ok_or(BAD)?, &children)?;
        let dictionary = match field.table(4) {
            Some(encoding) => {
                Type::int(encoding.table(1).ok_or(BAD)?)?;
                true
            }
            None => false,
        };
        let value = |name: &[u8]| {
            metadata
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        let extension = match value(b"ARROW:extension:name") {
            Some(name) if !dictionary => {
                let data = value(b"ARROW:extension:metadata").unwrap_or_default();
                Extension::read(name, data, &kind)?
            }
            _ => None,
        };
        Ok(Self {
            kind,
            children,
            dictionary,
            extension,
        })
    }
}

impl Type {
    fn read(id: u8, table: Table<'_>, children: &[Origin]) -> Result<Self> {
        let one = children.len() == 1;
        let list = |kind| if one { Ok(kind) } else { Err(BAD) };
        match id {
            1 | 3 | 4 | 6 | 8 | 11 | 14 | 19 | 23 => Ok(Self::Other),
            2 => Self::int(table),
            5 | 20 | 24 => Ok(Self::Text),
            7 => match (table.i32(2, 128), table.i32(0, 0)) {
                (32, 1..=9) | (64, 1..=18) | (128, 1..=38) => Ok(Self::Other),
                (256, 1..=76) => Ok(Self::WideDecimal),
                _ => Err(BAD),
            },
            9 => match (table.i16(0, 1), table.i32(1, 32)) {
                (0 | 1, 32) | (2 | 3, 64) => Ok(Self::Other),
                _ => Err(BAD),
            },
            10 => Ok(Self::Timestamp(table.text(1).and_then(Zone::of))),
            12 => list(Self::List),
            13 => Ok(Self::Struct),
            15 => Ok(Self::Fixed(table.i32(0, 0))),
            16 => list(Self::FixedSizeList(table.i32(0, 0))),
            17 => match children {
                [entries]
                    if matches!(entries.kind, Self::Struct) && entries.children.len() == 2 =>
                {
                    Ok(Self::Map)
                }
                _ => Err(BAD),
            },
            18 => Ok(Self::Duration(match table.i16(0, 1) {
                0 => Unit::Second,
                1 => Unit::Milli,
                2 => Unit::Micro,
                _ => Unit::Nano,
            })),
            21 | 25 | 26 => list(Self::OtherList),
            22 if children.len() == 2 => Ok(Self::Other),
            _ => Err(BAD),
        }
    }

    fn int(table: Table<'_>) -> Result<Self> {
        match table.i32(0, 0) {
            bits @ (8 | 16 | 32 | 64) => Ok(Self::Int {
                bits,
                signed: table.u8(1) != 0,
            }),
            _ => Err(BAD),
        }
    }
}

impl Extension {
    /// An extension type that Arrow knows; what does not fit its storage is refused.
    fn read(name: &[u8], data: &[u8], storage: &Type) -> Result<Option<Self>> {
        let (extension, fits) = match name {
            b"arrow.uuid" => (
                Self::Uuid,
                matches!(storage, Type::Fixed(16)) && data.is_empty(),
            ),
            b"arrow.bool8" => {
                let int8 = matches!(
                    storage,
                    Type::Int {
                        bits: 8,
                        signed: true
                    }
                );
                (Self::Bool8, int8 && data.is_empty())
            }
            b"arrow.json" => (Self::Transparent, matches!(storage, Type::Text)),
            _ => return Ok(None),
        };
        if fits { Ok(Some(extension)) } else { Err(BAD) }
    }
}

fn apply(origin: &Origin, field: &mut Field<'_>, leaves: &mut [Leaf]) {
    match &mut field.shape {
        FieldShape::Leaf(leaf) => {
            if let Some(leaf) = leaves.get_mut(*leaf) {
                apply_leaf(origin, leaf);
            }
        }
        FieldShape::Struct { fields, .. } => {
            if !origin.dictionary
                && matches!(origin.kind, Type::Struct)
                && origin.children.len() == fields.len()
            {
                for (origin, field) in origin.children.iter().zip(fields) {
                    apply(origin, field, leaves);
                }
            }
        }
        FieldShape::List(kind, item) => {
            let restored = match (&origin.kind, *kind) {
                _ if origin.dictionary => None,
                (Type::List, ListKind::List) => Some(ListKind::List),
                (Type::OtherList, ListKind::List) => Some(ListKind::Other),
                (Type::FixedSizeList(size), ListKind::List) => Some(ListKind::FixedSize(*size)),
                (Type::Map, ListKind::Map) => Some(ListKind::Map),
                _ => None,
            };
            if let (Some(restored), [child]) = (restored, &origin.children[..]) {
                *kind = restored;
                apply(child, item, leaves);
            }
        }
    }
}

fn apply_leaf(origin: &Origin, leaf: &mut Leaf) {
    if origin.dictionary {
        leaf.as_dictionary = matches!(leaf.kind, Kind::Text | Kind::Binary);
        return;
    }
    let restored = match (&origin.kind, &leaf.kind) {
        (
            Type::Timestamp(Some(zone)),
            Kind::Timestamp {
                unit,
                zone: Some(_),
            },
        ) => Some(Kind::Timestamp {
            unit: *unit,
            zone: Some(*zone),
        }),
        (
            Type::Duration(unit),
            Kind::Int {
                bits: 64,
                signed: true,
            },
        ) => Some(Kind::Duration(*unit)),
        (Type::WideDecimal, Kind::Decimal { scale, .. }) => Some(Kind::Decimal {
            scale: *scale,
            bytes: 32,
        }),
        _ => None,
    };
    if let Some(kind) = restored {
        leaf.kind = kind;
    }
    match (origin.extension, &leaf.kind) {
        (Some(Extension::Uuid), Kind::FixedBinary) if leaf.physical == Physical::Fixed(16) => {
            leaf.kind = Kind::Uuid;
        }
        (
            Some(Extension::Bool8),
            Kind::Int {
                bits: 8,
                signed: true,
            },
        ) => leaf.kind = Kind::Bool8,
        _ => {}
    }
}
