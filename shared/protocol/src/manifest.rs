//! `manifest.json` (PROTOCOL.md §4): parsing it is all the validity it needs.

mod timestamp;

use crate::pyjson::{self, PyJsonError, PyStr, PyValue};
use crate::row::{Cell, DIGEST_CHARS, coerce};
use crate::spec::VIDEO_V1;
use crate::text::{is_printable, python_strip, strip};

/// Version that a manifest without one has.
const DEFAULT_VERSION: &str = "1.0.0";

/// Why bytes are no manifest; the code is always `manifest_schema_invalid`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON.
    #[error("manifest.json is not JSON: {0}")]
    Json(#[source] PyJsonError),
    /// JSON, but no object.
    #[error("manifest.json must hold a JSON object")]
    NotAnObject,
    /// A required field is not there.
    #[error("manifest.json lacks the field {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has a value that is not allowed.
    #[error("field {field} of manifest.json {rule}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// A valid manifest. Texts are stripped. Numbers beyond an `i128` are kept as its largest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Version of the protocol.
    pub protocol_version: String,
    /// Version of the schema.
    pub schema_version: String,
    /// Kind of data set, also called dataset_type.
    pub spec_id: String,
    /// Category; never blank.
    pub category: Option<String>,
    /// Subnet.
    pub netuid: u128,
    /// Who made it.
    pub miner_hotkey: String,
    /// Interval it is for.
    pub interval_id: u128,
    /// When it was made, epoch seconds; `None`: not said, which means now.
    pub created_at: Option<f64>,
    /// Rows in the data set.
    pub record_count: u128,
    /// 64 characters to compare with the data set's SHA-256 in lower-case hex.
    pub dataset_sha256: String,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let root = pyjson::parse(bytes).map_err(ManifestError::Json)?;
        if !matches!(root, PyValue::Object(_)) {
            return Err(ManifestError::NotAnObject);
        }
        let fields = Fields(&root);
        let dataset_sha256 = fields.text("dataset_sha256", None)?;
        if dataset_sha256.chars().count() != DIGEST_CHARS {
            return Err(wrong("dataset_sha256", "must be exactly 64 characters"));
        }
        let miner_hotkey = fields.text("miner_hotkey", None)?;
        if miner_hotkey.is_empty() {
            return Err(wrong("miner_hotkey", "must not be blank"));
        }
        Ok(Self {
            protocol_version: fields.text("protocol_version", Some(DEFAULT_VERSION))?,
            schema_version: fields.text("schema_version", Some(DEFAULT_VERSION))?,
            spec_id: fields.spec_id()?,
            category: fields.category()?,
            netuid: fields.count("netuid")?,
            miner_hotkey,
            interval_id: fields.count("interval_id")?,
            created_at: match root.get("created_at") {
                None => None,
                Some(value) => Some(timestamp::epoch_sec(value).ok_or_else(|| {
                    wrong("created_at", "must be an ISO 8601 time or epoch seconds")
                })?),
            },
            record_count: fields.count("record_count")?,
            dataset_sha256,
        })
    }
}

const fn wrong(field: &'static str, rule: &'static str) -> ManifestError {
    ManifestError::Wrong { field, rule }
}

struct Fields<'a>(&'a PyValue);

