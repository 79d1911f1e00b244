//! Parquet bytes to rows.

use crate::cells;
use crate::error::DatasetError;
use crate::file::budget::Budget;
use crate::file::footer::{Footer, Group, split};
use crate::file::leaf::{self, Column, View, Wanted};
use crate::file::nest::Nest;
use crate::file::schema::{Field, Leaf, Schema, Shape, names_are_sound};
use crate::file::{Fault, broken, origin};
use crate::limits::{self, Limits};
use crate::quiet;
use crate::take::{Target, take};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{Columns, Rows};
use std::collections::HashSet;

/// Reads and validates all rows.
///
/// Takes about as long as the bytes are long: run it off the async threads. A panic of a decompressor is caught and not
/// printed (see [`DatasetError::Panicked`]); for that the first call puts a filter before the process's panic hook.
///
/// # Errors
/// The file is broken, too large, lacks a column, holds what Python cannot hold, or has one row that breaks a rule.
pub fn read(bytes: &[u8], limits: &Limits, profile: &Profile) -> Result<Rows, DatasetError> {
    // Decompressors are not ours; nothing of them outlives the call.
    quiet::catch(|| read_file(bytes, limits, profile)).unwrap_or(Err(DatasetError::Panicked))
}

fn read_file(bytes: &[u8], limits: &Limits, profile: &Profile) -> Result<Rows, DatasetError> {
    if bytes.len() > limits.file_bytes {
        return Err(DatasetError::TooLarge {
            what: limits::BYTES,
            limit: limits.file_bytes,
        });
    }
    let footer = Footer::read(split(bytes, limits.footer_bytes())?)?;
    let mut schema = Schema::of(&footer.schema, footer.column_orders)?;
    if let Some(value) = footer.arrow_schema {
        origin::restore(&mut schema, value)?;
    }
    if !names_are_sound(&schema.fields)
        || schema
            .fields
            .iter()
            .any(|field| RESERVED.contains(&field.name))
    {
        return Err(broken("two of its columns have one name, or a name is no text").into());
    }
    let mut reader = Reader {
        bytes,
        limits,
        profile,
        budget: limits.budget(bytes.len()),
        missing: missing(&schema.fields),
        targets: targets(&schema.fields),
        schema: &schema,
        rows: 0,
        columns: Columns::default(),
    };
    let declared = footer
        .groups
        .iter()
        .map(|group| usize::try_from(group.rows).unwrap_or(0));
    let declared = declared.fold(0, usize::saturating_add);
    for group in &footer.groups {
        // What no row comes to fill is never touched.
        reader.columns.reserve(declared.min(limits.rows));
        reader.row_group(group)?;
    }
    check_row_texts(&reader.columns, limits.row_text_bytes)?;
    Rows::try_from(reader.columns).map_err(DatasetError::Rows)
}

/// An error when one row has more text than a row may have.
fn check_row_texts(columns: &Columns, most: usize) -> Result<(), DatasetError> {
    let texts = columns.texts();
    let bytes: usize = texts.iter().map(|(_, column)| column.bytes()).sum();
    // All of them together are no more than one may have.
    if bytes <= most {
        return Ok(());
    }
    let beyond = |row: usize| {
        let texts = texts.iter().filter_map(|(_, column)| column.get(row));
        texts.map(str::len).sum::<usize>() > most
    };
    if (0..columns.clip_start_sec.len()).any(beyond) {
        return Err(DatasetError::TooLarge {
            what: limits::ROW_TEXT,
            limit: most,
        });
    }
    Ok(())
}

/// Names that others give to columns of their own.
const RESERVED: [&[u8]; 4] = [
    b"__fragment_index",
    b"__batch_index",
    b"__last_in_fragment",
    b"__filename",
];

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
const SOURCE_PROOF: &[u8] = b"source_proof";

