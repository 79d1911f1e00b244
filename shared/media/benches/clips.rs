//! What does one clip cost, in processor time and memory, beside the peer that spawns ffprobe and ffmpeg and beside
//! the floor? One run, one table: `cargo bench -p nexis-media --bench clips`.
//!
//! Processor time is that of this process and of all children, so a busy machine changes it little; wall time and the
//! scaling over cores want a machine that is idle. `-- 40` measures forty clips per line instead of twenty.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use nexis_media::{Budget, Pool, PoolOptions, child_main, sha256};

/// 5 s of 1280x720 H.264 with AAC, 1 to 2 MB.
fn clip(path: &Path) -> Vec<u8> {
    run(
        "ffmpeg",
        &format!(
            "-v error -y -f lavfi -i testsrc2=s=1280x720:r=30:d=5 -f lavfi -i sine=d=5 -vf noise=alls=6:allf=t \
             -c:v libx264 -preset veryfast -b:v 2500k -maxrate 2500k -bufsize 2500k -pix_fmt yuv420p -c:a aac {}",
            path.display()
        ),
    );
    let bytes = fs::read(path).unwrap();
    assert!(
        (1_000_000..2_000_000).contains(&bytes.len()),
        "{} bytes",
        bytes.len()
    );
    bytes
}

