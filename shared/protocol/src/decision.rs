//! The decision on one miner in one interval (PROTOCOL §14).

use crate::bounded::Bounded;
use crate::clip::{Advisory, AdvisoryKind};
use crate::ids::{Hotkey, IntervalId};
use crate::reason::Reason;
use crate::text::rfc3339;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A value among the notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub enum Note {
    /// Absent, but named.
    Null,
    /// A number.
    Count(u64),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

// In JSON a note is its plain value; in compact formats it carries its kind.
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Self::serialize(self, serializer);
        }
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(texts) => serializer.collect_seq(texts),
        }
    }
}

struct NoteVisitor;

impl<'de> Visitor<'de> for NoteVisitor {
    type Value = Note;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a number from 0 up, a text or a list of texts")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Note, E> {
        Ok(Note::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Note, E> {
        Ok(Note::Null)
    }
    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Note, E> {
        Ok(Note::Count(count))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Note, E> {
        Ok(Note::Text(text.to_owned()))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Note, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            texts.push(text);
        }
        Ok(Note::List(texts))
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(NoteVisitor)
        } else {
            Self::deserialize(deserializer)
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The miner.
    pub miner_hotkey: Hotkey,
    /// The interval.
    pub interval_id: IntervalId,
    /// Whether there are no failures.
    pub accepted: bool,
    /// Failures: hard checks, assets, caption, category.
    pub failures: Vec<Reason>,
    /// Rows left after pruning; 0 when the submission could not be loaded.
    pub record_count: u32,
    /// Number of sampled rows.
    pub sampled_rows: u32,
    /// When, RFC 3339 in UTC.
    pub checked_at: String,
    /// Everything worth knowing beside it.
    pub notes: BTreeMap<String, Note>,
}

impl Decision {
    /// Kinds of the advisories that stand beside the verdict, one for each.
    pub fn advisories(&self) -> impl Iterator<Item = AdvisoryKind> {
        let noted = match self.notes.get("advisories") {
            Some(Note::List(noted)) => noted.as_slice(),
            _ => &[],
        };
        noted
            .iter()
            .filter_map(|text| AdvisoryKind::by_name(text.split_once(':')?.0))
    }
}

/// What the checks of one sampled row found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowFindings<'a> {
    /// Failures of its assets.
    pub assets: &'a [Reason],
    /// Failures of the caption check.
    pub caption: &'a [Reason],
    /// Failures of the category check.
    pub category: &'a [Reason],
    /// Findings that change nothing.
    pub advisories: &'a [Advisory],
    /// What is said about its likeness to another miner's clip.
    pub likeness: Option<&'a Advisory>,
    /// The same as a failure, where the operator made it one.
    pub likeness_failure: Option<&'a Reason>,
}

/// A submission that was loaded, pruned and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<'a> {
    /// Its spec.
    pub spec_id: &'a str,
    /// Its category.
    pub category: Option<&'a str>,
    /// Rows left after pruning.
    pub record_count: u32,
    /// Rows dropped by the global index.
    pub pruned_global: u32,
    /// Rows dropped in favour of other miners.
    pub pruned_cross: u32,
    /// Failures of the hard checks.
    pub hard: &'a [Reason],
    /// How many of them were not kept.
    pub hard_omitted: u64,
    /// Most bytes of failures that the decision keeps.
    pub max_failure_bytes: u64,
    /// One per sampled row, in sampled order; `None` where no verdict came, which is never held against
    /// the miner.
    pub rows: Vec<Option<RowFindings<'a>>>,
}

/// How far a submission came.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<'a> {
    /// A check of PROTOCOL §6 failed.
    Rejected {
        /// The failures: one, by the rules.
        reasons: &'a [Reason],
        /// What else is known about it, such as the digests that differ.
        notes: BTreeMap<String, Note>,
    },
    /// It was loaded.
    Judged(Judged<'a>),
}

