//! What a clip's container and pictures tell: against ffprobe, and on made clips that are wrong in one way each.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nexis_media::{Asked, Budget, Look, Pool, PoolOptions, facts};
use nexis_protocol::picture::{
    Mark, PictureChecks, Sight, distance, is_black, is_frozen, is_same, is_upscaled,
};

fn ffmpeg(arguments: &str, input: Option<&[u8]>) {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed");
    let mut stdin = child.stdin.take().unwrap();
    // ffmpeg hangs up as soon as it has enough.
    stdin.write_all(input.unwrap_or_default()).ok();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "ffmpeg {arguments}");
}

/// Frames, duration, mean rate and whether there is sound, as ffprobe counts them.
fn peer(path: &Path) -> (u64, f64, f64, bool) {
    let ask = |stream: &str, entries: &str| {
        let output = Command::new("ffprobe")
            .args(["-v", "quiet", "-count_packets", "-select_streams", stream])
            .args(["-show_entries", entries, "-of", "default=nw=1:nk=1"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // Of a stream in a program ffprobe tells twice.
    let packets = ask("v:0", "stream=nb_read_packets");
    let packets = packets.lines().next().unwrap().parse().unwrap();
    let times = ask("v:0", "packet=pts_time");
    let mut times: Vec<f64> = times.lines().filter_map(|line| line.parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    let between = times[times.len() - 1] - times[0];
    let duration = between * times.len() as f64 / (times.len() - 1) as f64;
    let sound = !ask("a:0", "stream=nb_read_packets").trim().is_empty();
    (packets, duration, packets as f64 / duration, sound)
}

#[test]
fn frame_count_rate_duration_and_sound_are_what_ffprobe_counts() {
    let folder = tempfile::tempdir().unwrap();
    let picture = "-f lavfi -i testsrc2=s=128x72:r=RATE:d=2";
    let sound = "-f lavfi -i sine=d=2";
    let x264 = "-c:v libx264 -preset ultrafast";
    let recipes = [
        ("plain.mp4", "30", true, format!("{x264} -c:a aac")),
        (
            "b_frames.mp4",
            "25",
            true,
            "-c:v libx264 -bf 3 -c:a aac".to_owned(),
        ),
        ("silent.mp4", "30000/1001", false, x264.to_owned()),
        (
            "faststart.mov",
            "24",
            true,
            format!("{x264} -c:a aac -movflags +faststart"),
        ),
        (
            "fragmented.mp4",
            "30",
            true,
            format!("{x264} -g 10 -c:a aac -movflags frag_keyframe+empty_moov"),
        ),
        (
            "cmaf.mp4",
            "30",
            true,
            format!("{x264} -g 10 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof"),
        ),
        ("plain.mkv", "30", true, format!("{x264} -c:a aac")),
        (
            "live.mkv",
            "30",
            true,
            format!("{x264} -c:a aac -f matroska -live 1"),
        ),
        (
            "plain.webm",
            "15",
            true,
            "-c:v libvpx -deadline realtime -c:a libopus".to_owned(),
        ),
        (
            "silent.webm",
            "15",
            false,
            "-c:v libvpx -deadline realtime".to_owned(),
        ),
        ("sound.avi", "25", true, "-c:v mpeg4 -c:a mp3".to_owned()),
        ("silent.avi", "15", false, "-c:v mjpeg".to_owned()),
        ("sound.flv", "30", true, format!("{x264} -bf 2 -c:a aac")),
        ("sound.ts", "25", true, format!("{x264} -bf 2 -c:a aac")),
        ("silent.mpg", "25", false, "-c:v mpeg2video".to_owned()),
        ("sound.nut", "24", true, "-c:v mpeg4 -c:a mp2".to_owned()),
    ];
    let pool = Pool::start(PoolOptions {
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-media-child"))),
        ..PoolOptions::new(1)
    });
    let pool = pool.unwrap();
    for (name, rate, with_sound, codecs) in recipes {
        let path = folder.path().join(name);
        let picture = picture.replace("RATE", rate);
        let sound = if with_sound { sound } else { "" };
        ffmpeg(
            &format!("{picture} {sound} {codecs} {}", path.display()),
            None,
        );
        let clip = fs::read(&path).unwrap();
        let (frames, duration, fps, sound) = peer(&path);
        let ours = pool.look(&clip, 0, Budget::default()).unwrap().facts;
        assert_eq!(ours.frames, Some(frames), "{name}");
        assert_eq!(ours.has_audio, Some(sound), "{name}");
        assert!(
            (ours.duration_sec.unwrap() - duration).abs() < 0.02,
            "{name}: {ours:?}, {duration}"
        );
        assert!(
            (ours.fps.unwrap() / fps - 1.0).abs() < 0.01,
            "{name}: {ours:?}, {fps}"
        );
    }
}

#[test]
fn samples_that_are_not_in_the_file_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let source = "-f lavfi -i testsrc2=s=320x180:r=30:d=2 -c:v libx264 -movflags +faststart";
    ffmpeg(&format!("{source} {}", path.display()), None);
    let clip = fs::read(&path).unwrap();
    assert_eq!(facts(&clip).frames, Some(60));
    let cut = facts(&clip[..clip.len() * 3 / 4]);
    assert!(cut.frames > Some(10) && cut.frames < Some(60), "{cut:?}");
    assert!(cut.duration_sec.unwrap() < 1.9, "{cut:?}");
    for end in (0..clip.len()).step_by(977) {
        facts(&clip[..end]);
    }
    let mut damaged = clip;
    for at in 0..2_000 {
        damaged[at] ^= 0xff;
        facts(&damaged);
        damaged[at] ^= 0xff;
    }
}

const WIDTH: usize = 1400;
const HEIGHT: usize = 800;

/// Noise with the amplitude of natural pictures: 1/f at frequency f. The same for the same seed.
fn landscape(seed: u32) -> Vec<u8> {
    let lattice = |x: usize, y: usize, octave: u32| {
        let mut bits =
            seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
        bits = (bits ^ octave.wrapping_mul(0xc2b2_ae3d)).wrapping_mul(0x27d4_eb2f);
        bits = (bits ^ (bits >> 15)).wrapping_mul(0x1656_67b1);
        ((bits ^ (bits >> 13)) & 0xffff) as f32 / 65_535.0 - 0.5
    };
    let mut values = vec![0f32; WIDTH * HEIGHT];
    for octave in 0..10 {
        let cell = (512 >> octave) as f32;
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (u, v) = (x as f32 / cell, y as f32 / cell);
                let (i, j) = (u as usize, v as usize);
                let (a, b) = (u.fract(), v.fract());
                let top = lattice(i, j, octave) * (1.0 - a) + lattice(i + 1, j, octave) * a;
                let low = lattice(i, j + 1, octave) * (1.0 - a) + lattice(i + 1, j + 1, octave) * a;
                values[y * WIDTH + x] += (top * (1.0 - b) + low * b) * cell.sqrt() * 7.0;
            }
        }
    }
    values
        .iter()
        .map(|value| (120.0 + value).clamp(16.0, 235.0) as u8)
        .collect()
}

/// Makes clips and looks at them.
struct Studio {
    folder: tempfile::TempDir,
    pool: Pool,
}

impl Studio {
    fn open() -> Self {
        let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-media-child")));
        let options = PoolOptions {
            program,
            ..PoolOptions::new(1)
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            pool: Pool::start(options).unwrap(),
        }
    }

    /// 4 s of `picture` that the camera pans over, through a filter, encoded.
    fn clip(&self, picture: &[u8], filter: &str, codec: &str) -> Vec<u8> {
        self.film(picture, "2*n:n", filter, codec)
    }

    /// 4 s of `picture` from where the camera is in frame n, through a filter, encoded.
    fn film(&self, picture: &[u8], camera: &str, filter: &str, codec: &str) -> Vec<u8> {
        let path = self.folder.path().join("clip.mp4");
        let pan = format!("crop=1280:720:{camera},{filter},format=yuv420p");
        ffmpeg(
            &format!(
                "-f rawvideo -pix_fmt gray -s {WIDTH}x{HEIGHT} -r 10 -i - -vf loop=39:1:0,{pan} {codec} {}",
                path.display()
            ),
            Some(picture),
        );
        fs::read(path).unwrap()
    }

    fn source(&self, input: &str, name: &str) -> Vec<u8> {
        let path = self.folder.path().join(name);
        ffmpeg(&format!("-f lavfi -i {input} {}", path.display()), None);
        fs::read(path).unwrap()
    }

    /// What `clip` begins with, as a picture file.
    fn first_frame(&self, clip: &[u8], name: &str) -> Vec<u8> {
        let (from, to) = (
            self.folder.path().join("from.mp4"),
            self.folder.path().join(name),
        );
        fs::write(&from, clip).unwrap();
        ffmpeg(
            &format!("-i {} -frames:v 1 {}", from.display(), to.display()),
            None,
        );
        fs::read(to).unwrap()
    }

    fn look(&self, clip: &[u8], asset: Option<&[u8]>, sight: PictureChecks) -> Look {
        let asked = Asked {
            clip,
            asset,
            pictures: 0,
            sight,
            budget: Budget::default(),
        };
        self.pool.look_at(asked).unwrap()
    }

    fn sampled(&self, clip: &[u8]) -> Vec<Mark> {
        let marks = self.look(clip, None, PictureChecks::All).seen.sampled;
        assert!(marks.len() >= 4, "{marks:?}");
        marks
    }
}

fn mark(sight: Sight) -> Mark {
    *sight.mark().unwrap_or_else(|| panic!("{sight:?}"))
}

const GOOD: &str = "-c:v libx264 -preset veryfast -crf 23";
const POOR: &str = "-c:v libx264 -preset veryfast -b:v 900k";

#[test]
fn first_frames_match_their_clip_in_any_format_and_size_and_no_other() {
    let studio = Studio::open();
    let clip = studio.clip(&landscape(1), "null", GOOD);
    let other = studio.clip(&landscape(2), "null", GOOD);
    let half = studio.clip(&landscape(1), "scale=640:360", POOR);
    for name in ["a.jpg", "a.png", "a.webp"] {
        let asset = studio.first_frame(&clip, name);
        let seen = studio.look(&clip, Some(&asset), PictureChecks::First).seen;
        let (first, asset) = (mark(seen.first), mark(seen.asset));
        assert!(
            distance(&first, &asset) <= 3,
            "{name}: {}",
            distance(&first, &asset)
        );
        assert!(seen.sampled.is_empty(), "only the first was asked for");
    }
    let small = studio.first_frame(&half, "small.jpg");
    let seen = studio.look(&clip, Some(&small), PictureChecks::First).seen;
    assert!(is_same(&mark(seen.first), &mark(seen.asset)));
    let wrong = studio.first_frame(&other, "wrong.jpg");
    let seen = studio.look(&clip, Some(&wrong), PictureChecks::First).seen;
    assert!(!is_same(&mark(seen.first), &mark(seen.asset)));
    for junk in [&b"no picture"[..], &small[..200], b"\x89PNG\r\n\x1a\n"] {
        let look = studio.look(&clip, Some(junk), PictureChecks::First);
        assert_eq!(look.seen.asset, Sight::Undecodable);
        mark(look.seen.first);
        assert!(look.size.is_ok() && look.lost.is_none());
    }
    let look = studio.look(b"no clip", Some(&small), PictureChecks::All);
    assert_eq!(look.seen.first, Sight::NotLooked, "it has no size already");
    let off = studio.look(&clip, Some(&small), PictureChecks::Off).seen;
    assert_eq!(off, Default::default());
}

#[test]
fn black_frozen_and_upscaled_pictures_are_told_from_honest_ones() {
    let studio = Studio::open();
    let picture = landscape(3);
    let honest = [
        ("good", studio.clip(&picture, "null", GOOD)),
        ("poor", studio.clip(&picture, "null", POOR)),
        ("soft", studio.clip(&picture, "gblur=sigma=1", GOOD)),
        // A lens may be as soft as that.
        (
            "from half",
            studio.clip(&picture, "scale=640:360,scale=1280:720:flags=bicubic", GOOD),
        ),
        ("dark", studio.clip(&picture, "eq=brightness=-0.3", GOOD)),
        (
            "bars",
            studio.clip(
                &picture,
                "drawbox=h=90:t=fill:color=black,drawbox=y=630:h=90:t=fill:color=black",
                GOOD,
            ),
        ),
    ];
    for (name, clip) in &honest {
        let marks = studio.sampled(clip);
        println!("{name}: {marks:?}");
        assert!(!is_frozen(&marks), "{name}: {marks:?}");
        assert!(!marks.iter().any(is_black), "{name}: {marks:?}");
        assert!(
            marks.iter().all(|mark| is_upscaled(mark) != Some(true)),
            "{name}: {marks:?}"
        );
    }
    for (name, filter) in [
        (
            "quarter, bicubic",
            "scale=320:180,scale=1280:720:flags=bicubic",
        ),
        (
            "quarter, lanczos",
            "scale=320:180,scale=1280:720:flags=lanczos",
        ),
    ] {
        for codec in [GOOD, POOR] {
            let marks = studio.sampled(&studio.clip(&picture, filter, codec));
            println!("{name} {codec}: {marks:?}");
            assert!(
                marks.iter().all(|mark| is_upscaled(mark) == Some(true)),
                "{name}: {marks:?}"
            );
            assert!(!is_frozen(&marks), "{name}: {marks:?}");
        }
    }
    for codec in [GOOD, POOR] {
        let marks = studio.sampled(&studio.film(&picture, "0:0", "null", codec));
        println!("still {codec}: {marks:?}");
        assert!(is_frozen(&marks), "{marks:?}");
    }
    let black = studio.source("color=black:s=1280x720:r=10:d=4", "black.mp4");
    let marks = studio.sampled(&black);
    assert!(marks.iter().all(is_black), "{marks:?}");
}

#[test]
fn a_reencoded_copy_looks_the_same_and_another_clip_does_not() {
    let studio = Studio::open();
    let original = studio.sampled(&studio.clip(&landscape(4), "null", GOOD));
    let copy = studio.sampled(&studio.clip(&landscape(4), "eq=brightness=0.05:contrast=1.1", POOR));
    let other = studio.sampled(&studio.clip(&landscape(5), "null", GOOD));
    for (number, mark) in original.iter().enumerate() {
        assert!(
            distance(mark, &copy[number]) <= 6,
            "{}",
            distance(mark, &copy[number])
        );
        let nearest = other.iter().map(|other| distance(mark, other)).min();
        assert!(nearest > Some(12), "{nearest:?}");
    }
}
