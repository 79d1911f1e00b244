//! Every number of the protocol (PROTOCOL §1), as data: chosen by name, overridable field by field.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What the seed of the row sample is made of (PROTOCOL §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowSeed {
    /// Miner, interval seed and row count: every validator draws the same rows.
    Shared,
    /// The validator's hotkey too: each validator draws its own rows.
    PerValidator,
}

/// What happens to invalid hotkeys when weights are made (PROTOCOL §1, §14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidHotkeys {
    /// They are ranked, normalised, then zeroed, and the rest is normalised again.
    ZeroAfterNormalising,
    /// They are left out before ranks are given.
    ExcludeBeforeRanking,
}

/// How far back decisions count: `[S − reach − interval length, S)` for a submission at block `S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreReach {
    /// One weight submission period.
    Period,
    /// A fixed number of blocks.
    Blocks(u64),
}

/// The numbers of one version of the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Name it was made from.
    pub name: String,
    /// Length of an interval, blocks.
    pub interval_length_blocks: u64,
    /// Blocks after the close of an interval before it may be validated: uploads settle meanwhile.
    pub reserve_blocks: u64,
    /// Blocks between two weight submissions.
    pub weight_period_blocks: u64,
    /// Share of the miners that is drawn.
    pub miner_sample_rate: f64,
    /// Fewest miners drawn.
    pub miner_sample_min: u32,
    /// Most miners drawn.
    pub miner_sample_max: u32,
    /// Up to this many rows, all are checked.
    pub row_sample_all_up_to: u32,
    /// Share of the rows that is drawn above that.
    pub row_sample_rate: f64,
    /// Most rows drawn.
    pub row_sample_max: u32,
    /// What the row sample's seed is made of.
    pub row_seed: RowSeed,
    /// Shortest caption, words.
    pub caption_min_words: u32,
    /// Highest clip start, seconds; strictly greater fails. `None`: no limit.
    pub clip_start_max_sec: Option<f64>,
    /// How far back decisions count for weights.
    pub score_reach: ScoreReach,
    /// What happens to invalid hotkeys at submission.
    pub invalid_hotkeys: InvalidHotkeys,
    /// A failure within this many past intervals zeroes the shown interval weight.
    pub failure_lookback_intervals: u32,
    /// Power that sampled rows are raised to for the shown interval score.
    pub scoring_exponent: u32,
    /// Length of a clip, seconds.
    pub clip_duration_sec: f64,
    /// How far from it a clip may be, seconds, inclusive.
    pub clip_duration_tolerance_sec: f64,
    /// Distance at which an honest miner cuts, seconds.
    pub clip_step_sec: f64,
    /// Clip starts nearer than this overlap, seconds.
    pub clip_gap_min_sec: f64,
    /// Required width, pixels.
    pub clip_width_px: u32,
    /// Required height, pixels.
    pub clip_height_px: u32,
    /// Version a manifest must name.
    pub protocol_version: String,
    /// Schema version a manifest must name.
    pub schema_version: String,
    /// Reach of the evidence API's invalid-hotkey list, blocks.
    pub invalid_window_blocks: u64,
    /// Most rows that one model check looks at.
    pub vision_max_rows: u32,
    /// Fewest of the three middle frames that nature must win.
    pub category_min_wins: u32,
    /// Lowest mean nature score.
    pub category_min_mean: f64,
    /// Lowest distance between the mean nature score and the best mean rival.
    pub category_min_margin: f64,
}

