//! How much of a data set is read at most.

/// Caps on one data set. Beyond any of them it is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Bytes of the footer.
    pub footer_bytes: usize,
    /// Elements of the schema: columns, and the groups around them. Also bounds nesting.
    pub schema_elements: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of all needed columns of one row group, decompressed.
    pub row_group_bytes: usize,
    /// Bytes of all needed columns of the file, decompressed.
    pub decompressed_bytes: usize,
    /// Bytes of one text column, all rows together. Dictionaries make it larger than what is decompressed.
    pub text_column_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 256 << 20,
            footer_bytes: 8 << 20,
            schema_elements: 512,
            rows: 1_000_000,
            row_group_bytes: 512 << 20,
            decompressed_bytes: 1 << 30,
            text_column_bytes: 256 << 20,
        }
    }
}
