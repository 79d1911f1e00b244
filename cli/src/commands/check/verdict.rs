//! What `nexis check` says about a package.

use crate::show::push_line;
use nexis_protocol::clip::Advisory;
use nexis_protocol::decision::Decision;
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_wire::JobRules;
use std::collections::BTreeMap;

/// What came out.
pub(super) struct Checked {
    pub decision: Decision,
    /// What exactly was wrong with a package that could not be loaded.
    pub detail: Option<String>,
    /// Failures of rows that a validator would not have sampled this time.
    pub beyond: Vec<Reason>,
    /// What is noted about any row.
    pub advisories: Vec<Advisory>,
    /// Where the store gave no answer: what was read (the row's clip id, or the package's own files) and what it did.
    pub troubles: BTreeMap<String, String>,
    pub rows: usize,
    pub rules: JobRules,
}

/// The name under which [`Checked::troubles`] has the manifest and the data set.
pub(super) const PACKAGE: &str = "manifest.json or dataset.parquet";

impl Checked {
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.header(&mut text);
        for reason in &self.decision.failures {
            self.failure(&mut text, reason);
        }
        if !self.beyond.is_empty() {
            text.push_str("rows that were not in this sample, but another time may be:\n");
            for reason in &self.beyond {
                self.failure(&mut text, reason);
            }
        }
        for (what, answer) in &self.troubles {
            push_line(
                &mut text,
                &format!(
                    "  {what} could not be read: {answer}; this says nothing about your package: try again"
                ),
            );
        }
        for advisory in &self.advisories {
            push_line(
                &mut text,
                &format!(
                    "  note on row {:?}: {}: {} ({})",
                    advisory.clip_id,
                    advisory.kind.as_str(),
                    advisory.kind.explain(),
                    advisory.detail
                ),
            );
        }
        text.push_str(
            "not looked at here: overlaps with other miners and the global index, and the vision model's checks\n",
        );
        text
    }

    fn header(&self, text: &mut String) {
        let decision = &self.decision;
        let verdict = match (decision.accepted, self.troubles.is_empty()) {
            (true, _) => "would be ACCEPTED",
            (false, true) => "would be REJECTED",
            (false, false) => "would be REJECTED with what could be read now",
        };
        push_line(
            text,
            &format!(
                "{} for interval {}: {verdict}, {} rows looked at, {} of them would be sampled (profile {})",
                decision.miner_hotkey,
                decision.interval_id,
                self.rows,
                decision.sampled_rows,
                self.rules.profile.name
            ),
        );
    }

    /// One failure: its code, what it means (in the words of the check that found it, when there are some), what is
    /// expected instead.
    fn failure(&self, text: &mut String, reason: &Reason) {
        if self.rests_on_trouble(reason) {
            return;
        }
        push_line(text, &format!("  {reason}"));
        match &self.detail {
            Some(detail) => push_line(text, &format!("    {detail}")),
            None => push_line(text, &format!("    {}", reason.explain())),
        }
        if let Some(expected) = expected(reason, &self.rules) {
            push_line(text, &format!("    expected: {expected}"));
        }
    }

    /// Whether the store gave no answer, so that nobody knows whether the object is there.
    fn rests_on_trouble(&self, reason: &Reason) -> bool {
        let what = match reason {
            Reason::MissingSubmissionFiles => PACKAGE,
            Reason::MissingClipAsset { clip_id } | Reason::MissingFirstFrameAsset { clip_id } => {
                clip_id
            }
            _ => return false,
        };
        self.troubles.contains_key(what)
    }
}

/// What a validator under these rules takes instead.
fn expected(reason: &Reason, rules: &JobRules) -> Option<String> {
    let profile = &rules.profile;
    Some(match reason {
        Reason::InvalidResolution { .. } => {
            format!(
                "{}x{} pixels",
                profile.clip_width_px, profile.clip_height_px
            )
        }
        Reason::UnsupportedCategory { .. } | Reason::MissingCategoryMetadata => {
            format!("category {:?}", rules.expected_category.as_deref()?)
        }
        Reason::IncompatibleSpecVersion { .. } => versions(profile),
        Reason::SpecNotEnabled { .. } => format!("one of {}", rules.enabled_specs.join(", ")),
        Reason::ShortCaption { .. } => format!("at least {} words", profile.caption_min_words),
        Reason::OverlapLt5s { .. } => {
            format!(
                "at least {} seconds between two starts",
                profile.clip_gap_min_sec
            )
        }
        Reason::ClipStartGt5000 { .. } => {
            format!("a start of at most {} seconds", profile.clip_start_max_sec?)
        }
        _ => return None,
    })
}