/// Why a profile cannot be had or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No profile of that name.
    #[error("unknown protocol profile '{name}': did you mean '{nearest}'?")]
    UnknownProfile {
        /// As given.
        name: String,
        /// The nearest that exists.
        nearest: &'static str,
    },
    /// No field of that name.
    #[error("unknown profile field '{field}': did you mean '{nearest}'?")]
    UnknownField {
        /// As given.
        field: String,
        /// The nearest that exists.
        nearest: &'static str,
    },
    /// The text is no value of that field.
    #[error("profile field '{field}' cannot be '{value}': {expected}")]
    BadValue {
        /// The field.
        field: &'static str,
        /// As given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

impl Default for Profile {
    fn default() -> Self {
        Self::readme()
    }
}

impl Profile {
    /// Names that [`Profile::by_name`] knows.
    pub const NAMES: [&'static str; 2] = ["readme", "2026-04-13"];

    /// Fields that [`Profile::set`] knows.
    pub const FIELDS: [&'static str; 29] = [
        "interval_length_blocks",
        "reserve_blocks",
        "weight_period_blocks",
        "miner_sample_rate",
        "miner_sample_min",
        "miner_sample_max",
        "row_sample_all_up_to",
        "row_sample_rate",
        "row_sample_max",
        "row_seed",
        "caption_min_words",
        "clip_start_max_sec",
        "score_reach",
        "invalid_hotkeys",
        "failure_lookback_intervals",
        "scoring_exponent",
        "clip_duration_sec",
        "clip_duration_tolerance_sec",
        "clip_step_sec",
        "clip_gap_min_sec",
        "clip_width_px",
        "clip_height_px",
        "protocol_version",
        "schema_version",
        "invalid_window_blocks",
        "vision_max_rows",
        "category_min_wins",
        "category_min_mean",
        "category_min_margin",
    ];

    /// A built-in profile.
    pub fn by_name(name: &str) -> Result<Self, ProfileError> {
        match name {
            "readme" => Ok(Self::readme()),
            "2026-04-13" => Ok(Self::april()),
            _ => Err(ProfileError::UnknownProfile {
                name: name.to_owned(),
                nearest: nearest(name, &Self::NAMES),
            }),
        }
    }

    fn readme() -> Self {
        Self {
            name: "readme".to_owned(),
            interval_length_blocks: 50,
            reserve_blocks: 2,
            weight_period_blocks: 250,
            miner_sample_rate: 0.5,
            miner_sample_min: 2,
            miner_sample_max: 35,
            row_sample_all_up_to: 3,
            row_sample_rate: 0.20,
            row_sample_max: 3,
            row_seed: RowSeed::Shared,
            caption_min_words: 3,
            clip_start_max_sec: None,
            score_reach: ScoreReach::Period,
            invalid_hotkeys: InvalidHotkeys::ZeroAfterNormalising,
            failure_lookback_intervals: 1,
            scoring_exponent: 3,
            clip_duration_sec: 5.0,
            clip_duration_tolerance_sec: 0.15,
            clip_step_sec: 5.0,
            clip_gap_min_sec: 4.5,
            clip_width_px: 1280,
            clip_height_px: 720,
            protocol_version: "1.0.0".to_owned(),
            schema_version: "1.0.0".to_owned(),
            invalid_window_blocks: 500,
            vision_max_rows: 8,
            category_min_wins: 2,
            category_min_mean: 0.72,
            category_min_margin: 0.12,
        }
    }

    fn april() -> Self {
        Self {
            name: "2026-04-13".to_owned(),
            interval_length_blocks: 100,
            weight_period_blocks: 300,
            miner_sample_rate: 1.0,
            row_seed: RowSeed::PerValidator,
            caption_min_words: 20,
            clip_start_max_sec: Some(5000.0),
            score_reach: ScoreReach::Blocks(1500),
            invalid_hotkeys: InvalidHotkeys::ExcludeBeforeRanking,
            ..Self::readme()
        }
    }

    /// Shortest and longest clip duration, seconds, both allowed.
    pub fn clip_duration_bounds_sec(&self) -> (f64, f64) {
        (
            self.clip_duration_sec - self.clip_duration_tolerance_sec,
            self.clip_duration_sec + self.clip_duration_tolerance_sec,
        )
    }

    /// Changes one field from text, as a configuration gives it. Nothing changes on an error.
    ///
    /// # Errors
    /// An unknown field (with the nearest one that exists), or a value outside what the field takes.
    pub fn set(&mut self, field: &str, value: &str) -> Result<(), ProfileError> {
        let Some(field) = Self::FIELDS.iter().copied().find(|known| *known == field) else {
            return Err(ProfileError::UnknownField {
                field: field.to_owned(),
                nearest: nearest(field, &Self::FIELDS),
            });
        };
        let value = value.trim();
        match field {
            "interval_length_blocks" => self.interval_length_blocks = positive(field, value)?,
            "reserve_blocks" => self.reserve_blocks = whole(field, value)?,
            "weight_period_blocks" => self.weight_period_blocks = positive(field, value)?,
            "miner_sample_rate" => self.miner_sample_rate = share(field, value)?,
            "miner_sample_min" => self.miner_sample_min = whole(field, value)?,
            "miner_sample_max" => self.miner_sample_max = whole(field, value)?,
            "row_sample_all_up_to" => self.row_sample_all_up_to = whole(field, value)?,
            "row_sample_rate" => self.row_sample_rate = share(field, value)?,
            "row_sample_max" => self.row_sample_max = whole(field, value)?,
            "row_seed" => self.row_seed = row_seed(field, value)?,
            "caption_min_words" => self.caption_min_words = whole(field, value)?,
            "clip_start_max_sec" => {
                self.clip_start_max_sec = if value == "none" {
                    None
                } else {
                    Some(seconds(field, value)?)
                };
            }
            "score_reach" => {
                self.score_reach = if value == "period" {
                    ScoreReach::Period
                } else {
                    ScoreReach::Blocks(whole(field, value)?)
                };
            }
            "invalid_hotkeys" => self.invalid_hotkeys = invalid_hotkeys(field, value)?,
            "failure_lookback_intervals" => {
                self.failure_lookback_intervals = whole(field, value)?;
            }
            "scoring_exponent" => self.scoring_exponent = whole(field, value)?,
            "clip_duration_sec" => self.clip_duration_sec = seconds(field, value)?,
            "clip_duration_tolerance_sec" => {
                self.clip_duration_tolerance_sec = seconds(field, value)?;
            }
            "clip_step_sec" => self.clip_step_sec = seconds(field, value)?,
            "clip_gap_min_sec" => self.clip_gap_min_sec = seconds(field, value)?,
            "clip_width_px" => self.clip_width_px = whole(field, value)?,
            "clip_height_px" => self.clip_height_px = whole(field, value)?,
            "protocol_version" => value.clone_into(&mut self.protocol_version),
            "schema_version" => value.clone_into(&mut self.schema_version),
            "invalid_window_blocks" => self.invalid_window_blocks = whole(field, value)?,
            "vision_max_rows" => self.vision_max_rows = whole(field, value)?,
            "category_min_wins" => self.category_min_wins = whole(field, value)?,
            "category_min_mean" => self.category_min_mean = share(field, value)?,
            "category_min_margin" => self.category_min_margin = share(field, value)?,
            _ => unreachable!("FIELDS and this table list the same names: a test walks them"),
        }
        Ok(())
    }
}

fn bad(field: &'static str, value: &str, expected: &'static str) -> ProfileError {
    ProfileError::BadValue {
        field,
        value: value.to_owned(),
        expected,
    }
}

fn whole<T: FromStr>(field: &'static str, value: &str) -> Result<T, ProfileError> {
    value
        .parse()
        .map_err(|_| bad(field, value, "it takes a whole number from 0 up"))
}

fn positive(field: &'static str, value: &str) -> Result<u64, ProfileError> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(bad(field, value, "it takes a whole number from 1 up")),
    }
}

fn share(field: &'static str, value: &str) -> Result<f64, ProfileError> {
    match value.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err(bad(field, value, "it takes a number from 0 to 1")),
    }
}

