use super::*;
use crate::clip::{AssetFact, ClipFacts, judge};
use crate::picture::Mark;

const ROW: ExpectedClip<'static> = ExpectedClip {
    clip_id: "c",
    clip_uri: "clips/c.mp4",
    first_frame_uri: "frames/c.jpg",
    width_px: 1280,
    height_px: 720,
    duration_sec: 5.0,
    fps: 30.0,
    num_frames: 150,
    has_audio: true,
};

const MEADOW: Mark = Mark {
    hash: 0x0123_4567_89ab_cdef,
    mean: 110,
    deviation: 40,
    fine_permille: Some(400),
    moved: Some(200),
};

fn facts(pictures: Pictures) -> ClipFacts {
    ClipFacts {
        clip: AssetFact::Good,
        measured: Some(Measured {
            width_px: 1280,
            height_px: 720,
            duration_sec: Some(5.0),
            fps: Some(30.0),
            num_frames: Some(150),
            has_audio: Some(true),
        }),
        first_frame: AssetFact::Good,
        pictures,
    }
}

fn all(mark: Mark) -> Pictures {
    Pictures {
        first: Sight::Seen(Mark {
            moved: None,
            ..mark
        }),
        asset: Sight::Seen(Mark {
            moved: None,
            ..mark
        }),
        sampled: vec![mark; 6],
    }
}

fn kinds(pictures: Pictures) -> Vec<AdvisoryKind> {
    let verdict = judge(&ROW, &facts(pictures), &Profile::default(), &[]);
    assert!(
        verdict.failures.is_empty(),
        "an advisory changed the verdict"
    );
    verdict.advisories.iter().map(|one| one.kind).collect()
}

#[test]
fn honest_pictures_and_pictures_nobody_looked_at_say_nothing() {
    assert_eq!(kinds(all(MEADOW)), []);
    assert_eq!(kinds(Pictures::default()), []);
}

#[test]
fn another_first_frame_is_noticed_and_another_encoding_of_it_is_not() {
    let with = |asset: Mark| Pictures {
        asset: Sight::Seen(asset),
        ..all(MEADOW)
    };
    let reencoded = Mark {
        hash: MEADOW.hash ^ 0b1011_0001,
        fine_permille: Some(600),
        ..MEADOW
    };
    assert_eq!(kinds(with(reencoded)), []);
    let other = Mark {
        hash: !MEADOW.hash,
        ..MEADOW
    };
    assert_eq!(kinds(with(other)), [AdvisoryKind::FirstFrameDiffers]);
    let white = Mark {
        mean: 235,
        deviation: 0,
        ..MEADOW
    };
    assert_eq!(kinds(with(white)), [AdvisoryKind::FirstFrameDiffers]);
    let junk = Pictures {
        asset: Sight::Undecodable,
        ..all(MEADOW)
    };
    assert_eq!(kinds(junk), [AdvisoryKind::UndecodableFirstFrame]);
}

#[test]
fn a_clip_without_a_picture_is_undecodable_although_its_size_is_known() {
    let empty = Pictures {
        first: Sight::Undecodable,
        ..Pictures::default()
    };
    assert_eq!(kinds(empty), [AdvisoryKind::UndecodableClip]);
}

#[test]
fn a_fade_in_is_not_a_black_clip() {
    let black = Mark {
        mean: 16,
        deviation: 0,
        fine_permille: None,
        moved: Some(0),
        ..MEADOW
    };
    assert_eq!(kinds(all(black)), [AdvisoryKind::BlackPictures]);
    let mut fade = all(MEADOW);
    fade.first = Sight::Seen(black);
    fade.asset = Sight::Seen(black);
    assert_eq!(kinds(fade.clone()), []);
    fade.sampled.clear();
    assert_eq!(kinds(fade), []);
}

#[test]
fn frozen_means_that_nothing_moves_anywhere_in_the_clip() {
    let still = Mark {
        moved: Some(9),
        ..MEADOW
    };
    assert_eq!(kinds(all(still)), [AdvisoryKind::FrozenPictures]);
    let mut once = all(still);
    once.sampled[4].moved = Some(70);
    assert_eq!(kinds(once), []);
    let mut two = all(still);
    two.sampled.truncate(2);
    assert_eq!(kinds(two), []);
}

#[test]
fn upscaled_is_said_only_of_pictures_with_contrast() {
    let soft = Mark {
        fine_permille: Some(100),
        ..MEADOW
    };
    assert_eq!(kinds(all(soft)), [AdvisoryKind::UpscaledPictures]);
    let fog = Mark {
        fine_permille: None,
        ..MEADOW
    };
    assert_eq!(kinds(all(fog)), []);
    let mut sharp_once = all(soft);
    sharp_once.sampled[2].fine_permille = Some(800);
    assert_eq!(kinds(sharp_once), []);
}

#[test]
fn whatever_is_listed_becomes_a_failure_and_nothing_else_does() {
    let still = Mark {
        moved: Some(0),
        fine_permille: Some(0),
        ..MEADOW
    };
    let rejects = [AdvisoryKind::FrozenPictures];
    let verdict = judge(&ROW, &facts(all(still)), &Profile::default(), &rejects);
    let codes: Vec<String> = verdict.failures.iter().map(ToString::to_string).collect();
    assert_eq!(codes, ["frozen_pictures:c"]);
    assert_eq!(verdict.advisories.len(), 2);
}

#[test]
fn every_name_reads_back_and_only_being_copied_can_never_reject() {
    for kind in AdvisoryKind::ALL {
        assert_eq!(AdvisoryKind::by_name(kind.as_str()), Some(kind));
        assert_eq!(kind.may_reject(), kind != AdvisoryKind::HasNearDuplicate);
    }
}
