//! The schema: a flat list of elements becomes a tree of fields with their levels, and a list of leaf columns.

use super::footer::{Element, Logical, Unit};
use super::kind::{Kind, Physical};
use super::python::Zone;
use super::{Result, broken};
use std::collections::HashSet;

/// A tree that nests deeper than this is refused by others too.
const MAX_DEPTH: u32 = 100;

/// Where a field stands among the levels of its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    /// From this definition level on, the field is there.
    pub(crate) definition: u16,
    pub(crate) repetition: u16,
    /// Below this one, a list around the field is empty or null: there is no slot for the field.
    pub(crate) slot: u16,
}

impl Levels {
    fn optional(&mut self) {
        self.definition += 1;
    }

    /// Answers the slot level before.
    fn repeated(&mut self) -> u16 {
        self.repetition += 1;
        self.definition += 1;
        std::mem::replace(&mut self.slot, self.definition)
    }

    fn of(&mut self, node: &Node<'_>) {
        match node.element.repetition {
            OPTIONAL => self.optional(),
            REPEATED => drop(self.repeated()),
            _ => {}
        }
    }
}

const REQUIRED: i32 = 0;
const OPTIONAL: i32 = 1;
const REPEATED: i32 = 2;

/// A field as Arrow has it.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) nullable: bool,
    pub(crate) levels: Levels,
    pub(crate) shape: Shape<'a>,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape<'a> {
    /// The place of the column among all leaves.
    Leaf(usize),
    Struct {
        fields: Vec<Field<'a>>,
        /// Its names make no dictionary in Python: one comes twice, or is no text.
        unnameable: bool,
    },
    List(ListKind, Box<Field<'a>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    List,
    /// Of another width or view; its elements are read alike.
    Other,
    FixedSize(i32),
    Map,
}

/// A column of values.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) physical: Physical,
    pub(crate) kind: Kind,
    pub(crate) max_definition: u16,
    pub(crate) max_repetition: u16,
    pub(crate) levels: Levels,
    /// Texts are read as a dictionary and stay one.
    pub(crate) as_dictionary: bool,
}

/// The tree and its leaves.
#[derive(Debug, Default)]
pub(crate) struct Schema<'a> {
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) leaves: Vec<Leaf>,
}

struct Node<'a> {
    element: &'a Element<'a>,
    annotation: Annotation,
    body: Body<'a>,
}

enum Body<'a> {
    Leaf(usize),
    Group(Vec<Node<'a>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Annotation {
    None,
    List,
    Map,
}

