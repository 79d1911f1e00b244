//! From shares to the chain's sixteen-bit weights (CHAIN.md §2.D, the rules of the Python tools).

use crate::ChainError;

/// A vector of weights as the chain takes it: slots with shares above zero, the largest `u16::MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quantised {
    /// Slots, in the order given.
    pub uids: Vec<u16>,
    /// Shares.
    pub values: Vec<u16>,
}

/// Scales shares so that the largest becomes `u16::MAX`, rounds half to even, drops zeros.
///
/// Refuses negative and non-finite shares, slots named twice, and vectors of different length.
/// All zeros give an empty result: there is nothing to set.
pub fn quantise(uids: &[u16], shares: &[f64]) -> Result<Quantised, ChainError> {
    let invalid = |detail: String| {
        Err(ChainError::Invalid {
            what: "weights".to_owned(),
            detail,
        })
    };
    if uids.len() != shares.len() {
        return invalid(format!("{} slots and {} shares", uids.len(), shares.len()));
    }
    if let Some(bad) = shares.iter().find(|s| !s.is_finite() || **s < 0.0) {
        return invalid(format!("a share is {bad}"));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = uids.iter().find(|u| !seen.insert(**u)) {
        return invalid(format!("slot {twice} is named twice"));
    }
    let largest = shares.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Ok(Quantised::default());
    }
    let mut out = Quantised::default();
    for (uid, share) in uids.iter().zip(shares) {
        let scaled = (share / largest * f64::from(u16::MAX)).round_ties_even();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=65535"
        )]
        let value = scaled as u16;
        if value > 0 {
            out.uids.push(*uid);
            out.values.push(value);
        }
    }
    Ok(out)
}

/// What the chain stores for weights that it was sent: scaled up so that the largest is `u16::MAX`.
pub fn as_stored(uids: &[u16], values: &[u16]) -> Vec<(u16, u16)> {
    let largest = u64::from(values.iter().copied().max().unwrap_or(0)).max(1);
    let scale = |v: u16| {
        let scaled = u64::from(v) * u64::from(u16::MAX) / largest;
        u16::try_from(scaled).unwrap_or(u16::MAX)
    };
    uids.iter()
        .zip(values)
        .map(|(uid, value)| (*uid, scale(*value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_becomes_the_largest_number_and_zeros_go() {
        let q = quantise(&[3, 7, 9, 11], &[0.5, 0.25, 0.0, 0.25]).unwrap();
        assert_eq!(q.uids, [3, 7, 11]);
        // 32767.5 is rounded to even.
        assert_eq!(q.values, [65535, 32768, 32768]);
    }

    #[test]
    fn nothing_to_set_is_an_empty_vector() {
        assert_eq!(
            quantise(&[1, 2], &[0.0, 0.0]).unwrap(),
            Quantised::default()
        );
        assert_eq!(quantise(&[], &[]).unwrap(), Quantised::default());
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            assert!(quantise(&[1, 2], &[bad, 1.0]).is_err());
        }
        assert!(quantise(&[1, 1], &[0.5, 0.5]).is_err());
        assert!(quantise(&[1], &[]).is_err());
    }

    #[test]
    fn quantised_weights_are_stored_as_they_are_sent() {
        let q = quantise(&[1, 2, 3], &[0.2, 0.3, 0.5]).unwrap();
        let sent: Vec<_> = q
            .uids
            .iter()
            .copied()
            .zip(q.values.iter().copied())
            .collect();
        assert_eq!(as_stored(&q.uids, &q.values), sent);
        assert_eq!(as_stored(&[4], &[1]), [(4, 65535)]);
    }
}
