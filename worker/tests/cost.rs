//! What small data sets that expand to a lot cost a worker: the whole job, from the bytes to a report that is read back.
//! Each case is a test of its own, so that a test runner which gives each test a process can measure its memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
use nexis_protocol::manifest::Manifest;
use nexis_protocol::profile::Profile;
use nexis_protocol::{Digest, IntervalId, Netuid};
use nexis_wire::{
    JobRules, MinerJob, MinerReport, Report as _, ReportOutcome, Wire as _, WireVersion,
};
use nexis_worker::fetch::{Means, Patience};
use nexis_worker::miner_job;
use nexis_worker::room::Room;
use std::path::Path;
use std::time::Duration;

/// CPU time that no data set below one megabyte may take; a build without optimisation takes several times as long.
const CPU: Duration = Duration::from_secs(if cfg!(debug_assertions) { 12 } else { 1 });
/// Memory beside what the process has before.
const MEMORY_BYTES: u64 = 256 << 20;
/// Ticks per second of the kernel's accounting of CPU time, on all that we run on.
const TICKS: u64 = 100;

/// A package in memory.
struct Package {
    manifest: Bytes,
    dataset: Bytes,
}

#[async_trait]
impl Bucket for Package {
    async fn fetch(
        &self,
        _access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let bytes = if key.ends_with("manifest.json") {
            self.manifest.clone()
        } else {
            self.dataset.clone()
        };
        if bytes.len() as u64 > limits.max_bytes {
            return Ok(Fetched::TooLarge {
                bytes: bytes.len() as u64,
            });
        }
        Ok(Fetched::Found(Object {
            digest: Digest::of(&bytes),
            bytes,
            last_modified: None,
        }))
    }
}

fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit_once(')').unwrap().1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS)
}

fn peak_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}

async fn costs(case: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(case);
    let read = |name: &str| Bytes::from(std::fs::read(folder.join(name)).unwrap());
    let package = Package {
        manifest: read("manifest.json"),
        dataset: read("dataset.parquet"),
    };
    let size = package.dataset.len();
    assert!(size < 1 << 20);
    let manifest = Manifest::parse(&package.manifest).unwrap();
    let job = MinerJob {
        interval: IntervalId::new(u64::try_from(manifest.interval_id).unwrap()),
        hotkey: manifest.miner_hotkey.parse().unwrap(),
        commitment: Some("a1".repeat(64)),
        rules: JobRules::plain(Netuid::new(70), Profile::default()),
    };
    let room = Room::shared(1 << 30, 64, 4);
    let means = Means {
        bucket: &package,
        room: &room,
        patience: Patience::Whole,
    };
    let (cpu_before, memory_before) = (cpu_time(), peak_bytes());
    let report = miner_job::run(&job, &means).await.unwrap().report;
    let bytes = report.encode_as(WireVersion::CURRENT);
    let cpu = cpu_time().saturating_sub(cpu_before);
    let memory = peak_bytes().saturating_sub(memory_before);
    let outcome = match &report.outcome {
        ReportOutcome::Screened(_) => "screened".to_owned(),
        ReportOutcome::Rejected {
            reasons, detail, ..
        } => format!("{reasons:?}: {detail:.100}"),
    };
    println!(
        "{case}: {size} bytes, {cpu:?} CPU, {} MiB, {outcome}",
        memory >> 20
    );
    if let Ok(bytes) = bytes {
        assert!(MinerReport::decode(&bytes).is_ok(), "it is read back");
    }
    assert!(cpu <= CPU, "{case} takes {cpu:?}");
    assert!(memory <= MEMORY_BYTES, "{case} takes {} MiB", memory >> 20);
}

macro_rules! cases {
    ($($test:ident: $case:literal),+ $(,)?) => {$(
        #[tokio::test]
        async fn $test() {
            costs($case).await;
        }
    )+};
}

cases! {
    texts_in_brotli_pages: "kill-brotli",
    texts_in_zstd_pages: "kill-zstd",
    one_long_caption_three_times: "caption3x80M",
    urls_with_millions_of_parts: "url60M",
    rows_that_all_overlap: "overlap200k",
}
