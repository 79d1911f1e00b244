use super::*;
use std::fs;
use std::path::Path;

/// A clip of the golden corpus.
fn golden(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/corpus");
    let intervals = fs::read_dir(root)
        .unwrap()
        .flat_map(|bucket| fs::read_dir(bucket.unwrap().path()).unwrap());
    let mut found = intervals
        .flatten()
        .map(|interval| interval.path().join("clips").join(name))
        .filter(|path| path.is_file());
    fs::read(
        found
            .next()
            .unwrap_or_else(|| panic!("{name} is among the golden clips")),
    )
    .unwrap()
}

fn soon() -> Instant {
    Instant::now() + Budget::default().time
}

/// Number, time and pixels of each picture.
fn shape(picked: &[Picked]) -> Vec<(u32, u64, Vec<u8>)> {
    let pixels = |picked: &Picked| {
        let buffer = picked.sample.buffer().unwrap();
        buffer.map_readable().unwrap().as_slice().to_vec()
    };
    picked
        .iter()
        .map(|one| (one.number, one.at, pixels(one)))
        .collect()
}

fn from_plan(clip: &[u8], wanted: usize) -> Option<Vec<Picked>> {
    let container = front::sniff(clip).unwrap();
    pipeline::init().unwrap();
    plan::picked(clip, container, wanted, Budget::default(), soon())
}

fn from_all(clip: &[u8], wanted: usize) -> Result<Vec<Picked>, PipelineError> {
    let container = front::sniff(clip).unwrap();
    pick_from_all(clip, container, wanted, Budget::default(), soon())
}

#[test]
fn pictures_by_plan_are_those_of_a_full_decode_bit_for_bit() {
    for name in [
        "base_d.mp4",
        "h264_main.mp4",
        "h264_high10.mp4",
        "vfr.mp4",
        "frag_keyframe.mp4",
    ] {
        let clip = golden(name);
        let planned = from_plan(&clip, 6).unwrap_or_else(|| panic!("{name} is ordinary"));
        assert_eq!(planned.len(), 6, "{name}");
        let all = from_all(&clip, 6).unwrap();
        assert!(shape(&planned) == shape(&all), "{name}: other pictures");
    }
}

#[test]
fn what_is_not_ordinary_has_no_plan_and_is_decoded_whole() {
    for name in ["mpeg4_sp.mp4", "h264_1fps.mp4"] {
        let clip = golden(name);
        assert!(from_plan(&clip, 6).is_none(), "{name}");
        assert_eq!(
            frames(&clip, 6, Budget::default()).unwrap().len(),
            6,
            "{name}"
        );
    }
}

#[test]
fn nothing_behind_the_last_wanted_picture_is_decoded() {
    let clip = golden("base_d.mp4");
    let first = from_plan(&clip, 1).unwrap();
    // The second half of the pictures is garbage now, and the moov is in front of it or behind it as before.
    let media = clip.windows(4).position(|w| w == b"mdat").unwrap();
    let mut spoilt = clip.clone();
    let length = u32::from_be_bytes(clip[media - 4..media].try_into().unwrap()) as usize;
    let half = media + length / 2;
    for byte in &mut spoilt[half..media + length - 8] {
        *byte = !*byte;
    }
    let same = pick_from_all(&spoilt, front::Container::Mp4, 1, Budget::default(), soon());
    assert!(
        shape(&same.unwrap()) == shape(&first),
        "the full path stops, too"
    );
}
