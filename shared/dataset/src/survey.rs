//! What reading a file will take, said before a byte is decompressed.

use crate::file::Result;
use crate::file::footer::{Footer, split};
use crate::file::kind::Physical;
use crate::file::page::survey;
use crate::file::schema::{Field, Leaf, Schema, Shape};
use crate::limits::Limits;
use crate::take::Target;

/// Bytes of a row in memory beside its texts.
const ROW_BYTES: usize = 208;
/// Bytes of a value inside lists and structures: its levels, and where it stands in its page.
const NESTED_BYTES: usize = 20;
/// What every call takes: tables of decompressors and the like.
const FLOOR: usize = 4 << 20;

/// Bytes of memory that [`read`](crate::read()) takes for a file at most, beside the file itself: what a worker reserves
/// before it reads. Looks at the footer and the headers of pages only. A file that cannot be read takes little.
pub fn needed_memory(bytes: &[u8], limits: &Limits) -> u64 {
    let needed = estimate(bytes, limits).unwrap_or(0).saturating_add(FLOOR);
    needed as u64
}

fn estimate(bytes: &[u8], limits: &Limits) -> Result<usize> {
    let footer = split(bytes, limits.footer_bytes())?;
    let footer_bytes = footer.len();
    let footer = Footer::read(footer)?;
    let schema = Schema::of(&footer.schema, footer.column_orders)?;
    let required = required_leaves(&schema);
    let (mut rows, mut texts, mut nested, mut largest) = (0_usize, 0_usize, 0_usize, 0_usize);
    for group in &footer.groups {
        rows = rows.saturating_add(usize::try_from(group.rows).unwrap_or(0));
        for (index, (chunk, leaf)) in group.chunks.iter().zip(&schema.leaves).enumerate() {
            let pages = survey(bytes, chunk)?;
            // A page, its values, and a dictionary's page with the dictionary.
            let at_once = pages
                .largest
                .saturating_mul(2)
                .saturating_add(pages.dictionary.saturating_mul(2));
            largest = largest.max(at_once);
            if leaf.max_definition > 1 || leaf.max_repetition > 0 {
                nested = nested.saturating_add(usize::try_from(chunk.values).unwrap_or(0));
            }
            if required.get(index) == Some(&true) && holds_text(leaf) {
                let repeated = if pages.dictionary > 0 { usize::MAX } else { 0 };
                texts = texts.saturating_add(pages.data).saturating_add(repeated);
            }
        }
    }
    let (most_text, most_pages, most_nested) = limits.shares(bytes.len());
    Ok(footer_bytes
        .saturating_mul(4)
        .saturating_add(rows.min(limits.rows).saturating_mul(ROW_BYTES))
        .saturating_add(texts.min(most_text.saturating_mul(17) / 16))
        .saturating_add(nested.min(most_nested).saturating_mul(NESTED_BYTES))
        .saturating_add(largest.min(most_pages.saturating_mul(2))))
}

fn holds_text(leaf: &Leaf) -> bool {
    matches!(leaf.physical, Physical::ByteArray | Physical::Fixed(_))
}

/// For each leaf whether it is a required column.
fn required_leaves(schema: &Schema<'_>) -> Vec<bool> {
    let mut required = vec![false; schema.leaves.len()];
    for Field { name, shape, .. } in &schema.fields {
        if let (Some(_), Shape::Leaf(leaf)) = (Target::of(name), shape) {
            required[*leaf] = true;
        }
    }
    required
}
