//! Sizes against ffprobe, pictures against ffmpeg's selection.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use nexis_media::{Budget, frames};

#[path = "ffprobe/mod.rs"]
mod ffprobe;

use ffprobe::{differing, make, ours, peer, pool, side_by_side};

const PICTURE: &str = "-f lavfi -i testsrc2=s=320x180:r=30:d=1";
const BOTH: &str = "-f lavfi -i testsrc2=s=320x180:r=30:d=1 -f lavfi -i sine=d=1";

fn corpus(folder: &Path) -> Vec<PathBuf> {
    let with = |input: &str, rest: &str| format!("{input} {rest}");
    let x264 = "-c:v libx264 -preset ultrafast";
    let recipes: Vec<(&str, String)> = vec![
        ("h264.mp4", with(BOTH, x264)),
        (
            "h264_faststart.mp4",
            with(BOTH, &format!("{x264} -movflags +faststart")),
        ),
        (
            "h264_fragmented.mp4",
            with(BOTH, &format!("{x264} -movflags frag_keyframe+empty_moov")),
        ),
        (
            "h264_cmaf.mp4",
            with(
                BOTH,
                &format!("{x264} -movflags frag_keyframe+empty_moov+default_base_moof"),
            ),
        ),
        (
            "h264_odd.mp4",
            "-f lavfi -i testsrc2=s=319x179:d=1 -pix_fmt yuv444p -c:v libx264".to_owned(),
        ),
        (
            "h264_cropped.mp4",
            "-f lavfi -i testsrc2=s=322x182:d=1 -pix_fmt yuv420p -c:v libx264".to_owned(),
        ),
        (
            "h264_interlaced.mp4",
            with(PICTURE, "-c:v libx264 -flags +ilme+ildct -x264opts tff=1"),
        ),
        (
            "h264_high10.mp4",
            with(PICTURE, "-pix_fmt yuv420p10le -c:v libx264"),
        ),
        (
            "h264_sar.mp4",
            with(PICTURE, &format!("-vf setsar=4/3 {x264}")),
        ),
        ("h264_edit.mp4", with(BOTH, &format!("{x264} -ss 0.4"))),
        (
            "h265_hvc1.mp4",
            with(
                PICTURE,
                "-c:v libx265 -x265-params log-level=none -tag:v hvc1",
            ),
        ),
        (
            "h265_hev1.mp4",
            with(
                PICTURE,
                "-c:v libx265 -x265-params log-level=none -tag:v hev1",
            ),
        ),
        (
            "vp9.mp4",
            with(PICTURE, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ),
        (
            "vp9.webm",
            with(PICTURE, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ),
        (
            "vp8.webm",
            with(PICTURE, "-c:v libvpx -deadline realtime -cpu-used 8"),
        ),
        (
            "av1.mp4",
            with(PICTURE, "-c:v libaom-av1 -usage realtime -cpu-used 8"),
        ),
        (
            "av1.webm",
            with(PICTURE, "-c:v libaom-av1 -usage realtime -cpu-used 8"),
        ),
        ("mpeg4.mp4", with(PICTURE, "-c:v mpeg4")),
        ("mjpeg.mp4", with(PICTURE, "-c:v mjpeg")),
        ("h264.mov", with(PICTURE, x264)),
        ("h264.mkv", with(BOTH, x264)),
        (
            "h265.mkv",
            with(PICTURE, "-c:v libx265 -x265-params log-level=none"),
        ),
        ("anim.gif", with(PICTURE, "")),
        ("still.jpg", with(PICTURE, "-frames:v 1")),
        ("still.png", with(PICTURE, "-frames:v 1")),
        ("audio.mp4", "-f lavfi -i sine=d=1".to_owned()),
        ("audio.mka", "-f lavfi -i sine=d=1".to_owned()),
        (
            "two.mp4",
            format!("-f lavfi -i testsrc2=s=160x90:d=1 {PICTURE} -map 0 -map 1 {x264}"),
        ),
        ("audio_first.mp4", format!("{BOTH} -map 1 -map 0 {x264}")),
    ];
    let others = OTHERS.iter().map(|(name, how)| (*name, with(PICTURE, how)));
    let made = side_by_side(
        &recipes.into_iter().chain(others).collect::<Vec<_>>(),
        |recipe| make(folder, recipe.0, &recipe.1),
    );
    let plain = made[0].to_str().unwrap();
    let rotated = format!("-i {plain} -c copy -metadata:s:v rotate=90");
    let shrinking = [
        ("h264", "-c:v libx264"),
        ("ts", "-c:v libx264"),
        ("mpg", "-c:v mpeg2video"),
        ("y4m", ""),
    ];
    let mut derived: Vec<PathBuf> = shrinking
        .iter()
        .map(|(extension, how)| shrinks(folder, extension, how))
        .collect();
    derived.push(make(folder, "rotated.mp4", &rotated));
    [made, derived].concat()
}

/// Containers and codecs beside MP4: the file, and how it is made of one second of picture.
const OTHERS: [(&str, &str); 44] = [
    ("h264.avi", "-c:v libx264 -preset ultrafast"),
    ("mpeg4.avi", "-c:v mpeg4"),
    ("mpeg2.avi", "-c:v mpeg2video"),
    ("mjpeg.avi", "-c:v mjpeg"),
    ("msmpeg4.avi", "-c:v msmpeg4v2"),
    ("huffyuv.avi", "-c:v huffyuv -frames:v 3"),
    ("h264.flv", "-c:v libx264 -preset ultrafast"),
    ("sorenson.flv", "-c:v flv"),
    ("screen.flv", "-c:v flashsv"),
    ("h264.ts", "-c:v libx264 -preset ultrafast"),
    (
        "h264.m2ts",
        "-c:v libx264 -preset ultrafast -f mpegts -mpegts_m2ts_mode 1",
    ),
    ("h265.ts", "-c:v libx265 -x265-params log-level=none"),
    ("mpeg2.ts", "-c:v mpeg2video"),
    ("mpeg4.ts", "-c:v mpeg4"),
    ("mpeg1.mpg", "-c:v mpeg1video -f mpeg"),
    ("mpeg2.mpg", "-c:v mpeg2video -f mpeg"),
    ("mpeg2.vob", "-c:v mpeg2video -f vob"),
    ("h264.vob", "-c:v libx264 -preset ultrafast -f vob"),
    ("wmv1.asf", "-c:v wmv1"),
    ("wmv2.wmv", "-c:v wmv2"),
    ("msmpeg4.asf", "-c:v msmpeg4"),
    ("theora.ogg", "-c:v libtheora"),
    (
        "vp8.ogg",
        "-c:v libvpx -deadline realtime -cpu-used 8 -f ogg",
    ),
    ("raw.h264", "-c:v libx264 -preset ultrafast"),
    ("raw.hevc", "-c:v libx265 -x265-params log-level=none"),
    ("raw.m4v", "-c:v mpeg4 -f m4v"),
    ("raw.m2v", "-c:v mpeg2video"),
    ("raw.m1v", "-c:v mpeg1video -f mpeg1video"),
    ("raw.mjpeg", "-c:v mjpeg"),
    ("raw.y4m", "-frames:v 2"),
    ("raw.obu", "-c:v libaom-av1 -usage realtime -cpu-used 8"),
    ("vp8.ivf", "-c:v libvpx -deadline realtime -cpu-used 8"),
    ("vp9.ivf", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
    ("av1.ivf", "-c:v libaom-av1 -usage realtime -cpu-used 8"),
    ("mpeg2.mp4", "-c:v mpeg2video"),
    ("mpeg4.mkv", "-c:v mpeg4"),
    ("mpeg2.mkv", "-c:v mpeg2video"),
    ("theora.mkv", "-c:v libtheora"),
    ("ffv1.mkv", "-c:v ffv1 -frames:v 3"),
    ("msmpeg4.mkv", "-c:v msmpeg4"),
    ("prores.mov", "-c:v prores -frames:v 3"),
    (
        "fragmented.mov",
        "-c:v libx264 -movflags frag_keyframe+empty_moov",
    ),
    (
        "live.mkv",
        "-c:v libx264 -preset ultrafast -f matroska -live 1",
    ),
    ("qtrle.mov", "-c:v qtrle -frames:v 2"),
];

/// A stream whose second half has another size: of these containers, two files in a row are one.
fn shrinks(folder: &Path, extension: &str, how: &str) -> PathBuf {
    let parts = ["320x180", "160x120"].map(|size| {
        let how = format!("-f lavfi -i testsrc2=s={size}:r=30:d=0.5 {how}");
        fs::read(make(folder, &format!("part.{extension}"), &how)).unwrap()
    });
    let path = folder.join(format!("shrinks.{extension}"));
    fs::write(&path, parts.concat()).unwrap();
    path
}

fn bad_bytes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("zero.mp4", Vec::new()),
        ("text.mp4", b"these are words and not a clip\n".repeat(50)),
        ("nulls.mp4", vec![0; 4096]),
        ("ftyp.mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2".to_vec()),
    ]
}

/// Files that are also judged when cut off at every 5 %: one or two of each container.
const CUT: [&str; 16] = [
    "h264.mp4",
    "h264_faststart.mp4",
    "h264_fragmented.mp4",
    "vp9.webm",
    "h264.mkv",
    "theora.mkv",
    "h264.avi",
    "h264.flv",
    "h264.ts",
    "mpeg2.mpg",
    "wmv2.wmv",
    "theora.ogg",
    "raw.h264",
    "av1.ivf",
    "raw.obu",
    "still.png",
];

/// The clip with other sides in its sample entry.
fn lying(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut lying = bytes.to_vec();
    let table = bytes.windows(4).position(|w| w == b"stsd")?;
    let near = bytes.get(table..)?.get(..40)?;
    let kinds = [b"avc1", b"hvc1", b"hev1", b"vp09", b"av01", b"mp4v"];
    let at = near
        .windows(4)
        .position(|w| kinds.iter().any(|kind| w == *kind))?;
    let sides = table + at + 28..table + at + 32;
    lying.get_mut(sides)?.copy_from_slice(&[0, 100, 0, 50]);
    Some(lying)
}

/// `moov` under another name: ffmpeg finds it again in a `free` box, and nowhere else.
fn without_index(bytes: &[u8], name: [u8; 4]) -> Option<Vec<u8>> {
    let mut without = bytes.to_vec();
    let at = bytes.windows(4).rposition(|w| w == b"moov")?;
    without.get_mut(at..at + 4)?.copy_from_slice(&name);
    Some(without)
}

#[test]
fn sizes_are_those_of_ffprobe_whole_and_truncated_and_with_a_lying_container() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, bytes) in bad_bytes() {
        cases.push((name.to_owned(), bytes));
    }
    for path in corpus(folder.path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        if CUT.contains(&&*name) {
            cases.extend((5..100).step_by(5).map(|part| {
                let cut = bytes[..bytes.len() * part / 100].to_vec();
                (format!("{name} cut at {part} %"), cut)
            }));
        }
        cases.extend(lying(&bytes).map(|lying| (format!("{name} with a lying entry"), lying)));
        let hidden = if name.starts_with("h264") {
            b"free"
        } else {
            b"junk"
        };
        let without = without_index(&bytes, *hidden);
        cases.extend(without.map(|bytes| (format!("{name} without moov"), bytes)));
        cases.push((name, bytes));
    }
    let wrong = differing(folder.path(), &cases);
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn golden_clips() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/corpus");
    let mut clips: Vec<PathBuf> = Vec::new();
    for bucket in fs::read_dir(root).unwrap() {
        for interval in fs::read_dir(bucket.unwrap().path()).unwrap().flatten() {
            let Ok(found) = fs::read_dir(interval.path().join("clips")) else {
                continue;
            };
            clips.extend(
                found
                    .flatten()
                    .map(|e| e.path())
                    .filter(|p| p.extension().is_some()),
            );
        }
    }
    clips.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    clips.dedup_by_key(|path| path.file_name().map(ToOwned::to_owned));
    clips
}

