//! Answers of the vision model and what follows from them (PROTOCOL §11, §12). Prompts and calls live
//! elsewhere.

use crate::profile::Profile;
use crate::pyjson::{self, PyValue};
use crate::text::{is_word_char, python_float, python_int, python_strip};
use std::collections::HashSet;

/// Whether a caption holds a word that aims at the model's answer: `match` or `true`, any case, whole word.
pub fn has_injection_keyword(caption: &str) -> bool {
    ["match", "true"].iter().any(|word| has_word(caption, word))
}

/// Whole-word search, ignoring ASCII case: no other character folds into these letters.
fn has_word(text: &str, word: &str) -> bool {
    (0..text.len()).any(|at| {
        let Some(rest) = text.get(at..) else {
            return false;
        };
        let Some(head) = rest.get(..word.len()) else {
            return false;
        };
        head.eq_ignore_ascii_case(word)
            && !text[..at].ends_with(is_word_char)
            && !rest[word.len()..].starts_with(is_word_char)
    })
}

/// Reads the caption check's answer. `None` is unusable, which counts as a mismatch.
pub fn parse_match(answer: &str) -> Option<bool> {
    let answer = python_strip(answer);
    let lowered = answer.to_lowercase();
    match lowered.as_str() {
        "" => return None,
        "true" => return Some(true),
        "false" => return Some(false),
        _ => {}
    }
    if let Some(PyValue::Object(fields)) = read_json(answer)
        && let Some(PyValue::Bool(matches)) = field(&fields, "match")
    {
        return Some(*matches);
    }
    if lowered.contains("\"match\": false") {
        Some(false)
    } else if lowered.contains("\"match\": true") {
        Some(true)
    } else {
        None
    }
}

/// The answer as JSON, else what stands between its first `{` and its last `}`.
fn read_json(answer: &str) -> Option<PyValue> {
    if let Ok(value) = pyjson::parse(answer.as_bytes()) {
        return Some(value);
    }
    let inner = answer.get(answer.find('{')?..=answer.rfind('}')?)?;
    pyjson::parse(inner.as_bytes()).ok()
}

/// The last value of a name, as a Python dict would hold it.
fn field<'a>(fields: &'a [(pyjson::PyStr, PyValue)], name: &str) -> Option<&'a PyValue> {
    fields
        .iter()
        .rev()
        .find(|(key, _)| key.as_str() == Some(name))
        .map(|(_, value)| value)
}

/// What a frame shows, as the model names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Winner {
    /// Nature, landscape, scenery.
    Nature,
    /// People.
    People,
    /// An animal.
    Animal,
    /// A vehicle.
    Vehicle,
    /// A city.
    Urban,
    /// A room.
    Indoor,
    /// None of these.
    Other,
}

impl Winner {
    /// All winners, as the model spells them.
    pub const ALL: [(&'static str, Self); 7] = [
        ("nature", Self::Nature),
        ("people", Self::People),
        ("animal", Self::Animal),
        ("vehicle", Self::Vehicle),
        ("urban", Self::Urban),
        ("indoor", Self::Indoor),
        ("other", Self::Other),
    ];

    /// As the model spells it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == self)
            .map_or("other", |(name, _)| name)
    }
}

/// The model's judgement of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameScores {
    /// Number that the model gave the frame.
    pub frame_index: i64,
    /// The winner.
    pub winner: Winner,
    /// Nature, 0 to 1.
    pub nature: f64,
    /// People, animal, vehicle, urban, indoor, each 0 to 1.
    pub rivals: [f64; 5],
}

/// Reads the category check's answer: exactly three frames. `None` is unusable
/// (`category_strict_response_invalid`).
pub fn parse_category(answer: &str) -> Option<[FrameScores; 3]> {
    let answer = python_strip(answer);
    let Some(PyValue::Object(fields)) = read_json(answer) else {
        return None;
    };
    let Some(PyValue::List(frames)) = field(&fields, "frames") else {
        return None;
    };
    let frames: Option<Vec<FrameScores>> = frames.iter().map(read_frame).collect();
    frames?.try_into().ok()
}

fn read_frame(value: &PyValue) -> Option<FrameScores> {
    let PyValue::Object(fields) = value else {
        return None;
    };
    let Some(PyValue::Str(winner)) = field(fields, "winner") else {
        return None;
    };
    let winner = python_strip(winner.as_str()?).to_lowercase();
    let winner = Winner::ALL
        .iter()
        .find(|(name, _)| *name == winner)
        .map(|(_, winner)| *winner)?;
    let score = |name: &str| match field(fields, name) {
        None => Some(0.0),
        Some(value) => read_score(value),
    };
    Some(FrameScores {
        frame_index: match field(fields, "frame_index") {
            None => 0,
            Some(value) => read_index(value)?,
        },
        winner,
        nature: score("nature_score")?,
        rivals: [
            score("people_score")?,
            score("animal_score")?,
            score("vehicle_score")?,
            score("urban_score")?,
            score("indoor_score")?,
        ],
    })
}

