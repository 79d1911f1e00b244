//! Every container and every codec that ffmpeg can make, judged by ffprobe and by a child of the pool: whole, cut off,
//! and damaged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "ffprobe/mod.rs"]
mod ffprobe;
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

use ffprobe::{differing, make, run, side_by_side};
use mutate::{Dice, mutant};

/// Muxers of ffmpeg: the name, the size of the picture, and how the rest is made.
const MUXERS: [(&str, &str, &str); 62] = [
    ("3g2", "352x288", "-c:v h263"),
    ("3gp", "352x288", "-c:v mpeg4"),
    (
        "aiff",
        "320x180",
        "-f lavfi -i sine=d=0.2 -map 1 -map 0 -c:v png -frames:v 1 -write_id3v2 1 -disposition:v attached_pic",
    ),
    (
        "amv",
        "320x192",
        "-f lavfi -i sine=d=0.2 -c:v amv -pix_fmt yuvj420p -strict -1 -r 25 -ar 22050 -block_size 882",
    ),
    ("apng", "320x180", "-c:v apng"),
    ("asf", "320x180", "-c:v msmpeg4"),
    ("asf_stream", "320x180", "-c:v msmpeg4"),
    ("avi", "320x180", "-c:v mpeg4"),
    (
        "avif",
        "320x180",
        "-c:v libaom-av1 -usage realtime -cpu-used 8 -frames:v 1",
    ),
    ("avm2", "320x180", "-c:v flv1"),
    ("a64", "320x180", "-c:v a64multi"),
    ("dirac", "160x96", "-c:v vc2"),
    (
        "dnxhd",
        "1920x1080",
        "-c:v dnxhd -b:v 120M -pix_fmt yuv422p",
    ),
    (
        "dv",
        "720x576",
        "-f lavfi -i sine=d=0.2:r=48000 -ac 2 -c:v dvvideo -pix_fmt yuv420p",
    ),
    ("dvd", "320x180", "-c:v mpeg2video"),
    ("f4v", "320x180", "-c:v libx264"),
    ("film_cpk", "320x180", "-c:v cinepak"),
    ("filmstrip", "96x64", "-c:v rawvideo -pix_fmt rgba"),
    ("fits", "96x64", "-c:v fits"),
    (
        "flac",
        "320x180",
        "-f lavfi -i sine=d=0.2 -map 1 -map 0 -c:v png -frames:v 1 -disposition:v attached_pic",
    ),
    ("flv", "320x180", "-c:v flv1"),
    ("gif", "320x180", "-c:v gif"),
    ("gxf", "720x576", "-c:v mpeg2video"),
    ("h261", "352x288", "-c:v h261"),
    ("h263", "352x288", "-c:v h263"),
    ("h264", "320x180", "-c:v libx264"),
    (
        "hevc",
        "320x180",
        "-c:v libx265 -x265-params log-level=none",
    ),
    ("ico", "320x180", "-s 64x64 -c:v bmp -frames:v 1"),
    ("image2pipe", "320x180", "-c:v mjpeg"),
    ("ipod", "320x180", "-c:v libx264"),
    ("ismv", "320x180", "-c:v libx264"),
    ("ivf", "320x180", "-c:v libvpx -deadline realtime"),
    ("m4v", "320x180", "-c:v mpeg4"),
    ("matroska", "320x180", "-c:v libx264"),
    ("mjpeg", "320x180", "-c:v mjpeg"),
    ("mov", "320x180", "-c:v libx264"),
    (
        "mp3",
        "320x180",
        "-f lavfi -i sine=d=0.2 -map 1 -map 0 -c:v png -frames:v 1",
    ),
    ("mp4", "320x180", "-c:v libx264"),
    ("mpeg", "320x180", "-c:v mpeg1video"),
    ("mpeg1video", "320x180", "-c:v mpeg1video"),
    ("mpeg2video", "320x180", "-c:v mpeg2video"),
    ("mpegts", "320x180", "-c:v mpeg2video"),
    ("mpjpeg", "320x180", "-c:v mjpeg"),
    ("mxf", "320x180", "-c:v mpeg2video"),
    (
        "mxf_opatom",
        "1920x1080",
        "-c:v dnxhd -b:v 120M -pix_fmt yuv422p",
    ),
    ("nut", "320x180", "-c:v mpeg4"),
    (
        "obu",
        "320x180",
        "-c:v libaom-av1 -usage realtime -cpu-used 8",
    ),
    ("ogg", "320x180", "-c:v libtheora"),
    ("ogv", "320x180", "-c:v libtheora"),
    (
        "psp",
        "320x240",
        "-f lavfi -i sine=d=0.2 -r 30000/1001 -c:v libx264 -pix_fmt yuv420p -c:a aac -ar 48000 -ac 2",
    ),
    ("rawvideo", "96x64", "-c:v rawvideo"),
    ("rm", "352x288", "-c:v rv10"),
    ("roq", "320x180", "-s 320x192 -r 30 -c:v roqvideo"),
    ("smjpeg", "320x180", "-c:v mjpeg"),
    ("svcd", "320x180", "-c:v mpeg2video"),
    ("swf", "320x180", "-c:v flv1"),
    ("vcd", "320x180", "-c:v mpeg1video"),
    ("vob", "320x180", "-c:v mpeg2video"),
    ("webm", "320x180", "-c:v libvpx-vp9 -deadline realtime"),
    ("webp", "320x180", "-c:v libwebp"),
    ("wtv", "320x180", "-c:v mpeg2video"),
    ("yuv4mpegpipe", "96x64", "-frames:v 2"),
];

