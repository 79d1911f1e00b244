//! Which miners and which rows are looked at (PROTOCOL §9), bit for bit as other validators draw them.

use crate::cpython_random::CpythonRandom;
use crate::ids::{Digest, IntervalId};
use crate::profile::{Profile, RowSeed};
use crate::text::python_strip;

/// The default seed of an interval: hex SHA-256 of `interval:{id}`.
pub fn interval_seed(interval: IntervalId) -> String {
    Digest::of(format!("interval:{interval}").as_bytes()).to_string()
}

/// The first 8 bytes, big endian, of a text's SHA-256.
pub fn seed_int(text: &str) -> u64 {
    let digest = Digest::of(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

/// `min(max(least, ceil(n × rate)), most, n)`.
fn sample_size(n: usize, rate: f64, least: u32, most: u32) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of n, which is a usize; a negative rate saturates to 0"
    )]
    let share = (n as f64 * rate).ceil() as usize;
    share.max(least as usize).min(most as usize).min(n)
}

/// Draws the miners of an interval among the candidates that are not invalid, in the order in which they are decided. Candidates listed twice can be
/// drawn twice, as elsewhere.
pub fn select_miners<T: AsRef<str> + Clone>(
    candidates: &[T],
    is_invalid: impl Fn(&T) -> bool,
    seed: &str,
    profile: &Profile,
) -> Vec<T> {
    let mut ranked: Vec<(u64, T)> = candidates
        .iter()
        .filter(|candidate| !is_invalid(candidate))
        .map(|candidate| {
            (
                seed_int(&format!("{seed}:{}", candidate.as_ref())),
                candidate.clone(),
            )
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(sample_size(
        ranked.len(),
        profile.miner_sample_rate,
        profile.miner_sample_min,
        profile.miner_sample_max,
    ));
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Draws among `total` kept rows: ascending positions among them. The validator's hotkey counts only where
/// the profile mixes it in; a blank one counts as none.
pub fn select_rows(
    total: u32,
    hotkey: &str,
    validator: Option<&str>,
    seed: &str,
    profile: &Profile,
) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..total).collect();
    if total <= profile.row_sample_all_up_to {
        return positions;
    }
    let take = sample_size(
        positions.len(),
        profile.row_sample_rate,
        1,
        profile.row_sample_max,
    );
    let validator = validator
        .map(python_strip)
        .filter(|own| !own.is_empty() && profile.row_seed == RowSeed::PerValidator);
    let text = match validator {
        Some(own) => format!("{hotkey}:{own}:{seed}:{total}"),
        None => format!("{hotkey}:{seed}:{total}"),
    };
    CpythonRandom::new(seed_int(&text)).shuffle(&mut positions);
    positions.truncate(take);
    positions.sort_unstable();
    debug_assert!(is_sample(&positions, total));
    positions
}

/// The invariant of [`select_rows`]: strictly ascending positions below the total.
pub fn is_sample(positions: &[u32], total: u32) -> bool {
    positions.is_sorted_by(|a, b| a < b) && positions.last().is_none_or(|last| *last < total)
}
