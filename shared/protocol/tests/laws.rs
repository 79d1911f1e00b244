//! Laws of the rules, over made-up data (HOUSE §3.7).

#![expect(
    clippy::unwrap_used,
    reason = "made-up data is valid, also in helper functions"
)]

use nexis_protocol::arbitration::{Arbitrated, Submission, arbitrate, first_conflict};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::profile::Profile;
use nexis_protocol::prune::overlaps;
use nexis_protocol::reason::Reason;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::score::{Excluded, ScoredDecision, epoch_weights, score_totals};
use nexis_protocol::source::{SourceUrl, split_url};
use nexis_protocol::text::python_strip;
use nexis_protocol::weights::{chain_payload, scale_to_u16};
use nexis_protocol::{BlockNumber, sampling, uri, vision};
use proptest::prelude::*;

/// A row of a made-up data set: source number, start in tenths of a second.
type Row = (u8, u16);

#[derive(Debug, Clone)]
struct Miner {
    hotkey: String,
    submitted_at: f64,
    claims: Claims,
}

fn url(source: u8) -> String {
    match source {
        // Two spellings of one video, and one URL that others' code raises on.
        0 => "https://youtu.be/v1".to_owned(),
        9 => "https://[bad".to_owned(),
        n => format!("https://www.youtube.com/watch?v=v{n}"),
    }
}

fn claims(rows: &[Row]) -> Claims {
    let urls: Vec<String> = rows.iter().map(|(source, _)| url(*source)).collect();
    let ids: Vec<String> = (0..rows.len()).map(|at| format!("c{at}")).collect();
    let facts = rows
        .iter()
        .zip(&urls)
        .zip(&ids)
        .map(|(((_, tenths), url), id)| RowFacts {
            clip_id: id,
            source_video_id: "",
            source_video_url: url,
            caption: "a calm lake",
            clip_start_sec: f64::from(*tenths) / 10.0,
        });
    Claims::collect(facts, &Profile::default())
}

fn miners(sources: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Miner>> {
    let rows = prop::collection::vec((sources, 0u16..600), 0..12);
    prop::collection::vec((0u8..4, rows), 0..7).prop_map(|made| {
        made.into_iter()
            .enumerate()
            .map(|(at, (time, rows))| Miner {
                hotkey: format!("m{at}"),
                submitted_at: f64::from(time),
                claims: claims(&rows),
            })
            .collect()
    })
}

fn run(miners: &[Miner], index: &RecordIndex) -> Vec<Arbitrated> {
    arbitrate(&submissions(miners), index, &Profile::default())
}

fn submissions(miners: &[Miner]) -> Vec<Submission<'_>> {
    miners
        .iter()
        .map(
            |Miner {
                 hotkey,
                 submitted_at,
                 claims,
             }| Submission {
                hotkey,
                submitted_at: *submitted_at,
                claims,
            },
        )
        .collect()
}

/// The rule of PROTOCOL §7.2 as it is written, row by row and quadratic.
fn by_the_letter(miners: &[Miner]) -> Vec<Vec<u32>> {
    let mut rows: Vec<(f64, &str, f64, &str, usize, u32)> = Vec::new();
    for (at, miner) in miners
        .iter()
        .enumerate()
        .filter(|(_, m)| !m.claims.has_refused_url())
    {
        for row in miner.claims.rows() {
            let start = miner.claims.start_sec(row).unwrap();
            let id = miner.claims.clip_id(row).unwrap();
            rows.push((miner.submitted_at, &miner.hotkey, start, id, at, row));
        }
    }
    rows.sort_by(|a, b| {
        let first = a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1));
        first
            .then_with(|| a.2.total_cmp(&b.2))
            .then_with(|| a.3.cmp(b.3))
    });
    let mut kept: Vec<(usize, u32)> = Vec::new();
    for (_, _, start, _, at, row) in rows {
        let key = &miners[at].claims.source(row).unwrap().key;
        let taken = kept.iter().any(|(other, other_row)| {
            *other != at
                && miners[*other].claims.source(*other_row).unwrap().key == *key
                && overlaps(
                    start,
                    miners[*other].claims.start_sec(*other_row).unwrap(),
                    4.5,
                )
        });
        if !taken {
            kept.push((at, row));
        }
    }
    (0..miners.len())
        .map(|at| {
            let mut own: Vec<u32> = kept
                .iter()
                .filter(|(miner, _)| *miner == at)
                .map(|(_, row)| *row)
                .collect();
            own.sort_unstable();
            own
        })
        .collect()
}

fn decision() -> impl Strategy<Value = ScoredDecision> {
    (0u8..3, 0u8..6, 0u8..4, any::<bool>(), 0u8..9).prop_map(
        |(validator, miner, interval, accepted, count)| ScoredDecision {
            validator_hotkey: format!("v{validator}"),
            miner_hotkey: format!("m{miner}"),
            interval_id: i128::from(interval) * 50,
            accepted,
            record_count: i128::from(count),
        },
    )
}

