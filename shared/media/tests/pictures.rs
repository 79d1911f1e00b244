//! Pictures and counts of clips that containers and codecs make difficult, against ffmpeg and ffprobe.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use nexis_media::{Asked, Budget, Look, Pool, facts};
use nexis_protocol::picture::{PictureChecks, distance};

#[expect(dead_code, reason = "each file of tests uses what it needs of it")]
#[path = "ffprobe/mod.rs"]
mod ffprobe;

use ffprobe::{make, pool, run};

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clips")
        .join(name)
}

/// What the child says of a clip and of the first frame that ffmpeg writes for it.
fn look(pool: &Pool, folder: &Path, clip: &Path) -> Look {
    let how = format!("-i {} -frames:v 1 -update 1", clip.display());
    let first = fs::read(make(folder, "first.png", &how)).unwrap();
    let bytes = fs::read(clip).unwrap();
    let asked = Asked {
        clip: &bytes,
        asset: Some(&first),
        pictures: 6,
        sight: PictureChecks::First,
        budget: Budget::default(),
    };
    pool.look_at(asked).unwrap()
}

/// Sides of a JPEG.
fn sides(jpeg: &[u8]) -> (u16, u16) {
    let at = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    let number = |at: usize| u16::from_be_bytes(jpeg[at..at + 2].try_into().unwrap());
    (number(at + 7), number(at + 5))
}

/// Every difference from ffmpeg in the first frame, and whether there are pictures.
fn faults(name: &str, look: &Look) -> Vec<String> {
    let mut faults = Vec::new();
    match (look.seen.first.mark(), look.seen.asset.mark()) {
        (Some(first), Some(asset)) if distance(first, asset) <= 6 => {}
        (Some(first), Some(asset)) => {
            let bits = distance(first, asset);
            faults.push(format!(
                "{name}: {bits} of 64 bits differ in the first frame"
            ));
        }
        _ => faults.push(format!("{name}: no first frame: {:?}", look.seen)),
    }
    // Of two pictures none falls into a slot of five sixths of a second.
    if look.pictures.as_ref().map_or(0, Vec::len) == 0 && name != "prores.mp4" {
        faults.push(format!("{name}: no pictures: {:?}", look.pictures));
    }
    faults
}

/// Something in it at every place, so that turned pictures are told apart.
const SCENE: &str = "-f lavfi -i testsrc2=s=384x216:r=10:d=2";

