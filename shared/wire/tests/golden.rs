//! Bytes that were written once are read for as long as their version is: workers and schedulers of a fleet are not
//! replaced in one moment, and the archive keeps evidence for years.
//!
//! A shape that changes on purpose gets a new [`WIRE_VERSION`], and with it a new folder: `touch target/bless` and run this
//! test again.

use nexis_protocol::clip::{ClipVerdict, Measured};
use nexis_protocol::picture::{PictureChecks, Pictures};
use nexis_protocol::profile::Profile;
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid};
use nexis_wire::{
    ClipJob, ClipReport, JobRules, MinerJob, MinerReport, ReportOutcome, Sampling, VisionChecks,
    WIRE_VERSION, Wire,
};
use std::collections::BTreeMap;
use std::path::Path;

const INTERVAL: IntervalId = IntervalId::new(850);

fn hotkey() -> Hotkey {
    "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        .parse()
        .unwrap()
}

/// A job carries the profile's numbers: when one of them changes, the two jobs are written anew (delete their files first).
fn rules() -> JobRules {
    JobRules {
        netuid: Netuid::new(70),
        profile: Profile::by_name("2026-04-13").unwrap(),
        enabled_specs: vec!["video_v1".to_owned()],
        expected_category: Some("nature_landscape_scenery".to_owned()),
        vision: VisionChecks {
            caption: true,
            category: false,
            category_caption_gate: true,
        },
        reject_advisories: Vec::new(),
        pictures: PictureChecks::default(),
        sampling: Sampling::Full,
        fetch_budget_ms: 60_000,
        max_dataset_bytes: 1 << 30,
        max_asset_bytes: 1 << 26,
    }
}

fn miner_job() -> MinerJob {
    MinerJob {
        interval: INTERVAL,
        hotkey: hotkey(),
        commitment: Some("a1".repeat(64)),
        rules: rules(),
    }
}

fn miner_report() -> MinerReport {
    MinerReport {
        interval: INTERVAL,
        hotkey: hotkey(),
        outcome: ReportOutcome::Rejected {
            reasons: Vec::new(),
            detail: "no manifest".to_owned(),
            notes: BTreeMap::new(),
        },
        manifest_sha256: Some(Digest::of(b"manifest")),
        dataset_sha256: None,
    }
}

fn clip_job() -> ClipJob {
    ClipJob {
        interval: INTERVAL,
        hotkey: hotkey(),
        row: 17,
        commitment: "a1".repeat(64),
        clip_id: "aefc2a642b36d50b22ebdc13".to_owned(),
        clip_uri: "clips/aefc2a642b36d50b22ebdc13.mp4".to_owned(),
        first_frame_uri: "frames/aefc2a642b36d50b22ebdc13.jpg".to_owned(),
        clip_sha256: Some(Digest::of(b"clip")),
        first_frame_sha256: None,
        width_px: 1280,
        height_px: 720,
        duration_sec: 5.0,
        fps: 29.97,
        num_frames: 150,
        has_audio: true,
        caption: "A river runs below snowy mountains — very slowly.".to_owned(),
        check_caption: true,
        check_category: false,
        rules: rules(),
    }
}

fn clip_report() -> ClipReport {
    ClipReport {
        interval: INTERVAL,
        hotkey: hotkey(),
        row: 17,
        verdict: ClipVerdict {
            failures: Vec::new(),
            advisories: Vec::new(),
        },
        measured: Some(Measured {
            width_px: 1280,
            height_px: 720,
            duration_sec: Some(5.005),
            fps: Some(29.97),
            num_frames: Some(150),
            has_audio: None,
        }),
        pictures: Pictures::default(),
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: vec!["0012".to_owned()],
    }
}

/// Reads what is kept, compares, and tells whether what we write now has the same contents.
fn holds<T: Wire + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join(format!("tests/golden/v{WIRE_VERSION}"));
    let path = folder.join(format!("{name}.bin"));
    if here.join("../../target/bless").exists() && !path.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, value.encode()).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    let read = T::decode(&kept);
    let read = read.unwrap_or_else(|fault| {
        panic!(
            "{name} of version {WIRE_VERSION} is not read any more ({fault}): raise WIRE_VERSION"
        )
    });
    assert_eq!(
        &read, value,
        "{name} reads as something else: raise WIRE_VERSION"
    );
    // Mark, version and kind; what follows is up to the compressor's release.
    assert_eq!(kept[..5], value.encode()[..5], "{name}");
}

#[test]
fn what_this_version_wrote_once_is_read_as_what_it_was() {
    holds("miner_job", &miner_job());
    holds("miner_report", &miner_report());
    holds("clip_job", &clip_job());
    holds("clip_report", &clip_report());
}
