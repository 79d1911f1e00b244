//! Failures within a bound: one package can fail in a million rows and name three long texts in each, and all that is
//! kept of it has to fit into a plan and a decision.

use crate::reason::Reason;
use std::fmt::{self, Write};

/// Bytes of a failure in a plan beside its texts.
const BYTES_EACH: u64 = 32;

/// The first failures that fit; the others are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded {
    kept: Vec<Reason>,
    left: u64,
    omitted: u64,
}

impl Bounded {
    /// None yet, and room for this many bytes.
    pub const fn new(most_bytes: u64) -> Self {
        Self {
            kept: Vec::new(),
            left: most_bytes,
            omitted: 0,
        }
    }

    /// Keeps a failure when there is room for it and none was omitted before.
    pub fn push(&mut self, failure: Reason) {
        let bytes = size_of(&failure);
        // The first one always: without any, the package would count as a good one.
        let fits = bytes <= self.left || self.kept.is_empty();
        if self.omitted > 0 || !fits {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        self.left = self.left.saturating_sub(bytes);
        self.kept.push(failure);
    }

    /// Counts failures that were omitted elsewhere.
    pub fn omit(&mut self, count: u64) {
        self.omitted = self.omitted.saturating_add(count);
    }

    /// How many were not kept.
    pub const fn omitted(&self) -> u64 {
        self.omitted
    }

    /// What was kept, and how many were not.
    pub fn into_parts(self) -> (Vec<Reason>, u64) {
        (self.kept, self.omitted)
    }
}

/// Bytes that a failure takes at most, as its code and in a plan.
fn size_of(failure: &Reason) -> u64 {
    struct Count(u64);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len() as u64;
            Ok(())
        }
    }
    let mut count = Count(BYTES_EACH);
    write!(count, "{failure}").expect("counting never fails");
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(clip_id: &str) -> Reason {
        Reason::ShortCaption {
            clip_id: clip_id.to_owned(),
        }
    }

    fn bounded(most: u64, failures: &[Reason]) -> (Vec<Reason>, u64) {
        let mut bounded = Bounded::new(most);
        failures
            .iter()
            .cloned()
            .for_each(|failure| bounded.push(failure));
        bounded.into_parts()
    }

    #[test]
    fn the_first_ones_are_kept_and_the_others_counted() {
        let all = [short("a"), short("b"), short("c")];
        let each = size_of(&all[0]);
        assert_eq!(bounded(u64::MAX, &all), (all.to_vec(), 0));
        assert_eq!(bounded(3 * each, &all), (all.to_vec(), 0));
        assert_eq!(bounded(3 * each - 1, &all), (all[..2].to_vec(), 1));
    }

    #[test]
    fn after_one_that_does_not_fit_none_is_kept() {
        let all = [short("a"), short(&"b".repeat(1_000)), short("c")];
        assert_eq!(bounded(200, &all), (all[..1].to_vec(), 2));
    }

    #[test]
    fn a_package_with_failures_never_has_none() {
        let all = [short(&"a".repeat(1_000)), short("b")];
        assert_eq!(bounded(0, &all), (all[..1].to_vec(), 1));
    }
}