/// Decides on one miner. A submission on which others' code raises has the single code
/// `validation_exception`, no rows and no samples, whatever else was found.
pub fn decide(
    miner_hotkey: &Hotkey,
    interval_id: IntervalId,
    outcome: &Outcome<'_>,
    checked_at_epoch_sec: f64,
) -> Decision {
    let mut decision = Decision {
        miner_hotkey: miner_hotkey.clone(),
        interval_id,
        accepted: false,
        failures: Vec::new(),
        record_count: 0,
        sampled_rows: 0,
        checked_at: rfc3339(checked_at_epoch_sec),
        notes: BTreeMap::new(),
    };
    match outcome {
        Outcome::Rejected { reasons, notes } => {
            decision.failures = reasons.to_vec();
            decision.notes.clone_from(notes);
        }
        Outcome::Judged(judged) => {
            let (failures, omitted) = ordered_failures(judged);
            decision.failures = failures;
            decision.record_count = judged.record_count;
            decision.sampled_rows = u32::try_from(judged.rows.len()).unwrap_or(u32::MAX);
            decision.notes = notes_of(judged, decision.sampled_rows);
            if omitted > 0 {
                let count = Note::Count(omitted);
                decision.notes.insert("failures_omitted".to_owned(), count);
            }
        }
    }
    if decision.failures.contains(&Reason::ValidationException) {
        decision.failures = vec![Reason::ValidationException];
        decision.record_count = 0;
        decision.sampled_rows = 0;
        let error = decision.notes.remove("error");
        decision.notes = BTreeMap::from([(
            "error".to_owned(),
            error.unwrap_or_else(|| Note::Text(Reason::ValidationException.explain())),
        )]);
    }
    decision.accepted = decision.failures.is_empty();
    decision
}

/// All failures as far as they fit, and how many do not.
fn ordered_failures(judged: &Judged<'_>) -> (Vec<Reason>, u64) {
    let rows = || judged.rows.iter().flatten();
    let of_rows = rows()
        .flat_map(|row| row.assets)
        .chain(rows().flat_map(|row| row.caption))
        .chain(rows().flat_map(|row| row.category))
        .chain(rows().filter_map(|row| row.likeness_failure));
    let all = || judged.hard.iter().chain(of_rows.clone());
    if all().any(|failure| *failure == Reason::ValidationException) {
        return (vec![Reason::ValidationException], 0);
    }
    let mut failures = Bounded::new(judged.max_failure_bytes);
    for failure in judged.hard {
        failures.push(failure.clone());
    }
    failures.omit(judged.hard_omitted);
    for failure in of_rows {
        failures.push(failure.clone());
    }
    failures.into_parts()
}

