//! Rows to parquet bytes, as a miner publishes them.

use nexis_protocol::Digest;
use nexis_protocol::row::{Rows, TextColumn};
use polars_arrow::array::{
    Array, BooleanArray, MutableBinaryViewArray, PrimitiveArray, Utf8ViewArray,
};
use polars_arrow::datatypes::{ArrowSchema, Field};
use polars_arrow::record_batch::RecordBatchT;
use polars_buffer::Buffer;
use polars_error::PolarsError;
use polars_parquet::write::{
    CompressionOptions, Encoding, FileWriter, RowGroupIterator, StatisticsOptions, Version,
    WriteOptions,
};
use std::ops::Range;
use std::sync::Arc;

/// Rows of one row group.
const GROUP_ROWS: usize = 32_768;

/// Why rows cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A digest is no SHA-256.
    #[error("writing dataset.parquet: {column} of row {row} is no SHA-256 in lower-case hex")]
    NoDigest {
        /// The column.
        column: &'static str,
        /// Place of the row, from 0.
        row: usize,
    },
    /// A number is beyond 63 bits.
    #[error("writing dataset.parquet: {column} of row {row} is larger than 63 bits hold")]
    TooLarge {
        /// The column.
        column: &'static str,
        /// Place of the row, from 0.
        row: usize,
    },
    /// The encoder refused.
    #[error("writing dataset.parquet")]
    Encode(#[source] PolarsError),
}

impl From<PolarsError> for WriteError {
    fn from(error: PolarsError) -> Self {
        Self::Encode(error)
    }
}

/// Writes rows as a parquet file: all required columns in the order of PROTOCOL.md §5, no `source_proof` (which means
/// `{}`), compressed with Zstandard. The same rows give the same bytes.
///
/// # Errors
/// A digest is none, or a number does not fit a parquet integer.
pub fn write(rows: &Rows) -> Result<Vec<u8>, WriteError> {
    let options = WriteOptions {
        statistics: StatisticsOptions::empty(),
        version: Version::V1,
        compression: CompressionOptions::Zstd(None),
        data_page_size: None,
    };
    let (fields, encodings): (Vec<Field>, Vec<Vec<Encoding>>) = columns(rows, 0..0)?
        .into_iter()
        .map(|(name, array, encoding)| {
            let field = Field::new(name.into(), array.dtype().clone(), false);
            (field, vec![encoding])
        })
        .unzip();
    let schema: ArrowSchema = fields
        .into_iter()
        .map(|field| (field.name.clone(), field))
        .collect();
    let batch_schema = Arc::new(schema.clone());
    let mut writer = FileWriter::try_new(Vec::new(), schema.clone(), options)?;
    let encodings = Buffer::from_vec(encodings);
    let mut first = 0;
    while first < rows.len() {
        let range = first..rows.len().min(first + GROUP_ROWS);
        first = range.end;
        let height = range.len();
        let arrays = columns(rows, range)?.into_iter().map(|(_, array, _)| array);
        let batch = RecordBatchT::try_new(height, Arc::clone(&batch_schema), arrays.collect())?;
        let groups = RowGroupIterator::try_new(
            std::iter::once(Ok(batch)),
            &schema,
            options,
            encodings.clone(),
        )?;
        for group in groups {
            writer.write(height as u64, group?)?;
        }
    }
    writer.end(Some(Vec::new()))?;
    Ok(writer.into_inner())
}

type Column = (&'static str, Box<dyn Array>, Encoding);

fn columns(rows: &Rows, range: Range<usize>) -> Result<Vec<Column>, WriteError> {
    use Encoding::{Plain, RleDictionary};
    let c = rows.columns();
    let text = |name, column: &TextColumn, encoding| -> Column {
        let mut values = MutableBinaryViewArray::<str>::with_capacity(range.len());
        for row in range.clone() {
            values.push_value_ignore_validity(column.get(row).unwrap_or_default());
        }
        let values: Utf8ViewArray = values.into();
        (name, values.boxed(), encoding)
    };
    let digest = |name, column: &[Option<Digest>]| -> Result<Column, WriteError> {
        let mut values = MutableBinaryViewArray::<str>::with_capacity(range.len());
        for (row, digest) in range.clone().zip(&column[range.clone()]) {
            let digest = digest.ok_or(WriteError::NoDigest { column: name, row })?;
            values.push_value_ignore_validity(digest.to_string());
        }
        let values: Utf8ViewArray = values.into();
        Ok((name, values.boxed(), Plain))
    };
    let float = |name, column: &[f64]| -> Column {
        let values = PrimitiveArray::from_slice(&column[range.clone()]);
        (name, values.boxed(), Plain)
    };
    let int = |name, column: &[u128]| -> Result<Column, WriteError> {
        let values: Vec<i64> = range
            .clone()
            .zip(&column[range.clone()])
            .map(|(row, value)| {
                i64::try_from(*value).map_err(|_| WriteError::TooLarge { column: name, row })
            })
            .collect::<Result<_, _>>()?;
        Ok((
            name,
            PrimitiveArray::from_vec(values).boxed(),
            RleDictionary,
        ))
    };
    let has_audio = BooleanArray::from_slice(&c.has_audio[range.clone()]);
    Ok(vec![
        text("clip_id", &c.clip_id, Plain),
        text("clip_uri", &c.clip_uri, Plain),
        digest("clip_sha256", &c.clip_sha256)?,
        text("first_frame_uri", &c.first_frame_uri, Plain),
        digest("first_frame_sha256", &c.first_frame_sha256)?,
        text("source_video_id", &c.source_video_id, RleDictionary),
        text("split_group_id", &c.split_group_id, RleDictionary),
        text("split", &c.split, RleDictionary),
        float("clip_start_sec", &c.clip_start_sec),
        float("duration_sec", &c.duration_sec),
        int("width", &c.width)?,
        int("height", &c.height)?,
        float("fps", &c.fps),
        int("num_frames", &c.num_frames)?,
        ("has_audio", has_audio.boxed(), Plain),
        text("caption", &c.caption, Plain),
        text("source_video_url", &c.source_video_url, RleDictionary),
    ])
}
