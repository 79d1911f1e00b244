//! Parquet bytes to rows.

use crate::cells;
use crate::limits::Limits;
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{
    Cell, CellFault, Columns, Rows, RowsError, TextColumn, coerce, digest, duration, fps, positive,
    start,
};
use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use polars_buffer::Buffer;
use polars_error::PolarsError;
use polars_parquet::parquet::error::ParquetError;
use polars_parquet::parquet::page::CompressedPage;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, PageReader, RowGroupMetadata,
    column_iter_to_arrays, infer_schema, read_metadata,
};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes after the footer: its length and the magic.
const TAIL_BYTES: usize = 8;

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

/// Reads and validates all rows.
///
/// # Errors
/// The file is broken, too large, lacks a column, or has one row that breaks a rule.
pub fn read(bytes: &[u8], limits: &Limits, profile: &Profile) -> Result<Rows, DatasetError> {
    // The decoder is not ours and panics on some broken files; nothing of it outlives the call.
    catch_unwind(AssertUnwindSafe(|| read_file(bytes, limits, profile)))
        .unwrap_or(Err(DatasetError::Panicked))
}

fn read_file(bytes: &[u8], limits: &Limits, profile: &Profile) -> Result<Rows, DatasetError> {
    check_footer(bytes, limits)?;
    let metadata = read_metadata(&mut Cursor::new(bytes))?;
    within(
        metadata.row_groups.len(),
        limits.rows.saturating_add(1),
        "row groups",
    )?;
    let rows = metadata
        .row_groups
        .iter()
        .map(RowGroupMetadata::num_rows)
        .fold(0, usize::saturating_add);
    within(rows, limits.rows, "rows")?;
    let schema = infer_schema(&metadata)?;
    let mut reader = Reader {
        bytes,
        limits,
        profile,
        schema,
        decompressed: 0,
        columns: Columns::default(),
    };
    reader.check_schema(&metadata)?;
    let mut first_row = 0;
    for group in &metadata.row_groups {
        reader.row_group(group, first_row)?;
        first_row += group.num_rows();
    }
    Rows::try_from(reader.columns).map_err(DatasetError::Rows)
}

fn within(value: usize, limit: usize, what: &'static str) -> Result<(), DatasetError> {
    if value > limit {
        Err(DatasetError::TooLarge { what, limit })
    } else {
        Ok(())
    }
}

/// Looks at what the decoder would follow without a limit: the footer's length and the size of the schema tree, which
/// it walks by recursion.
fn check_footer(bytes: &[u8], limits: &Limits) -> Result<(), DatasetError> {
    const BROKEN: DatasetError = DatasetError::Broken { what: "no footer" };
    within(bytes.len(), limits.file_bytes, "bytes")?;
    let (body, tail) = bytes.split_last_chunk::<TAIL_BYTES>().ok_or(BROKEN)?;
    let [a, b, c, d, magic @ ..] = *tail;
    if magic != *b"PAR1" {
        return Err(DatasetError::Broken {
            what: "it does not end in PAR1",
        });
    }
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| BROKEN)?;
    within(len, limits.footer_bytes, "footer bytes")?;
    let footer = body
        .len()
        .checked_sub(len)
        .and_then(|begin| body.get(begin..))
        .ok_or(BROKEN)?;
    // Thrift compact: field 1 (i32, version), then field 2 (list of schema elements), as every writer writes them.
    let mut footer = footer.iter().copied();
    if footer.next() != Some(0x15) || varint(&mut footer).is_none() || footer.next() != Some(0x19) {
        return Err(DatasetError::Broken {
            what: "the footer does not start with version and schema",
        });
    }
    let head = footer.next().ok_or(BROKEN)?;
    let elements = if head >> 4 == 0xf {
        varint(&mut footer).ok_or(BROKEN)?
    } else {
        u64::from(head >> 4)
    };
    within(
        usize::try_from(elements).unwrap_or(usize::MAX),
        limits.schema_elements,
        "schema elements",
    )
}

fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

const REQUIRED: [&str; 17] = [
    "clip_id",
    "clip_uri",
    "clip_sha256",
    "first_frame_uri",
    "first_frame_sha256",
    "source_video_id",
    "split_group_id",
    "split",
    "clip_start_sec",
    "duration_sec",
    "width",
    "height",
    "fps",
    "num_frames",
    "has_audio",
    "caption",
    "source_video_url",
];
const SOURCE_PROOF: &str = "source_proof";

struct Reader<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    profile: &'a Profile,
    schema: ArrowSchema,
    decompressed: usize,
    columns: Columns,
}