#[test]
fn golden_clips_have_the_size_of_ffprobe() {
    let (clips, pool) = (golden_clips(), pool());
    assert!(clips.len() > 30, "the golden corpus is there");
    let wrong: Vec<String> = clips
        .iter()
        .map(|path| (path, peer(path), ours(&pool, &fs::read(path).unwrap())))
        .filter(|(_, peer, ours)| peer != ours)
        .map(|found| format!("{found:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn golden_clips_give_the_source_frames_that_ffmpeg_picks() {
    // Made by the golden set's author with ffmpeg 5.1: base_b, base_d, h264_1fps, ...
    let table: [(&str, &[u32]); 12] = [
        ("base_b", &[10, 31, 52, 72, 93, 114]),
        ("base_d", &[12, 37, 62, 87, 112, 137]),
        ("h264_1fps", &[0, 1, 2, 2, 3, 4]),
        ("h264_10fps", &[4, 12, 20, 29, 37, 45]),
        ("h264_main", &[9, 29, 49, 69, 89, 109]),
        ("h264_high10", &[12, 37, 62, 87, 112, 137]),
        ("frag_keyframe", &[10, 35, 60, 85, 110, 135]),
        ("mkv_as_mp4", &[9, 29, 49, 69, 89, 109]),
        ("mpeg4_sp", &[10, 31, 52, 72, 93, 114]),
        ("no_audio", &[12, 37, 62, 87, 112, 137]),
        ("tiny", &[4, 14, 24, 34, 44, 54]),
        ("vfr", &[12, 37, 51, 63, 76, 88]),
    ];
    let clips = golden_clips();
    let mut wrong = Vec::new();
    for (name, expected) in table {
        let path = clips
            .iter()
            .find(|p| p.file_stem().is_some_and(|s| s == name));
        let bytes = fs::read(path.expect("the golden clip is there")).unwrap();
        let found = frames(&bytes, 6, Budget::default());
        let numbers: Option<Vec<u32>> = found
            .as_ref()
            .ok()
            .map(|f| f.iter().map(|f| f.number).collect());
        if numbers.as_deref() != Some(expected) {
            wrong.push(format!("{name}: {numbers:?} {:?}", found.err()));
        }
        for frame in frames(&bytes, 1, Budget::default()).unwrap_or_default() {
            assert!(frame.jpeg.starts_with(&[0xff, 0xd8]) && frame.jpeg.ends_with(&[0xff, 0xd9]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn junk_gives_no_pictures_and_no_panic() {
    for (name, bytes) in bad_bytes() {
        assert!(frames(&bytes, 6, Budget::default()).is_err(), "{name}");
    }
}
