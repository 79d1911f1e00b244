//! From decisions to scores (PROTOCOL §14).

use crate::profile::{InvalidHotkeys, Profile};
use crate::pyjson::{PyStr, PyValue};
use crate::text::{python_int, python_strip};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Range;

/// Score of a number of passed rows: its cube (by default), 0 for none.
pub fn score_of_count(passed: i64, profile: &Profile) -> f64 {
    if passed <= 0 {
        0.0
    } else {
        power(passed, profile)
    }
}

fn power(passed: i64, profile: &Profile) -> f64 {
    (passed as f64).powi(i32::try_from(profile.scoring_exponent).unwrap_or(i32::MAX))
}

/// One miner's result in one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalResult {
    /// The miner.
    pub hotkey: String,
    /// Whether its submission was accepted.
    pub accepted: bool,
    /// Number of its sampled rows.
    pub sampled_rows: i64,
}

/// Weights as they are shown after each interval, with the gate of past failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightComputer {
    lookback: usize,
    /// Miners that failed, per interval, newest last.
    failed: VecDeque<HashSet<String>>,
}

impl WeightComputer {
    /// A computer that has seen nothing.
    pub fn new(profile: &Profile) -> Self {
        let lookback = usize::try_from(profile.failure_lookback_intervals).unwrap_or(usize::MAX);
        Self {
            lookback,
            failed: VecDeque::new(),
        }
    }

    /// Takes note of who passed and who failed in the next interval.
    pub fn record<'a>(&mut self, outcomes: impl IntoIterator<Item = (&'a str, bool)>) {
        let failed = outcomes.into_iter().filter(|(_, passed)| !passed);
        self.failed
            .push_back(failed.map(|(hotkey, _)| hotkey.to_owned()).collect());
        while self.failed.len() > self.lookback {
            self.failed.pop_front();
        }
    }

    /// Whether a miner has a failure inside the lookback.
    pub fn is_gated(&self, hotkey: &str) -> bool {
        self.failed.iter().any(|failed| failed.contains(hotkey))
    }

    /// Weights from totals: gated miners get 0, the rest is normalised to 1; all 0 when the sum is not
    /// positive. Order is kept.
    pub fn weights(&self, totals: &[(String, f64)]) -> Vec<(String, f64)> {
        let gated: Vec<(String, f64)> = totals
            .iter()
            .map(|(hotkey, total)| {
                (
                    hotkey.clone(),
                    if self.is_gated(hotkey) { 0.0 } else { *total },
                )
            })
            .collect();
        normalise(gated)
    }

    /// Weights from one or more intervals' results, in order of first appearance.
    pub fn interval_weights(
        &self,
        results: &[IntervalResult],
        profile: &Profile,
    ) -> Vec<(String, f64)> {
        let mut at: HashMap<&str, usize> = HashMap::new();
        let mut totals: Vec<(String, f64)> = Vec::new();
        for result in results {
            let score = if result.accepted {
                power(result.sampled_rows, profile)
            } else {
                0.0
            };
            if let Some(known) = at.get(result.hotkey.as_str()) {
                totals[*known].1 += score;
            } else {
                at.insert(&result.hotkey, totals.len());
                totals.push((result.hotkey.clone(), score));
            }
        }
        self.weights(&totals)
    }
}

/// Divides by the sum, added up from left to right; all 0 when the sum is not positive.
fn normalise(mut shares: Vec<(String, f64)>) -> Vec<(String, f64)> {
    let sum = shares.iter().fold(0.0, |sum, (_, share)| sum + share);
    for (_, share) in &mut shares {
        *share = if sum <= 0.0 { 0.0 } else { *share / sum };
    }
    shares
}

/// A decision as far as weights look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoredDecision {
    /// Who decided.
    pub validator_hotkey: String,
    /// About whom.
    pub miner_hotkey: String,
    /// In which interval.
    pub interval_id: i128,
    /// Whether the submission was accepted.
    pub accepted: bool,
    /// Rows left after pruning.
    pub record_count: i128,
}

/// Why scores cannot be had. In both cases other validators' code raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// A decision holds an infinite number.
    #[error("reading a decision: its {0} is infinite")]
    Infinite(&'static str),
    /// More distinct sums than a float has halvings: somebody floods the evidence API.
    #[error("ranking miners: {0} distinct ranks, the lowest scores would vanish")]
    TooManyRanks(usize),
}

impl ScoredDecision {
    /// Reads a decision that somebody else published, with the coercions of Python's `int` and `str`.
    /// `None`: it does not count.
    ///
    /// # Errors
    /// An infinite number, on which other validators' code raises. Skip that decision alone.
    pub fn read(value: &PyValue) -> Result<Option<Self>, ScoreError> {
        let PyValue::Object(fields) = value else {
            return Ok(None);
        };
        let field = |name: &str| last_field(fields, name);
        if !matches!(field("accepted"), Some(PyValue::Bool(true))) {
            return Ok(None);
        }
        let (Some(miner_hotkey), Some(validator_hotkey)) = (
            text_of(field("miner_hotkey")),
            text_of(field("validator_hotkey")),
        ) else {
            return Ok(None);
        };
        let interval_id = int_of(field("interval_id"), "interval_id")?;
        let record_count = match field("record_count") {
            None => Some(0),
            given => int_of(given, "record_count")?,
        };
        // A count that cannot be read counts as none, but the decision still takes its key's place.
        Ok(interval_id.map(|interval_id| Self {
            validator_hotkey,
            miner_hotkey,
            interval_id,
            accepted: true,
            record_count: record_count.unwrap_or(0),
        }))
    }
}

