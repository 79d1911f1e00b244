//! Pruning (PROTOCOL §7): against the global index, then between miners.

use crate::claim::Claims;
use crate::profile::Profile;
use crate::prune::{from_order_key, order_key, overlaps, overlaps_any};
use crate::record_info::RecordIndex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// One loaded submission. A hotkey appears once; should a caller list it twice with one submission time,
/// its rows do not prune each other.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The miner.
    pub hotkey: &'a str,
    /// When it was submitted, seconds since the epoch.
    pub submitted_at: f64,
    /// Its rows.
    pub claims: &'a Claims,
}

/// What pruning left of one submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arbitrated {
    /// Rows left, ascending.
    pub kept: Vec<u32>,
    /// Rows dropped by the global index.
    pub pruned_global: u32,
    /// Rows dropped in favour of another miner.
    pub pruned_cross: u32,
    /// Whether a row has a URL on which others' code raises: the submission gets `validation_exception`,
    /// and it took no part in the pruning between miners.
    pub raises: bool,
}

/// Prunes all loaded submissions of an interval. Results come in the order of the input, but do not depend
/// on it. Takes O(n log n) for n rows.
pub fn arbitrate(
    submissions: &[Submission<'_>],
    index: &RecordIndex,
    profile: &Profile,
) -> Vec<Arbitrated> {
    let gap_sec = profile.clip_gap_min_sec;
    let mut results: Vec<Arbitrated> = submissions
        .iter()
        .map(|submission| prune_by_index(submission.claims, index, gap_sec))
        .collect();
    let mut order: Vec<usize> = (0..submissions.len())
        .filter(|at| !results[*at].raises)
        .collect();
    order.sort_by(|a, b| {
        let (a, b) = (&submissions[*a], &submissions[*b]);
        a.submitted_at
            .total_cmp(&b.submitted_at)
            .then_with(|| a.hotkey.cmp(b.hotkey))
    });
    let mut taken = Taken::default();
    let mut turns = order.as_slice();
    while let Some(first) = turns.first() {
        let hotkey = submissions[*first].hotkey;
        let same = turns
            .iter()
            .take_while(|at| submissions[**at].hotkey == hotkey)
            .count();
        let (turn, rest) = turns.split_at(same);
        for at in turn {
            prune_by_others(
                submissions[*at].claims,
                &mut results[*at],
                &mut taken,
                gap_sec,
            );
        }
        taken.settle();
        turns = rest;
    }
    debug_assert_eq!(first_conflict(submissions, &results, gap_sec), None);
    results
}

fn prune_by_index(claims: &Claims, index: &RecordIndex, gap_sec: f64) -> Arbitrated {
    let known: Vec<Vec<&[f64]>> = claims
        .sources()
        .iter()
        .map(|source| {
            source
                .index_keys
                .iter()
                .filter_map(|key| index.starts(key))
                .collect()
        })
        .collect();
    let is_taken = |row: u32| {
        let lists = claims.source_at(row).and_then(|at| known.get(at));
        match (lists, claims.start_sec(row)) {
            (Some(lists), Some(start)) => lists
                .iter()
                .any(|starts| overlaps_any(starts, start, gap_sec)),
            _ => false,
        }
    };
    let (pruned, kept): (Vec<u32>, Vec<u32>) = claims.rows().partition(|row| is_taken(*row));
    Arbitrated {
        kept,
        pruned_global: u32::try_from(pruned.len()).unwrap_or(u32::MAX),
        pruned_cross: 0,
        raises: claims.has_refused_url(),
    }
}

/// Starts kept so far, by source.
#[derive(Default)]
struct Taken<'a> {
    numbers: HashMap<&'a str, usize>,
    /// Of earlier miners, as order keys.
    settled: Vec<BTreeSet<u64>>,
    /// Of the miner whose turn it is: its own rows never prune each other.
    pending: Vec<(usize, u64)>,
}

impl<'a> Taken<'a> {
    fn number(&mut self, key: &'a str) -> usize {
        let next = self.settled.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.settled.push(BTreeSet::new());
        }
        number
    }

    fn is_near(&self, number: usize, start_sec: f64, gap_sec: f64) -> bool {
        let key = order_key(start_sec);
        let starts = &self.settled[number];
        let before = starts.range(..key).next_back();
        let after = starts.range(key..).next();
        [before, after]
            .into_iter()
            .flatten()
            .any(|known| overlaps(from_order_key(*known), start_sec, gap_sec))
    }

    fn settle(&mut self) {
        for (number, key) in self.pending.drain(..) {
            self.settled[number].insert(key);
        }
    }
}

fn prune_by_others<'a>(
    claims: &'a Claims,
    result: &mut Arbitrated,
    taken: &mut Taken<'a>,
    gap_sec: f64,
) {
    let numbers: Vec<Option<usize>> = claims
        .sources()
        .iter()
        .map(|source| source.key.as_ref().ok().map(|key| taken.number(key)))
        .collect();
    let before = result.kept.len();
    result.kept.retain(|row| {
        let number = claims
            .source_at(*row)
            .and_then(|at| numbers.get(at).copied().flatten());
        let (Some(number), Some(start)) = (number, claims.start_sec(*row)) else {
            return true;
        };
        if taken.is_near(number, start, gap_sec) {
            return false;
        }
        taken.pending.push((number, order_key(start)));
        true
    });
    result.pruned_cross = u32::try_from(before - result.kept.len()).unwrap_or(u32::MAX);
}

/// Two kept rows of different miners that overlap, as (submission, row) each. The invariant of
/// [`arbitrate`] is that there are none.
pub fn first_conflict(
    submissions: &[Submission<'_>],
    results: &[Arbitrated],
    gap_sec: f64,
) -> Option<[(usize, u32); 2]> {
    let mut by_source: HashMap<&str, Vec<(u64, usize, u32)>> = HashMap::new();
    for (at, (submission, result)) in submissions.iter().zip(results).enumerate() {
        if result.raises {
            continue;
        }
        for row in &result.kept {
            let source = submission.claims.source(*row)?;
            let start = submission.claims.start_sec(*row)?;
            if let Ok(key) = &source.key {
                by_source
                    .entry(key)
                    .or_default()
                    .push((order_key(start), at, *row));
            }
        }
    }
    for rows in by_source.values_mut() {
        rows.sort_unstable();
        // Where two rows of different miners overlap, so do two neighbours of different miners.
        for pair in rows.windows(2) {
            let [(a, left, left_row), (b, right, right_row)] = [pair[0], pair[1]];
            if submissions[left].hotkey != submissions[right].hotkey
                && overlaps(from_order_key(b), from_order_key(a), gap_sec)
            {
                return Some([(left, left_row), (right, right_row)]);
            }
        }
    }
    None
}
