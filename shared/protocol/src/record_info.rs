//! The global overlap index, "record info" (PROTOCOL §13): read, look up, merge, write.

use crate::claim::Claims;
use crate::prune::order_key;
use crate::pyjson::{self, PyValue};
use crate::source::{UrlRefused, index_key};
use crate::text::{python_float, three_decimals};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Clip starts that are taken, by source key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordIndex {
    /// Each list ascends.
    entries: BTreeMap<String, Vec<f64>>,
}

/// Why the object cannot be read. An index that could not be read must never be overwritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// A key is a URL that the strict parser refuses; others' code raises on the whole object.
    #[error("reading the key '{key}' of the global index")]
    RefusedKey {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: UrlRefused,
    },
}

impl RecordIndex {
    /// An index that is already parsed: keys are taken as they are, lists are sorted and keep repeats.
    pub fn from_entries(entries: impl IntoIterator<Item = (String, Vec<f64>)>) -> Self {
        let sorted = entries.into_iter().map(|(key, mut starts)| {
            starts.sort_by_key(|start| order_key(*start));
            (key, starts)
        });
        Self {
            entries: sorted.collect(),
        }
    }

    /// Reads the object's bytes: `{"video_v1": {…}}`, `{"entries": {…}}` or the bare map. What is no such
    /// object, or no JSON, is an empty index; entries that are no lists and values that are no numbers are
    /// skipped; starts are de-duplicated and sorted. A key with a lone surrogate names no source that a
    /// row could have, and is skipped too.
    ///
    /// # Errors
    /// A key that is a refused URL.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let Ok(PyValue::Object(root)) = pyjson::parse(bytes) else {
            return Ok(Self::default());
        };
        let inner = ["video_v1", "entries"].iter().find_map(|name| {
            root.iter().find_map(|(key, value)| match value {
                PyValue::Object(map) if key.as_str() == Some(*name) => Some(map),
                _ => None,
            })
        });
        let mut index = Self::default();
        for (key, value) in inner.unwrap_or(&root) {
            let (Some(key), PyValue::List(values)) = (key.as_str(), value) else {
                continue;
            };
            let source_key = index_key(key).map_err(|source| IndexError::RefusedKey {
                key: key.to_owned(),
                source,
            })?;
            let starts: Vec<f64> = values.iter().filter_map(start_of).collect();
            if let (Some(source_key), false) = (source_key, starts.is_empty()) {
                index.entries.entry(source_key).or_default().extend(starts);
            }
        }
        for starts in index.entries.values_mut() {
            sort_unique(starts);
        }
        Ok(index)
    }

    /// The object's text: sorted keys, sorted starts with three decimals, ASCII.
    pub fn serialize(&self) -> String {
        let mut text = String::from("{\n  \"video_v1\": {");
        let mut first = true;
        for (key, starts) in &self.entries {
            text.push_str(if first { "\n    " } else { ",\n    " });
            first = false;
            push_ascii_json(&mut text, key);
            text.push_str(": [");
            for (at, start) in starts.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(text, "{comma}\n      \"{}\"", three_decimals(*start))
                    .expect("writing to a string does not fail");
            }
            text.push_str(if starts.is_empty() { "]" } else { "\n    ]" });
        }
        text.push_str(if first { "}\n}" } else { "\n  }\n}" });
        text
    }

    /// Adds rows, given as (source URL, start). Every start of the index ends rounded to three decimals.
    /// Nothing changes on an error.
    ///
    /// # Errors
    /// A URL that the strict parser refuses.
    pub fn merge<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), UrlRefused> {
        let mut added: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (url, start) in rows {
            // Rows carry the prefix only when a miner writes it; the key forgets it as reading does.
            if let Some(key) = index_key(url)? {
                added.entry(key).or_default().push(start);
            }
        }
        for (key, starts) in added {
            self.entries.entry(key).or_default().extend(starts);
        }
        for starts in self.entries.values_mut() {
            for start in starts.iter_mut() {
                *start = round_three(*start);
            }
            sort_unique(starts);
        }
        Ok(())
    }

    /// Adds the kept rows of an accepted submission.
    ///
    /// # Errors
    /// A URL that the strict parser refuses.
    pub fn merge_kept(&mut self, claims: &Claims, kept: &[u32]) -> Result<(), UrlRefused> {
        self.merge(
            kept.iter().filter_map(|row| {
                Some((claims.source(*row)?.url.as_str(), claims.start_sec(*row)?))
            }),
        )
    }

    /// The part of the index that the rows of these submissions can hit: what evidence needs to keep.
    pub fn touched_by<'a>(&self, submissions: impl IntoIterator<Item = &'a Claims>) -> Self {
        let keys: BTreeSet<&str> = submissions
            .into_iter()
            .flat_map(Claims::sources)
            .flat_map(|source| source.index_keys.iter().map(String::as_str))
            .collect();
        let entries = keys.into_iter().filter_map(|key| {
            self.entries
                .get_key_value(key)
                .map(|(key, starts)| (key.clone(), starts.clone()))
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// The ascending starts under a key.
    pub fn starts(&self, key: &str) -> Option<&[f64]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    /// All entries, ascending by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &[f64])> {
        self.entries
            .iter()
            .map(|(key, starts)| (key.as_str(), starts.as_slice()))
    }

    /// Number of sources.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is taken.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The key that a row's URL gets when it is merged. `""` for blank URLs.
///
/// # Errors
/// [`UrlRefused`] where others' code raises.
pub fn merge_key(url: &str) -> Result<String, UrlRefused> {
    Ok(index_key(url)?.unwrap_or_default())
}

/// Python's `float(value)` for the values a list may hold; what it raises on is skipped.
fn start_of(value: &PyValue) -> Option<f64> {
    match value {
        PyValue::Bool(flag) => Some(f64::from(u8::from(*flag))),
        PyValue::Int { text } => text.parse().ok().filter(|number: &f64| number.is_finite()),
        PyValue::Float(number) => Some(*number),
        PyValue::Str(text) => python_float(text.as_str()?),
        PyValue::Null | PyValue::List(_) | PyValue::Object(_) => None,
    }
}

fn sort_unique(starts: &mut Vec<f64>) {
    // Stable, so that of two zeros the one that came first stays.
    starts.sort_by_key(|start| order_key(*start));
    starts.dedup_by_key(|start| order_key(*start));
}

/// Python's `round(value, 3)`: through decimal text, correctly rounded both ways.
fn round_three(value: f64) -> f64 {
    three_decimals(value).parse().unwrap_or(value)
}

/// Appends a JSON string as Python's `json.dumps` writes it: everything outside printable ASCII escaped.
fn push_ascii_json(text: &mut String, key: &str) {
    text.push('"');
    for c in key.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04x}").expect("writing to a string does not fail");
                }
            }
        }
    }
    text.push('"');
}
