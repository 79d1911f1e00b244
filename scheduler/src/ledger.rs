//! The archive as the scheduler uses it: plans, indexes, evidence and decisions by interval. The presence of
//! `decisions.json` is what "decided" means; it is written last.

use crate::evidence;
use nexis_ports::{Archive, ArchiveError, FaultClass};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::decision::Decision;
use nexis_protocol::profile::Profile;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::score::{IntervalResult, ScoredDecision, WeightComputer};
use nexis_protocol::{Digest, Hotkey, IntervalId, WeightEpoch};
use nexis_wire::{Evidence, RoundPlan, Wire};
use serde::{Deserialize, Serialize};

/// Why the archive's contents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The archive failed.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    /// An object is damaged.
    #[error(
        "object '{name}' of the archive is damaged: {reason}; restore it from a backup or delete the interval's folder"
    )]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An object that must be there is not.
    #[error("object '{0}' is missing from the archive")]
    Missing(String),
}

impl LedgerError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Archive(fault) => fault.class(),
            Self::Damaged { .. } | Self::Missing(_) => FaultClass::Permanent,
        }
    }
}

/// What `decisions.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionFile {
    /// The interval.
    pub interval_id: IntervalId,
    /// In the round's order.
    pub decisions: Vec<Decision>,
    /// Miners drawn for which no decision could be made.
    pub absent: Vec<Hotkey>,
}

impl DecisionFile {
    /// The bytes as stored: compact JSON with sorted keys.
    pub fn to_bytes(&self) -> Vec<u8> {
        // serde_json's map sorts its keys, so going through a value gives one spelling.
        let value = serde_json::to_value(self).expect("plain data");
        let mut bytes = serde_json::to_vec(&value).expect("plain data");
        bytes.push(b'\n');
        bytes
    }
}

pub(crate) fn round_object(interval: IntervalId, what: &str) -> String {
    format!("rounds/{:012}/{what}", interval.get())
}

pub(crate) fn damaged(name: &str, reason: impl ToString) -> LedgerError {
    LedgerError::Damaged {
        name: name.to_owned(),
        reason: reason.to_string(),
    }
}

