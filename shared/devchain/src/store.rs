//! Storage of the last blocks: for each key, the values it had and from which block on.
//!
//! A snapshot of a block costs nothing, going back to a block drops the versions above it.

use std::collections::{BTreeMap, VecDeque};

type Versions = Vec<(u64, Option<Vec<u8>>)>;

/// What a block writes: `None` removes.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Every key, in order, with its history.
#[derive(Debug, Default)]
pub(crate) struct Store {
    keys: BTreeMap<Vec<u8>, Versions>,
    /// Keys that each kept block wrote, ascending by block.
    written: VecDeque<(u64, Vec<Vec<u8>>)>,
    /// Oldest block whose state is complete.
    oldest: u64,
}

impl Store {
    /// An empty store whose first state is that of `oldest`.
    pub fn starting_at(oldest: u64) -> Self {
        Self {
            oldest,
            ..Self::default()
        }
    }

    /// Oldest block whose state can be read.
    pub const fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The value of a key after a block.
    pub fn get(&self, key: &[u8], block: u64) -> Option<&[u8]> {
        current(self.keys.get(key)?, block)
    }

    /// Up to `limit` keys with a prefix that have a value after a block, after `start` when given.
    pub fn keys(
        &self,
        prefix: &[u8],
        start: Option<&[u8]>,
        block: u64,
        limit: usize,
    ) -> Vec<&[u8]> {
        use std::ops::Bound;
        let from = match start {
            Some(start) if start >= prefix => Bound::Excluded(start),
            _ => Bound::Included(prefix),
        };
        self.keys
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, versions)| current(versions, block).is_some())
            .map(|(key, _)| key.as_slice())
            .take(limit)
            .collect()
    }

    /// Records what a block wrote. Blocks come in ascending order.
    pub fn apply(&mut self, block: u64, writes: Writes) {
        let mut touched = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            let versions = self.keys.entry(key.clone()).or_default();
            match versions.last_mut() {
                Some((at, last)) if *at == block => *last = value,
                _ => versions.push((block, value)),
            }
            touched.push(key);
        }
        self.written.push_back((block, touched));
    }

    /// Forgets every block above `block`.
    pub fn rewind(&mut self, block: u64) {
        while let Some((at, touched)) = self.written.pop_back() {
            if at <= block {
                self.written.push_back((at, touched));
                return;
            }
            for key in touched {
                let emptied = self.keys.get_mut(&key).is_some_and(|versions| {
                    versions.retain(|(at, _)| *at <= block);
                    versions.is_empty()
                });
                if emptied {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// Forgets states older than that of `oldest`.
    pub fn prune(&mut self, oldest: u64) {
        self.oldest = self.oldest.max(oldest);
        while self
            .written
            .front()
            .is_some_and(|(at, _)| *at <= self.oldest)
        {
            let Some((_, touched)) = self.written.pop_front() else {
                return;
            };
            for key in touched {
                let Some(versions) = self.keys.get_mut(&key) else {
                    continue;
                };
                let newer = versions.partition_point(|(at, _)| *at <= self.oldest);
                versions.drain(..newer.saturating_sub(1));
                if matches!(versions.as_slice(), [(at, None)] if *at <= self.oldest) {
                    self.keys.remove(&key);
                }
            }
        }
    }
}

fn current(versions: &Versions, block: u64) -> Option<&[u8]> {
    let newer = versions.partition_point(|(at, _)| *at <= block);
    versions.get(newer.checked_sub(1)?)?.1.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(key: &str, value: Option<&str>) -> Writes {
        Writes::from([(
            key.as_bytes().to_vec(),
            value.map(|v| v.as_bytes().to_vec()),
        )])
    }

    #[test]
    fn each_block_keeps_its_own_view() {
        let mut store = Store::starting_at(5);
        store.apply(5, write("a", Some("five")));
        store.apply(7, write("a", None));
        store.apply(8, write("a", Some("eight")));
        assert_eq!(store.get(b"a", 4), None);
        assert_eq!(store.get(b"a", 6), Some(&b"five"[..]));
        assert_eq!(store.get(b"a", 7), None);
        assert_eq!(store.get(b"a", 100), Some(&b"eight"[..]));
        assert!(store.keys(b"", None, 7, 10).is_empty());
        assert_eq!(store.keys(b"", None, 8, 10), vec![b"a"]);
    }

    #[test]
    fn rewinding_forgets_what_later_blocks_wrote() {
        let mut store = Store::starting_at(0);
        store.apply(1, write("a", Some("1")));
        store.apply(2, write("a", Some("2")));
        store.apply(3, write("b", Some("3")));
        store.rewind(1);
        assert_eq!(store.get(b"a", 9), Some(&b"1"[..]));
        assert_eq!(store.get(b"b", 9), None);
        store.apply(2, write("a", Some("two")));
        assert_eq!(store.get(b"a", 2), Some(&b"two"[..]));
    }

    #[test]
    fn pruning_keeps_the_values_that_are_still_current() {
        let mut store = Store::starting_at(0);
        store.apply(1, write("a", Some("1")));
        store.apply(2, write("b", Some("2")));
        store.apply(3, write("b", None));
        store.apply(9, write("c", Some("9")));
        store.prune(8);
        assert_eq!(store.oldest(), 8);
        assert_eq!(store.get(b"a", 8), Some(&b"1"[..]));
        assert_eq!(store.get(b"b", 8), None);
        assert_eq!(store.keys(b"", None, 9, 10), vec![b"a", b"c"]);
    }

    #[test]
    fn pages_follow_one_another_without_overlap() {
        let mut store = Store::starting_at(0);
        for n in 0..5 {
            store.apply(1, write(&format!("p{n}"), Some("x")));
        }
        store.apply(1, write("q", Some("x")));
        let first: Vec<Vec<u8>> = store
            .keys(b"p", None, 1, 3)
            .iter()
            .map(|k| k.to_vec())
            .collect();
        assert_eq!(first, [b"p0", b"p1", b"p2"]);
        assert_eq!(store.keys(b"p", Some(b"p2"), 1, 3), vec![b"p3", b"p4"]);
    }
}
