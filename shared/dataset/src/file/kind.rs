//! What the values of a column are.

use super::footer::Unit;
use super::python::Zone;

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    Boolean,
    Int32,
    Int64,
    Int96,
    Float,
    Double,
    ByteArray,
    /// Of that many bytes each.
    Fixed(usize),
}

impl Physical {
    /// Bytes of one value, when all have the same.
    pub(crate) fn width(self) -> Option<usize> {
        match self {
            Self::Boolean | Self::ByteArray => None,
            Self::Int32 | Self::Float => Some(4),
            Self::Int64 | Self::Double => Some(8),
            Self::Int96 => Some(12),
            Self::Fixed(width) => Some(width),
        }
    }
}

/// The Arrow type of a column without columns below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    /// An integer, cut to so many bits.
    Int {
        bits: u8,
        signed: bool,
    },
    Half,
    Float,
    Double,
    Date,
    Time(Unit),
    Timestamp {
        unit: Unit,
        zone: Option<Zone>,
    },
    Duration(Unit),
    Decimal {
        scale: u32,
        /// Most bytes of one number: 16 or 32.
        bytes: usize,
    },
    Binary,
    Text,
    FixedBinary,
    Uuid,
    /// An integer that stands for a boolean.
    Bool8,
}
