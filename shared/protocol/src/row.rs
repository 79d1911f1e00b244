//! Rows of a data set (PROTOCOL.md §5): what one cell may be, and all valid rows in columns.
//!
//! Owns: the lenient coercions and the row rules. Never knows parquet: the dataset crate feeds [`Cell`]s.

pub mod coerce;

use crate::ids::Digest;
use crate::profile::Profile;
use crate::text::strip;
use serde::{Deserialize, Serialize};

/// Digits of a SHA-256 as rows and manifests carry it.
pub const DIGEST_CHARS: usize = 64;

/// A value as it stands in a data set, before any rule was applied to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float of any width.
    Float(f64),
    /// `unscaled / 10^scale`.
    Decimal {
        /// Digits.
        unscaled: i128,
        /// How many of them stand behind the point.
        scale: u32,
    },
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Anything that no field accepts: times, lists, structs.
    Other,
}

/// Why a cell breaks its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellFault {
    /// Not text.
    #[error("must be text")]
    NotText,
    /// Blank text.
    #[error("must not be blank")]
    Blank,
    /// Not 64 characters.
    #[error("must be exactly 64 characters (a SHA-256 in lower-case hex)")]
    NotDigest,
    /// Not a number.
    #[error("must be a number")]
    NotNumber,
    /// Not an integer.
    #[error("must be a whole number")]
    NotInteger,
    /// Not a boolean.
    #[error("must be true or false")]
    NotBool,
    /// A number outside its bounds, or NaN.
    #[error("is outside its bounds")]
    OutOfBounds,
    /// More text than one data set may hold.
    #[error("the data set holds more text than this validator reads")]
    TooMuchText,
}

/// Texts of one column, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextColumn {
    text: String,
    ends: Vec<u32>,
}

impl TextColumn {
    /// The text of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&str> {
        let end = *self.ends.get(row)? as usize;
        let begin = row
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0);
        self.text.get(begin as usize..end)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of text held.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Makes room for `rows` rows in all, guessing from the rows so far how long their texts are, so that the column
    /// need not be moved while it grows.
    pub fn reserve(&mut self, rows: usize) {
        /// More than this is not reserved on a guess, bytes.
        const MOST: usize = 64 << 20;
        let more = rows.saturating_sub(self.len());
        self.ends.reserve_exact(more);
        if let Some(average) = self.bytes().checked_div(self.len()) {
            // A sixteenth more, for texts that are longer than the first ones.
            let guess = average
                .saturating_mul(more)
                .saturating_add(average.saturating_mul(more) / 16);
            self.text.reserve_exact(guess.min(MOST));
        }
    }

    /// Appends a text as it is.
    #[inline]
    pub fn push(&mut self, text: &str) -> Result<(), CellFault> {
        let end =
            u32::try_from(self.text.len() + text.len()).map_err(|_| CellFault::TooMuchText)?;
        self.text.push_str(text);
        self.ends.push(end);
        Ok(())
    }

    /// Appends a text stripped; blank is a fault.
    #[inline]
    pub fn push_stripped(&mut self, text: &str) -> Result<(), CellFault> {
        let text = strip(text);
        if text.is_empty() {
            return Err(CellFault::Blank);
        }
        self.push(text)
    }

    fn is_sound(&self) -> bool {
        let mut begin = 0;
        self.ends.iter().all(|&end| {
            let fits = self.text.get(begin..end as usize).is_some();
            begin = end as usize;
            fits
        }) && begin == self.text.len()
    }
}

/// The columns of [`Rows`]. All have the same length once they are inside `Rows`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each is the column of PROTOCOL.md §5 with that name"
)]
pub struct Columns {
    pub clip_id: TextColumn,
    pub clip_uri: TextColumn,
    pub first_frame_uri: TextColumn,
    pub source_video_id: TextColumn,
    pub split_group_id: TextColumn,
    pub split: TextColumn,
    pub caption: TextColumn,
    pub source_video_url: TextColumn,
    /// `None`: 64 characters that are no lower-case hex, which no bytes can match.
    pub clip_sha256: Vec<Option<Digest>>,
    /// See `clip_sha256`.
    pub first_frame_sha256: Vec<Option<Digest>>,
    pub clip_start_sec: Vec<f64>,
    pub duration_sec: Vec<f64>,
    /// Larger values than a `u128` holds are kept as its largest.
    pub width: Vec<u128>,
    pub height: Vec<u128>,
    pub num_frames: Vec<u128>,
    pub fps: Vec<f64>,
    pub has_audio: Vec<bool>,
}

