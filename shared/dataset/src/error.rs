//! Why a data set is invalid.

use crate::limits::setting;
use nexis_protocol::row::{CellFault, RowsError};

/// Why a data set is invalid; the code is always `dataset_schema_invalid`.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Beyond a limit.
    #[error(
        "dataset.parquet has more {what} than this validator reads ({limit}; {} bounds it)",
        setting(what)
    )]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The cap.
        limit: usize,
    },
    /// No parquet file, or a broken one.
    #[error("dataset.parquet is no parquet file or is broken: {what}")]
    Broken {
        /// What was wrong.
        what: &'static str,
    },
    /// It holds what Python has no value for: other validators refuse it for that.
    #[error("dataset.parquet holds {what}")]
    Unconvertible {
        /// What it holds.
        what: &'static str,
    },
    /// The decoder panicked.
    #[error("dataset.parquet is so broken that decoding it panicked")]
    Panicked,
    /// A required column is not there.
    #[error("dataset.parquet lacks the column {column}")]
    MissingColumn {
        /// The column.
        column: &'static str,
    },
    /// A cell breaks its rule.
    #[error("row {row} of dataset.parquet: {column} {fault}")]
    Row {
        /// Place of the row, from 0.
        row: usize,
        /// The column.
        column: &'static str,
        /// What is wrong.
        fault: CellFault,
    },
    /// source_proof is not a struct, or null.
    #[error("column source_proof of dataset.parquet must be a struct without nulls")]
    SourceProof,
    /// Columns do not make rows.
    #[error("columns of dataset.parquet do not fit together")]
    Rows(#[source] RowsError),
}
