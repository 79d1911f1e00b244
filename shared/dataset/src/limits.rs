//! How much of a data set is read at most.

use crate::file::budget::Budget;
use nexis_protocol::budget;

/// Caps on one data set. Beyond any of them it is invalid, and its error names the cap and its setting.
///
/// Two kinds of caps meet: what the settings say, and what a file may expand to for its length, which is a share of the
/// same settings and so much for each of its bytes. An honest row carries two digests and an id, 76 random bytes in all,
/// so a file of n bytes has at most n / 76 honest rows; docs/dataset-parity.md has the measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of all texts of all rows as they stand in the cells.
    pub text_bytes: usize,
    /// Bytes of the texts of one row.
    pub row_text_bytes: usize,
    /// Bytes that the pages of all columns are decompressed to; the footer, and what is kept of columns inside lists and
    /// structures, have shares of it.
    pub decoded_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            file_bytes: 256 << 20,
            rows: size(budget::ROWS),
            text_bytes: size(budget::MAX_TEXT_BYTES),
            row_text_bytes: size(budget::MAX_ROW_TEXT_BYTES),
            decoded_bytes: size(budget::DECODE_MEMORY_BYTES),
        }
    }
}

/// Bytes that pages may be decompressed to for each byte of the file, and bytes of text.
const PAGES_EACH: usize = 64;
const TEXT_EACH: usize = 64;
/// Places of columns for each byte of the file, and those that are kept.
const SLOTS_EACH: usize = 64;
const KEPT_EACH: usize = 8;

impl Limits {
    /// Bytes of the footer.
    pub(crate) fn footer_bytes(&self) -> usize {
        self.decoded_bytes / 16
    }

    /// Most bytes of text, of pages, and most values that are kept, of a file of that length.
    pub(crate) fn shares(&self, file: usize) -> (usize, usize, usize) {
        (self.text(file), self.pages(file), self.kept(file))
    }

    /// What a file of that length may cost.
    pub(crate) fn budget(&self, file: usize) -> Budget {
        let room = |floor: usize, each: usize| floor.saturating_add(file.saturating_mul(each));
        Budget::new(
            self.pages(file),
            room(self.decoded_bytes / 64, SLOTS_EACH),
            self.kept(file),
            self.text(file),
            self.row_text_bytes,
        )
    }

    fn kept(&self, file: usize) -> usize {
        (self.decoded_bytes / 512).saturating_add(file.saturating_mul(KEPT_EACH))
    }

    fn pages(&self, file: usize) -> usize {
        let expanded = (self.decoded_bytes / 12).saturating_add(file.saturating_mul(PAGES_EACH));
        expanded.min(self.decoded_bytes)
    }

    fn text(&self, file: usize) -> usize {
        let expanded = (self.text_bytes / 2).saturating_add(file.saturating_mul(TEXT_EACH));
        expanded.min(self.text_bytes)
    }
}

/// The setting behind a cap.
pub(crate) fn setting(what: &str) -> &'static str {
    match what {
        BYTES => "NEXIS_MAX_DATASET_BYTES",
        ROWS => "NEXIS_MAX_DATASET_ROWS",
        TEXT => "NEXIS_MAX_TEXT_BYTES",
        ROW_TEXT => "NEXIS_MAX_ROW_TEXT_BYTES",
        _ => "NEXIS_DECODE_MEMORY_BYTES",
    }
}

pub(crate) const BYTES: &str = "bytes";
pub(crate) const ROWS: &str = "rows";
pub(crate) const TEXT: &str = "bytes of text";
pub(crate) const ROW_TEXT: &str = "bytes of text in a row";
