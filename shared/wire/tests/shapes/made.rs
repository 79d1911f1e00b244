//! One value of each kind, with every field set to something that shows when it moves.

use nexis_protocol::advisory::{Advisory, AdvisoryKind};
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::clip::{ClipVerdict, Measured};
use nexis_protocol::decision::Note;
use nexis_protocol::picture::{Mark, PictureChecks, Pictures, Sight};
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::row::{RowRef, Rows};
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid};
use nexis_wire::{
    ClipJob, ClipPlan, ClipReport, Evidence, EvidenceEntry, EvidenceHead, JobRules, MinerEvidence,
    MinerJob, MinerOutcome, MinerReport, PackedRows, PlannedClip, PlannedMiner, ReportOutcome,
    RoundPlan, Sampling, ScreenedReport, VisionChecks,
};
use std::collections::BTreeMap;

pub const INTERVAL: IntervalId = IntervalId::new(850);

pub fn hotkey() -> Hotkey {
    "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        .parse()
        .unwrap()
}

pub fn other_hotkey() -> Hotkey {
    "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
        .parse()
        .unwrap()
}

/// A job carries the profile's numbers: when one of them changes, the files with rules are written anew (delete them first).
pub fn rules() -> JobRules {
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
        max_dataset_rows: 100_000,
        max_text_bytes: 1 << 25,
        max_row_text_bytes: 1 << 15,
        max_frame_bytes: 1 << 23,
        max_failure_bytes: 1 << 22,
        decode_memory_bytes: 1 << 29,
        min_bytes_per_second: 4_096,
    }
}

pub fn miner_job() -> MinerJob {
    MinerJob {
        interval: INTERVAL,
        hotkey: hotkey(),
        commitment: Some("a1".repeat(64)),
        rules: rules(),
    }
}

pub fn rejected_report() -> MinerReport {
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
        unreachable: None,
    }
}