impl Reader<'_> {
    fn check_schema(&self, metadata: &FileMetadata) -> Result<(), DatasetError> {
        // Without a row no row lacks a column.
        if metadata
            .row_groups
            .iter()
            .all(|group| group.num_rows() == 0)
        {
            return Ok(());
        }
        match REQUIRED
            .into_iter()
            .find(|column| self.schema.get(column).is_none())
        {
            Some(column) => Err(DatasetError::MissingColumn { column }),
            None => Ok(()),
        }
    }

    fn row_group(
        &mut self,
        group: &RowGroupMetadata,
        first_row: usize,
    ) -> Result<(), DatasetError> {
        if group.num_rows() == 0 {
            return Ok(());
        }
        let mut group_bytes = 0;
        for column in REQUIRED {
            for array in self.arrays(group, column, &mut group_bytes)? {
                self.take(column, array.as_ref())
                    .map_err(|(place, fault)| DatasetError::Row {
                        row: first_row + place,
                        column,
                        fault,
                    })?;
            }
        }
        if let Some(field) = self.schema.get(SOURCE_PROOF) {
            if !matches!(field.dtype(), ArrowDataType::Struct(_)) {
                return Err(DatasetError::SourceProof);
            }
            let arrays = self.arrays(group, SOURCE_PROOF, &mut group_bytes)?;
            if arrays.iter().any(|array| array.null_count() > 0) {
                return Err(DatasetError::SourceProof);
            }
        }
        Ok(())
    }

    /// One column of one row group, decoded. What the page headers promise is checked first.
    fn arrays(
        &mut self,
        group: &RowGroupMetadata,
        column: &'static str,
        group_bytes: &mut usize,
    ) -> Result<Vec<Box<dyn Array>>, DatasetError> {
        let field: Field = self
            .schema
            .get(column)
            .cloned()
            .ok_or(DatasetError::MissingColumn { column })?;
        let chunks = group
            .columns_under_root_iter(column)
            .ok_or(DatasetError::MissingColumn { column })?;
        let mut decompressors = Vec::new();
        let mut types = Vec::new();
        for chunk in chunks {
            let range = chunk.byte_range();
            let range = usize::try_from(range.start).unwrap_or(usize::MAX)
                ..usize::try_from(range.end).unwrap_or(usize::MAX);
            let bytes = self.bytes.get(range).ok_or(DatasetError::Broken {
                what: "a column lies outside the file",
            })?;
            let pages = Buffer::from_vec(bytes.to_vec());
            *group_bytes += self.decompressed_bytes(&pages, chunk, group.num_rows())?;
            within(
                *group_bytes,
                self.limits.row_group_bytes,
                "bytes in a row group",
            )?;
            let pages = self.pages(pages, chunk);
            decompressors.push(BasicDecompressor::new(pages, Vec::new()));
            types.push(&chunk.descriptor().descriptor.primitive_type);
        }
        self.decompressed += *group_bytes;
        within(self.decompressed, self.limits.decompressed_bytes, "bytes")?;
        let (arrays, _) = column_iter_to_arrays(decompressors, types, field, None)?;
        if arrays.iter().map(|array| array.len()).sum::<usize>() != group.num_rows() {
            return Err(DatasetError::Broken {
                what: "a column has another number of rows than its row group",
            });
        }
        Ok(arrays)
    }

    fn pages(&self, pages: Buffer<u8>, chunk: &ColumnChunkMetadata) -> PageReader {
        PageReader::new(
            Cursor::new(pages),
            chunk,
            Vec::new(),
            self.limits.row_group_bytes,
        )
    }

    /// What a column's pages say they decompress to.
    fn decompressed_bytes(
        &self,
        pages: &Buffer<u8>,
        chunk: &ColumnChunkMetadata,
        rows: usize,
    ) -> Result<usize, DatasetError> {
        let is_flat = chunk.descriptor().path_in_schema.len() == 1;
        let (mut bytes, mut values) = (0_usize, 0_usize);
        for page in self.pages(pages.clone(), chunk) {
            let (page_bytes, page_values) = match page? {
                CompressedPage::Data(page) => (page.uncompressed_size(), page.num_values()),
                CompressedPage::Dict(page) => (page.uncompressed_page_size, 0),
            };
            bytes = bytes.saturating_add(page_bytes);
            values = values.saturating_add(page_values);
            within(bytes, self.limits.row_group_bytes, "bytes in a column")?;
            within(
                values,
                if is_flat {
                    rows
                } else {
                    self.limits.row_group_bytes
                },
                "values in a column",
            )?;
        }
        Ok(bytes)
    }

    fn take(&mut self, column: &str, array: &dyn Array) -> Result<(), cells::Fault> {
        let (limit, profile, c) = (
            self.limits.text_column_bytes,
            self.profile,
            &mut self.columns,
        );
        let text = |into: &mut TextColumn| {
            cells::each(array, |cell| {
                into.push_stripped(coerce::text(cell)?)?;
                if into.bytes() > limit {
                    Err(CellFault::TooMuchText)
                } else {
                    Ok(())
                }
            })
        };
        match column {
            "clip_id" => text(&mut c.clip_id),
            "clip_uri" => text(&mut c.clip_uri),
            "first_frame_uri" => text(&mut c.first_frame_uri),
            "source_video_id" => text(&mut c.source_video_id),
            "split_group_id" => text(&mut c.split_group_id),
            "split" => text(&mut c.split),
            "caption" => text(&mut c.caption),
            "source_video_url" => text(&mut c.source_video_url),
            "clip_sha256" => push(array, &mut c.clip_sha256, |cell| {
                digest(coerce::text(cell)?)
            }),
            "first_frame_sha256" => push(array, &mut c.first_frame_sha256, |cell| {
                digest(coerce::text(cell)?)
            }),
            "clip_start_sec" => push(array, &mut c.clip_start_sec, |cell| {
                start(coerce::float(cell)?)
            }),
            "duration_sec" => push(array, &mut c.duration_sec, |cell| {
                duration(coerce::float(cell)?, profile)
            }),
            "fps" => push(array, &mut c.fps, |cell| fps(coerce::float(cell)?)),
            "width" => push(array, &mut c.width, |cell| positive(coerce::int(cell)?)),
            "height" => push(array, &mut c.height, |cell| positive(coerce::int(cell)?)),
            "num_frames" => push(array, &mut c.num_frames, |cell| {
                positive(coerce::int(cell)?)
            }),
            "has_audio" => push(array, &mut c.has_audio, coerce::bool),
            _ => unreachable!(
                "only called for names in REQUIRED, which are all above: a test reads every one"
            ),
        }
    }
}

fn push<V>(
    array: &dyn Array,
    into: &mut Vec<V>,
    rule: impl Fn(Cell<'_>) -> Result<V, CellFault>,
) -> Result<(), cells::Fault> {
    cells::each(array, |cell| {
        into.push(rule(cell)?);
        Ok(())
    })
}
