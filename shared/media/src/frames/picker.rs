//! Which pictures `ffmpeg -vf fps=6/5` picks, from the times at which they are shown.

/// The output slot that a time rounds to (half away from zero). A microsecond is forgiven, since times arrive cut
/// to whole nanoseconds.
fn slot(at: u64) -> u64 {
    (u128::from(at + 1_000) * 12 + 5_000_000_000)
        .div_euclid(10_000_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
}

/// A picture that was picked.
#[derive(Clone, Debug)]
pub(super) struct Pick<T> {
    /// Which picture it is in the order in which they are shown, from 0.
    pub(super) number: u32,
    /// Nanoseconds from the start of the clip.
    pub(super) at: u64,
    pub(super) what: T,
}

/// Takes pictures in the order in which they are shown, and keeps the first `wanted` that are picked. One picture may
/// be picked several times in a row.
pub(super) struct Picker<T> {
    wanted: usize,
    picked: Vec<Pick<T>>,
    held: Option<Pick<T>>,
    next: Option<u64>,
    end: u64,
}

impl<T: Clone> Picker<T> {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            picked: Vec::new(),
            held: None,
            next: None,
            end: 0,
        }
    }

    /// Whether there was a picture at all.
    pub(super) fn has_any(&self) -> bool {
        self.held.is_some()
    }

    /// All that are wanted were picked.
    pub(super) fn is_full(&self) -> bool {
        self.picked.len() >= self.wanted
    }

    /// The next picture, shown at `at` for `length` nanoseconds.
    pub(super) fn offer(&mut self, number: u32, at: u64, length: u64, what: T) {
        // Some decoders (GIF) give every picture the first one's time: then they follow one another.
        let at = match &self.held {
            Some(last) if at <= last.at => last.at.saturating_add(length),
            _ => at,
        };
        self.end = at.saturating_add(length);
        self.next.get_or_insert(slot(at));
        self.pick_until(slot(at));
        self.held = Some(Pick { number, at, what });
    }

    /// No more pictures come: the last one is shown to its end.
    pub(super) fn finish(mut self) -> Vec<Pick<T>> {
        self.pick_until(slot(self.end));
        self.picked
    }

    fn pick_until(&mut self, slot: u64) {
        let (Some(held), Some(next)) = (&self.held, &mut self.next) else {
            return;
        };
        while *next < slot && self.picked.len() < self.wanted {
            self.picked.push(held.clone());
            *next += 1;
        }
    }
}