fn row(id: &'static str, start: f64) -> RowRef<'static> {
    RowRef {
        clip_id: id,
        clip_uri: "clips/a.mp4",
        first_frame_uri: "frames/a.jpg",
        source_video_id: "dQw4w9WgXcQ",
        split_group_id: "group-1",
        split: "train",
        caption: "A river runs below snowy mountains — very slowly.",
        source_video_url: "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        clip_sha256: Some(Digest::of(b"clip")),
        first_frame_sha256: None,
        clip_start_sec: start,
        duration_sec: 5.0,
        width: 1280,
        height: 720,
        num_frames: 150,
        fps: 29.97,
        has_audio: true,
    }
}

pub fn rows() -> Rows {
    let mut rows = Rows::default();
    rows.push(row("aefc2a642b36d50b22ebdc13", 0.0)).unwrap();
    rows.push(row("bb", 5.0)).unwrap();
    rows.push(row("ccc", 1e9)).unwrap();
    rows
}

pub fn claims() -> Claims {
    let rows = rows();
    let facts = rows.iter().map(|row| RowFacts {
        clip_id: row.clip_id,
        source_video_id: row.source_video_id,
        source_video_url: row.source_video_url,
        caption: row.caption,
        clip_start_sec: row.clip_start_sec,
    });
    Claims::collect(facts, &rules().profile)
}

pub fn screened_report() -> MinerReport {
    MinerReport {
        interval: INTERVAL,
        hotkey: hotkey(),
        outcome: ReportOutcome::Screened(Box::new(ScreenedReport {
            spec_id: "video_v1".to_owned(),
            category: Some("nature_landscape_scenery".to_owned()),
            submitted_at: 1_764_201_600.25,
            claims: claims(),
            rows: PackedRows::pack(rows()),
        })),
        manifest_sha256: Some(Digest::of(b"manifest")),
        dataset_sha256: Some(Digest::of(b"dataset")),
        unreachable: None,
    }
}

pub fn clip_job() -> ClipJob {
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

pub fn clip_report() -> ClipReport {
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
        unreachable: None,
    }
}

/// A clip's report in which nothing is empty.
pub fn full_clip_report() -> ClipReport {
    let mark = Mark {
        hash: 0x0123_4567_89ab_cdef,
        mean: 120,
        deviation: 30,
        fine_permille: Some(350),
        moved: Some(17),
    };
    ClipReport {
        row: 1,
        verdict: ClipVerdict {
            failures: vec![Reason::MissingClipAsset {
                clip_id: "bb".to_owned(),
            }],
            advisories: vec![Advisory {
                kind: AdvisoryKind::AudioDiffers,
                clip_id: "bb".to_owned(),
                detail: "sound where the row says none".to_owned(),
            }],
        },
        pictures: Pictures {
            first: Sight::Seen(mark),
            asset: Sight::Undecodable,
            sampled: vec![mark, mark],
        },
        caption: vec![Reason::EmptyCaption {
            clip_id: "bb".to_owned(),
        }],
        category: vec![Reason::MissingCategoryMetadata],
        unreachable: Some("connecting: timed out".to_owned()),
        ..clip_report()
    }
}

pub fn round_plan() -> RoundPlan {
    RoundPlan {
        interval: INTERVAL,
        rules: rules(),
        roster_block: 902,
        roster_hash: format!("0x{}", "ab".repeat(32)),
        validator: Some(other_hotkey()),
        seed: "0x850".to_owned(),
        invalid: vec![other_hotkey()],
        miners: vec![
            PlannedMiner {
                hotkey: hotkey(),
                commitment: Some("a1".repeat(64)),
            },
            PlannedMiner {
                hotkey: other_hotkey(),
                commitment: None,
            },
        ],
        index: Digest::of(b"index"),
        miners_deadline: 922,
        clips_deadline: 947,
    }
}

pub fn clip_plan() -> ClipPlan {
    ClipPlan {
        miners: vec![
            MinerOutcome::Judged {
                spec_id: "video_v1".to_owned(),
                category: Some("nature_landscape_scenery".to_owned()),
                kept: vec![0, 2],
                pruned_global: 1,
                pruned_cross: 300,
                failures: vec![Reason::OverlapLt5s {
                    source: "dQw4w9WgXcQ".to_owned(),
                    previous: "bb".to_owned(),
                    clip_id: "ccc".to_owned(),
                }],
                failures_omitted: 70_000,
                sampled: vec![PlannedClip {
                    row: 2,
                    position: 1,
                    clip_id: "ccc".to_owned(),
                    protocol: false,
                }],
            },
            MinerOutcome::Rejected {
                reasons: vec![Reason::DatasetSha256Mismatch],
                detail: "another digest".to_owned(),
                notes: BTreeMap::from([
                    ("error".to_owned(), Note::Text("a text".to_owned())),
                    ("count".to_owned(), Note::Count(300)),
                    ("list".to_owned(), Note::List(vec!["a".to_owned()])),
                    ("nothing".to_owned(), Note::Null),
                ]),
            },
            MinerOutcome::Absent,
        ],
    }
}

pub fn evidence() -> Evidence {
    Evidence {
        plan: round_plan(),
        reports: vec![rejected_report(), screened_report()],
        clips: clip_plan(),
        verdicts: vec![full_clip_report(), clip_report()],
        late: vec!["clip/850/x/1".to_owned()],
        decided_at: 1_764_201_700.5,
    }
}

pub fn unreachable_report() -> MinerReport {
    MinerReport {
        unreachable: Some("connecting: timed out".to_owned()),
        ..rejected_report()
    }
}

pub fn evidence_head() -> EvidenceHead {
    EvidenceHead {
        plan: round_plan(),
        late: vec!["clip/850/x/1".to_owned()],
        decided_at: 1_764_201_700.5,
        miners: vec![EvidenceEntry {
            hotkey: hotkey(),
            digest: Digest::of(b"evidence"),
        }],
    }
}

pub fn miner_evidence() -> MinerEvidence {
    MinerEvidence {
        hotkey: hotkey(),
        report: Some(screened_report()),
        outcome: clip_plan().miners.remove(0),
        verdicts: vec![full_clip_report(), clip_report()],
    }
}
