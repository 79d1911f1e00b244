//! The bound on a child's memory never changes a size: it is ffprobe's, whatever the bound.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use nexis_media::{Budget, Pool, PoolOptions, Undecodable};

#[expect(dead_code, reason = "each file of tests uses what it needs of it")]
#[path = "ffprobe/mod.rs"]
mod ffprobe;

use ffprobe::{make, peer};

const MIB: u64 = 1 << 20;

fn pool(address_space: u64, large_address_space: u64) -> Pool {
    Pool::start(PoolOptions {
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-media-child"))),
        address_space,
        large_address_space,
        ..PoolOptions::new(1)
    })
    .unwrap()
}

/// A clip of three pictures of 1282x718 in a file whose tables name a million, and whose sample entry says 1280x720.
fn million() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clips");
    fs::read(folder.join("million_samples.mp4")).unwrap()
}

/// The same with so many samples in its tables of times, chunks and sizes.
fn samples(count: u32) -> Vec<u8> {
    let mut clip = million();
    let was = 1_000_000u32.to_be_bytes();
    let places = (0..clip.len() - 4).filter(|at| clip[*at..at + 4] == was);
    let places: Vec<usize> = places.collect();
    assert_eq!(places.len(), 3, "stts, stsc and stsz");
    for at in places {
        clip[at..at + 4].copy_from_slice(&count.to_be_bytes());
    }
    clip
}

fn find(bytes: &[u8], word: &[u8]) -> usize {
    bytes.windows(word.len()).position(|w| w == word).unwrap()
}

fn boxed(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap();
    [&length.to_be_bytes(), kind, body].concat()
}

/// A box of version and flags, and numbers.
fn full(kind: &[u8], flags: u32, numbers: &[u32]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    boxed(kind, &[&flags.to_be_bytes()[..], &numbers].concat())
}

/// Adds offsets of presentation for all samples, which libavformat keeps one by one.
fn with_offsets(clip: &[u8], count: u32) -> Vec<u8> {
    let table = full(b"ctts", 0, &[1, count, 1]);
    grown(clip, &table, b"stss")
}

/// Puts a box before another one of the sample table and makes all boxes around it longer.
fn grown(clip: &[u8], added: &[u8], before: &[u8]) -> Vec<u8> {
    let mut clip = clip.to_vec();
    let length = u32::try_from(added.len()).unwrap();
    for around in [&b"moov"[..], b"trak", b"mdia", b"minf", b"stbl"] {
        let at = find(&clip, around) - 4;
        let was = u32::from_be_bytes(clip[at..at + 4].try_into().unwrap());
        clip[at..at + 4].copy_from_slice(&(was + length).to_be_bytes());
    }
    // The pictures move along.
    let chunks = find(&clip, b"stco") + 12;
    let was = u32::from_be_bytes(clip[chunks..chunks + 4].try_into().unwrap());
    clip[chunks..chunks + 4].copy_from_slice(&(was + length).to_be_bytes());
    let at = find(&clip, before) - 4;
    [&clip[..at], added, &clip[at..]].concat()
}

/// A clip whose first fragment promises samples of which it says nothing, so that they cost no bytes.
fn fragment(folder: &Path, count: u32) -> Vec<u8> {
    let picture = "-f lavfi -i testsrc2=s=322x182:r=10:d=0.3 -pix_fmt yuv420p -c:v libx264";
    let path = make(
        folder,
        "fragmented.mp4",
        &format!("{picture} -movflags frag_keyframe+empty_moov+default_base_moof"),
    );
    let mut clip = fs::read(path).unwrap();
    let entry = find(&clip, b"avc1\0\0\0\0") + 28;
    clip[entry..entry + 4].copy_from_slice(&[0, 100, 0, 50]);
    let head = full(b"tfhd", 0x02_0000 | 0x08 | 0x10, &[1, 512, 4]);
    let traf = boxed(b"traf", &[head, full(b"trun", 0, &[count])].concat());
    let moof = boxed(b"moof", &[full(b"mfhd", 0, &[1]), traf].concat());
    let at = find(&clip, b"moof") - 4;
    [&clip[..at], &moof, &clip[at..]].concat()
}