impl Fields<'_> {
    fn text(&self, field: &'static str, default: Option<&str>) -> Result<String, ManifestError> {
        match (self.0.get(field), default) {
            (Some(PyValue::Str(text)), _) => text
                .as_str()
                .map(|text| strip(text).to_owned())
                .ok_or(wrong(field, "holds a lone surrogate")),
            (Some(_), _) => Err(wrong(field, "must be text")),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(ManifestError::Missing { field }),
        }
    }

    fn count(&self, field: &'static str) -> Result<u128, ManifestError> {
        let cell = match self.0.get(field) {
            None => return Err(ManifestError::Missing { field }),
            Some(PyValue::Bool(value)) => Cell::Bool(*value),
            // The literal has no form that text would not be read from in the same way.
            Some(PyValue::Int { text }) => Cell::Text(text),
            Some(PyValue::Float(value)) => Cell::Float(*value),
            Some(PyValue::Str(text)) => text.as_str().map_or(Cell::Other, Cell::Text),
            Some(PyValue::Null | PyValue::List(_) | PyValue::Object(_)) => Cell::Other,
        };
        let value = coerce::int(cell).map_err(|_| wrong(field, "must be a whole number"))?;
        u128::try_from(value).map_err(|_| wrong(field, "must not be negative"))
    }

    fn category(&self) -> Result<Option<String>, ManifestError> {
        if matches!(self.0.get("category"), None | Some(PyValue::Null)) {
            return Ok(None);
        }
        let text = self.text("category", None)?;
        Ok(Some(python_strip(&text).to_owned()).filter(|text| !text.is_empty()))
    }

    /// The first of spec_id and dataset_type that is not blank as text, else the default.
    fn spec_id(&self) -> Result<String, ManifestError> {
        for field in ["spec_id", "dataset_type"] {
            let Some(value) = self.0.get(field) else {
                continue;
            };
            let text = match value {
                PyValue::Str(text) => text
                    .as_str()
                    .ok_or(wrong(field, "holds a lone surrogate"))?
                    .to_owned(),
                other => python_text(other),
            };
            let text = strip(python_strip(&text));
            if !text.is_empty() {
                return Ok(text.to_owned());
            }
        }
        Ok(VIDEO_V1.id.to_owned())
    }
}

/// Python's `repr` of a value.
fn python_text(value: &PyValue) -> String {
    match value {
        PyValue::Null => "None".to_owned(),
        PyValue::Bool(true) => "True".to_owned(),
        PyValue::Bool(false) => "False".to_owned(),
        PyValue::Int { text } if text == "-0" => "0".to_owned(),
        PyValue::Int { text } => text.clone(),
        PyValue::Float(value) => python_float_text(*value),
        PyValue::Str(text) => quoted(text),
        PyValue::List(list) => format!(
            "[{}]",
            list.iter().map(python_text).collect::<Vec<_>>().join(", ")
        ),
        PyValue::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), python_text(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn python_float_text(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

fn quoted(text: &PyStr) -> String {
    use std::fmt::Write as _;
    let points = text.code_points();
    let has = |c: char| points.contains(&u32::from(c));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for point in points {
        let written = match char::from_u32(point) {
            Some('\n') => write!(out, "\\n"),
            Some('\r') => write!(out, "\\r"),
            Some('\t') => write!(out, "\\t"),
            Some(c) if c == '\\' || c == quote => write!(out, "\\{c}"),
            Some(c) if is_printable(c) => write!(out, "{c}"),
            _ if point < 0x100 => write!(out, "\\x{point:02x}"),
            _ if point < 0x1_0000 => write!(out, "\\u{point:04x}"),
            _ => write!(out, "\\U{point:08x}"),
        };
        written.expect("writing to a string cannot fail");
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(spec: &str) -> Result<Manifest, ManifestError> {
        let sha = "a".repeat(64);
        Manifest::parse(
            format!(
                "{{{spec}\"netuid\":\" 7_0 \",\"miner_hotkey\":\" hk \",\"interval_id\":5.0,\"record_count\":true,\"dataset_sha256\":\" {sha}\"}}"
            )
            .as_bytes(),
        )
    }

    #[test]
    fn lenient_fields_are_read_leniently() {
        let manifest = with("").unwrap();
        assert_eq!(
            (manifest.netuid, manifest.interval_id, manifest.record_count),
            (70, 5, 1)
        );
        assert_eq!(
            (manifest.miner_hotkey.as_str(), manifest.spec_id.as_str()),
            ("hk", "video_v1")
        );
        assert_eq!(manifest.created_at, None);
        assert_eq!(with("\"category\":\" \",").unwrap().category, None);
        assert!(with("\"category\":5,").is_err());
        assert!(with("\"created_at\":null,").is_err());
    }

    #[test]
    fn spec_id_becomes_text_as_python_writes_it() {
        for (value, text) in [
            ("null", "None"),
            ("true", "True"),
            (
                "[\"video_v1\", 1e16, {\"a'\": -0.5}]",
                "['video_v1', 1e+16, {\"a'\": -0.5}]",
            ),
            ("1.0", "1.0"),
            ("\"  \"", "video_v1"),
            ("1e-5", "1e-05"),
        ] {
            assert_eq!(
                with(&format!("\"spec_id\":{value},")).unwrap().spec_id,
                text,
                "{value}"
            );
        }
    }
}
