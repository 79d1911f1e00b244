//! What the limits admit is read back as it was written, up to the largest.

use crate::made;
use nexis_protocol::bounded::Bounded;
use nexis_protocol::budget;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::reason::Reason;
use nexis_protocol::row::{RowRef, Rows};
use nexis_wire::{
    ClipJob, ClipPlan, ClipReport, EvidenceHead, Kind, MinerEvidence, MinerOutcome, MinerReport,
    PackedRows, PlannedClip, Report, ReportOutcome, ScreenedReport, Wire, WireError, WireVersion,
};
use proptest::prelude::*;

const URL: &str = "https://www.youtube.com/watch?v=dQw4w9WgXcQ";

/// Bytes of a message's contents, uncompressed.
fn plain_bytes(message: &[u8]) -> u64 {
    let size = zstd::zstd_safe::get_frame_content_size(&message[5..]);
    size.ok().flatten().expect("we write the size into a frame")
}

fn row<'a>(clip_id: &'a str, caption: &'a str, source: &'a str, number: u128) -> RowRef<'a> {
    RowRef {
        clip_id,
        clip_uri: "c",
        first_frame_uri: "f",
        source_video_id: source,
        split_group_id: "g",
        split: "s",
        caption,
        source_video_url: URL,
        clip_sha256: Some(nexis_protocol::Digest::of(b"clip")),
        first_frame_sha256: Some(nexis_protocol::Digest::of(b"frame")),
        clip_start_sec: f64::MAX,
        duration_sec: 5.0,
        width: number,
        height: number,
        num_frames: number,
        fps: 30.0,
        has_audio: true,
    }
}

fn report(rows: Rows) -> MinerReport {
    let facts = rows.iter().map(|row| RowFacts {
        clip_id: row.clip_id,
        source_video_id: row.source_video_id,
        source_video_url: row.source_video_url,
        caption: row.caption,
        clip_start_sec: row.clip_start_sec,
    });
    let claims = Claims::collect(facts, &made::rules().profile);
    let MinerReport {
        interval, hotkey, ..
    } = made::screened_report();
    MinerReport {
        interval,
        hotkey,
        outcome: ReportOutcome::Screened(Box::new(ScreenedReport {
            spec_id: "video_v1".to_owned(),
            category: None,
            submitted_at: 0.0,
            claims,
            rows: PackedRows::pack(rows),
        })),
        manifest_sha256: None,
        dataset_sha256: None,
        unreachable: None,
    }
}

fn text_of(rows: &Rows) -> u64 {
    let texts = rows.columns().texts();
    texts.iter().map(|(_, text)| text.bytes() as u64).sum()
}

/// Text that does not compress.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let characters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'0' + u8::try_from(state >> 58).expect("six bits"))
    });
    characters.take(bytes).collect()
}

/// Written, checked, read back; gives the packed rows and the size of the whole.
fn goes_through(report: &MinerReport) -> (Rows, u64) {
    let bytes = report
        .encode_as(WireVersion::CURRENT)
        .expect("within the budget");
    assert!((bytes.len() as u64) < budget::MAX_STORED_BYTES);
    let read = MinerReport::decode(&bytes).expect("read back");
    assert_eq!(read.hotkey, report.hotkey);
    let ReportOutcome::Screened(screened) = read.outcome else {
        panic!("it was screened");
    };
    let rows = screened.rows.unpack().expect("unpacked");
    assert_eq!(screened.claims.len(), rows.len());
    (rows, plain_bytes(&bytes))
}

#[test]
fn a_report_of_the_most_text_goes_through() {
    let each = usize::try_from(budget::MAX_ROW_TEXT_BYTES).unwrap();
    let count = budget::MAX_TEXT_BYTES / budget::MAX_ROW_TEXT_BYTES;
    let mut rows = Rows::default();
    // All of it in the two texts that claims repeat.
    let rest = each - URL.len() - "cfgsx".len();
    let (id, source) = (noise(rest / 2, 1), noise(rest - rest / 2, 2));
    for nth in 0..count {
        // Each row has a source of its own.
        let at = usize::try_from(nth).unwrap();
        let source = [&source[at..], &source[..at]].concat();
        rows.push(row(&id, "x", &source, u128::MAX)).unwrap();
    }
    assert_eq!(text_of(&rows), budget::MAX_TEXT_BYTES);
    let (read, bytes) = goes_through(&report(rows.clone()));
    assert!(read == rows, "the rows are the same");
    assert!(
        bytes > budget::MAX_TEXT_BYTES,
        "{bytes}: claims repeat the text"
    );
}

