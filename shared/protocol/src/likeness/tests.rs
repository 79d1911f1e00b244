use super::*;
use crate::picture::Sight;

fn miner(number: u8) -> Hotkey {
    Hotkey::from_public_key(&[number; 32])
}

fn mark(hash: u64) -> Mark {
    Mark {
        hash,
        mean: 100,
        deviation: 30,
        fine_permille: Some(500),
        moved: Some(100),
    }
}

/// Hashes of pictures that have nothing to do with each other.
fn hash(number: u64) -> u64 {
    let digest = crate::Digest::of(&number.to_le_bytes()).to_string();
    u64::from_str_radix(&digest[..16], 16).unwrap()
}

fn sampled(seed: u64) -> Pictures {
    Pictures {
        sampled: (0..6).map(|n| mark(hash(10 * seed + n))).collect(),
        ..Pictures::default()
    }
}

struct Clip {
    hotkey: Hotkey,
    submitted_at: f64,
    row: u32,
    pictures: Pictures,
}

fn clip(number: u8, row: u32, submitted_at: f64, pictures: Pictures) -> Clip {
    Clip {
        hotkey: miner(number),
        submitted_at,
        row,
        pictures,
    }
}

/// (miner, row, kind) of what is said, whatever the order of the clips.
fn said(clips: &[Clip]) -> Vec<(Hotkey, u32, AdvisoryKind)> {
    let mut shown: Vec<Shown<'_>> = clips
        .iter()
        .map(|clip| Shown {
            hotkey: &clip.hotkey,
            submitted_at: clip.submitted_at,
            row: clip.row,
            clip_id: "id",
            pictures: &clip.pictures,
        })
        .collect();
    let found = near_duplicates(&shown);
    shown.reverse();
    assert_eq!(found, near_duplicates(&shown), "the order of clips matters");
    found
        .into_iter()
        .map(|((hotkey, row), one)| (hotkey, row, one.kind))
        .collect()
}

#[test]
fn a_reencoded_copy_names_its_original_and_the_original_its_copy() {
    let mut copy = sampled(1);
    for (bit, mark) in copy.sampled.iter_mut().enumerate() {
        mark.hash ^= 0b1_0010_0100_0000_0001 << bit;
    }
    let clips = [
        clip(9, 0, 10.0, sampled(1)),
        clip(1, 2, 11.0, copy),
        clip(2, 0, 9.0, sampled(2)),
    ];
    let mut expected = vec![
        (miner(9), 0, AdvisoryKind::HasNearDuplicate),
        (miner(1), 2, AdvisoryKind::NearDuplicate),
    ];
    expected.sort();
    assert_eq!(said(&clips), expected);
}

#[test]
fn a_copy_that_is_cut_later_is_found_by_the_pictures_they_share() {
    let mut later = sampled(1);
    later.sampled.drain(..3);
    later.sampled.extend(sampled(7).sampled.drain(..3));
    let clips = [clip(1, 0, 1.0, sampled(1)), clip(2, 0, 2.0, later)];
    assert_eq!(said(&clips).len(), 2);
    let mut hardly = sampled(7);
    hardly.sampled[0] = sampled(1).sampled[5];
    let clips = [clip(1, 0, 1.0, sampled(1)), clip(2, 0, 2.0, hardly)];
    assert_eq!(said(&clips), []);
}

#[test]
fn a_miners_own_clips_may_look_alike() {
    let clips = [clip(1, 0, 1.0, sampled(1)), clip(1, 1, 1.0, sampled(1))];
    assert_eq!(said(&clips), []);
}

#[test]
fn of_three_alike_both_later_ones_name_the_first() {
    let clips = [
        clip(1, 0, 1.0, sampled(1)),
        clip(2, 0, 2.0, sampled(1)),
        clip(3, 0, 3.0, sampled(1)),
    ];
    let kinds: Vec<AdvisoryKind> = [1, 2, 3]
        .iter()
        .map(|number| {
            said(&clips)
                .iter()
                .find(|one| one.0 == miner(*number))
                .unwrap()
                .2
        })
        .collect();
    let copy = AdvisoryKind::NearDuplicate;
    assert_eq!(kinds, [AdvisoryKind::HasNearDuplicate, copy, copy]);
}

#[test]
fn flat_pictures_are_nobodys_copies() {
    let mut black = sampled(1);
    for mark in &mut black.sampled {
        mark.deviation = 0;
    }
    let clips = [clip(1, 0, 1.0, black.clone()), clip(2, 0, 2.0, black)];
    assert_eq!(said(&clips), []);
}

#[test]
fn the_first_picture_alone_says_nothing() {
    let first = |seed: u64| Pictures {
        first: Sight::Seen(mark(hash(seed))),
        ..Pictures::default()
    };
    let clips = [clip(1, 0, 1.0, first(1)), clip(2, 0, 2.0, first(1))];
    assert_eq!(said(&clips), []);
}

#[test]
fn a_hash_six_bits_away_is_found_in_the_bands() {
    for shift in 0..58 {
        let mut bands = Bands::default();
        let original = mark(hash(3));
        bands.add(0, 0, &[&original]);
        let changed = mark(hash(3) ^ (0b11_1111 << shift));
        assert!(bands.near(&[&changed]).contains(&0), "bits from {shift} on");
        let spread = mark(hash(3) ^ (0x0101_0101_0001_0001_u64.rotate_left(shift)));
        assert!(bands.near(&[&spread]).contains(&0), "spread by {shift}");
    }
}

#[test]
fn a_flood_of_made_up_pictures_is_compared_within_bounds() {
    // All in one band, none alike: the worst that hashes can do.
    let clips: Vec<Clip> = (0..1_200u32)
        .map(|n| {
            let hash = (hash(u64::from(n)) << 16) | 0xabcd;
            let pictures = Pictures {
                sampled: vec![mark(hash)],
                ..Pictures::default()
            };
            clip(u8::try_from(n % 200).unwrap(), n, f64::from(n), pictures)
        })
        .collect();
    let shown: Vec<Shown<'_>> = clips
        .iter()
        .map(|clip| Shown {
            hotkey: &clip.hotkey,
            submitted_at: clip.submitted_at,
            row: clip.row,
            clip_id: "id",
            pictures: &clip.pictures,
        })
        .collect();
    let mut bands = Bands::default();
    for (place, clip) in shown.iter().enumerate() {
        bands.add(place, place % 200, &telling(clip.pictures));
    }
    let longest = bands.places.iter().map(Vec::len).max().unwrap();
    assert_eq!(longest, MOST_IN_BAND);
    assert_eq!(near_duplicates(&shown).len(), 0);
}
