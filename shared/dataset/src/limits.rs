//! How much of a data set is read at most.

use crate::file::budget::Budget;

/// Caps on one data set. Beyond any of them it is invalid, and its error names the cap.
///
/// Two kinds of caps meet: absolute ones, which are settings, and what a file may expand to for its length. An honest
/// row carries two digests and an id of 76 random bytes together, so a file of n bytes has at most n / 76 of them;
/// docs/dataset-parity.md has the measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Bytes of the footer.
    pub footer_bytes: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of all texts of all rows as they stand in the cells, whatever the length of the file.
    pub text_bytes: usize,
    /// Bytes that the pages of all columns are decompressed to, whatever the length of the file.
    pub decoded_bytes: usize,
}

/// What the pages of every file may expand to, bytes, and how many more for each of its own bytes.
const PAGES: Expansion = Expansion {
    floor: 96 << 20,
    each: 64,
};
/// The same for the texts of the rows.
const TEXT: Expansion = Expansion {
    floor: 64 << 20,
    each: 32,
};
/// The same for places of columns, and for those in lists and structures, whose levels are kept.
const SLOTS: Expansion = Expansion {
    floor: 16 << 20,
    each: 64,
};
const NESTED: Expansion = Expansion {
    floor: 4 << 20,
    each: 16,
};

struct Expansion {
    floor: usize,
    each: usize,
}

impl Expansion {
    fn of(&self, file: usize) -> usize {
        self.floor.saturating_add(file.saturating_mul(self.each))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 256 << 20,
            footer_bytes: 64 << 20,
            rows: 200_000,
            text_bytes: 256 << 20,
            decoded_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// What a file of that length may cost.
    pub(crate) fn budget(&self, file: usize) -> Budget {
        Budget::new(
            PAGES.of(file).min(self.decoded_bytes),
            SLOTS.of(file),
            NESTED.of(file),
            TEXT.of(file).min(self.text_bytes),
        )
    }
}