proptest! {
    #[test]
    fn arbitration_is_what_the_rule_says(miners in miners(0..4)) {
        let kept: Vec<Vec<u32>> =
            run(&miners, &RecordIndex::default()).into_iter().map(|found| found.kept).collect();
        prop_assert_eq!(kept, by_the_letter(&miners));
    }

    #[test]
    fn arbitration_does_not_depend_on_arrival_order(miners in miners(0..10), turn in 0usize..7) {
        let index = RecordIndex::parse(br#"{"v2": [10, 20.5], "v3": ["30"]}"#).unwrap();
        let straight = run(&miners, &index);
        let mut turned = miners.clone();
        turned.reverse();
        let by = turn % turned.len().max(1);
        turned.rotate_left(by);
        for (miner, found) in turned.iter().zip(run(&turned, &index)) {
            let at = miners.iter().position(|known| known.hotkey == miner.hotkey).unwrap();
            prop_assert_eq!(&straight[at], &found);
        }
    }

    #[test]
    fn no_two_kept_rows_of_different_miners_overlap(miners in miners(0..10)) {
        let found = run(&miners, &RecordIndex::default());
        prop_assert_eq!(first_conflict(&submissions(&miners), &found, 4.5), None);
    }

    #[test]
    fn kept_and_pruned_rows_add_up_and_arbitrating_the_kept_again_prunes_nothing(
        rows in prop::collection::vec(prop::collection::vec((0u8..4, 0u16..600), 0..12), 0..6)
    ) {
        let index = RecordIndex::parse(br#"{"v2": [10, 20.5]}"#).unwrap();
        let make = |rows: &[Vec<Row>]| -> Vec<Miner> {
            rows.iter().enumerate().map(|(at, rows)| Miner {
                hotkey: format!("m{at}"), submitted_at: 0.0, claims: claims(rows),
            }).collect()
        };
        let first = run(&make(&rows), &index);
        let mut left = Vec::new();
        for (rows, found) in rows.iter().zip(&first) {
            let sum = found.kept.len() + (found.pruned_global + found.pruned_cross) as usize;
            prop_assert_eq!(sum, rows.len());
            left.push(found.kept.iter().map(|row| rows[*row as usize]).collect::<Vec<Row>>());
        }
        for (rows, found) in left.iter().zip(run(&make(&left), &index)) {
            prop_assert_eq!(found.kept.len(), rows.len());
        }
    }

    #[test]
    fn a_raising_submission_never_touches_another_miner(miners in miners(0..4), at in 0usize..7) {
        let alone = run(&miners, &RecordIndex::default());
        let mut with = miners.clone();
        let rows: Vec<Row> = (0..60).map(|n| (u8::try_from(n % 4).unwrap(), n * 10)).chain([(9, 0)]).collect();
        let poison = Miner { hotkey: "a".into(), submitted_at: -1.0, claims: claims(&rows) };
        let at = at.min(with.len());
        with.insert(at, poison);
        let mut found = run(&with, &RecordIndex::default());
        prop_assert!(found.remove(at).raises);
        prop_assert_eq!(found, alone);
    }

    #[test]
    fn claims_survive_the_wire_and_lies_about_them_do_not(rows in prop::collection::vec((0u8..10, 0u16..600), 0..12)) {
        let claims = claims(&rows);
        let json = serde_json::to_value(&claims).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Claims>(json.clone()).unwrap(), &claims);
        for (column, lie) in [
            ("source_of", serde_json::json!([99])),
            ("starts_sec", serde_json::json!([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 1.0, 1.0, 1.0])),
            ("clip_ids", serde_json::json!("a much longer text than any of these ids together are, ever")),
        ] {
            let mut false_json = json.clone();
            false_json[column] = lie;
            prop_assert!(serde_json::from_value::<Claims>(false_json).is_err());
        }
    }

    #[test]
    fn intervals_tile_the_block_line(block in 0u64..u64::MAX / 4, april in any::<bool>()) {
        let profile = Profile::by_name(Profile::NAMES[usize::from(april)]).unwrap();
        let calendar = Calendar::of(&profile);
        let interval = calendar.interval_of(BlockNumber::new(block));
        let next = calendar.next(interval);
        prop_assert!(interval.get() <= block && block < next.get());
        prop_assert!(calendar.is_interval(interval));
        prop_assert_eq!(calendar.interval_of(BlockNumber::new(next.get())), next);
        prop_assert_eq!(calendar.previous(next), interval);
        if let Some(newest) = calendar.newest_eligible(BlockNumber::new(block)) {
            prop_assert!(calendar.eligible_from(newest).get() <= block);
            prop_assert!(calendar.eligible_from(calendar.next(newest)).get() > block);
        }
    }

    #[test]
    fn a_sample_is_a_stable_subset_of_the_promised_size(total in 0u32..2000, seed in ".*", hotkey in "[a-z]{0,8}") {
        let profile = Profile::default();
        let drawn = sampling::select_rows(total, &hotkey, Some("v"), &seed, &profile);
        prop_assert!(sampling::is_sample(&drawn, total));
        let size = if total <= 3 { total } else { total.div_ceil(5).clamp(1, 3) };
        prop_assert_eq!(drawn.len(), size as usize);
        prop_assert_eq!(&drawn, &sampling::select_rows(total, &hotkey, None, &seed, &profile));
    }

    #[test]
    fn drawn_miners_do_not_depend_on_the_order_of_candidates(
        mut hotkeys in prop::collection::hash_set("[a-z]{1,6}", 0..60).prop_map(Vec::from_iter)
    ) {
        let profile = Profile::default();
        let drawn = sampling::select_miners(&hotkeys, |_| false, "s", &profile);
        let n = hotkeys.len();
        prop_assert_eq!(drawn.len(), n.div_ceil(2).clamp(2, 35).min(n));
        hotkeys.sort();
        prop_assert_eq!(drawn, sampling::select_miners(&hotkeys, |_| false, "s", &profile));
    }

    #[test]
    fn scores_do_not_depend_on_batching_repeats_or_rejects(
        decisions in prop::collection::vec(decision(), 0..40)
    ) {
        let once = score_totals(&decisions, 0..200).unwrap();
        let doubled: Vec<ScoredDecision> = decisions.iter().chain(&decisions).cloned().collect();
        prop_assert_eq!(&score_totals(&doubled, 0..200).unwrap(), &once);
        let accepted = decisions.iter().filter(|decision| decision.accepted);
        prop_assert_eq!(&score_totals(accepted, 0..200).unwrap(), &once);
    }

    #[test]
    fn weights_sum_to_one_keep_the_order_of_scores_and_leave_the_excluded_out(
        decisions in prop::collection::vec(decision(), 0..40), april in any::<bool>()
    ) {
        let profile = Profile::by_name(Profile::NAMES[usize::from(april)]).unwrap();
        let excluded = Excluded { invalid: ["m0".to_owned()].into(), blacklist: ["m1".to_owned()].into() };
        let weights = epoch_weights(&decisions, 0..200, &excluded, &profile).unwrap();
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-12);
        let left: Vec<&(String, f64)> =
            weights.iter().filter(|(hotkey, _)| hotkey != "m0" && hotkey != "m1").collect();
        prop_assert!(left.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        prop_assert!(weights.iter().all(|(key, w)| *w == 0.0 || (key != "m0" && key != "m1")));
        let hotkeys = ["m5", "m3", "m2", "m4"];
        let payload = chain_payload(&hotkeys, &[9u16, 3, 0, 1], &weights).unwrap();
        let sum: f64 = payload.weights.iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-12);
        let scaled = scale_to_u16(&payload.uids, &payload.weights).unwrap();
        prop_assert!(scaled.iter().any(|(_, value)| *value == u16::MAX));
    }

    #[test]
    fn a_code_reads_back_to_the_same_code(clip_id in ".*", uri in ".*") {
        for reason in [
            Reason::OverlapLt5s { source: uri.clone(), previous: "a".into(), clip_id: clip_id.clone() },
            Reason::InvalidResolution { clip_id: clip_id.clone(), width: 1, height: u128::MAX },
            Reason::InvalidAssetUri { uri: uri.clone() },
            Reason::ShortCaption { clip_id: clip_id.clone() },
            Reason::IncompatibleSpecVersion { spec_id: uri.clone(), protocol: clip_id.clone(), schema: "1".into() },
        ] {
            let code = reason.to_string();
            prop_assert_eq!(code.parse::<Reason>().unwrap().to_string(), code);
            prop_assert!(!reason.explain().is_empty());
        }
    }

    #[test]
    fn an_index_that_was_written_reads_back(
        entries in prop::collection::btree_map("[A-Za-z0-9_-]{11}", prop::collection::vec(0u32..9_000_000, 1..9), 0..9)
    ) {
        let mut index = RecordIndex::default();
        for (id, millis) in &entries {
            let url = format!("https://youtu.be/{id}");
            index.merge(millis.iter().map(|ms| (url.as_str(), f64::from(*ms) / 1000.0))).unwrap();
        }
        prop_assert_eq!(&RecordIndex::parse(index.serialize().as_bytes()).unwrap(), &index);
        let mut again = index.clone();
        again.merge([]).unwrap();
        prop_assert_eq!(again, index);
    }

    #[test]
    fn hostile_text_never_panics(text in ".*", urlish in "(https?:)?//[\\[\\]a-z0-9:.@%v]{0,20}[/?#;&=v%+]{0,6}.{0,8}") {
        for text in [&text, &urlish] {
            let read = SourceUrl::read(text);
            prop_assert_eq!(read.is_err(), split_url(python_strip(text)).is_err());
            if let Some(path) = uri::normalize_relative_uri(text) {
                prop_assert!(path.split('/').all(|part| part != ".." && part != "."));
                prop_assert!(!path.starts_with('/'));
            }
            vision::has_injection_keyword(text);
            vision::parse_match(text);
            vision::parse_category(text);
            prop_assert!(RecordIndex::parse(text.as_bytes()).is_ok());
        }
    }
}