#[test]
fn a_report_of_the_most_rows_goes_through() {
    let mut rows = Rows::default();
    for _ in 0..budget::MAX_ROWS {
        rows.push(row("i", "x", "s", 1)).unwrap();
    }
    let (read, _) = goes_through(&report(rows));
    assert_eq!(read.len() as u64, budget::MAX_ROWS);
}

/// The two tests above reach one bound each. That both at once fit, whatever the values, follows from this: sizes are
/// sums over rows.
#[test]
fn no_row_takes_more_than_the_budget_says() {
    const COUNT: u64 = 2_000;
    let mut rows = Rows::default();
    for nth in 0..COUNT {
        let (id, source) = (noise(9, nth), noise(300, nth + COUNT));
        rows.push(row(&id, "", &source, u128::MAX)).unwrap();
    }
    let text = text_of(&rows);
    let packed = PackedRows::pack(rows.clone());
    let MinerReport { outcome, .. } = report(rows);
    let ReportOutcome::Screened(screened) = outcome else {
        panic!("it was screened");
    };
    // Both stand in a report alone, so that its size is theirs and little more.
    let whole = plain_bytes(&made_of(*screened).encode());
    let slack = 1 << 10;
    let claims = whole - packed.len_bytes() as u64;
    assert!(
        claims <= text + COUNT * budget::CLAIM_BYTES + slack,
        "{claims}"
    );
    let all = text + COUNT * budget::ROW_BYTES;
    let packed = packed.len_bytes() as u64;
    assert!(packed <= all + all / 256 + slack, "{packed}");
}

fn made_of(screened: ScreenedReport) -> MinerReport {
    MinerReport {
        outcome: ReportOutcome::Screened(Box::new(screened)),
        ..made::rejected_report()
    }
}

#[test]
fn rows_beyond_the_budget_are_refused_before_they_are_sent() {
    let each = usize::try_from(budget::MAX_TEXT_BYTES / 2).unwrap();
    let long = "a".repeat(each);
    let mut rows = Rows::default();
    for _ in 0..5 {
        let mut row = row("i", "x", "s", 1);
        row.clip_uri = &long;
        rows.push(row).unwrap();
    }
    let refused = report(rows).encode_as(WireVersion::CURRENT).unwrap_err();
    assert!(matches!(refused, WireError::TooLarge { .. }), "{refused}");
    assert_eq!(refused.code(), "too-large");
}

#[test]
fn a_job_of_the_longest_row_goes_through() {
    let long = noise(usize::try_from(budget::MAX_ROW_TEXT_BYTES).unwrap(), 1);
    let job = ClipJob {
        caption: long,
        width_px: u128::MAX,
        ..made::clip_job()
    };
    assert_eq!(ClipJob::decode(&job.encode()).unwrap(), job);
}

#[test]
fn a_verdict_that_fails_in_everything_goes_through() {
    let uri = noise(usize::try_from(budget::MAX_ROW_TEXT_BYTES).unwrap(), 1);
    let mut report = made::full_clip_report();
    let codes = usize::try_from(budget::CODES_PER_ROW).unwrap();
    report.verdict.failures = vec![Reason::InvalidAssetUri { uri }; codes];
    let bytes = report.encode_checked().unwrap();
    assert_eq!(ClipReport::decode(&bytes).unwrap(), report);
}

/// What each miner of the largest round takes at most of its plan.
#[test]
fn the_plan_of_256_miners_at_the_bounds_goes_through() {
    let share = budget::failure_bytes(u64::MAX, budget::MAX_MINERS);
    let mut failures = Bounded::new(share);
    let id = noise(200, 1);
    while failures.omitted() == 0 {
        failures.push(Reason::ShortCaption {
            clip_id: id.clone(),
        });
    }
    let (failures, failures_omitted) = failures.into_parts();
    let rows = u32::try_from(budget::MAX_ROWS).unwrap();
    let miner = MinerOutcome::Judged {
        spec_id: "video_v1".to_owned(),
        category: None,
        // Every 17th: the longest that a list becomes.
        kept: (0..rows).step_by(17).collect(),
        pruned_global: rows,
        pruned_cross: rows,
        failures,
        failures_omitted,
        sampled: sampled(budget::sample_bytes(budget::MAX_MINERS)),
    };
    let one = ClipPlan {
        miners: vec![miner.clone()],
    };
    let bytes = plain_bytes(&one.encode_checked().unwrap());
    assert!(bytes > share, "{bytes}");
    assert!(bytes * budget::MAX_MINERS <= Kind::ClipPlan.max_bytes(WireVersion::CURRENT));
    // A few of them for real.
    let plan = ClipPlan {
        miners: vec![miner; 8],
    };
    assert!(ClipPlan::decode(&plan.encode_checked().unwrap()).unwrap() == plan);
}

