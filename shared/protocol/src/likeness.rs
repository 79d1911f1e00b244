//! Clips of different miners in one interval that look the same.
//!
//! Who came later is told by the submission time, as in arbitration (PROTOCOL §7.2): the later clip looks like the
//! earlier one, never the other way round, so that whoever is copied cannot be made to look like the copier.

use crate::advisory::{Advisory, AdvisoryKind};
use crate::ids::Hotkey;
use crate::picture::{self, Mark, Pictures};
use std::collections::{BTreeMap, BTreeSet};

/// A clip as far as its likeness is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Whose.
    pub hotkey: &'a Hotkey,
    /// When its package was submitted, seconds since the epoch.
    pub submitted_at: f64,
    /// Row in that package.
    pub row: u32,
    /// The row's clip id.
    pub clip_id: &'a str,
    /// What was seen of it.
    pub pictures: &'a Pictures,
}

/// Two encodings of one picture differ in few bits, other pictures in about half; the bands below find up to 7 for sure.
const NEAR_BITS: u32 = 6;
/// Clips that a clip is compared with per band, so that a flood of made-up pictures cannot make this quadratic. The
/// protocol's sample has at most 105 clips.
const MOST_IN_BAND: usize = 512;

/// What is compared: pictures from all over the clip. The first one alone says little: intros and fixed cameras make
/// first pictures of different clips alike.
fn telling(pictures: &Pictures) -> Vec<&Mark> {
    let all = pictures.sampled.iter();
    all.filter(|mark| picture::is_telling(mark)).collect()
}

/// Whether at least half of the pictures of the clip with fewer of them have a counterpart in the other. Which one it
/// is plays no part: a copy may be cut a second later.
fn alike(a: &[&Mark], b: &[&Mark]) -> bool {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let found = few
        .iter()
        .filter(|one| {
            many.iter()
                .any(|other| picture::distance(one, other) <= NEAR_BITS)
        })
        .count();
    found > 0 && 2 * found >= few.len()
}

/// Hashes by 16-bit bands. Two hashes that differ in up to 7 bits have a band that differs in at most one.
#[derive(Default)]
struct Bands {
    /// By band and its value: hashes and the clips that they are of. Empty until something is added.
    places: Vec<Vec<(u64, usize)>>,
    known: BTreeSet<(u64, usize)>,
}

const BANDS: u32 = 4;
const VALUES: usize = 1 << 16;

impl Bands {
    /// Clips with a hash near one of `marks`, ascending.
    fn near(&self, marks: &[&Mark]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for mark in marks {
            let near = |other: u64| (other ^ mark.hash).count_ones() <= NEAR_BITS;
            for band in 0..BANDS {
                let flips = (0..16).map(|bit| 1 << bit);
                for flip in std::iter::once(0).chain(flips) {
                    let place = self.places.get(place_of(mark.hash, band) ^ flip);
                    let hashes = place.into_iter().flatten();
                    found.extend(
                        hashes
                            .filter(|(other, _)| near(*other))
                            .map(|(_, clip)| clip),
                    );
                }
            }
        }
        found
    }

    fn add(&mut self, clip: usize, miner: usize, marks: &[&Mark]) {
        self.places.resize(BANDS as usize * VALUES, Vec::new());
        for mark in marks {
            if !self.known.insert((mark.hash, miner)) {
                continue;
            }
            for band in 0..BANDS {
                let place = &mut self.places[place_of(mark.hash, band)];
                if place.len() < MOST_IN_BAND {
                    place.push((mark.hash, clip));
                }
            }
        }
    }
}

/// Where a hash stands in a band: flipping one of its lower 16 bits stays in the band.
fn place_of(hash: u64, band: u32) -> usize {
    let value = usize::try_from((hash >> (16 * band)) & 0xffff).expect("sixteen bits");
    band as usize * VALUES + value
}

/// What is said about clips that look like another miner's, by (hotkey, row): one advisory per clip. Does not depend
/// on the order of `clips`.
pub fn near_duplicates(clips: &[Shown<'_>]) -> BTreeMap<(Hotkey, u32), Advisory> {
    let mut order: Vec<&Shown<'_>> = clips.iter().collect();
    order.sort_by(|a, b| {
        a.submitted_at
            .total_cmp(&b.submitted_at)
            .then_with(|| a.hotkey.cmp(b.hotkey))
            .then_with(|| a.row.cmp(&b.row))
    });
    let miners: BTreeMap<&Hotkey, usize> = order.iter().map(|clip| (clip.hotkey, 0)).collect();
    let miners: BTreeMap<&Hotkey, usize> = miners.into_keys().zip(0..).collect();
    let marks: Vec<Vec<&Mark>> = order.iter().map(|clip| telling(clip.pictures)).collect();
    let mut bands = Bands::default();
    let mut said = BTreeMap::new();
    for (place, clip) in order.iter().enumerate() {
        let original = bands.near(&marks[place]).into_iter().find(|&earlier| {
            order[earlier].hotkey != clip.hotkey && alike(&marks[earlier], &marks[place])
        });
        let Some(original) = original else {
            // A copy stands for nothing that its original does not stand for.
            bands.add(place, miners[clip.hotkey], &marks[place]);
            continue;
        };
        let kind = AdvisoryKind::NearDuplicate;
        said.insert(key(clip), advisory(kind, clip, order[original], "earlier"));
        said.entry(key(order[original])).or_insert_with(|| {
            advisory(
                AdvisoryKind::HasNearDuplicate,
                order[original],
                clip,
                "later",
            )
        });
    }
    said
}

fn key(clip: &Shown<'_>) -> (Hotkey, u32) {
    (clip.hotkey.clone(), clip.row)
}

fn advisory(kind: AdvisoryKind, of: &Shown<'_>, other: &Shown<'_>, when: &str) -> Advisory {
    Advisory {
        kind,
        clip_id: of.clip_id.to_owned(),
        detail: format!(
            "looks like row {} ({:?}) of {}, submitted {when}",
            other.row, other.clip_id, other.hotkey
        ),
    }
}

#[cfg(test)]
mod tests;