/// A score between 0 and 1. What is not a number counts as 1, because `min(1.0, nan)` is 1.0 elsewhere.
fn read_score(value: &PyValue) -> Option<f64> {
    let score = match value {
        PyValue::Bool(flag) => f64::from(u8::from(*flag)),
        PyValue::Int { text } => text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())?,
        PyValue::Float(number) => *number,
        PyValue::Str(text) => python_float(text.as_str()?)?,
        PyValue::Null | PyValue::List(_) | PyValue::Object(_) => return None,
    };
    Some(if score < 1.0 { score.max(0.0) } else { 1.0 })
}

fn read_index(value: &PyValue) -> Option<i64> {
    match value {
        PyValue::Bool(flag) => Some(i64::from(*flag)),
        PyValue::Int { text } => text.parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "Python's int() cuts, too")]
        PyValue::Float(number) if number.is_finite() => Some(*number as i64),
        PyValue::Str(text) => python_int(text.as_str()?).and_then(|n| i64::try_from(n).ok()),
        _ => None,
    }
}

/// Verdict of the strict category check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CategoryVerdict {
    /// Whether the row passes.
    pub accepted: bool,
    /// Frames that nature won.
    pub wins: u32,
    /// Mean nature score.
    pub nature: f64,
    /// Best mean rival.
    pub rival: f64,
}

/// Applies the thresholds of PROTOCOL §12 to three frames.
pub fn judge_category(frames: &[FrameScores; 3], profile: &Profile) -> CategoryVerdict {
    let mean = |score: &dyn Fn(&FrameScores) -> f64| {
        // Left to right, as elsewhere: the order of additions decides the last bit.
        (score(&frames[0]) + score(&frames[1]) + score(&frames[2])) / 3.0
    };
    let wins = frames
        .iter()
        .map(|frame| u32::from(frame.winner == Winner::Nature))
        .sum();
    let nature = mean(&|frame| frame.nature);
    let rival = (0..5)
        .map(|rival| mean(&|frame| frame.rivals[rival]))
        .fold(f64::NEG_INFINITY, f64::max);
    CategoryVerdict {
        accepted: wins >= profile.category_min_wins
            && nature >= profile.category_min_mean
            && nature - rival >= profile.category_min_margin,
        wins,
        nature,
        rival,
    }
}

/// The three middle ones of the distinct frames. `None` when there are fewer
/// (`category_strict_frames_missing`).
pub fn middle_three<T: AsRef<str>>(frames: &[T]) -> Option<[&str; 3]> {
    let mut seen = HashSet::new();
    let distinct: Vec<&str> = frames
        .iter()
        .map(AsRef::as_ref)
        .filter(|frame| seen.insert(*frame))
        .collect();
    let last_start = distinct.len().checked_sub(3)?;
    let start = last_start.min((distinct.len() / 2).saturating_sub(1));
    distinct.get(start..start + 3)?.try_into().ok()
}

/// HTTP statuses that pass as transient.
const TRANSIENT_STATUS: [u16; 8] = [408, 409, 425, 429, 500, 502, 503, 504];
/// Parts of messages that pass as transient.
const TRANSIENT_TEXT: [&str; 10] = [
    "timed out",
    "timeout",
    "rate limit",
    "too many requests",
    "temporarily unavailable",
    "internal server error",
    "service unavailable",
    "bad gateway",
    "gateway timeout",
    "connection",
];

/// Whether a failed call of the model is a transient fault, which lets the row pass. The vectors count
/// fewer statuses than the prose: 501 and 529, for two, are no transient faults.
pub fn is_transient_fault(status: Option<u16>, message: &str) -> bool {
    if status.is_some_and(|status| TRANSIENT_STATUS.contains(&status)) {
        return true;
    }
    let message = message.to_lowercase();
    TRANSIENT_TEXT.iter().any(|part| message.contains(part))
}

/// Which sampled rows a model check looks at: the first ones, up to the profile's limit.
pub fn rows_to_check<'a, T>(sampled: &'a [T], profile: &Profile) -> &'a [T] {
    let most = usize::try_from(profile.vision_max_rows).unwrap_or(usize::MAX);
    &sampled[..sampled.len().min(most)]
}
