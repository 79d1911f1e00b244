//! How much of a file's claims is followed.

use super::{Fault, Result};

/// What one file may still cost. Each bound is far above what an honest writer makes of a file of its length.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Bytes that pages are decompressed to.
    bytes: Counter,
    /// Places of columns: values and nulls.
    slots: Counter,
    /// What is kept of them: levels of columns inside lists and structures, values of dictionaries.
    nested: Counter,
    /// Bytes of text that stand in the rows.
    text: Counter,
    /// Bytes of text in one cell: as many as in one row.
    cell: usize,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    left: usize,
    limit: usize,
    what: &'static str,
}

impl Counter {
    fn new(limit: usize, what: &'static str) -> Self {
        Self {
            left: limit,
            limit,
            what,
        }
    }

    #[inline]
    fn spend(&mut self, count: usize) -> Result<()> {
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault::Beyond {
                what: self.what,
                limit: self.limit,
            }),
        }
    }
}

impl Budget {
    pub(crate) fn new(bytes: usize, slots: usize, nested: usize, text: usize, cell: usize) -> Self {
        Self {
            bytes: Counter::new(bytes, "bytes in its pages"),
            slots: Counter::new(slots, "values"),
            nested: Counter::new(nested, "values in lists, structures and dictionaries"),
            text: Counter::new(text, crate::limits::TEXT),
            cell,
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<()> {
        self.bytes.spend(count)
    }

    /// Bytes that pages may still be decompressed to.
    pub(crate) fn bytes_left(&self) -> usize {
        self.bytes.left
    }

    pub(crate) fn nested(&mut self, count: usize) -> Result<()> {
        self.nested.spend(count)
    }

    pub(crate) fn slots(&mut self, count: usize) -> Result<()> {
        self.slots.spend(count)
    }

    /// The text of one cell.
    #[inline]
    pub(crate) fn text(&mut self, count: usize) -> Result<()> {
        if count > self.cell {
            return Err(Fault::Beyond {
                what: crate::limits::ROW_TEXT,
                limit: self.cell,
            });
        }
        self.text.spend(count)
    }
}