/// The plan of an interval, if it was ever opened.
pub async fn load_plan(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<Option<RoundPlan>, LedgerError> {
    let name = round_object(interval, "plan.bin");
    let Some(bytes) = archive.get(&name).await? else {
        return Ok(None);
    };
    RoundPlan::decode(&bytes)
        .map(Some)
        .map_err(|fault| damaged(&name, fault))
}

/// Keeps a plan unless the interval has one, and gives the one that is kept: a leader that slept while another
/// planned the same interval goes on with that plan.
pub(crate) async fn keep_plan(
    archive: &dyn Archive,
    plan: RoundPlan,
) -> Result<RoundPlan, LedgerError> {
    let name = round_object(plan.interval, "plan.bin");
    if archive.create(&name, &plan.encode()).await? {
        return Ok(plan);
    }
    load_plan(archive, plan.interval)
        .await?
        .ok_or(LedgerError::Missing(name))
}

/// Notes why a round does not go on. Its decisions make the note void.
pub(crate) async fn set_aside(
    archive: &dyn Archive,
    interval: IntervalId,
    why: &str,
) -> Result<(), LedgerError> {
    let name = round_object(interval, "quarantine.json");
    let text = serde_json::json!({ "why": why }).to_string();
    archive.put(&name, text.as_bytes()).await?;
    Ok(())
}

fn index_object(digest: Digest) -> String {
    format!("index/{digest}.json")
}

pub(crate) async fn store_index(
    archive: &dyn Archive,
    digest: Digest,
    text: &str,
) -> Result<(), LedgerError> {
    archive
        .create(&index_object(digest), text.as_bytes())
        .await?;
    Ok(())
}

/// The global index that a plan was made with.
pub async fn load_index(archive: &dyn Archive, digest: Digest) -> Result<RecordIndex, LedgerError> {
    let name = index_object(digest);
    let bytes = archive
        .get(&name)
        .await?
        .ok_or_else(|| LedgerError::Missing(name.clone()))?;
    if Digest::of(&bytes) != digest {
        return Err(damaged(&name, "its digest is not the one in its name"));
    }
    RecordIndex::parse(&bytes).map_err(|fault| damaged(&name, fault))
}

/// Objects of rounds: the interval and the object's name in it, ascending.
async fn round_objects(archive: &dyn Archive) -> Result<Vec<(IntervalId, String)>, LedgerError> {
    let names = archive.list("rounds/").await?;
    Ok(names
        .into_iter()
        .filter_map(|name| {
            let (interval, what) = name.strip_prefix("rounds/")?.split_once('/')?;
            Some((interval.parse().ok()?, what.to_owned()))
        })
        .collect())
}

fn intervals_with(what: &str, objects: &[(IntervalId, String)]) -> Vec<IntervalId> {
    let of_that = objects.iter().filter(|(_, name)| name == what);
    of_that.map(|(interval, _)| *interval).collect()
}

/// Which intervals the archive knows.
pub(crate) struct Known {
    /// Opened and never decided, oldest first.
    pub(crate) undecided: Vec<IntervalId>,
    /// The newest of all.
    pub(crate) newest: Option<IntervalId>,
    /// The oldest of all.
    pub(crate) oldest: Option<IntervalId>,
}

/// Which intervals the archive knows, at one moment: a plan that another process stores between two looks would be in
/// the second one's newest and not in the first one's undecided, and nobody would ever open it.
pub(crate) async fn known(archive: &dyn Archive) -> Result<Known, LedgerError> {
    let objects = round_objects(archive).await?;
    let decided = intervals_with("decisions.json", &objects);
    let mut undecided = intervals_with("plan.bin", &objects);
    undecided.retain(|interval| decided.binary_search(interval).is_err());
    let intervals = objects.iter().map(|(interval, _)| *interval);
    let (newest, oldest) = (intervals.clone().max(), intervals.min());
    Ok(Known {
        undecided,
        newest,
        oldest,
    })
}

/// Intervals that were opened and never decided, oldest first.
pub async fn undecided(archive: &dyn Archive) -> Result<Vec<IntervalId>, LedgerError> {
    Ok(known(archive).await?.undecided)
}

/// Decided intervals, ascending.
pub async fn decided(archive: &dyn Archive) -> Result<Vec<IntervalId>, LedgerError> {
    let objects = round_objects(archive).await?;
    Ok(intervals_with("decisions.json", &objects))
}

/// Whether an interval's decisions are stored.
pub async fn is_decided(archive: &dyn Archive, interval: IntervalId) -> Result<bool, LedgerError> {
    Ok(archive
        .get(&round_object(interval, "decisions.json"))
        .await?
        .is_some())
}

/// Stores a round's decisions; those that are there already stay.
pub(crate) async fn store_decisions(
    archive: &dyn Archive,
    file: &DecisionFile,
) -> Result<(), LedgerError> {
    let name = round_object(file.interval_id, "decisions.json");
    archive.create(&name, &file.to_bytes()).await?;
    Ok(())
}

/// The stored evidence of an interval.
pub async fn load_evidence(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<Evidence, LedgerError> {
    evidence::load(archive, interval).await
}

/// The stored decisions of an interval, as bytes.
pub async fn decision_bytes(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<Option<Vec<u8>>, LedgerError> {
    Ok(archive
        .get(&round_object(interval, "decisions.json"))
        .await?)
}

/// The stored decisions of an interval.
pub async fn load(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<Option<DecisionFile>, LedgerError> {
    let Some(bytes) = decision_bytes(archive, interval).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|fault| damaged(&round_object(interval, "decisions.json"), fault))
}

/// Scores of one interval, normalised to 1 (PROTOCOL §14); whoever failed inside the lookback, which this
/// interval is part of, gets 0.
pub fn interval_scores(
    profile: &Profile,
    before: &[Vec<Decision>],
    decisions: &[Decision],
) -> Vec<(String, f64)> {
    let mut computer = WeightComputer::new(profile);
    for interval in before.iter().map(Vec::as_slice).chain([decisions]) {
        computer.record(
            interval
                .iter()
                .map(|d| (d.miner_hotkey.as_str(), d.accepted)),
        );
    }
    let results: Vec<IntervalResult> = decisions
        .iter()
        .map(|decision| IntervalResult {
            hotkey: decision.miner_hotkey.to_string(),
            accepted: decision.accepted,
            sampled_rows: i64::from(decision.sampled_rows),
        })
        .collect();
    computer.interval_weights(&results, profile)
}

/// The same from the archive.
pub(crate) async fn stored_scores(
    archive: &dyn Archive,
    profile: &Profile,
    interval: IntervalId,
    decisions: &[Decision],
) -> Result<Vec<(String, f64)>, LedgerError> {
    let mut before = Vec::new();
    for back in (1..u64::from(profile.failure_lookback_intervals)).rev() {
        let distance = back * profile.interval_length_blocks;
        let Some(id) = interval.get().checked_sub(distance) else {
            continue;
        };
        if let Some(file) = load(archive, IntervalId::new(id)).await? {
            before.push(file.decisions);
        }
    }
    Ok(interval_scores(profile, &before, decisions))
}

/// The rows that an epoch's weights are computed from.
pub(crate) async fn epoch_rows(
    archive: &dyn Archive,
    profile: &Profile,
    epoch: WeightEpoch,
    first: Option<IntervalId>,
    validator: &str,
) -> Result<Vec<ScoredDecision>, LedgerError> {
    let mut rows = Vec::new();
    for interval in Calendar::of(profile).window_intervals(epoch) {
        if first.is_some_and(|first| interval < first) {
            continue;
        }
        if let Some(file) = load(archive, interval).await? {
            rows.extend(file.decisions.iter().map(|decision| ScoredDecision {
                accepted: decision.accepted,
                miner_hotkey: decision.miner_hotkey.to_string(),
                validator_hotkey: validator.to_owned(),
                interval_id: i128::from(interval.get()),
                record_count: i128::from(decision.record_count),
            }));
        }
    }
    Ok(rows)
}
