//! Bytes that were written once are read for ever: workers and schedulers of a fleet are not replaced in one moment,
//! and the archive keeps plans and evidence for years.
//!
//! A shape that changes on purpose gets a new [`WireVersion`]: its old form moves into the module of the version before,
//! and the new one gets a folder of its own here (`touch target/bless` and run this test again). A file that is there is
//! never written anew.

use crate::made;
use nexis_protocol::budget;
use nexis_wire::{
    ClipPlan, ClipReport, Evidence, JobRules, MinerOutcome, MinerReport, PackedRows, Report,
    ReportOutcome, RoundPlan, Wire, WireVersion,
};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

fn path(version: WireVersion, name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join(format!("tests/golden/{version}/{name}.bin"))
}

/// What is kept of a version.
fn kept(version: WireVersion, name: &str) -> Vec<u8> {
    let path = path(version, name);
    std::fs::read(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

/// Reads what is kept and compares.
fn reads<T: Wire + PartialEq + Debug>(version: WireVersion, name: &str, value: &T) {
    let kept = kept(version, name);
    let (read, written_in) = T::decode_versioned(&kept).unwrap_or_else(|fault| {
        panic!("{name} of {version} is not read any more ({fault}): its shape changed")
    });
    assert_eq!(written_in, version, "{name}");
    assert_eq!(&read, value, "{name} of {version} reads as something else");
}

/// The same for what this program writes.
fn holds<T: Wire + PartialEq + Debug>(name: &str, value: &T) {
    let version = WireVersion::CURRENT;
    let path = path(version, name);
    let bless = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bless");
    if bless.exists() && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, value.encode()).unwrap();
    }
    reads(version, name, value);
    // Mark, version and kind; what follows is up to the compressor's release.
    assert_eq!(kept(version, name)[..5], value.encode()[..5], "{name}");
}

/// The bytes of rows as a report holds them.
fn packed(report: MinerReport) -> PackedRows {
    let ReportOutcome::Screened(screened) = report.outcome else {
        panic!("a report with rows");
    };
    screened.rows
}

#[test]
fn what_this_version_wrote_once_is_read_as_what_it_was() {
    holds("miner_job", &made::miner_job());
    holds("miner_report", &made::rejected_report());
    holds("miner_report_unreachable", &made::unreachable_report());
    holds("clip_job", &made::clip_job());
    holds("clip_report", &made::clip_report());
    holds("clip_report_full", &made::full_clip_report());
    holds("round_plan", &made::round_plan());
    holds("clip_plan", &made::clip_plan());
    holds("evidence_head", &made::evidence_head());
    // Their rows are compressed inside: other bytes under another release of the compressor, the same rows.
    holds_rows("miner_report_screened", made::screened_report(), |report| {
        report
    });
    holds_rows("miner_evidence", made::miner_evidence(), |evidence| {
        evidence.report.as_mut().expect("it has one")
    });
    holds_rows("evidence", made::evidence(), |evidence| {
        &mut evidence.reports[1]
    });
}

/// [`holds`] for what has a report with rows in it.
fn holds_rows<T: Wire + PartialEq + Debug>(
    name: &str,
    mut value: T,
    report: fn(&mut T) -> &mut MinerReport,
) {
    let version = WireVersion::CURRENT;
    if path(version, name).exists() {
        let mut read = T::decode(&kept(version, name)).unwrap();
        adopt_rows(report(&mut value), report(&mut read));
    }
    holds(name, &value);
}

/// Takes over packed rows, after a look at what is in them.
fn adopt_rows(value: &mut MinerReport, read: &MinerReport) {
    let rows = packed(read.clone());
    assert_eq!(rows.unpack().unwrap(), made::rows());
    let ReportOutcome::Screened(screened) = &mut value.outcome else {
        panic!("a report with rows");
    };
    screened.rows = rows;
}

/// The rules that version 2 had, with what stands for those it did not have.
fn rules_of_v2() -> JobRules {
    JobRules {
        max_dataset_rows: budget::MAX_ROWS,
        max_text_bytes: budget::MAX_TEXT_BYTES,
        max_row_text_bytes: budget::MAX_ROW_TEXT_BYTES,
        max_frame_bytes: 1 << 26,
        max_failure_bytes: budget::MAX_FAILURE_BYTES,
        decode_memory_bytes: budget::DECODE_MEMORY_BYTES,
        min_bytes_per_second: 0,
        ..made::rules()
    }
}

fn clip_plan_of_v2() -> ClipPlan {
    let mut plan = made::clip_plan();
    if let MinerOutcome::Judged {
        sampled,
        failures_omitted,
        ..
    } = &mut plan.miners[0]
    {
        *failures_omitted = 0;
        sampled[0].protocol = true;
    }
    plan
}

fn full_clip_report_of_v2() -> ClipReport {
    ClipReport {
        unreachable: None,
        ..made::full_clip_report()
    }
}

fn plan_of_v2() -> RoundPlan {
    RoundPlan {
        rules: rules_of_v2(),
        ..made::round_plan()
    }
}

#[test]
fn version_2_is_read_for_ever() {
    let version = WireVersion::V2;
    let mut job = made::miner_job();
    job.rules = rules_of_v2();
    reads(version, "miner_job", &job);
    let mut job = made::clip_job();
    job.rules = rules_of_v2();
    reads(version, "clip_job", &job);
    reads(version, "miner_report", &made::rejected_report());
    reads(version, "clip_report", &made::clip_report());
    reads(version, "clip_report_full", &full_clip_report_of_v2());
    reads(version, "round_plan", &plan_of_v2());
    reads(version, "clip_plan", &clip_plan_of_v2());
    let name = "miner_report_screened";
    let mut report = made::screened_report();
    adopt_rows(
        &mut report,
        &MinerReport::decode(&kept(version, name)).unwrap(),
    );
    reads(version, name, &report);
    let mut evidence = Evidence {
        plan: plan_of_v2(),
        clips: clip_plan_of_v2(),
        verdicts: vec![full_clip_report_of_v2(), made::clip_report()],
        ..made::evidence()
    };
    let read = Evidence::decode(&kept(version, "evidence")).unwrap();
    adopt_rows(&mut evidence.reports[1], &read.reports[1]);
    reads(version, "evidence", &evidence);
}

/// An old scheduler reads the reports of a new worker: byte for byte what an old worker would have written.
#[test]
fn a_report_for_an_old_scheduler_is_what_an_old_worker_would_have_written() {
    let version = WireVersion::V2;
    let kept = |name| kept(version, name);
    assert_eq!(
        made::unreachable_report().encode_as(version).unwrap(),
        kept("miner_report")
    );
    assert_eq!(
        made::screened_report().encode_as(version).unwrap(),
        kept("miner_report_screened")
    );
    assert_eq!(
        made::full_clip_report().encode_as(version).unwrap(),
        kept("clip_report_full")
    );
}