/// Runs a program to its end; its peak memory in KiB, as far as a look every millisecond sees it.
fn run(program: &str, words: &str) -> u64 {
    let mut child = Command::new(program)
        .args(words.split_whitespace())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    loop {
        peak = peak.max(high_water(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{program} {words}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `VmHWM` of a process, KiB; 0 when it is gone.
fn high_water(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The numbers behind the name in proc(5)'s `stat`, from the third field on.
fn stat(id: u32) -> Vec<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |found| found.1);
    fields
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect()
}

/// Processes that run for us now.
fn children() -> Vec<u32> {
    let here = u64::from(std::process::id());
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| stat(*id).get(1) == Some(&here))
        .collect()
}

/// Processor time so far of this process, of its living children and of those that have ended.
fn cpu() -> Duration {
    let own: u64 = stat(std::process::id()).iter().skip(11).take(4).sum();
    let theirs = children().into_iter();
    let theirs: u64 = theirs
        .map(|id| stat(id).iter().skip(11).take(2).sum::<u64>())
        .sum();
    Duration::from_millis((own + theirs) * 10)
}

/// One line of the table.
struct Line {
    name: &'static str,
    wall: f64,
    cpu: f64,
    peak_mib: f64,
}

/// Does `work` `rounds` times; it gives the peak memory of what it spawned, in KiB.
fn measure(name: &'static str, rounds: u32, mut work: impl FnMut() -> u64) -> Line {
    let mut spawned = work();
    let (wall, before) = (Instant::now(), cpu());
    for _ in 0..rounds {
        spawned = spawned.max(work());
    }
    let (wall, cpu) = (wall.elapsed(), cpu() - before);
    let own = high_water(std::process::id()) + children().into_iter().map(high_water).sum::<u64>();
    let per_clip = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(rounds);
    let line = Line {
        name,
        wall: per_clip(wall),
        cpu: per_clip(cpu),
        peak_mib: if spawned > 0 { spawned } else { own } as f64 / 1024.0,
    };
    println!(
        "| {:<44} | {:>8.2} | {:>8.2} | {:>8.1} | {:>6.0} |",
        line.name,
        line.wall,
        line.cpu,
        1e3 / line.cpu.max(0.01),
        line.peak_mib
    );
    line
}

fn demux(line: &str) -> u64 {
    let pipeline = gst::parse::launch(line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
    assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).unwrap();
    0
}

/// What a worker does with a clip.
fn look(pool: &Pool, bytes: &[u8], pictures: u8) -> u64 {
    std::hint::black_box(sha256(bytes));
    let look = pool.look(bytes, pictures, Budget::default()).unwrap();
    assert_eq!(look.size.unwrap().width, 1280);
    assert_eq!(look.pictures.unwrap().len(), usize::from(pictures));
    0
}

/// The same with a clip that need not be one.
fn look_at_any(pool: &Pool, bytes: &[u8]) -> u64 {
    std::hint::black_box(sha256(bytes));
    let look = pool.look(bytes, 0, Budget::default()).unwrap();
    assert!(look.lost.is_none());
    0
}

/// Bytes that look like nothing.
fn junk(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn table(bytes: &[u8], path: &Path, rounds: u32) {
    println!(
        "| what, for one clip of {} bytes | wall ms | CPU ms | clips/s/core | peak MiB |",
        bytes.len()
    );
    println!("| --- | --- | --- | --- | --- |");
    let (here, folder) = (path.display(), path.parent().unwrap().display());
    let pool = Pool::start(PoolOptions::new(1)).unwrap();
    let ours_a = measure("(a) hash + resolution, sandboxed", rounds * 20, || {
        look(&pool, bytes, 0)
    });
    let ours_b = measure("(b) and six frames, sandboxed", rounds, || {
        look(&pool, bytes, 6)
    });
    // One more box behind the end: libavformat is asked.
    let unusual = [bytes, &b"\0\0\0\x08skip"[..]].concat();
    assert!(nexis_media::settled(&unusual).is_none());
    measure("(a) of a clip that is not ordinary", rounds * 5, || {
        look(&pool, &unusual, 0)
    });
    let junk = junk(bytes.len());
    measure("(a) of junk", rounds * 2, || look_at_any(&pool, &junk));
    drop(pool);
    let peer_size = || {
        std::hint::black_box(sha256(bytes));
        fs::write(path, bytes).unwrap();
        let entries = "-select_streams v:0 -show_entries stream=width,height -of json";
        run("ffprobe", &format!("-v error {entries} {here}"))
    };
    let peer_a = measure("(a) the peer: a file and an ffprobe", rounds, peer_size);
    let peer_b = measure("(b) the peer: and an ffmpeg", rounds, || {
        let frames = format!("-vf fps=6/5 -frames:v 6 {folder}/%d.jpg");
        peer_size().max(run("ffmpeg", &format!("-v error -y -i {here} {frames}")))
    });
    let decode = measure("one ffmpeg decode of the frames, 1 thread", rounds, || {
        let frames = "-map 0:v:0 -vf fps=6/5 -frames:v 6 -f null -";
        run("ffmpeg", &format!("-v error -threads 1 -i {here} {frames}"))
    });
    // The floor comes last: GStreamer in this process would count into the peak of all others.
    let hash = measure("floor: SHA-256", rounds * 20, || {
        std::hint::black_box(sha256(bytes));
        0
    });
    nexis_media::init().unwrap();
    let floor = format!("filesrc location={here} ! qtdemux ! h264parse ! fakesink");
    let walk = measure("floor: GStreamer demux + parse", rounds * 20, || {
        demux(&floor)
    });
    println!();
    println!(
        "(a) {:.0} x the peer per core (aim 30)",
        peer_a.cpu / ours_a.cpu
    );
    println!(
        "(a) {:.2} x the floor (aim 3)",
        ours_a.cpu / (hash.cpu + walk.cpu)
    );
    println!(
        "(b) {:.2} x the peer per core (aim 2)",
        peer_b.cpu / ours_b.cpu
    );
    println!("(b) {:.2} x a one-thread decode", decode.cpu / ours_b.cpu);
}

/// Clips per second with `threads` children at work.
fn rate(bytes: &[u8], threads: u32, rounds: u32, pictures: u8) -> f64 {
    let pool = Pool::start(PoolOptions::new(threads as usize)).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    look(&pool, bytes, pictures);
                }
            });
        }
    });
    f64::from(threads * rounds) / began.elapsed().as_secs_f64()
}

fn scaling(bytes: &[u8], rounds: u32) {
    println!();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, pictures, rounds) in [("(a)", 0, rounds * 20), ("(b)", 6, rounds)] {
        let one = rate(bytes, 1, rounds, pictures);
        for threads in 1..=u32::try_from(cores).unwrap() {
            let many = rate(bytes, threads, rounds, pictures);
            let linear = many / (one * f64::from(threads)) * 100.0;
            println!(
                "{name} {threads} at a time: {many:.1} clips/s, {linear:.0} % of linear (aim 90)"
            );
        }
    }
}

fn main() -> ExitCode {
    // The children of the pool are this same program.
    if let Some(code) = child_main() {
        return u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    let rounds = std::env::args()
        .find_map(|word| word.parse().ok())
        .unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let bytes = clip(&path);
    assert!(nexis_media::settled(&bytes).is_some());
    table(&bytes, &path, rounds);
    scaling(&bytes, rounds);
    ExitCode::SUCCESS
}