/// Encoders: the name, the size of the picture, a container that takes it, and what else it wants.
const ENCODERS: [(&str, &str, &str, &str); 99] = [
    ("alias_pix", "320x180", "avi", ""),
    ("amv", "320x192", "nut", "-pix_fmt yuvj420p -strict -1"),
    ("apng", "320x180", "avi", ""),
    ("asv1", "320x192", "nut", ""),
    ("asv2", "320x192", "nut", ""),
    (
        "libaom-av1",
        "320x180",
        "nut",
        "-usage realtime -cpu-used 8",
    ),
    ("librav1e", "320x180", "nut", "-speed 10"),
    ("libsvtav1", "320x180", "nut", "-preset 12"),
    ("avrp", "320x180", "avi", ""),
    ("avui", "720x486", "avi", "-strict -2"),
    ("ayuv", "320x180", "nut", ""),
    ("bmp", "320x180", "avi", ""),
    ("cfhd", "320x192", "nut", "-strict -2"),
    ("cinepak", "320x180", "nut", ""),
    ("cljr", "320x180", "nut", ""),
    ("vc2", "320x180", "nut", ""),
    (
        "dnxhd",
        "1920x1080",
        "avi",
        "-b:v 120M -pix_fmt yuv422p -frames:v 1",
    ),
    ("dpx", "320x180", "nut", ""),
    ("dvvideo", "720x576", "nut", "-pix_fmt yuv420p"),
    ("exr", "320x180", "avi", ""),
    ("ffv1", "320x180", "nut", ""),
    ("ffvhuff", "320x180", "nut", ""),
    ("fits", "320x180", "avi", ""),
    ("flashsv", "320x180", "nut", ""),
    ("flashsv2", "320x180", "avi", ""),
    ("flv", "320x180", "nut", ""),
    ("gif", "320x180", "nut", ""),
    ("h261", "352x288", "nut", ""),
    ("h263", "352x288", "nut", ""),
    ("h263p", "320x180", "nut", ""),
    ("libx264", "320x180", "nut", ""),
    ("libx264rgb", "320x180", "nut", ""),
    ("hap", "320x180", "nut", ""),
    ("libx265", "320x180", "nut", ""),
    ("huffyuv", "320x180", "nut", ""),
    ("jpeg2000", "320x180", "nut", ""),
    ("libopenjpeg", "320x180", "nut", ""),
    ("jpegls", "320x180", "nut", ""),
    ("libjxl", "320x180", "avi", ""),
    ("magicyuv", "320x180", "nut", ""),
    ("mjpeg", "320x180", "nut", ""),
    ("mpeg1video", "320x180", "nut", ""),
    ("mpeg2video", "320x180", "nut", ""),
    ("mpeg4", "320x180", "nut", ""),
    ("libxvid", "320x180", "nut", ""),
    ("msmpeg4v2", "320x180", "nut", ""),
    ("msmpeg4", "320x180", "nut", ""),
    ("msvideo1", "320x180", "nut", ""),
    ("pam", "320x180", "avi", ""),
    ("pbm", "320x180", "avi", ""),
    ("pcx", "320x180", "avi", ""),
    ("pfm", "320x180", "avi", ""),
    ("pgm", "320x180", "avi", ""),
    ("pgmyuv", "320x180", "avi", ""),
    ("phm", "320x180", "avi", ""),
    ("png", "320x180", "nut", ""),
    ("ppm", "320x180", "avi", ""),
    ("prores", "320x180", "nut", ""),
    ("prores_aw", "320x180", "nut", ""),
    ("prores_ks", "320x180", "nut", ""),
    ("qoi", "320x180", "avi", ""),
    ("qtrle", "320x180", "avi", ""),
    ("r10k", "320x180", "nut", ""),
    ("r210", "320x180", "nut", ""),
    ("rawvideo", "320x180", "nut", ""),
    ("roqvideo", "320x192", "avi", "-r 30"),
    ("rpza", "320x180", "nut", ""),
    ("rv10", "352x288", "avi", ""),
    ("rv20", "352x288", "avi", ""),
    ("sgi", "320x180", "avi", ""),
    ("smc", "320x180", "avi", ""),
    ("snow", "320x192", "nut", "-strict -2"),
    ("speedhq", "320x180", "nut", ""),
    ("sunrast", "320x180", "avi", ""),
    ("svq1", "320x180", "nut", ""),
    ("targa", "320x180", "nut", ""),
    ("libtheora", "320x180", "nut", ""),
    ("tiff", "320x180", "avi", ""),
    ("utvideo", "320x180", "nut", ""),
    ("v210", "320x180", "nut", ""),
    ("v308", "320x180", "nut", ""),
    ("v408", "320x180", "nut", ""),
    ("v410", "320x180", "nut", ""),
    ("libvpx", "320x180", "nut", "-deadline realtime"),
    ("libvpx-vp9", "320x180", "nut", "-deadline realtime"),
    ("libwebp_anim", "320x180", "avi", ""),
    ("libwebp", "320x180", "avi", ""),
    ("wmv1", "320x180", "nut", ""),
    ("wmv2", "320x180", "nut", ""),
    ("xbm", "320x180", "avi", ""),
    ("xface", "48x48", "nut", ""),
    ("xwd", "320x180", "avi", ""),
    ("y41p", "320x180", "nut", ""),
    ("yuv4", "320x180", "nut", ""),
    ("zlib", "320x180", "nut", ""),
    ("zmbv", "320x180", "nut", ""),
    ("a64multi", "320x180", "nut", ""),
    ("a64multi5", "320x180", "nut", ""),
    ("ljpeg", "320x180", "nut", "-strict -1 -pix_fmt bgr0"),
];