impl Columns {
    /// Makes room for `rows` rows in all.
    pub fn reserve(&mut self, rows: usize) {
        let more = rows.saturating_sub(self.clip_start_sec.len());
        for texts in [
            &mut self.clip_id,
            &mut self.clip_uri,
            &mut self.first_frame_uri,
            &mut self.source_video_id,
            &mut self.split_group_id,
            &mut self.split,
            &mut self.caption,
            &mut self.source_video_url,
        ] {
            texts.reserve(rows);
        }
        for digests in [&mut self.clip_sha256, &mut self.first_frame_sha256] {
            digests.reserve_exact(more);
        }
        for floats in [
            &mut self.clip_start_sec,
            &mut self.duration_sec,
            &mut self.fps,
        ] {
            floats.reserve_exact(more);
        }
        for counts in [&mut self.width, &mut self.height, &mut self.num_frames] {
            counts.reserve_exact(more);
        }
        self.has_audio.reserve_exact(more);
    }

    /// The text columns, with their names.
    pub fn texts(&self) -> [(&'static str, &TextColumn); 8] {
        [
            ("clip_id", &self.clip_id),
            ("clip_uri", &self.clip_uri),
            ("first_frame_uri", &self.first_frame_uri),
            ("source_video_id", &self.source_video_id),
            ("split_group_id", &self.split_group_id),
            ("split", &self.split),
            ("caption", &self.caption),
            ("source_video_url", &self.source_video_url),
        ]
    }
}

/// The columns do not make rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// Columns of different lengths.
    #[error("reading rows: columns differ in length")]
    Ragged,
    /// Ends of texts do not ascend or cut a character.
    #[error("reading rows: the texts are cut wrongly")]
    BadCut,
}

/// Valid rows, in data set order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Columns", into = "Columns")]
pub struct Rows(Columns);

impl TryFrom<Columns> for Rows {
    type Error = RowsError;
    fn try_from(columns: Columns) -> Result<Self, RowsError> {
        let rows = columns.clip_start_sec.len();
        let lengths = [
            columns.clip_sha256.len(),
            columns.first_frame_sha256.len(),
            columns.duration_sec.len(),
            columns.width.len(),
            columns.height.len(),
            columns.num_frames.len(),
            columns.fps.len(),
            columns.has_audio.len(),
        ];
        let texts = columns.texts();
        if lengths.iter().any(|&len| len != rows)
            || texts.iter().any(|(_, text)| text.len() != rows)
        {
            return Err(RowsError::Ragged);
        }
        if !texts.iter().all(|(_, text)| text.is_sound()) {
            return Err(RowsError::BadCut);
        }
        Ok(Self(columns))
    }
}

impl From<Rows> for Columns {
    fn from(rows: Rows) -> Self {
        rows.0
    }
}