impl<'a> Schema<'a> {
    pub(crate) fn of(elements: &'a [Element<'a>], column_orders: Option<usize>) -> Result<Self> {
        let root = elements.first().ok_or(broken("its schema is empty"))?;
        let mut schema = Self::default();
        let mut rest = elements;
        let mut reserved = 0;
        let nodes = if root.children == 0 {
            if elements.len() > 1 {
                return Err(broken("its schema has a root without columns"));
            }
            annotation(root)?;
            Vec::new()
        } else {
            let root = schema.node(&mut rest, &mut reserved, elements.len(), 1)?;
            match root.body {
                Body::Group(nodes) if rest.is_empty() => nodes,
                _ => return Err(broken("its schema has elements that belong to no column")),
            }
        };
        if column_orders.is_some_and(|orders| orders != schema.leaves.len()) {
            return Err(broken("it states orders for another number of columns"));
        }
        schema.fields = nodes
            .iter()
            .map(|node| schema.field(node, Levels::default()))
            .collect::<Result<_>>()?;
        Ok(schema)
    }

    /// The next element and what is below it.
    fn node(
        &mut self,
        rest: &mut &'a [Element<'a>],
        reserved: &mut usize,
        all: usize,
        depth: u32,
    ) -> Result<Node<'a>> {
        const FEW: super::Fault = broken("its schema has too few elements");
        let (element, after) = rest.split_first().ok_or(FEW)?;
        *rest = after;
        if element.children == 0 && element.physical.is_some() {
            let (physical, kind) = leaf_kind(element)?;
            self.leaves.push(Leaf {
                physical,
                kind,
                max_definition: 0,
                max_repetition: 0,
                levels: Levels::default(),
                as_dictionary: false,
            });
            return Ok(Node {
                element,
                annotation: Annotation::None,
                body: Body::Leaf(self.leaves.len() - 1),
            });
        }
        if depth >= MAX_DEPTH {
            return Err(broken("its schema nests deeper than others read"));
        }
        let count = usize::try_from(element.children)
            .map_err(|_| broken("its schema has a negative number of children"))?;
        *reserved += count;
        if *reserved > all {
            return Err(FEW);
        }
        let children = (0..count)
            .map(|_| self.node(rest, reserved, all, depth + 1))
            .collect::<Result<_>>()?;
        Ok(Node {
            element,
            annotation: annotation(element)?,
            body: Body::Group(children),
        })
    }

    fn field(&mut self, node: &Node<'a>, levels: Levels) -> Result<Field<'a>> {
        match (&node.body, node.annotation) {
            (Body::Leaf(leaf), _) => Ok(self.leaf_field(node, *leaf, levels)),
            (Body::Group(children), Annotation::None) => self.group(node, children, levels),
            (Body::Group(children), Annotation::List) => self.list(node, children, levels),
            (Body::Group(children), Annotation::Map) => self.map(node, children, levels),
        }
    }

    fn leaf_field(&mut self, node: &Node<'a>, leaf: usize, mut levels: Levels) -> Field<'a> {
        if node.element.repetition == REPEATED {
            let slot = levels.repeated();
            let item = self.place(node, leaf, false, levels);
            return list_of(node, ListKind::List, false, levels, slot, item);
        }
        levels.of(node);
        self.place(node, leaf, node.element.repetition == OPTIONAL, levels)
    }

    /// A leaf's field, with its levels told to the leaf.
    fn place(&mut self, node: &Node<'a>, leaf: usize, nullable: bool, levels: Levels) -> Field<'a> {
        if let Some(leaf) = self.leaves.get_mut(leaf) {
            leaf.levels = levels;
            leaf.max_definition = levels.definition;
            leaf.max_repetition = levels.repetition;
        }
        Field {
            name: node.element.name,
            nullable,
            levels,
            shape: Shape::Leaf(leaf),
        }
    }

    fn group(
        &mut self,
        node: &Node<'a>,
        children: &[Node<'a>],
        mut levels: Levels,
    ) -> Result<Field<'a>> {
        if node.element.repetition == REPEATED {
            let slot = levels.repeated();
            let item = self.structure(node, children, levels)?;
            return Ok(list_of(node, ListKind::List, false, levels, slot, item));
        }
        levels.of(node);
        self.structure(node, children, levels)
    }

    fn structure(
        &mut self,
        node: &Node<'a>,
        children: &[Node<'a>],
        levels: Levels,
    ) -> Result<Field<'a>> {
        if children.is_empty() {
            return Err(broken("it has a group without columns"));
        }
        let fields = children
            .iter()
            .map(|child| self.field(child, levels))
            .collect::<Result<Vec<_>>>()?;
        let unnameable = !names_are_sound(&fields);
        Ok(Field {
            name: node.element.name,
            nullable: node.element.repetition == OPTIONAL,
            levels,
            shape: Shape::Struct { fields, unnameable },
        })
    }

    fn list(
        &mut self,
        node: &Node<'a>,
        children: &[Node<'a>],
        mut levels: Levels,
    ) -> Result<Field<'a>> {
        let [item] = children else {
            return Err(broken("it has a list of several columns"));
        };
        if node.element.repetition == REPEATED || item.element.repetition != REPEATED {
            return Err(broken("it has a list that is not built as lists are"));
        }
        levels.of(node);
        let slot = levels.repeated();
        let item = match &item.body {
            Body::Leaf(leaf) => self.place(item, *leaf, false, levels),
            Body::Group(fields) => self.element(node, item, fields, levels)?,
        };
        let nullable = node.element.repetition == OPTIONAL;
        Ok(list_of(node, ListKind::List, nullable, levels, slot, item))
    }

    /// The element of a list whose repeated node is a group.
    fn element(
        &mut self,
        list: &Node<'a>,
        item: &Node<'a>,
        fields: &[Node<'a>],
        levels: Levels,
    ) -> Result<Field<'a>> {
        let [only] = fields else {
            return self.structure(item, fields, levels);
        };
        if only.element.repetition == REPEATED {
            let nested_well = match &only.body {
                Body::Leaf(_) => true,
                Body::Group(fields) => fields
                    .first()
                    .is_some_and(|f| f.element.repetition == REPEATED),
            };
            if item.annotation != Annotation::List || !nested_well {
                return Err(broken("it has a list that is not built as lists are"));
            }
            return self.field(only, levels);
        }
        let tuple = list.element.name.len() + b"_tuple".len() == item.element.name.len()
            && item.element.name.starts_with(list.element.name)
            && item.element.name.ends_with(b"_tuple");
        if item.element.name == b"array" || tuple {
            return self.structure(item, fields, levels);
        }
        self.field(only, levels)
    }

    fn map(
        &mut self,
        node: &Node<'a>,
        children: &[Node<'a>],
        mut levels: Levels,
    ) -> Result<Field<'a>> {
        const BAD: super::Fault = broken("it has a map that is not built as maps are");
        let [entry] = children else { return Err(BAD) };
        let Body::Group(pair) = &entry.body else {
            return Err(BAD);
        };
        if node.element.repetition == REPEATED || entry.element.repetition != REPEATED {
            return Err(BAD);
        }
        match pair.first() {
            Some(key) if key.element.repetition == REQUIRED && pair.len() <= 2 => {}
            _ => return Err(BAD),
        }
        if pair.len() == 1 {
            return self.list(node, children, levels);
        }
        levels.of(node);
        let slot = levels.repeated();
        let entries = self.structure(entry, pair, levels)?;
        let entries = Field {
            nullable: false,
            ..entries
        };
        let nullable = node.element.repetition == OPTIONAL;
        Ok(list_of(
            node,
            ListKind::Map,
            nullable,
            levels,
            slot,
            entries,
        ))
    }
}

/// Whether names are text and each comes once.
pub(crate) fn names_are_sound(fields: &[Field<'_>]) -> bool {
    let mut seen = HashSet::with_capacity(fields.len());
    fields
        .iter()
        .all(|field| std::str::from_utf8(field.name).is_ok() && seen.insert(field.name))
}

fn list_of<'a>(
    node: &Node<'a>,
    kind: ListKind,
    nullable: bool,
    levels: Levels,
    slot: u16,
    item: Field<'a>,
) -> Field<'a> {
    Field {
        name: node.element.name,
        nullable,
        levels: Levels { slot, ..levels },
        shape: Shape::List(kind, Box::new(item)),
    }
}

/// What a group is said to be.
fn annotation(element: &Element<'_>) -> Result<Annotation> {
    match (element.logical, element.converted) {
        (Some(Logical::List), _) | (None, Some(3)) => Ok(Annotation::List),
        (Some(Logical::Map), _) | (None, Some(1 | 2)) => Ok(Annotation::Map),
        (Some(Logical::Variant), _) | (None, None) => Ok(Annotation::None),
        _ => Err(broken("it has a group with the logical type of a value")),
    }
}

/// How a leaf is stored, and what its values are.
fn leaf_kind(element: &Element<'_>) -> Result<(Physical, Kind)> {
    let physical = match element.physical {
        Some(0) => Physical::Boolean,
        Some(1) => Physical::Int32,
        Some(2) => Physical::Int64,
        Some(3) => Physical::Int96,
        Some(4) => Physical::Float,
        Some(5) => Physical::Double,
        Some(6) => Physical::ByteArray,
        Some(7) => match usize::try_from(element.length) {
            Ok(width) if width > 0 => Physical::Fixed(width),
            _ => return Err(broken("it has values of no length")),
        },
        _ => return Err(broken("it has a column of no known physical type")),
    };
    let logical = match (element.logical, element.converted) {
        (Some(logical), _) => {
            check(logical)?;
            applies(logical, physical).then_some(logical)
        }
        (None, Some(converted)) => converted_type(element, converted, physical)?,
        (None, None) => None,
    };
    Ok((physical, arrow(physical, logical)?))
}

/// Logical types that are refused wherever they stand.
fn check(logical: Logical) -> Result<()> {
    let sound = match logical {
        Logical::Decimal { scale, precision } => precision >= 1 && (0..=precision).contains(&scale),
        Logical::Time { unit, .. } | Logical::Timestamp { unit, .. } => unit.is_some(),
        Logical::Integer { bits, .. } => matches!(bits, 8 | 16 | 32 | 64),
        _ => true,
    };
    if sound {
        Ok(())
    } else {
        Err(broken("it has a logical type that makes no sense"))
    }
}

/// Whether a logical type can describe values that are stored so; otherwise it is ignored.
fn applies(logical: Logical, physical: Physical) -> bool {
    match logical {
        Logical::Text
        | Logical::Enum
        | Logical::Json
        | Logical::Bson
        | Logical::Geometry
        | Logical::Geography => physical == Physical::ByteArray,
        Logical::Uuid => physical == Physical::Fixed(16),
        Logical::Float16 => physical == Physical::Fixed(2),
        Logical::Decimal { precision, .. } => decimal_applies(precision, physical),
        Logical::Date => physical == Physical::Int32,
        Logical::Time {
            unit: Some(Unit::Milli),
            ..
        } => physical == Physical::Int32,
        Logical::Time { .. } | Logical::Timestamp { .. } => physical == Physical::Int64,
        Logical::Integer { bits: 64, .. } => physical == Physical::Int64,
        Logical::Integer { .. } => physical == Physical::Int32,
        Logical::Null => true,
        Logical::Map | Logical::List | Logical::Variant | Logical::Unknown => false,
    }
}

fn decimal_applies(precision: i32, physical: Physical) -> bool {
    match physical {
        Physical::Int32 => (1..=9).contains(&precision),
        Physical::Int64 => (1..=18).contains(&precision),
        // Digits that always fit: floor(log10(2^(8 * width - 1) - 1)).
        Physical::Fixed(width) => {
            let bits = width as f64 * 8.0 - 1.0;
            f64::from(precision) <= (bits * std::f64::consts::LOG10_2).floor()
        }
        Physical::ByteArray => true,
        _ => false,
    }
}

/// The types of old writers, which must fit.
fn converted_type(
    element: &Element<'_>,
    converted: i32,
    physical: Physical,
) -> Result<Option<Logical>> {
    use Physical::{ByteArray, Fixed, Int32, Int64};
    const BAD: super::Fault = broken("it has a converted type that does not fit its column");
    let integer = |bits, signed| Logical::Integer { bits, signed };
    let time = |unit| Logical::Time {
        utc: true,
        unit: Some(unit),
    };
    let stamp = |unit| Logical::Timestamp {
        utc: true,
        unit: Some(unit),
    };
    let (logical, fits) = match converted {
        0 => (Logical::Text, physical == ByteArray),
        4 => (Logical::Enum, physical == ByteArray),
        5 => {
            let (scale, precision) = (element.scale, element.precision);
            let fits = matches!(physical, Int32 | Int64 | ByteArray | Fixed(_));
            let sound = precision > 0 && (0..=precision).contains(&scale);
            (Logical::Decimal { scale, precision }, fits && sound)
        }
        6 => (Logical::Date, physical == Int32),
        7 => (time(Unit::Milli), physical == Int32),
        8 => (time(Unit::Micro), physical == Int64),
        9 => (stamp(Unit::Milli), physical == Int64),
        10 => (stamp(Unit::Micro), physical == Int64),
        11 => (integer(8, false), physical == Int32),
        12 => (integer(16, false), physical == Int32),
        13 => (integer(32, false), physical == Int32),
        14 => (integer(64, false), physical == Int64),
        15 => (integer(8, true), physical == Int32),
        16 => (integer(16, true), physical == Int32),
        17 => (integer(32, true), physical == Int32),
        18 => (integer(64, true), physical == Int64),
        19 => (Logical::Json, physical == ByteArray),
        20 => (Logical::Bson, physical == ByteArray),
        21 => {
            return if physical == Fixed(12) {
                Ok(None)
            } else {
                Err(BAD)
            };
        }
        _ => return Err(BAD),
    };
    if fits { Ok(Some(logical)) } else { Err(BAD) }
}

fn arrow(physical: Physical, logical: Option<Logical>) -> Result<Kind> {
    const NONE: super::Fault = broken("it has a column whose type others do not read");
    if logical == Some(Logical::Null) {
        return Ok(Kind::Null);
    }
    if let Some(Logical::Decimal { scale, precision }) = logical
        && !matches!(
            physical,
            Physical::Boolean | Physical::Float | Physical::Double | Physical::Int96
        )
    {
        if !(1..=76).contains(&precision) {
            return Err(NONE);
        }
        let bytes = if precision <= 38 { 16 } else { 32 };
        let scale = u32::try_from(scale).map_err(|_| NONE)?;
        return Ok(Kind::Decimal { scale, bytes });
    }
    Ok(match (physical, logical) {
        (Physical::Boolean, _) => Kind::Bool,
        (Physical::Float, _) => Kind::Float,
        (Physical::Double, _) => Kind::Double,
        (Physical::Int96, _) => Kind::Timestamp {
            unit: Unit::Nano,
            zone: None,
        },
        (Physical::Int32, None) => Kind::Int {
            bits: 32,
            signed: true,
        },
        (Physical::Int64, None) => Kind::Int {
            bits: 64,
            signed: true,
        },
        (Physical::Int32 | Physical::Int64, Some(Logical::Integer { bits, signed })) => Kind::Int {
            bits: bits.unsigned_abs(),
            signed,
        },
        (Physical::Int32, Some(Logical::Date)) => Kind::Date,
        (
            _,
            Some(Logical::Time {
                unit: Some(unit), ..
            }),
        ) => Kind::Time(unit),
        (
            _,
            Some(Logical::Timestamp {
                utc,
                unit: Some(unit),
            }),
        ) => Kind::Timestamp {
            unit,
            zone: utc.then_some(Zone::UTC),
        },
        (Physical::ByteArray, Some(Logical::Text | Logical::Json)) => Kind::Text,
        (Physical::ByteArray, _) => Kind::Binary,
        (Physical::Fixed(_), Some(Logical::Float16)) => Kind::Half,
        (Physical::Fixed(_), Some(Logical::Uuid)) => Kind::Uuid,
        (Physical::Fixed(_), _) => Kind::FixedBinary,
        _ => return Err(NONE),
    })
}

#[cfg(test)]
mod tests;