fn sampled(most_bytes: u64) -> Vec<PlannedClip> {
    let id = noise(24, 7);
    let count = most_bytes / (budget::SAMPLE_BYTES + id.len() as u64);
    (0..u32::try_from(count).unwrap())
        .map(|row| PlannedClip {
            row: row + 900_000,
            position: row + 900_000,
            clip_id: id.clone(),
            protocol: false,
        })
        .collect()
}

fn plan_of(kept: Vec<u32>) -> ClipPlan {
    let mut plan = made::clip_plan();
    let MinerOutcome::Judged { kept: rows, .. } = &mut plan.miners[0] else {
        panic!("the first one was judged");
    };
    *rows = kept;
    plan
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{0,12}",
        "\\PC{0,40}",
        Just("x".repeat(5_000)),
        Just("\u{0}\u{10ffff}".to_owned()),
    ]
}

prop_compose! {
    fn any_rows()(cells in prop::collection::vec(
        (texts(), texts(), texts(), any::<u128>(), any::<f64>(), any::<bool>()), 0..40,
    )) -> Rows {
        let mut rows = Rows::default();
        for (id, caption, source, number, start, flag) in &cells {
            let mut row = row(id, caption, source, *number);
            row.clip_start_sec = if start.is_nan() { 0.0 } else { *start };
            row.has_audio = *flag;
            row.clip_uri = caption;
            row.source_video_url = id;
            row.clip_sha256 = row.clip_sha256.filter(|_| *flag);
            rows.push(row).unwrap();
        }
        rows
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_rows_and_claims_read_back(rows in any_rows()) {
        let report = report(rows.clone());
        for version in WireVersion::ALL {
            let bytes = report.encode_as(version).unwrap();
            let (read, written_in) = MinerReport::decode_versioned(&bytes).unwrap();
            prop_assert_eq!(written_in, version);
            let ReportOutcome::Screened(screened) = &read.outcome else { panic!("screened") };
            prop_assert_eq!(screened.rows.unpack().unwrap(), rows.clone());
            let ReportOutcome::Screened(sent) = &report.outcome else { panic!("screened") };
            prop_assert_eq!(&screened.claims, &sent.claims);
        }
    }

    #[test]
    fn any_set_of_rows_reads_back_from_a_plan(
        kept in prop_oneof![
            prop::collection::vec(any::<u32>(), 0..50),
            prop::collection::btree_set(0..200_u32, 0..150).prop_map(|set| set.into_iter().collect()),
            prop::collection::btree_set(0..1_000_000_u32, 0..150).prop_map(|set| set.into_iter().collect()),
        ],
    ) {
        let plan = plan_of(kept);
        prop_assert_eq!(ClipPlan::decode(&plan.encode()).unwrap(), plan);
    }

    #[test]
    fn any_verdict_reads_back(
        uri in texts(), id in texts(), why in prop::option::of(texts()), names in prop::collection::vec(texts(), 0..6),
    ) {
        let mut report = made::full_clip_report();
        report.verdict.failures = vec![
            Reason::InvalidAssetUri { uri },
            Reason::MissingClipAsset { clip_id: id },
        ];
        report.unreachable = why;
        report.frame_names = names;
        prop_assert_eq!(&ClipReport::decode(&report.encode_checked().unwrap()).unwrap(), &report);
        let old = ClipReport::decode(&report.encode_as(WireVersion::V2).unwrap()).unwrap();
        prop_assert_eq!(old, ClipReport { unreachable: None, ..report });
    }

    #[test]
    fn any_evidence_reads_back(
        rows in any_rows(), kept in prop::collection::btree_set(0..5_000_u32, 0..150), late in prop::collection::vec(texts(), 0..5),
        verdicts in 0..20_u32,
    ) {
        let evidence = MinerEvidence {
            report: Some(report(rows)),
            outcome: plan_of(kept.into_iter().collect()).miners.remove(0),
            verdicts: (0..verdicts).map(|row| ClipReport { row, ..made::full_clip_report() }).collect(),
            ..made::miner_evidence()
        };
        let bytes = evidence.encode_checked().unwrap();
        prop_assert_eq!(MinerEvidence::decode(&bytes).unwrap(), evidence);
        let head = EvidenceHead { late, ..made::evidence_head() };
        prop_assert_eq!(EvidenceHead::decode(&head.encode_checked().unwrap()).unwrap(), head);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..12_u8) {
        let packed = zstd::encode_all(&bytes[..], 1).unwrap();
        for version in 0..5_u8 {
            let whole = [&[b'N', b'X', b'S', version, kind][..], &packed].concat();
            let _read_or_refused = (
                MinerReport::decode(&whole), ClipPlan::decode(&whole), ClipJob::decode(&whole),
            );
        }
    }
}
