//! Parquet bytes to rows.

use crate::cells::{self, TextBudget};
use crate::error::{DatasetError, within};
use crate::limits::Limits;
use crate::{footer, pages, quiet};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{
    Cell, CellFault, Columns, Rows, TextColumn, coerce, digest, duration, fps, positive, start,
};
use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use polars_buffer::Buffer;
use polars_parquet::parquet::schema::types::{ParquetType, PrimitiveLogicalType};
use polars_parquet::read::{
    BasicDecompressor, FileMetadata, PageReader, RowGroupMetadata, column_iter_to_arrays,
    infer_schema, read_metadata,
};
use std::io::Cursor;

/// Reads and validates all rows.
///
/// Takes about as long as the bytes are long: run it off the async threads. A panic of the decoder is caught and not
/// printed (see [`DatasetError::Panicked`]); for that the first call puts a filter before the process's panic hook.
///
/// # Errors
/// The file is broken, too large, lacks a column, or has one row that breaks a rule.
pub fn read(bytes: &[u8], limits: &Limits, profile: &Profile) -> Result<Rows, DatasetError> {
    // The decoder is not ours and panics on some broken files; nothing of it outlives the call.
    quiet::catch(|| read_file(bytes, limits, profile)).unwrap_or(Err(DatasetError::Panicked))
}

fn read_file(bytes: &[u8], limits: &Limits, profile: &Profile) -> Result<Rows, DatasetError> {
    footer::check(bytes, limits)?;
    let mut metadata = read_metadata(&mut Cursor::new(bytes))?;
    // Types are inferred from the parquet schema alone. The Arrow schema that some writers add is a flat buffer in
    // which a few bytes can stand for types without end.
    metadata.key_value_metadata = None;
    let rows = metadata
        .row_groups
        .iter()
        .map(RowGroupMetadata::num_rows)
        .fold(0, usize::saturating_add);
    within(rows, limits.rows, "rows")?;
    let mut schema = infer_schema(&metadata)?;
    for column in metadata.schema().fields() {
        // The one type that the decoder only knows from an Arrow schema.
        if let ParquetType::PrimitiveType(column) = column
            && column.logical_type == Some(PrimitiveLogicalType::Float16)
            && let Some(field) = schema.get_mut(&column.field_info.name)
        {
            field.dtype = ArrowDataType::Float16;
        }
    }
    let mut reader = Reader {
        bytes,
        limits,
        profile,
        schema,
        decoded: 0,
        text: TextBudget::new(limits.text_bytes),
        columns: Columns::default(),
    };
    reader.check_schema(&metadata)?;
    let mut first_row = 0;
    for group in &metadata.row_groups {
        // `rows` is within its limit, and room that no row comes to fill is never touched.
        reader.columns.reserve(rows);
        reader.row_group(group, first_row)?;
        first_row += group.num_rows();
    }
    Rows::try_from(reader.columns).map_err(DatasetError::Rows)
}