fn versions(profile: &Profile) -> String {
    format!(
        "protocol_version {:?} and schema_version {:?}",
        profile.protocol_version, profile.schema_version
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_protocol::decision::{Outcome, decide};
    use nexis_protocol::{Hotkey, IntervalId, Netuid};

    fn checked(failures: Vec<Reason>) -> Checked {
        let hotkey = Hotkey::from_public_key(&[1; 32]);
        let outcome = Outcome::Rejected {
            reasons: &failures,
            notes: BTreeMap::new(),
        };
        let mut rules = JobRules::plain(Netuid::new(70), Profile::default());
        rules.expected_category = Some("nature_landscape_scenery".to_owned());
        Checked {
            decision: decide(&hotkey, IntervalId::new(100), &outcome, 0.0),
            detail: None,
            beyond: Vec::new(),
            advisories: Vec::new(),
            troubles: BTreeMap::new(),
            rows: 1,
            rules,
        }
    }

    #[test]
    fn what_a_miner_wrote_cannot_steer_the_terminal() {
        let hostile = "c\n\u{1b}]0;pwned\u{7}\u{1b}[2J\u{202e}would be ACCEPTED".to_owned();
        let mut checked = checked(vec![
            Reason::UnknownSpec {
                spec_id: hostile.clone(),
            },
            Reason::InvalidAssetUri {
                uri: hostile.clone(),
            },
        ]);
        checked.beyond = vec![Reason::MissingClipAsset {
            clip_id: hostile.clone(),
        }];
        checked.troubles = BTreeMap::from([(format!("{hostile}2"), "503 SlowDown".to_owned())]);
        let text = checked.text();
        let steering = |c: char| c != '\n' && !nexis_protocol::text::is_printable(c);
        assert!(!text.contains(steering), "{text:?}");
        assert!(
            !text
                .lines()
                .any(|line| line.starts_with("\u{1b}") || line.starts_with("would"))
        );
    }

    #[test]
    fn a_failure_names_what_is_expected_instead_and_the_profile_that_judged() {
        let clip_id = || "a".to_owned();
        let text = checked(vec![
            Reason::InvalidResolution {
                clip_id: clip_id(),
                width: 1920,
                height: 1080,
            },
            Reason::ShortCaption { clip_id: clip_id() },
            Reason::UnsupportedCategory {
                category: "nature".to_owned(),
            },
            Reason::IncompatibleSpecVersion {
                spec_id: "video_v1".to_owned(),
                protocol: "1.0.0".to_owned(),
                schema: "2.0.0".to_owned(),
            },
        ])
        .text();
        for words in [
            "profile readme",
            "1280x720 pixels",
            "at least 3 words",
            "\"nature_landscape_scenery\"",
            "schema_version \"1.0.0\"",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_store_without_an_answer_is_not_called_a_missing_object() {
        let clip_id = || "a".to_owned();
        let mut checked = checked(vec![Reason::MissingClipAsset { clip_id: clip_id() }]);
        checked.troubles =
            BTreeMap::from([(clip_id(), "the store answered 503 SlowDown".to_owned())]);
        let text = checked.text();
        assert!(
            text.contains("503 SlowDown") && text.contains("try again"),
            "{text}"
        );
        assert!(!text.contains("not in your bucket"), "{text}");
    }

    #[test]
    fn what_was_wrong_is_said_once() {
        let mut checked = checked(vec![Reason::DatasetSchemaInvalid]);
        checked.detail = Some("row 1 of dataset.parquet: caption must be text".to_owned());
        let text = checked.text();
        assert_eq!(text.matches("dataset.parquet").count(), 1, "{text}");
    }
}
