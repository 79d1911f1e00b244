//! Why a data set is invalid.

use nexis_protocol::row::{CellFault, RowsError};
use polars_error::PolarsError;
use polars_parquet::parquet::error::ParquetError;

/// Why a data set is invalid; the code is always `dataset_schema_invalid`.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Beyond a limit.
    #[error("dataset.parquet has more {what} than this validator reads ({limit})")]
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
    /// The decoder refused it.
    #[error("dataset.parquet cannot be decoded")]
    Parquet(#[source] ParquetError),
    /// The decoder refused it.
    #[error("dataset.parquet cannot be decoded")]
    Arrow(#[source] PolarsError),
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

impl From<ParquetError> for DatasetError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<PolarsError> for DatasetError {
    fn from(error: PolarsError) -> Self {
        Self::Arrow(error)
    }
}

/// An error when a value is beyond a limit.
pub(crate) fn within(value: usize, limit: usize, what: &'static str) -> Result<(), DatasetError> {
    if value > limit {
        Err(DatasetError::TooLarge { what, limit })
    } else {
        Ok(())
    }
}