/// A clip whose index at the end names its pictures so many times over.
fn long_avi(folder: &Path, times: usize) -> Vec<u8> {
    let picture = "-f lavfi -i testsrc2=s=322x182:r=10:d=1 -c:v mpeg4";
    let mut clip = fs::read(make(folder, "index.avi", picture)).unwrap();
    let at = find(&clip, b"idx1");
    let index = clip.split_off(at)[8..].repeat(times);
    clip.extend(b"idx1");
    clip.extend(u32::try_from(index.len()).unwrap().to_le_bytes());
    clip.extend(index);
    let length = u32::try_from(clip.len() - 8).unwrap();
    clip[4..8].copy_from_slice(&length.to_le_bytes());
    clip
}

/// A clip whose cues name its key frames so many times over.
fn long_mkv(folder: &Path, times: usize) -> Vec<u8> {
    let picture = "-f lavfi -i testsrc2=s=322x182:r=10:d=1 -c:v mpeg4 -g 1";
    let mut clip = fs::read(make(folder, "cues.mkv", picture)).unwrap();
    let at = clip
        .windows(4)
        .rposition(|w| w == [0x1c, 0x53, 0xbb, 0x6b])
        .unwrap();
    let cues = clip.split_off(at);
    // One byte of length for a short list, two for a longer one.
    let head = if cues[4] & 0x80 != 0 { 5 } else { 6 };
    let points = cues[head..].repeat(times);
    clip.extend([0x1c, 0x53, 0xbb, 0x6b]);
    clip.extend((points.len() as u64 | 1 << 56).to_be_bytes());
    clip.extend(points);
    // The segment: eight bytes of length.
    let segment = find(&clip, &[0x18, 0x53, 0x80, 0x67]) + 4;
    let length = (clip.len() - segment - 8) as u64 | 1 << 56;
    clip[segment..segment + 8].copy_from_slice(&length.to_be_bytes());
    clip
}

/// A picture that is far larger decoded than coded, in a file whose sample entry says something else.
fn large_picture(folder: &Path) -> Vec<u8> {
    let picture = "-f lavfi -i color=s=9000x9000:r=1:d=1 -pix_fmt yuvj444p -c:v mjpeg -frames:v 1";
    let mut clip = fs::read(make(folder, "large.mov", picture)).unwrap();
    let entry = find(&clip, b"jpeg\0\0\0\0") + 28;
    clip[entry..entry + 4].copy_from_slice(&[5, 0, 2, 208]);
    clip
}

/// Cases that need between some ten and several hundred megabytes beside what a child has anyway.
fn cases(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let edited = {
        let mut clip = samples(8_000_000);
        // The edit list begins later, so that libavformat makes the index anew.
        let at = find(&clip, b"elst") + 16;
        clip[at..at + 4].copy_from_slice(&1u32.to_be_bytes());
        clip
    };
    vec![
        ("8 M samples", samples(8_000_000)),
        ("20 M samples", samples(20_000_000)),
        ("8 M samples, an edit list", edited),
        (
            "8 M samples with offsets",
            with_offsets(&samples(8_000_000), 8_000_000),
        ),
        ("a fragment of 12 M samples", fragment(folder, 12_000_000)),
        ("a long AVI index", long_avi(folder, 60_000)),
        ("long Matroska cues", long_mkv(folder, 40_000)),
        ("a large picture", large_picture(folder)),
    ]
}

#[test]
fn sizes_are_those_of_ffprobe_whatever_the_bound_on_memory() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(folder.path());
    let expected: Vec<_> = cases
        .iter()
        .map(|(_, bytes)| {
            let path = folder.path().join("judged.mp4");
            fs::write(&path, bytes).unwrap();
            peer(&path)
        })
        .collect();
    assert!(
        expected.iter().filter(|size| size.is_some()).count() >= 8,
        "{expected:?}"
    );
    let mut wrong = Vec::new();
    for bound in [420, 560, 800] {
        let pool = pool(bound * MIB, 4 << 30);
        for ((name, bytes), expected) in cases.iter().zip(&expected) {
            let look = pool.look(bytes, 0, Budget::default()).unwrap();
            let size = look
                .size
                .as_ref()
                .ok()
                .map(|found| (found.width, found.height));
            if size != *expected {
                wrong.push(format!(
                    "{name}, {bound} MiB: {look:?}, ffprobe {expected:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_clip_beyond_the_larger_bound_too_has_no_size_and_says_so() {
    let pool = pool(500 * MIB, 700 * MIB);
    let look = pool
        .look(&samples(40_000_000), 0, Budget::default())
        .unwrap();
    assert_eq!(look.size, Err(Undecodable::Memory));
    assert_eq!(pool.replaced(), 0, "the child is none the worse for it");
    let look = pool.look(&million(), 0, Budget::default()).unwrap();
    assert!(look.size.is_ok(), "{look:?}");
}