#[test]
fn turned_clips_show_what_ffmpeg_shows() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool();
    let upright = make(
        folder.path(),
        "upright.mp4",
        &format!("{SCENE} -c:v libx264 -pix_fmt yuv420p"),
    );
    let bytes = fs::read(&upright).unwrap();
    let header = bytes.windows(4).position(|w| w == b"tkhd").unwrap();
    let mut wrong = Vec::new();
    for (a, b, c, d) in [
        (1, 0, 0, 1),
        (0, 1, -1, 0),
        (-1, 0, 0, -1),
        (0, -1, 1, 0),
        (-1, 0, 0, 1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, -1, -1, 0),
    ] {
        let mut turned = bytes.clone();
        let numbers: [i32; 5] = [a << 16, b << 16, 0, c << 16, d << 16];
        let matrix: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        turned[header + 44..header + 64].copy_from_slice(&matrix);
        let path = folder.path().join("turned.mp4");
        fs::write(&path, turned).unwrap();
        let look = look(&pool, folder.path(), &path);
        wrong.extend(faults(&format!("{a} {b} {c} {d}"), &look));
        let size = look.size.as_ref().unwrap();
        assert_eq!(
            (size.width, size.height),
            (384, 216),
            "the coded size stays"
        );
        let pictures = look.pictures.unwrap();
        let expected = if a == 0 { (216, 384) } else { (384, 216) };
        assert_eq!(sides(&pictures[0].jpeg), expected, "{a} {b} {c} {d}");
    }
    // A telephone's clip, and the first frame that came with it.
    let bytes = fs::read(kept("rot90.mp4")).unwrap();
    let first = fs::read(kept("rot90.jpg")).unwrap();
    let asked = Asked {
        clip: &bytes,
        asset: Some(&first),
        pictures: 1,
        sight: PictureChecks::First,
        budget: Budget::default(),
    };
    wrong.extend(faults("rot90", &pool.look_at(asked).unwrap()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Frames that play, as ffprobe counts them.
fn played(path: &Path) -> u64 {
    let count = ["-v", "quiet", "-count_frames", "-select_streams", "v:0"];
    let show = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"];
    let (_, text) = run(
        "ffprobe",
        &[&count[..], &show, &[path.to_str().unwrap()]].concat(),
    );
    text.trim().trim_end_matches(',').parse().unwrap()
}

#[test]
fn frames_that_an_edit_list_hides_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [
        ("plain", "-c:v libx264 -g 30 -bf 0"),
        ("b_frames", "-c:v libx264 -g 30 -bf 3"),
        ("open", "-c:v libx264 -g 24 -bf 2 -x264opts open_gop=1"),
        ("mpeg4", "-c:v mpeg4 -g 12 -bf 2"),
    ];
    let mut wrong = Vec::new();
    for (name, how) in sources {
        let how = format!(
            "-f lavfi -i testsrc2=s=160x90:r=25:d=6 -f lavfi -i sine=d=6 {how} -pix_fmt yuv420p -c:a aac"
        );
        let source = make(folder.path(), "source.mp4", &how);
        for (from, length) in [
            ("0", "2"),
            ("0.5", "3"),
            ("1.3", "2.2"),
            ("2.48", "3"),
            ("3", "9"),
        ] {
            let how = format!("-ss {from} -i {} -t {length} -c copy", source.display());
            let cut = make(folder.path(), "cut.mp4", &how);
            let ours = facts(&fs::read(&cut).unwrap()).frames;
            let peer = played(&cut);
            if ours != Some(peer) {
                wrong.push(format!(
                    "{name} from {from} for {length}: {ours:?}, ffprobe {peer}"
                ));
            }
        }
    }
    let cut = facts(&fs::read(kept("cut_copy.mp4")).unwrap());
    assert_eq!(cut.frames, Some(50), "{cut:?}");
    assert_eq!(
        (cut.duration_sec, cut.fps),
        (Some(5.0), Some(10.0)),
        "{cut:?}"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `moov` with its length in 64 bits.
fn wide(clip: &[u8]) -> Vec<u8> {
    let at = clip.windows(4).rposition(|w| w == b"moov").unwrap() - 4;
    let length = u32::from_be_bytes(clip[at..at + 4].try_into().unwrap()) as usize;
    let head = [
        &1u32.to_be_bytes()[..],
        b"moov",
        &(length as u64 + 8).to_be_bytes(),
    ]
    .concat();
    [&clip[..at], &head, &clip[at + 8..]].concat()
}

fn renamed(clip: &[u8], was: &[u8; 4], is: &[u8; 4]) -> Vec<u8> {
    let mut clip = clip.to_vec();
    let at = clip.windows(4).rposition(|w| w == was).unwrap();
    clip[at..at + 4].copy_from_slice(is);
    clip
}

/// The clip behind a box that nobody knows, to which its chunks move along.
fn behind_uuid(clip: &[u8]) -> Vec<u8> {
    let mut clip = clip.to_vec();
    let table = clip.windows(4).rposition(|w| w == b"stco").unwrap() + 8;
    let number = |clip: &[u8], at: usize| u32::from_be_bytes(clip[at..at + 4].try_into().unwrap());
    for chunk in 0..number(&clip, table) as usize {
        let at = table + 4 + 4 * chunk;
        let moved = number(&clip, at) + 24;
        clip[at..at + 4].copy_from_slice(&moved.to_be_bytes());
    }
    [&[0, 0, 0, 24][..], b"uuid", &[7; 16], &clip].concat()
}

/// A clip that ffmpeg decodes gives pictures and a first frame here too.
#[test]
fn pictures_of_clips_that_only_ffmpeg_reads_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool();
    let x264 = make(
        folder.path(),
        "x264.mp4",
        &format!("{SCENE} -c:v libx264 -pix_fmt yuv420p"),
    );
    let plain = fs::read(&x264).unwrap();
    let mut cases = vec![
        ("uuid.mp4", behind_uuid(&plain)),
        ("wide.mp4", wide(&plain)),
        ("auxv.mp4", renamed(&plain, b"vide", b"auxv")),
        ("dva1.mp4", renamed(&plain, b"avc1", b"dva1")),
    ];
    for name in ["uuid_first.mp4", "prores.mp4"] {
        cases.push((name, fs::read(kept(name)).unwrap()));
    }
    for (name, how) in [
        ("prores.mov", "-c:v prores -pix_fmt yuv422p10le"),
        (
            "prores_ks.mov",
            "-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le",
        ),
        ("ffv1.mkv", "-c:v ffv1 -pix_fmt yuv444p"),
        ("huffyuv.avi", "-c:v huffyuv -pix_fmt yuv422p"),
        ("utvideo.avi", "-c:v utvideo -pix_fmt gbrp"),
        ("theora.ogg", "-c:v libtheora"),
        ("wmv2.asf", "-c:v wmv2"),
        ("msmpeg4.avi", "-c:v msmpeg4v2"),
        ("flv1.flv", "-c:v flv"),
        ("mpeg1.mpg", "-c:v mpeg1video -r 25 -f mpeg"),
        ("raw.h264", "-c:v libx264 -pix_fmt yuv420p -f h264"),
        ("vp8.ivf", "-c:v libvpx -deadline realtime"),
        ("qtrle.mov", "-c:v qtrle -pix_fmt rgb24"),
        ("png.mov", "-c:v png -pix_fmt rgba"),
        ("grey.mkv", "-c:v ffv1 -pix_fmt gray"),
        ("raw.y4m", "-pix_fmt yuv411p -t 0.5"),
        ("dv.avi", "-s 720x576 -r 25 -c:v dvvideo -pix_fmt yuv420p"),
        (
            "dnxhd.mov",
            "-s 1280x720 -r 25 -c:v dnxhd -b:v 60M -pix_fmt yuv422p -t 0.5",
        ),
    ] {
        let path = make(folder.path(), name, &format!("{SCENE} {how}"));
        cases.push((name, fs::read(path).unwrap()));
    }
    let mut wrong = Vec::new();
    for (name, bytes) in cases {
        let path = folder.path().join("judged.mp4");
        fs::write(&path, bytes).unwrap();
        wrong.extend(faults(name, &look(&pool, folder.path(), &path)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
