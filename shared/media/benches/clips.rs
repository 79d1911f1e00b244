//! What does one clip cost? Each bench says its question; `taskset -c 0 cargo bench -p nexis-media` asks it per core.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use gstreamer as gst;
use gstreamer::prelude::*;
use nexis_media::{Budget, Pool, PoolOptions, child_main, frames, probe, sha256};

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

fn run(program: &str, words: &str) {
    let status = Command::new(program)
        .args(words.split_whitespace())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{program} {words}");
}

fn demux(pipeline: &gst::Element) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
    assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).unwrap();
}

fn benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let bytes = clip(&path);
    let here = path.display().to_string();
    let into = folder.path().join("%d.jpg").display().to_string();
    let pool = Pool::start(PoolOptions::new(1)).unwrap();
    nexis_media::init().unwrap();
    let mut group = criterion.benchmark_group("one clip");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    group
        .measurement_time(Duration::from_secs(4))
        .throughput(Throughput::Elements(1));

    // What must be paid in any case: reading every byte once for its digest?
    group.bench_function("floor: sha-256", |b| b.iter(|| sha256(&bytes)));
    // What does GStreamer take to walk the container and parse the stream, decoding nothing?
    let line = format!("filesrc location={here} ! qtdemux ! h264parse ! fakesink");
    group.bench_function("floor: demux and parse", |b| {
        b.iter(|| demux(&gst::parse::launch(&line).unwrap()));
    });
    // What does (a) cost without walls?
    group.bench_function("a: hash and resolution, in process", |b| {
        b.iter(|| (sha256(&bytes), probe(&bytes).unwrap()));
    });
    // What does a worker pay for (a), hand-over to the child and back included?
    group.bench_function("a: hash and resolution, sandboxed", |b| {
        b.iter(|| {
            let look = pool.look(&bytes, 0, Budget::default()).unwrap();
            (sha256(&bytes), look.size.unwrap())
        });
    });
    // What does the peer pay for (a): a file and an ffprobe per clip?
    let entries = "-v error -select_streams v:0 -show_entries stream=width,height -of json";
    let peer_size = || {
        let digest = sha256(&bytes);
        fs::write(&path, &bytes).unwrap();
        run("ffprobe", &format!("{entries} {here}"));
        digest
    };
    group.bench_function("a: hash and resolution, spawning peer", |b| {
        b.iter(peer_size);
    });
    // What does (b) cost without walls?
    group.bench_function("b: and six frames, in process", |b| {
        b.iter(|| {
            let found = frames(&bytes, 6, Budget::default()).unwrap();
            assert_eq!(found.len(), 6);
            (sha256(&bytes), probe(&bytes).unwrap(), found)
        });
    });
    // What does a worker pay for (b)?
    group.bench_function("b: and six frames, sandboxed", |b| {
        b.iter(|| {
            let look = pool.look(&bytes, 6, Budget::default()).unwrap();
            assert_eq!(look.pictures.unwrap().len(), 6);
            (sha256(&bytes), look.size.unwrap())
        });
    });
    // What does the peer pay for (b): ffprobe, and ffmpeg writing six pictures?
    group.bench_function("b: and six frames, spawning peer", |b| {
        b.iter(|| {
            peer_size();
            run(
                "ffmpeg",
                &format!("-v error -y -i {here} -vf fps=6/5 -frames:v 6 {into}"),
            );
        });
    });
    // What is a one-thread decode of the same frames alone, with nothing written?
    group.bench_function("single ffmpeg decode", |b| {
        b.iter(|| {
            let rest = "-map 0:v:0 -vf fps=6/5 -frames:v 6 -f null -";
            run("ffmpeg", &format!("-v error -threads 1 -i {here} {rest}"));
        });
    });
    group.finish();
}

fn main() -> ExitCode {
    // The children of the pool are this same program.
    if let Some(code) = child_main() {
        return u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}
