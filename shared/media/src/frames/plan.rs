//! Decoding only what the wanted pictures depend on (H.264).
//!
//! Which pictures are wanted follows from their times alone, so the stream is walked once without decoding. Then only
//! these coded pictures reach the decoder: from the last one that resets it (IDR) up to each wanted one, without those
//! that no other picture refers to (`nal_ref_idc` 0). Both are promises that a decoder itself relies on, so the wanted
//! pictures come out bit for bit as in a full decode. Whenever anything is unusual there is no plan, and everything is
//! decoded.

use std::time::Instant;

use gstreamer as gst;

use super::picker::{Pick, Picker};
use super::{Budget, Picked, shown, within};
use crate::front::{Container, annex_b, prefixed};
use crate::pipeline::{self, Gate, Stage};

/// A coded picture (access unit), in decoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    at: u64,
    length: u64,
    kind: Kind,
}

/// What a decoder needs a coded picture for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kind {
    /// Nothing before it is needed for what comes after it.
    resets: bool,
    /// Other pictures refer to it.
    referred: bool,
    /// It brings parameter sets, which later pictures may need.
    sets: bool,
}

/// The pictures that are picked, or `None` when everything has to be decoded to know.
pub(super) fn picked(
    clip: &[u8],
    container: Container,
    wanted: usize,
    budget: Budget,
    deadline: Instant,
) -> Option<Vec<Picked>> {
    let units = walk(clip, container, budget, deadline)?;
    let picks = choose(&units, wanted)?;
    let gate = gate(&units, &picks)?;
    let opened = pipeline::open(clip, container, Stage::Chosen(gate)).ok()?;
    let mut found: Vec<Picked> = Vec::new();
    for pick in picks {
        let again = found.last().filter(|last| last.number == pick.number);
        let sample = match again {
            Some(last) => last.sample.clone(),
            None => opened.next(deadline).ok()??,
        };
        within(&sample, budget.pixels).ok()?;
        let (at, _) = shown(&sample, pick.number)?;
        let flags = sample.buffer()?.flags();
        if at != pick.at || flags.contains(gst::BufferFlags::CORRUPTED) {
            return None;
        }
        found.push(Picked {
            number: pick.number,
            at,
            sample,
        });
    }
    Some(found)
}

/// All coded pictures; `None` for a stream that is not an ordinary one.
fn walk(clip: &[u8], container: Container, budget: Budget, deadline: Instant) -> Option<Vec<Unit>> {
    let opened = pipeline::open(clip, container, Stage::Parsed("video/x-h264")).ok()?;
    let mut units = Vec::new();
    let mut caps = None;
    while let Some(sample) = opened.next(deadline).ok()? {
        let number = u32::try_from(units.len()).ok()?;
        if number >= budget.frames {
            return None;
        }
        let here = sample.caps_owned()?;
        if *caps.get_or_insert_with(|| here.clone()) != here {
            return None;
        }
        within(&sample, budget.pixels).ok()?;
        let buffer = sample.buffer()?;
        buffer.pts()?;
        let (at, length) = shown(&sample, number)?;
        let data = buffer.map_readable().ok()?;
        units.push(Unit {
            at,
            length,
            kind: kind(data.as_slice(), length_size(&here))?,
        });
    }
    units.first()?.kind.resets.then_some(units)
}

/// Bytes of a length in front of each NAL unit; `None` when they are told apart by start codes.
fn length_size(caps: &gst::Caps) -> Option<usize> {
    let private: gst::Buffer = caps.structure(0)?.get("codec_data").ok()?;
    let private = private.map_readable().ok()?;
    Some(usize::from(private.get(4)? & 3) + 1)
}

fn kind(unit: &[u8], length_size: Option<usize>) -> Option<Kind> {
    let nals: Vec<&[u8]> = match length_size {
        Some(size) => prefixed(unit, size)?,
        None => annex_b(unit).collect(),
    };
    let mut kind = Kind::default();
    let mut slices = 0;
    for nal in nals {
        let first = *nal.first()?;
        match first & 0x1f {
            5 => kind.resets = true,
            1 => {}
            7 | 8 | 13 | 15 => {
                kind.sets = true;
                continue;
            }
            // Partitioned, scalable and multiview streams: not ordinary.
            2..=4 | 14 | 20 | 21 => return None,
            _ => continue,
        }
        slices += 1;
        kind.referred |= first & 0x60 != 0;
    }
    (slices > 0).then_some(kind)
}

/// The pictures that are picked, each with its place in decoding order.
fn choose(units: &[Unit], wanted: usize) -> Option<Vec<Pick<usize>>> {
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|place| units.get(*place).map(|unit| unit.at));
    let mut picker = Picker::new(wanted);
    let mut last = None;
    for (number, place) in order.into_iter().enumerate() {
        let unit = units.get(place)?;
        if last.replace(unit.at) == Some(unit.at) {
            return None;
        }
        picker.offer(u32::try_from(number).ok()?, unit.at, unit.length, place);
        if picker.is_full() {
            return Some(picker.finish());
        }
    }
    // How long the last picture is shown is only known for sure when it is decoded.
    None
}

/// What the decoder is fed, up to the last picture that is needed, and what is taken from it.
fn gate(units: &[Unit], picks: &[Pick<usize>]) -> Option<Gate> {
    let end = picks.iter().map(|pick| pick.what).max()? + 1;
    let mut feed: Vec<bool> = units
        .get(..end)?
        .iter()
        .map(|unit| unit.kind.sets)
        .collect();
    for pick in picks {
        for place in (0..=pick.what).rev() {
            let kind = units.get(place)?.kind;
            *feed.get_mut(place)? |= kind.referred || place == pick.what;
            if kind.resets {
                break;
            }
        }
    }
    let show = picks.iter().map(|pick| pick.at).collect();
    Some(Gate { feed, show })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Pictures of a tenth of a second, shown as decoded: R resets, p is referred to, b is not, s brings sets too.
    fn units(kinds: &str) -> Vec<Unit> {
        let unit = |(place, letter): (usize, char)| Unit {
            at: place as u64 * SECOND / 10,
            length: SECOND / 10,
            kind: Kind {
                resets: letter == 'R',
                referred: matches!(letter, 'R' | 'p'),
                sets: letter == 's',
            },
        };
        kinds.chars().enumerate().map(unit).collect()
    }

    fn fed(kinds: &str, wanted: usize) -> Option<String> {
        let units = units(kinds);
        let gate = gate(&units, &choose(&units, wanted)?)?;
        Some(
            gate.feed
                .iter()
                .map(|fed| if *fed { '+' } else { '-' })
                .collect(),
        )
    }

    #[test]
    fn pictures_that_nobody_refers_to_are_not_decoded_unless_wanted() {
        // Picked are pictures 4 and 12.
        assert_eq!(fed("Rbbpbbpbbpbbbbpp", 2).unwrap(), "+--++-+--+--+");
    }

    #[test]
    fn decoding_begins_at_the_last_reset_before_a_wanted_picture_and_ends_with_it() {
        assert_eq!(fed("RppppppppRppppp", 1).unwrap(), "+++++");
        assert_eq!(
            fed("RppppppRpppppppRpppppppppp", 2).unwrap(),
            "+++++--++++++"
        );
    }

    #[test]
    fn parameter_sets_are_never_left_out() {
        assert_eq!(fed("Rbsbbbsbbbbbbbbb", 2).unwrap(), "+-+-+-+-----+");
    }

    #[test]
    fn a_clip_that_ends_before_the_last_wanted_picture_has_no_plan() {
        assert_eq!(fed("Rpppppp", 2), None);
    }
}
