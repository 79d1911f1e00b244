//! Parquet files, decoded as the Arrow C++ library decodes them (docs/dataset-parity.md).
//!
//! Owns: what a file's bytes say, down to which broken bytes are read all the same. Every number that a file declares is
//! a claim: nothing is allocated, counted or recursed by it before it was held against the bytes and the budget.
//! Never does: rules about rows, beyond what a value is in Python.

pub(crate) mod budget;
pub(crate) mod codec;
pub(crate) mod delta;
pub(crate) mod flatbuffer;
pub(crate) mod footer;
pub(crate) mod hybrid;
pub(crate) mod kind;
pub(crate) mod leaf;
pub(crate) mod nest;
pub(crate) mod origin;
pub(crate) mod page;
pub(crate) mod python;
pub(crate) mod schema;
pub(crate) mod thrift;
pub(crate) mod values;

/// Why a file is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its bytes make no parquet file, or none that others read.
    Broken(&'static str),
    /// A bound of ours.
    Beyond {
        /// Of what there is more.
        what: &'static str,
        /// Than that.
        limit: usize,
    },
    /// A value that Python has no value for.
    Unconvertible(&'static str),
}

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

pub(crate) const fn broken(what: &'static str) -> Fault {
    Fault::Broken(what)
}