/// What each field of the file is for.
fn targets(fields: &[Field<'_>]) -> Vec<Option<Target>> {
    fields.iter().map(|field| Target::of(field.name)).collect()
}

/// A required column that the file has not.
fn missing(fields: &[Field<'_>]) -> Option<&'static str> {
    let names: HashSet<&[u8]> = fields.iter().map(|field| field.name).collect();
    REQUIRED
        .into_iter()
        .find(|name| !names.contains(name.as_bytes()))
}

struct Reader<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    profile: &'a Profile,
    budget: Budget,
    schema: &'a Schema<'a>,
    targets: Vec<Option<Target>>,
    missing: Option<&'static str>,
    rows: usize,
    columns: Columns,
}

impl Reader<'_> {
    fn row_group(&mut self, group: &Group) -> Result<(), DatasetError> {
        let schema = self.schema;
        let mut rows = None;
        for (place, field) in schema.fields.iter().enumerate() {
            let count = self.field(group, place, field)?;
            if *rows.get_or_insert(count) != count {
                return Err(
                    broken("columns of one row group have different numbers of rows").into(),
                );
            }
        }
        let rows = match rows {
            Some(rows) => rows,
            // Rows without columns are as many as the row group says.
            None => usize::try_from(group.rows).unwrap_or(0),
        };
        self.rows = self.rows.saturating_add(rows);
        if self.rows > self.limits.rows {
            return Err(DatasetError::TooLarge {
                what: limits::ROWS,
                limit: self.limits.rows,
            });
        }
        if rows == 0 {
            return Ok(());
        }
        match self.missing {
            Some(column) => Err(DatasetError::MissingColumn { column }),
            None => Ok(()),
        }
    }

    /// Reads a field of one row group and answers how many rows it has.
    fn field(
        &mut self,
        group: &Group,
        place: usize,
        field: &Field<'_>,
    ) -> Result<usize, DatasetError> {
        let target = self.targets[place];
        if let (Shape::Leaf(leaf), false) = (&field.shape, field.name == SOURCE_PROOF) {
            let column = self.leaf(group, *leaf, target, false)?;
            return Ok(column.slots);
        }
        let upper =
            usize::try_from(group.rows).map_err(|_| broken("it has a negative number of rows"))?;
        let mut leaves = Vec::new();
        leaves_of(field, &mut leaves);
        let mut columns: Vec<Option<Column>> = Vec::new();
        for leaf in leaves {
            let column = self.leaf(group, leaf, None, true)?;
            columns.resize_with(columns.len().max(leaf + 1), || None);
            columns[leaf] = Some(column);
        }
        let nest = Nest { columns: &columns };
        let count = nest.build(field, upper)?;
        if count == 0 {
            return Ok(0);
        }
        if let Some(target) = target {
            return Err(target.fault(self.rows));
        }
        let is_proof = field.name == SOURCE_PROOF;
        if is_proof && (!matches!(field.shape, Shape::Struct { .. }) || nest.has_null(field)?) {
            return Err(DatasetError::SourceProof);
        }
        Ok(count)
    }

    fn leaf(
        &mut self,
        group: &Group,
        index: usize,
        target: Option<Target>,
        keep_levels: bool,
    ) -> Result<Column, DatasetError> {
        let leaf: &Leaf = &self.schema.leaves[index];
        let chunk = group
            .chunks
            .get(index)
            .ok_or(broken("a row group lacks a column"))?;
        let most = self.limits.rows.saturating_sub(self.rows);
        let wanted = Wanted {
            records: group.rows,
            most,
            keep_levels,
        };
        let (profile, columns, rows) = (self.profile, &mut self.columns, self.rows);
        let mut seen = Vec::new();
        leaf::read(
            self.bytes,
            chunk,
            leaf,
            wanted,
            &mut self.budget,
            |view: View<'_>, budget| match target {
                Some(target) => take(target, leaf, &view, profile, columns, budget)
                    .map_err(|error| error.at(rows + view.first)),
                None => Ok(cells::check_all(
                    &leaf.kind,
                    leaf.physical,
                    &view,
                    &mut seen,
                )?),
            },
        )
    }
}

fn leaves_of(field: &Field<'_>, into: &mut Vec<usize>) {
    match &field.shape {
        Shape::Leaf(leaf) => into.push(*leaf),
        Shape::List(_, item) => leaves_of(item, into),
        Shape::Struct { fields, .. } => fields.iter().for_each(|field| leaves_of(field, into)),
    }
}

impl From<Fault> for DatasetError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken(what) => Self::Broken { what },
            Fault::Beyond { what, limit } => Self::TooLarge { what, limit },
            Fault::Unconvertible(what) => Self::Unconvertible { what },
        }
    }
}
