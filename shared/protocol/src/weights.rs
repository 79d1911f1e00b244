//! From shares per hotkey to what goes onto the chain (PROTOCOL §14).

use std::collections::BTreeMap;

/// Why weights cannot be put onto the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// As many uids as hotkeys are needed.
    #[error("making the weight payload: {hotkeys} hotkeys but {uids} uids")]
    Ragged {
        /// Number of hotkeys.
        hotkeys: usize,
        /// Number of uids.
        uids: usize,
    },
    /// A weight that is negative, infinite or not a number.
    #[error("scaling weights: a weight is not a finite number from 0 up")]
    NotAShare,
}

/// Weights over the whole metagraph.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainPayload<U> {
    /// Slots, in the metagraph's order.
    pub uids: Vec<U>,
    /// Their shares, same length.
    pub weights: Vec<f64>,
    /// Hotkeys with a weight that are not on the metagraph, in the order given: report them.
    pub unknown_hotkeys: Vec<String>,
}

/// Spreads weights over the metagraph: negative ones and such as are not numbers count 0, the rest is
/// normalised over the known hotkeys; when nothing is left, everything goes to uid 0, else to the first.
/// Of a hotkey listed twice the last slot counts.
///
/// # Errors
/// [`WeightError::Ragged`].
pub fn chain_payload<U: Copy + Ord + Default>(
    hotkeys: &[impl AsRef<str>],
    uids: &[U],
    weights: &[(String, f64)],
) -> Result<ChainPayload<U>, WeightError> {
    if hotkeys.len() != uids.len() {
        return Err(WeightError::Ragged {
            hotkeys: hotkeys.len(),
            uids: uids.len(),
        });
    }
    let slots: BTreeMap<&str, U> = hotkeys
        .iter()
        .map(AsRef::as_ref)
        .zip(uids.iter().copied())
        .collect();
    let mut shares: BTreeMap<U, f64> = BTreeMap::new();
    let mut unknown_hotkeys = Vec::new();
    for (hotkey, weight) in weights {
        match slots.get(hotkey.as_str()) {
            Some(uid) => {
                shares.insert(*uid, if *weight > 0.0 { *weight } else { 0.0 });
            }
            None => unknown_hotkeys.push(hotkey.clone()),
        }
    }
    // Added up in the metagraph's order, each slot once, as elsewhere: the order decides the last bit.
    let mut counted = std::collections::BTreeSet::new();
    let share = |uid: &U| shares.get(uid).copied().unwrap_or(0.0);
    let sum = uids
        .iter()
        .filter(|uid| counted.insert(**uid))
        .fold(0.0, |sum, uid| sum + share(uid));
    let weights = if sum > 0.0 {
        uids.iter().map(|uid| share(uid) / sum).collect()
    } else {
        let first = uids
            .iter()
            .position(|uid| *uid == U::default())
            .unwrap_or(0);
        (0..uids.len())
            .map(|at| if at == first { 1.0 } else { 0.0 })
            .collect()
    };
    Ok(ChainPayload {
        uids: uids.to_vec(),
        weights,
        unknown_hotkeys,
    })
}

/// Scales weights to `u16` as the chain takes them: the largest becomes 65535, halves round to even, zeros
/// are dropped. Empty when there is nothing to set.
///
/// # Errors
/// [`WeightError::NotAShare`], [`WeightError::Ragged`].
pub fn scale_to_u16<U: Copy>(uids: &[U], weights: &[f64]) -> Result<Vec<(U, u16)>, WeightError> {
    if uids.len() != weights.len() {
        return Err(WeightError::Ragged {
            hotkeys: weights.len(),
            uids: uids.len(),
        });
    }
    if weights
        .iter()
        .any(|weight| !weight.is_finite() || *weight < 0.0)
    {
        return Err(WeightError::NotAShare);
    }
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return Ok(Vec::new());
    }
    let scaled = uids.iter().zip(weights).map(|(uid, weight)| {
        let value = (weight / largest * f64::from(u16::MAX)).round_ties_even();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of the largest, from 0 to 65535"
        )]
        let value = value as u16;
        (*uid, value)
    });
    Ok(scaled.filter(|(_, value)| *value > 0).collect())
}

/// First wait after a failed submission, seconds.
const RETRY_FIRST_SEC: u64 = 10;
/// Longest wait, seconds: 25 blocks, so that an epoch still gets several attempts.
const RETRY_LAST_SEC: u64 = 300;

/// Seconds to wait after a number of failed submissions in a row.
pub fn retry_delay_sec(failures: i64) -> u64 {
    let doublings = u32::try_from(failures.clamp(1, 32) - 1).expect("clamped to 0..=31");
    RETRY_FIRST_SEC
        .saturating_mul(1 << doublings)
        .min(RETRY_LAST_SEC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weight_fills_the_scale_and_halves_round_to_even() {
        let scaled = scale_to_u16(&[3, 5, 9, 11], &[0.5, 0.25, 0.0, 1e-9]).unwrap();
        assert_eq!(scaled, [(3, 65_535), (5, 32_768)]);
        assert_eq!(
            scale_to_u16(&[0, 1], &[2.0, 3.0 / 65_535.0]).unwrap(),
            [(0, 65_535), (1, 2)]
        );
    }

    #[test]
    fn what_is_no_share_is_refused_and_nothing_is_nothing() {
        assert_eq!(scale_to_u16(&[1], &[f64::NAN]), Err(WeightError::NotAShare));
        assert_eq!(scale_to_u16(&[1], &[-0.1]), Err(WeightError::NotAShare));
        assert_eq!(scale_to_u16(&[1], &[0.0]), Ok(Vec::new()));
        assert_eq!(
            scale_to_u16::<u16>(&[], &[1.0]),
            Err(WeightError::Ragged {
                hotkeys: 1,
                uids: 0
            })
        );
    }
}
