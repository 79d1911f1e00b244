//! How much of a data set is read at most.

/// Caps on one data set. Beyond any of them it is invalid.
///
/// The defaults are far above what honest miners publish (100,000 rows with long captions are about 60 MB) and hold
/// one call of [`read`](crate::read()) below about 1 GiB whatever the bytes say: the file is borrowed, one column of one
/// row group is decoded at a time, and the rows kept are text and a few numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Bytes of the footer.
    pub footer_bytes: usize,
    /// Elements of the schema: columns, and the groups around them.
    pub schema_elements: usize,
    /// Groups around one column of the schema; decoding recurses that deep.
    pub schema_depth: usize,
    /// Row groups.
    pub row_groups: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of one needed column of one row group: as it stands in the file, decompressed, and decoded (fixed widths
    /// and shared prefixes make more of less). `source_proof` counts as one column.
    pub column_bytes: usize,
    /// The same, summed over all needed columns of all row groups.
    pub decoded_bytes: usize,
    /// Bytes of all texts of all rows as they stand in the cells. Dictionaries make more of what was decompressed.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 256 << 20,
            footer_bytes: 4 << 20,
            schema_elements: 512,
            schema_depth: 32,
            row_groups: 10_000,
            rows: 1_000_000,
            column_bytes: 256 << 20,
            decoded_bytes: 1 << 30,
            text_bytes: 512 << 20,
        }
    }
}