/// Encoders of single pictures, written as a file of their own.
const PICTURES: [&str; 26] = [
    "bmp", "dpx", "exr", "jpeg2000", "jpegls", "libjxl", "pam", "pbm", "pcx", "pfm", "pgm",
    "pgmyuv", "phm", "png", "ppm", "qoi", "sgi", "sunrast", "targa", "tiff", "xbm", "xwd",
    "libwebp", "mjpeg", "gif", "fits",
];

/// Muxers that take video and make nothing to be judged here, with the reason.
const NOT_MADE: [(&str, &str); 7] = [
    ("mxf_d10", "wants a stream that no encoder here makes"),
    ("avs2 avs3 cavsvideo vc1 vc1test", "no encoder"),
    (
        "dash hds hls segment smoothstreaming stream_segment ssegment tee fifo fifo_test",
        "writes other files",
    ),
    (
        "image2",
        "writes numbered files; their content is that of image2pipe",
    ),
    ("rtp rtp_mpegts rtsp sap", "the network"),
    (
        "caca fbdev opengl sdl,sdl2 video4linux2,v4l2 xv",
        "a device",
    ),
    (
        "crc framecrc framehash framemd5 hash md5 mkvtimestamp_v2 null streamhash uncodedframecrc ffmetadata",
        "text about the content",
    ),
];

