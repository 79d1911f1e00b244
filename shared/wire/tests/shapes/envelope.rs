//! The envelope refuses what is not ours, newer, of another kind or damaged.

use nexis_protocol::{Digest, IntervalId};
use nexis_wire::{
    ClipPlan, EvidenceHead, Kind, MinerOutcome, MinerReport, ReportOutcome, Wire, WireError,
    WireVersion,
};
use std::collections::BTreeMap;

fn report() -> MinerReport {
    MinerReport {
        interval: IntervalId::new(850),
        hotkey: "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
            .parse()
            .unwrap(),
        outcome: ReportOutcome::Rejected {
            reasons: Vec::new(),
            detail: "a text of some length, so that there is something to flip".to_owned(),
            notes: BTreeMap::new(),
        },
        manifest_sha256: Some(Digest::of(b"manifest")),
        dataset_sha256: None,
        unreachable: None,
    }
}

#[test]
fn a_message_reads_back_as_written() {
    assert_eq!(MinerReport::decode(&report().encode()).unwrap(), report());
}

#[test]
fn no_flipped_bit_gives_another_message() {
    let bytes = report().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // A few bits of the compression's own header mean nothing; all others are noticed.
            let read = MinerReport::decode(&damaged);
            assert!(
                read.is_err() || read.unwrap() == report(),
                "byte {at}, bit {bit}"
            );
        }
    }
}

#[test]
fn every_cut_is_noticed() {
    let bytes = report().encode();
    for end in 0..bytes.len() {
        assert!(MinerReport::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut bytes = report().encode();
    bytes[3] = WireVersion::CURRENT.number() + 1;
    let refused = MinerReport::decode(&bytes).unwrap_err();
    assert!(matches!(refused, WireError::Newer { .. }), "{refused}");
    assert_eq!(refused.code(), "wire-version-newer");
}

#[test]
fn an_older_version_is_refused_by_name() {
    let mut bytes = report().encode();
    bytes[3] = WireVersion::ALL[0].number() - 1;
    let refused = MinerReport::decode(&bytes).unwrap_err();
    assert!(matches!(refused, WireError::Older { .. }), "{refused}");
    assert_eq!(refused.code(), "wire-version-older");
}

#[test]
fn foreign_bytes_and_other_kinds_are_told_apart() {
    let foreign = MinerReport::decode(b"{\"job\":1}").unwrap_err();
    assert_eq!(foreign.code(), "foreign");
    let plan = ClipPlan {
        miners: vec![MinerOutcome::Absent],
    };
    let other = MinerReport::decode(&plan.encode()).unwrap_err();
    assert_eq!(other.code(), "wrong-kind");
}

#[test]
fn a_kind_that_an_older_version_did_not_have_is_no_message_of_it() {
    let frame = zstd::encode_all(&[0_u8; 64][..], 1).unwrap();
    let head = [
        b'N',
        b'X',
        b'S',
        WireVersion::V2.number(),
        Kind::EvidenceHead as u8,
    ];
    let refused = EvidenceHead::decode(&[&head[..], &frame].concat()).unwrap_err();
    assert_eq!(refused.code(), "damaged");
}