fn seconds(field: &'static str, value: &str) -> Result<f64, ProfileError> {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(bad(field, value, "it takes seconds from 0 up")),
    }
}

fn row_seed(field: &'static str, value: &str) -> Result<RowSeed, ProfileError> {
    match value {
        "shared" => Ok(RowSeed::Shared),
        "per_validator" => Ok(RowSeed::PerValidator),
        _ => Err(bad(field, value, "it takes 'shared' or 'per_validator'")),
    }
}

fn invalid_hotkeys(field: &'static str, value: &str) -> Result<InvalidHotkeys, ProfileError> {
    match value {
        "zero_after_normalising" => Ok(InvalidHotkeys::ZeroAfterNormalising),
        "exclude_before_ranking" => Ok(InvalidHotkeys::ExcludeBeforeRanking),
        _ => Err(bad(
            field,
            value,
            "it takes 'zero_after_normalising' or 'exclude_before_ranking'",
        )),
    }
}

/// The name with the fewest edits between it and what was typed.
fn nearest(typed: &str, known: &[&'static str]) -> &'static str {
    known
        .iter()
        .copied()
        .min_by_key(|name| edits(typed, name))
        .unwrap_or_default()
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A typed name longer than this is no typo; the cap keeps hostile configuration cheap.
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_field_can_be_set() {
        for field in Profile::FIELDS {
            let value = match field {
                "row_seed" => "per_validator",
                "score_reach" => "7",
                "invalid_hotkeys" => "exclude_before_ranking",
                _ => "1",
            };
            let mut profile = Profile::default();
            profile.set(field, value).unwrap();
            assert_ne!(
                profile,
                Profile {
                    miner_sample_rate: 0.3,
                    ..profile.clone()
                }
            );
        }
    }

    #[test]
    fn a_changed_field_is_the_only_difference() {
        let mut profile = Profile::default();
        profile.set("clip_start_max_sec", "5000").unwrap();
        assert_eq!(
            profile,
            Profile {
                clip_start_max_sec: Some(5000.0),
                ..Profile::default()
            }
        );
        profile.set("clip_start_max_sec", "none").unwrap();
        assert_eq!(profile, Profile::default());
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let error = Profile::default().set("reserv_blocks", "1").unwrap_err();
        assert!(error.to_string().contains("'reserve_blocks'"));
        let error = Profile::by_name("read-me").unwrap_err();
        assert!(error.to_string().contains("'readme'"));
    }

    #[test]
    fn a_value_that_would_divide_by_zero_or_never_end_is_refused() {
        let mut profile = Profile::default();
        for (field, value) in [
            ("interval_length_blocks", "0"),
            ("weight_period_blocks", "0"),
            ("miner_sample_rate", "NaN"),
            ("row_sample_rate", "1.5"),
            ("clip_gap_min_sec", "inf"),
            ("miner_sample_max", "-1"),
        ] {
            assert!(profile.set(field, value).is_err(), "{field}={value}");
        }
        assert_eq!(profile, Profile::default());
    }

    #[test]
    fn duration_bounds_are_the_nearest_floats_to_the_documented_ones() {
        assert_eq!(Profile::default().clip_duration_bounds_sec(), (4.85, 5.15));
    }
}