/// One row. Texts are stripped.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is the column of PROTOCOL.md §5 with that name"
)]
pub struct RowRef<'a> {
    pub clip_id: &'a str,
    pub clip_uri: &'a str,
    pub first_frame_uri: &'a str,
    pub source_video_id: &'a str,
    pub split_group_id: &'a str,
    pub split: &'a str,
    pub caption: &'a str,
    pub source_video_url: &'a str,
    /// `None`: 64 characters that no bytes can match.
    pub clip_sha256: Option<Digest>,
    /// `None`: 64 characters that no bytes can match.
    pub first_frame_sha256: Option<Digest>,
    pub clip_start_sec: f64,
    pub duration_sec: f64,
    pub width: u128,
    pub height: u128,
    pub num_frames: u128,
    pub fps: f64,
    pub has_audio: bool,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.clip_start_sec.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns.
    pub fn columns(&self) -> &Columns {
        &self.0
    }

    /// A row by its place in the data set.
    // Inlined so that callers who look at a few columns do not load the others.
    #[inline]
    pub fn get(&self, row: usize) -> Option<RowRef<'_>> {
        let c = &self.0;
        Some(RowRef {
            clip_id: c.clip_id.get(row)?,
            clip_uri: c.clip_uri.get(row)?,
            first_frame_uri: c.first_frame_uri.get(row)?,
            source_video_id: c.source_video_id.get(row)?,
            split_group_id: c.split_group_id.get(row)?,
            split: c.split.get(row)?,
            caption: c.caption.get(row)?,
            source_video_url: c.source_video_url.get(row)?,
            clip_sha256: *c.clip_sha256.get(row)?,
            first_frame_sha256: *c.first_frame_sha256.get(row)?,
            clip_start_sec: *c.clip_start_sec.get(row)?,
            duration_sec: *c.duration_sec.get(row)?,
            width: *c.width.get(row)?,
            height: *c.height.get(row)?,
            num_frames: *c.num_frames.get(row)?,
            fps: *c.fps.get(row)?,
            has_audio: *c.has_audio.get(row)?,
        })
    }

    /// All rows, in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = RowRef<'_>> {
        (0..self.len()).filter_map(|row| self.get(row))
    }

    /// Appends a row whose texts are stripped and whose values are valid already.
    ///
    /// # Errors
    /// More text than a column holds; nothing is appended then.
    pub fn push(&mut self, row: RowRef<'_>) -> Result<(), CellFault> {
        let c = &mut self.0;
        let texts = [
            (&mut c.clip_id, row.clip_id),
            (&mut c.clip_uri, row.clip_uri),
            (&mut c.first_frame_uri, row.first_frame_uri),
            (&mut c.source_video_id, row.source_video_id),
            (&mut c.split_group_id, row.split_group_id),
            (&mut c.split, row.split),
            (&mut c.caption, row.caption),
            (&mut c.source_video_url, row.source_video_url),
        ];
        if texts
            .iter()
            .any(|(column, text)| u32::try_from(column.bytes() + text.len()).is_err())
        {
            return Err(CellFault::TooMuchText);
        }
        for (column, text) in texts {
            column.push(text)?;
        }
        c.clip_sha256.push(row.clip_sha256);
        c.first_frame_sha256.push(row.first_frame_sha256);
        c.clip_start_sec.push(row.clip_start_sec);
        c.duration_sec.push(row.duration_sec);
        c.width.push(row.width);
        c.height.push(row.height);
        c.num_frames.push(row.num_frames);
        c.fps.push(row.fps);
        c.has_audio.push(row.has_audio);
        Ok(())
    }

    /// The rows at these places, in this order; places that do not exist are left out.
    pub fn select(&self, places: &[u32]) -> Self {
        let mut selected = Self::default();
        for row in places.iter().filter_map(|&place| self.get(place as usize)) {
            selected.push(row).expect("a part of columns that fit fits");
        }
        selected
    }
}

/// A digest column's value: exactly 64 code points after stripping; `None` when they are no lower-case hex.
pub fn digest(text: &str) -> Result<Option<Digest>, CellFault> {
    let text = strip(text);
    if let Ok(bytes) = <&[u8; DIGEST_CHARS]>::try_from(text.as_bytes())
        && let Some(bytes) = unhex(bytes)
    {
        return Ok(Some(Digest::new(bytes)));
    }
    if text.chars().count() == DIGEST_CHARS {
        Ok(None)
    } else {
        Err(CellFault::NotDigest)
    }
}

/// The value of a lower-case hex digit; `NO_NIBBLE` for every other byte.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_NIBBLE; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < 16 {
        nibbles[digits[value as usize] as usize] = value;
        value += 1;
    }
    nibbles
};
const NO_NIBBLE: u8 = 0xff;

// Without a branch per digit: a data set has two digests in every row.
fn unhex(text: &[u8; DIGEST_CHARS]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut seen = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | (low & 0xf);
    }
    (seen <= 0xf).then_some(bytes)
}

/// An integer column's value: greater than 0.
pub fn positive(value: i128) -> Result<u128, CellFault> {
    u128::try_from(value)
        .ok()
        .filter(|&value| value > 0)
        .ok_or(CellFault::OutOfBounds)
}

/// clip_start_sec: at least 0 (NaN fails, infinity passes).
pub fn start(value: f64) -> Result<f64, CellFault> {
    if value >= 0.0 {
        Ok(value)
    } else {
        Err(CellFault::OutOfBounds)
    }
}

/// fps: greater than 0 (NaN fails, infinity passes).
pub fn fps(value: f64) -> Result<f64, CellFault> {
    if value > 0.0 {
        Ok(value)
    } else {
        Err(CellFault::OutOfBounds)
    }
}

/// duration_sec: greater than 0 and within the profile's tolerance.
pub fn duration(value: f64, profile: &Profile) -> Result<f64, CellFault> {
    let (least, most) = profile.clip_duration_bounds_sec();
    let inside = value > 0.0 && (least..=most).contains(&value);
    if inside {
        Ok(value)
    } else {
        Err(CellFault::OutOfBounds)
    }
}

#[cfg(test)]
mod tests;
