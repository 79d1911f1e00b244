//! The known name nearest to a mistyped one.

/// Edits (insert, drop, replace, swap of neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before_last[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

/// Longest name that is compared: names come from outside and the comparison is quadratic.
const LONGEST: usize = 128;

/// The known name with the fewest edits from `name`, when they are few enough to suggest it; with the count.
pub fn nearest<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    if name.len() > LONGEST {
        return None;
    }
    // A third of the name may be wrong; more than that is another word.
    let most = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (candidate, distance(name, candidate)))
        .filter(|&(_, edits)| edits <= most)
        .min_by_key(|&(candidate, edits)| (edits, candidate))
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn edits_are_counted_with_swaps_as_one() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("né", "ne", 1),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }

    #[test]
    fn nothing_is_suggested_for_an_unrelated_or_endless_name() {
        assert_eq!(
            nearest("NEXIS_XYZZY", ["NEXIS_NETUID_LONG", "BT_NETWORK"]),
            None
        );
        assert_eq!(nearest(&"N".repeat(100_000), ["NEXIS_NETUID"]), None);
        assert_eq!(
            nearest("NEXIS_NETUDI", ["NEXIS_NETUID"]),
            Some(("NEXIS_NETUID", 1))
        );
    }
}