fn notes_of(judged: &Judged<'_>, sampled: u32) -> BTreeMap<String, Note> {
    let count = |value: u32| Note::Count(u64::from(value));
    let mut notes = BTreeMap::from([
        ("record_count".to_owned(), count(judged.record_count)),
        ("sampled_record_count".to_owned(), count(sampled)),
        (
            "global_overlap_pruned_count".to_owned(),
            count(judged.pruned_global),
        ),
        (
            "cross_miner_overlap_pruned_count".to_owned(),
            count(judged.pruned_cross),
        ),
        ("spec_id".to_owned(), Note::Text(judged.spec_id.to_owned())),
        (
            "category".to_owned(),
            judged
                .category
                .map_or(Note::Null, |category| Note::Text(category.to_owned())),
        ),
    ]);
    let advisories: Vec<String> = judged
        .rows
        .iter()
        .flatten()
        .flat_map(|row| row.advisories.iter().chain(row.likeness))
        .map(|advisory| format!("{}:{}", advisory.kind.as_str(), advisory.clip_id))
        .collect();
    if !advisories.is_empty() {
        notes.insert("advisories".to_owned(), Note::List(advisories));
    }
    let alike: Vec<String> = judged
        .rows
        .iter()
        .flatten()
        .filter_map(|row| row.likeness)
        .map(|advisory| format!("{}: {}", advisory.clip_id, advisory.detail))
        .collect();
    if !alike.is_empty() {
        notes.insert("near_duplicates".to_owned(), Note::List(alike));
    }
    let unchecked = judged.rows.iter().filter(|row| row.is_none()).count();
    if unchecked > 0 {
        notes.insert("unchecked_rows".to_owned(), Note::Count(unchecked as u64));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Hotkey {
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
            .parse()
            .unwrap()
    }

    fn decided(hard: &[Reason], rows: Vec<Option<RowFindings<'_>>>) -> Decision {
        let judged = Judged {
            spec_id: "video_v1",
            category: None,
            record_count: 7,
            pruned_global: 1,
            pruned_cross: 2,
            hard,
            hard_omitted: 0,
            max_failure_bytes: u64::MAX,
            rows,
        };
        decide(
            &alice(),
            IntervalId::new(50),
            &Outcome::Judged(judged),
            1_775_000_000.0,
        )
    }

    fn short(row: &str) -> Reason {
        Reason::ShortCaption {
            clip_id: row.to_owned(),
        }
    }

    #[test]
    fn failures_come_stage_by_stage_and_within_a_stage_row_by_row() {
        let parts: Vec<Reason> = ["1a", "1c", "1n", "2a", "2c", "2n", "h"]
            .map(short)
            .to_vec();
        let row = |at: usize| {
            Some(RowFindings {
                assets: &parts[at..=at],
                caption: &parts[at + 1..at + 2],
                category: &parts[at + 2..at + 3],
                ..RowFindings::default()
            })
        };
        let decision = decided(&parts[6..], vec![row(0), row(3)]);
        assert_eq!(
            decision.failures,
            ["h", "1a", "2a", "1c", "2c", "1n", "2n"].map(short)
        );
        assert_eq!(
            (
                decision.accepted,
                decision.record_count,
                decision.sampled_rows
            ),
            (false, 7, 2)
        );
    }

    #[test]
    fn a_validation_exception_replaces_everything_else() {
        let decision = decided(&[short("a"), Reason::ValidationException], vec![None]);
        assert_eq!(decision.failures, [Reason::ValidationException]);
        assert_eq!((decision.record_count, decision.sampled_rows), (0, 0));
        assert_eq!(decision.notes.keys().collect::<Vec<_>>(), ["error"]);
        assert!(!decision.accepted);
    }

    #[test]
    fn failures_beyond_the_bound_are_counted_in_one_note() {
        let rows = [short("r1"), short("r2")];
        let judged = |max_failure_bytes, hard_omitted| {
            let row = RowFindings {
                assets: &rows,
                ..RowFindings::default()
            };
            Outcome::Judged(Judged {
                spec_id: "video_v1",
                category: None,
                record_count: 7,
                pruned_global: 0,
                pruned_cross: 0,
                hard: &rows[..1],
                hard_omitted,
                max_failure_bytes,
                rows: vec![Some(row)],
            })
        };
        let decided = |outcome| decide(&alice(), IntervalId::new(50), &outcome, 0.0);
        let whole = decided(judged(u64::MAX, 0));
        assert_eq!(whole.failures, ["r1", "r1", "r2"].map(short));
        assert!(!whole.notes.contains_key("failures_omitted"));
        let cut = decided(judged(1, 0));
        assert_eq!(cut.failures, [short("r1")]);
        assert_eq!(cut.notes["failures_omitted"], Note::Count(2));
        // Nothing follows where some were left out: the kept ones are the first.
        let cut_before = decided(judged(u64::MAX, 5));
        assert_eq!(cut_before.failures, [short("r1")]);
        assert_eq!(cut_before.notes["failures_omitted"], Note::Count(7));
    }

    #[test]
    fn rows_without_a_verdict_and_advisories_do_not_reject() {
        let advisories = [Advisory {
            kind: AdvisoryKind::UndecodableClip,
            clip_id: "a".to_owned(),
            detail: String::new(),
        }];
        let row = RowFindings {
            advisories: &advisories,
            ..RowFindings::default()
        };
        let decision = decided(&[], vec![None, Some(row)]);
        assert!(decision.accepted);
        assert_eq!(decision.notes["unchecked_rows"], Note::Count(1));
        let noted = Note::List(vec!["undecodable_clip:a".to_owned()]);
        assert_eq!(decision.notes["advisories"], noted);
        let kinds: Vec<AdvisoryKind> = decision.advisories().collect();
        assert_eq!(kinds, [AdvisoryKind::UndecodableClip]);
    }

    #[test]
    fn json_has_the_field_names_of_the_protocol_and_reads_back() {
        let decision = decided(&[short("a:b")], vec![]);
        let json = serde_json::to_value(&decision).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "miner_hotkey": alice().as_str(), "interval_id": 50, "accepted": false,
                "failures": ["short_caption:a:b"], "record_count": 7, "sampled_rows": 0,
                "checked_at": "2026-03-31T23:33:20.000000Z",
                "notes": {
                    "record_count": 7, "sampled_record_count": 0, "global_overlap_pruned_count": 1,
                    "cross_miner_overlap_pruned_count": 2, "spec_id": "video_v1", "category": null
                }
            })
        );
        assert_eq!(serde_json::from_value::<Decision>(json).unwrap(), decision);
    }
}