/// Where containers are cut off, and single codecs: parts of a hundred.
const CUTS: [usize; 4] = [15, 45, 75, 97];
const CUT: [usize; 1] = [60];

fn input(size: &str) -> String {
    format!("-f lavfi -i testsrc2=s={size}:r=25:d=0.2")
}

/// The file whole, cut off at each place, and damaged once.
fn cases(path: &Path, cuts: &[usize], number: usize) -> Vec<(String, Vec<u8>)> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let bytes = fs::read(path).unwrap();
    let mut cases: Vec<_> = cuts
        .iter()
        .map(|part| {
            let cut = bytes[..bytes.len() * part / 100].to_vec();
            (format!("{name} cut at {part} %"), cut)
        })
        .collect();
    if cuts.len() > 1 {
        let damaged = mutant(std::slice::from_ref(&bytes), &mut Dice(number as u64));
        cases.push((format!("{name} damaged"), damaged));
    }
    cases.push((name, bytes));
    cases
}

fn judge(folder: &Path, made: &[PathBuf], cuts: &[usize]) {
    let cases: Vec<_> = made
        .iter()
        .enumerate()
        .flat_map(|(number, path)| cases(path, cuts, number))
        .collect();
    let wrong = differing(folder, &cases);
    println!(
        "{} files, {} cases, {} differ",
        made.len(),
        cases.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_container_that_ffmpeg_makes_has_the_size_of_ffprobe() {
    let folder = tempfile::tempdir().unwrap();
    let made = side_by_side(&MUXERS, |(muxer, size, how)| {
        let how = format!("{} {how} -f {muxer}", input(size));
        make(folder.path(), &format!("{muxer}.container"), &how)
    });
    judge(folder.path(), &made, &CUTS);
    let (_, listed) = run("ffmpeg", &["-v", "quiet", "-muxers"]);
    let names = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  E ")?.split(' ').next());
    let known = |name: &&str| {
        let not_made = NOT_MADE.iter().flat_map(|entry| entry.0.split(' '));
        MUXERS
            .iter()
            .map(|entry| entry.0)
            .chain(not_made)
            .any(|other| other == *name)
    };
    let left: Vec<_> = names.filter(|name| !known(name)).collect();
    println!("not made: {NOT_MADE:?}\nwithout video, or not known to this test: {left:?}");
}

#[test]
fn every_codec_that_ffmpeg_makes_has_the_size_of_ffprobe() {
    let folder = tempfile::tempdir().unwrap();
    let made = side_by_side(&ENCODERS, |(encoder, size, muxer, how)| {
        let how = format!(
            "{} -frames:v 3 -c:v {encoder} {how} -f {muxer}",
            input(size)
        );
        make(folder.path(), &format!("{encoder}.codec"), &how)
    });
    let pictures = side_by_side(&PICTURES, |encoder| {
        let how = format!(
            "{} -frames:v 1 -c:v {encoder} -f image2pipe",
            input("96x64")
        );
        make(folder.path(), &format!("{encoder}.picture"), &how)
    });
    judge(folder.path(), &[made, pictures].concat(), &CUT);
}

/// `NEXIS_DAMAGED=2000 NEXIS_DAMAGED_SEED=7` judges more.
#[test]
fn damaged_clips_have_the_size_of_ffprobe() {
    let number = |name: &str, otherwise| match std::env::var(name) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => otherwise,
    };
    let (count, seed): (u64, u64) = (
        number("NEXIS_DAMAGED", 120),
        number("NEXIS_DAMAGED_SEED", 1),
    );
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/clip");
    let mut paths: Vec<_> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let cases: Vec<_> = (0..count)
        .map(|place| {
            (
                format!("mutant {place} of seed {seed}"),
                mutant(&seeds, &mut Dice(seed ^ place << 20)),
            )
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let wrong = differing(folder.path(), &cases);
    println!("{count} damaged clips, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