/// The columns that a data set must have, in the order of the protocol (PROTOCOL §5).
pub const REQUIRED: [&str; 17] = [
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
    /// Bytes that all columns so far took to decode.
    decoded: usize,
    text: TextBudget,
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
        for column in REQUIRED {
            for array in self.arrays(group, column)? {
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
            let arrays = self.arrays(group, SOURCE_PROOF)?;
            if arrays.iter().any(|array| array.null_count() > 0) {
                return Err(DatasetError::SourceProof);
            }
        }
        Ok(())
    }

    /// One column of one row group, decoded. What its pages declare is checked first.
    fn arrays(
        &mut self,
        group: &RowGroupMetadata,
        column: &'static str,
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
        let mut left = self.limits.column_bytes;
        for chunk in chunks {
            let range = chunk.byte_range();
            let range = usize::try_from(range.start).unwrap_or(usize::MAX)
                ..usize::try_from(range.end).unwrap_or(usize::MAX);
            let bytes = self.bytes.get(range).ok_or(DatasetError::Broken {
                what: "a column lies outside the file",
            })?;
            let is_flat = chunk.descriptor().path_in_schema.len() == 1
                && chunk.descriptor().descriptor.max_rep_level == 0;
            let values_limit = if is_flat {
                group.num_rows()
            } else {
                usize::MAX
            };
            let taken = pages::decoded_bytes(bytes, chunk, values_limit, left)?;
            left = left.saturating_sub(taken);
            self.decoded = self.decoded.saturating_add(taken);
            within(self.decoded, self.limits.decoded_bytes, "bytes in columns")?;
            let pages = PageReader::new(
                Cursor::new(Buffer::from_vec(bytes.to_vec())),
                chunk,
                Vec::new(),
                self.limits.column_bytes,
            );
            decompressors.push(BasicDecompressor::new(pages, Vec::new()));
            types.push(&chunk.descriptor().descriptor.primitive_type);
        }
        let (arrays, _) = column_iter_to_arrays(decompressors, types, field, None)?;
        if arrays.iter().map(|array| array.len()).sum::<usize>() != group.num_rows() {
            return Err(DatasetError::Broken {
                what: "a column has another number of rows than its row group",
            });
        }
        Ok(arrays)
    }

    fn take(&mut self, column: &str, array: &dyn Array) -> Result<(), cells::Fault> {
        let (text, profile, c) = (&mut self.text, self.profile, &mut self.columns);
        match column {
            "clip_id" => push_text(array, text, &mut c.clip_id),
            "clip_uri" => push_text(array, text, &mut c.clip_uri),
            "first_frame_uri" => push_text(array, text, &mut c.first_frame_uri),
            "source_video_id" => push_text(array, text, &mut c.source_video_id),
            "split_group_id" => push_text(array, text, &mut c.split_group_id),
            "split" => push_text(array, text, &mut c.split),
            "caption" => push_text(array, text, &mut c.caption),
            "source_video_url" => push_text(array, text, &mut c.source_video_url),
            "clip_sha256" => push(array, text, &mut c.clip_sha256, |cell| {
                digest(coerce::text(cell)?)
            }),
            "first_frame_sha256" => push(array, text, &mut c.first_frame_sha256, |cell| {
                digest(coerce::text(cell)?)
            }),
            "clip_start_sec" => push(array, text, &mut c.clip_start_sec, |cell| {
                start(coerce::float(cell)?)
            }),
            "duration_sec" => push(array, text, &mut c.duration_sec, |cell| {
                duration(coerce::float(cell)?, profile)
            }),
            "fps" => push(array, text, &mut c.fps, |cell| fps(coerce::float(cell)?)),
            "width" => push(array, text, &mut c.width, |cell| {
                positive(coerce::int(cell)?)
            }),
            "height" => push(array, text, &mut c.height, |cell| {
                positive(coerce::int(cell)?)
            }),
            "num_frames" => push(array, text, &mut c.num_frames, |cell| {
                positive(coerce::int(cell)?)
            }),
            "has_audio" => push(array, text, &mut c.has_audio, coerce::bool),
            _ => unreachable!(
                "only called for names in REQUIRED, which are all above: a test reads every one"
            ),
        }
    }
}

fn push_text(
    array: &dyn Array,
    budget: &mut TextBudget,
    into: &mut TextColumn,
) -> Result<(), cells::Fault> {
    cells::each(array, budget, |cell| {
        into.push_stripped(coerce::text(cell)?)
    })
}

fn push<V>(
    array: &dyn Array,
    budget: &mut TextBudget,
    into: &mut Vec<V>,
    rule: impl Fn(Cell<'_>) -> Result<V, CellFault>,
) -> Result<(), cells::Fault> {
    cells::each(array, budget, |cell| {
        into.push(rule(cell)?);
        Ok(())
    })
}
