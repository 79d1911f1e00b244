//! A sampled row without a verdict gives no accept: nothing may be decided that was not looked at.

use nexis_protocol::clip::ClipVerdict;
use nexis_protocol::decision::Decision;
use nexis_protocol::picture::Pictures;
use nexis_protocol::profile::Profile;
use nexis_protocol::reason::Reason;
use nexis_protocol::{Digest, Hotkey, IntervalId, Netuid};
use nexis_scheduler::reduce::{self, Results};
use nexis_wire::{
    ClipPlan, ClipReport, JobRules, MinerOutcome, PlannedClip, PlannedMiner, RoundPlan,
};

fn miner() -> Hotkey {
    "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        .parse()
        .unwrap()
}

fn plan() -> RoundPlan {
    RoundPlan {
        interval: IntervalId::new(850),
        rules: JobRules::plain(Netuid::new(70), Profile::default()),
        roster_block: 0,
        roster_hash: String::new(),
        validator: None,
        seed: String::new(),
        invalid: Vec::new(),
        miners: vec![PlannedMiner {
            hotkey: miner(),
            commitment: None,
        }],
        index: Digest::of(b""),
        miners_deadline: 0,
        clips_deadline: 0,
    }
}

fn two_rows(failures: Vec<Reason>) -> ClipPlan {
    let clip = |row: u32| PlannedClip {
        row,
        position: row,
        clip_id: format!("c{row}"),
        protocol: true,
    };
    ClipPlan {
        miners: vec![MinerOutcome::Judged {
            spec_id: "video_v1".to_owned(),
            category: None,
            kept: vec![0, 1],
            pruned_global: 0,
            pruned_cross: 0,
            failures,
            failures_omitted: 0,
            sampled: vec![clip(0), clip(1)],
        }],
    }
}

fn good(row: u32) -> ClipReport {
    ClipReport {
        interval: IntervalId::new(850),
        hotkey: miner(),
        row,
        verdict: ClipVerdict::default(),
        measured: None,
        pictures: Pictures::default(),
        caption: Vec::new(),
        category: Vec::new(),
        frame_names: Vec::new(),
        unreachable: None,
    }
}

fn decide_round(clips: &ClipPlan, verdicts: &[ClipReport]) -> (Vec<Decision>, Vec<Hotkey>) {
    let results = Results {
        plan: &plan(),
        clips,
        reports: &[],
        verdicts,
    };
    reduce::decide_round(&results, 0.0)
}

#[test]
fn a_miner_with_a_row_nobody_looked_at_is_not_decided() {
    let (decisions, absent) = decide_round(&two_rows(Vec::new()), &[good(0)]);
    assert!(decisions.is_empty());
    assert_eq!(absent, [miner()]);
}

#[test]
fn with_all_rows_looked_at_it_is_accepted() {
    let (decisions, absent) = decide_round(&two_rows(Vec::new()), &[good(0), good(1)]);
    assert!(decisions[0].accepted && absent.is_empty());
}

#[test]
fn what_already_speaks_against_it_rejects_it_all_the_same() {
    let short = vec![Reason::ShortCaption {
        clip_id: "c0".to_owned(),
    }];
    let (decisions, _) = decide_round(&two_rows(short), &[good(0)]);
    assert!(!decisions[0].accepted);
}

#[test]
fn load_failures_are_listed_before_loaded_miners_both_as_drawn() {
    let hotkey = |seed: u8| Hotkey::from_public_key(&[seed; 32]);
    let mut plan = plan();
    let drawn: Vec<Hotkey> = [4, 2, 9, 1].map(hotkey).to_vec();
    plan.miners = drawn
        .iter()
        .map(|hotkey| PlannedMiner {
            hotkey: hotkey.clone(),
            commitment: None,
        })
        .collect();
    let loaded = || two_rows(vec![Reason::ValidationException]).miners.remove(0);
    let not_loaded = || MinerOutcome::Rejected {
        reasons: vec![Reason::MissingSubmissionFiles],
        detail: String::new(),
        notes: std::collections::BTreeMap::new(),
    };
    let clips = ClipPlan {
        miners: vec![loaded(), not_loaded(), loaded(), not_loaded()],
    };
    let results = Results {
        plan: &plan,
        clips: &clips,
        reports: &[],
        verdicts: &[],
    };
    let order = |decisions: &[Decision]| -> Vec<Hotkey> {
        let hotkeys = decisions.iter().map(|one| one.miner_hotkey.clone());
        hotkeys.collect()
    };
    let (decisions, absent) = reduce::decide_round(&results, 0.0);
    assert_eq!(order(&decisions), [2, 1, 4, 9].map(hotkey));
    assert!(absent.is_empty());
    // Earlier versions listed them as drawn; their files are replayed in that order.
    assert_eq!(order(&reduce::in_selection_order(&plan, decisions)), drawn);
}
