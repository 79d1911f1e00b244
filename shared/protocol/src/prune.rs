//! Overlap arithmetic (PROTOCOL §7, §8): when two clips of one source are too close.

/// Whether two starts overlap: a plain difference of f64 below the gap, exactly as others compute it. Two
/// infinite starts do not overlap, because their difference is not a number.
pub fn overlaps(a_sec: f64, b_sec: f64, gap_sec: f64) -> bool {
    (a_sec - b_sec).abs() < gap_sec
}

/// Whether an ascending list holds a start that overlaps. Differences grow with distance, also after
/// rounding, so only the two neighbours need a look.
pub fn overlaps_any(ascending_sec: &[f64], start_sec: f64, gap_sec: f64) -> bool {
    let at = ascending_sec.partition_point(|known| *known < start_sec);
    let after = ascending_sec.get(at);
    let before = at.checked_sub(1).and_then(|at| ascending_sec.get(at));
    [before, after]
        .into_iter()
        .flatten()
        .any(|known| overlaps(*known, start_sec, gap_sec))
}

/// An integer that orders as the float does, with both zeros alike and NaN last.
pub(crate) fn order_key(start_sec: f64) -> u64 {
    if start_sec.is_nan() {
        return u64::MAX;
    }
    let bits = (start_sec + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// The float of an [`order_key`].
pub(crate) const fn from_order_key(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        !key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_key_round_trips_and_orders() {
        let ascending = [
            f64::NEG_INFINITY,
            -1.5,
            -5e-324,
            0.0,
            5e-324,
            4.2,
            8.7,
            1e308,
            f64::INFINITY,
        ];
        for pair in ascending.windows(2) {
            assert!(order_key(pair[0]) < order_key(pair[1]));
        }
        for value in ascending {
            assert_eq!(from_order_key(order_key(value)).to_bits(), value.to_bits());
        }
        assert_eq!(order_key(-0.0), order_key(0.0));
    }

    #[test]
    fn a_difference_that_rounds_below_the_gap_overlaps() {
        assert!(overlaps(8.7, 4.2, 4.5));
        assert!(!overlaps(4.6, 0.1, 4.5));
        assert!(!overlaps(f64::INFINITY, f64::INFINITY, 4.5));
        assert!(overlaps_any(&[0.0, 4.2, 20.0], 8.7, 4.5));
        assert!(!overlaps_any(&[], 8.7, 4.5));
    }
}