fn last_field<'a>(fields: &'a [(PyStr, PyValue)], name: &str) -> Option<&'a PyValue> {
    fields
        .iter()
        .rev()
        .find(|(key, _)| key.as_str() == Some(name))
        .map(|(_, value)| value)
}

/// Python's `str(value).strip()`, `""` for a missing field. `None` for what no hotkey is ever written as.
fn text_of(value: Option<&PyValue>) -> Option<String> {
    match value {
        None => Some(String::new()),
        Some(PyValue::Str(text)) => text.as_str().map(|text| python_strip(text).to_owned()),
        Some(PyValue::Null) => Some("None".to_owned()),
        Some(PyValue::Bool(true)) => Some("True".to_owned()),
        Some(PyValue::Bool(false)) => Some("False".to_owned()),
        Some(PyValue::Int { text }) => Some(text.clone()),
        Some(PyValue::Float(_) | PyValue::List(_) | PyValue::Object(_)) => None,
    }
}

/// Python's `int(value)`. `None` where it raises `TypeError` or `ValueError`.
fn int_of(value: Option<&PyValue>, name: &'static str) -> Result<Option<i128>, ScoreError> {
    Ok(match value {
        Some(PyValue::Bool(flag)) => Some(i128::from(*flag)),
        Some(PyValue::Int { text }) => text.parse().ok(),
        Some(PyValue::Float(number)) if number.is_infinite() => {
            return Err(ScoreError::Infinite(name));
        }
        #[expect(clippy::cast_possible_truncation, reason = "Python's int() cuts, too")]
        Some(PyValue::Float(number)) if !number.is_nan() => Some(*number as i128),
        Some(PyValue::Str(text)) => text.as_str().and_then(python_int),
        _ => None,
    })
}

/// Score per miner from the decisions of a window: sums of accepted rows, one decision per (validator,
/// interval, miner), the first one counting; dense rank by sum; 1/2^(rank − 1). In rank order, equal ranks
/// by hotkey. Repeats and rejected decisions change nothing, and neither does the order of decisions with
/// different keys.
///
/// # Errors
/// [`ScoreError::TooManyRanks`].
pub fn score_totals<'a>(
    decisions: impl IntoIterator<Item = &'a ScoredDecision>,
    window: Range<u64>,
) -> Result<Vec<(String, f64)>, ScoreError> {
    score_totals_without(decisions, window, &BTreeSet::new())
}

fn score_totals_without<'a>(
    decisions: impl IntoIterator<Item = &'a ScoredDecision>,
    window: Range<u64>,
    excluded: &BTreeSet<String>,
) -> Result<Vec<(String, f64)>, ScoreError> {
    let window = i128::from(window.start)..i128::from(window.end);
    let mut seen = HashSet::new();
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for decision in decisions {
        let miner = python_strip(&decision.miner_hotkey);
        let key = (
            python_strip(&decision.validator_hotkey),
            decision.interval_id,
            miner,
        );
        if !decision.accepted
            || miner.is_empty()
            || excluded.contains(miner)
            || !window.contains(&decision.interval_id)
            || !seen.insert(key)
            || decision.record_count <= 0
        {
            continue;
        }
        let sum = sums.entry(miner).or_default();
        *sum = sum.saturating_add(decision.record_count);
    }
    let mut ranked: Vec<(&str, i128)> = sums.into_iter().collect();
    // Stable: miners with equal sums stay ordered by hotkey.
    ranked.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    let mut scores = Vec::with_capacity(ranked.len());
    let (mut rank, mut before) = (0i32, None);
    for (hotkey, sum) in ranked {
        if before.is_some_and(|before| before != sum) {
            rank += 1;
        }
        before = Some(sum);
        // 2^1024 is no float elsewhere.
        if rank >= 1024 {
            return Err(ScoreError::TooManyRanks(
                1 + usize::try_from(rank).unwrap_or_default(),
            ));
        }
        scores.push((hotkey.to_owned(), 0.5f64.powi(rank)));
    }
    Ok(scores)
}

/// Hotkeys that get nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excluded {
    /// Invalid hotkeys of the window, from the evidence API.
    pub invalid: BTreeSet<String>,
    /// The subnet's blacklist.
    pub blacklist: BTreeSet<String>,
}

impl Excluded {
    fn all(&self) -> BTreeSet<String> {
        self.invalid.union(&self.blacklist).cloned().collect()
    }
}

/// Weights of an epoch: scores normalised to 1, with invalid and blacklisted hotkeys treated as the profile
/// says. Excluded miners stay listed with 0 where the profile zeroes, and are absent where it leaves out.
///
/// # Errors
/// [`ScoreError::TooManyRanks`].
pub fn epoch_weights<'a>(
    decisions: impl IntoIterator<Item = &'a ScoredDecision>,
    window: Range<u64>,
    excluded: &Excluded,
    profile: &Profile,
) -> Result<Vec<(String, f64)>, ScoreError> {
    let excluded = excluded.all();
    match profile.invalid_hotkeys {
        InvalidHotkeys::ZeroAfterNormalising => {
            let mut weights = normalise(score_totals(decisions, window)?);
            for (hotkey, weight) in &mut weights {
                if excluded.contains(hotkey) {
                    *weight = 0.0;
                }
            }
            Ok(normalise(weights))
        }
        InvalidHotkeys::ExcludeBeforeRanking => Ok(normalise(score_totals_without(
            decisions, window, &excluded,
        )?)),
    }
}
