//! Every golden vector of this crate's rules, for both profiles. A vector file that no test reads fails
//! `every_vector_file_has_a_reader`.

#![expect(
    clippy::unwrap_used,
    reason = "a golden file that cannot be read must stop the test, also in its helper functions"
)]
#![expect(clippy::float_cmp, reason = "parity is to the last bit")]

use nexis_protocol::auth::SignedRequest;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::checks::hard_checks;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::clip::deterministic_clip_id;
use nexis_protocol::cpython_random::CpythonRandom;
use nexis_protocol::profile::Profile;
use nexis_protocol::pyjson::{self, PyValue};
use nexis_protocol::record_info::{self, RecordIndex};
use nexis_protocol::score::{self, IntervalResult, ScoredDecision, WeightComputer};
use nexis_protocol::source::{self, SourceUrl};
use nexis_protocol::{BlockNumber, Digest, IntervalId};
use nexis_protocol::{credentials, sampling, text, uri, vision, weights};
use serde_json::Value;
use std::fmt::Debug;
use std::path::PathBuf;

const CAPTION: &str =
    "one two three four five six seven eight nine ten 1 2 3 4 5 6 7 8 9 10 of a calm lake";

fn folder(profile: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden/vectors", profile]
        .iter()
        .collect()
}

/// Calls a check for each case of a vector file, in both profiles.
fn each(file: &str, check: impl Fn(&Profile, &Value)) {
    let mut seen = 0;
    for name in Profile::NAMES {
        let path = folder(name).join(format!("{file}.json"));
        if !path.exists() {
            continue;
        }
        let read = plain_json(&pyjson::parse(&std::fs::read(path).unwrap()).unwrap());
        assert_eq!(read["profile"], name);
        let profile = Profile::by_name(name).unwrap();
        for case in read["cases"].as_array().unwrap() {
            check(&profile, case);
            seen += 1;
        }
    }
    assert!(seen > 0, "{file} has no cases");
}

/// Our own reader keeps every bit of a float, which `serde_json` without its feature does not.
fn plain_json(value: &PyValue) -> Value {
    match value {
        PyValue::Null => Value::Null,
        PyValue::Bool(flag) => Value::from(*flag),
        PyValue::Int { text } => match (text.parse::<u64>(), text.parse::<i64>()) {
            (Ok(number), _) => Value::from(number),
            (_, Ok(number)) => Value::from(number),
            // Larger than any typed argument but the message's timestamp.
            _ => Value::from(text.as_str()),
        },
        PyValue::Float(number) => Value::from(*number),
        PyValue::Str(text) => Value::from(text.as_str().expect("vectors hold no lone surrogates")),
        PyValue::List(items) => items.iter().map(plain_json).collect(),
        PyValue::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), plain_json(value)))
            .collect(),
    }
}

fn same<T: PartialEq + Debug>(case: &Value, ours: &T, theirs: &T) {
    assert_eq!(
        ours,
        theirs,
        "in case {}",
        case.to_string().chars().take(400).collect::<String>()
    );
}

fn text_of<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {case}"))
}

fn number(value: &Value) -> f64 {
    match &value["$float"] {
        Value::String(text) => text.parse().unwrap(),
        _ => value
            .as_f64()
            .unwrap_or_else(|| panic!("{value} is no number")),
    }
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn codes(reasons: &[nexis_protocol::reason::Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

/// Equal, or both not a number, or at most one bit apart where the order of a JSON object decides sums.
fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

fn python_value(value: &Value) -> PyValue {
    // Vectors write floats outside JSON as {"$float": …}; Python writes them bare.
    let mut text = value.to_string();
    for (name, bare) in [("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")] {
        text = text.replace(&format!("{{\"$float\":\"{name}\"}}"), bare);
    }
    pyjson::parse(text.as_bytes()).unwrap()
}

const READ_HERE: [&str; 35] = [
    "auth_message",
    "bucket_name",
    "caption_injection_terms",
    "caption_parse_match",
    "captions",
    "category_strict",
    "chain_weight_payload",
    "clip_start_limit",
    "constants",
    "cpython_random",
    "deterministic_clip_id",
    "interval_schedule",
    "interval_seed",
    "llm_transient",
    "middle_three",
    "normalize_relative_uri",
    "overlap",
    "r2_account_id",
    "r2_credentials_validate",
    "r2_decode",
    "r2_encode",
    "r2_extract_commitment",
    "record_info_merge",
    "record_info_parse",
    "record_info_serialize",
    "score_from_sample_count",
    "score_totals",
    "seed_int",
    "select_miners",
    "select_row_indices",
    "source_urls",
    "weight_computer",
    "weight_retry_backoff",
    "whitespace",
    "index",
];
/// Read by the crate that signs and sends.
const READ_ELSEWHERE: [&str; 4] = [
    "evidence_body_and_auth",
    "reporter_urls",
    "signature_verify",
    "test_keypairs",
];

#[test]
fn every_vector_file_has_a_reader() {
    for profile in Profile::NAMES {
        for entry in std::fs::read_dir(folder(profile)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(
                READ_HERE.contains(&name.as_str()) || READ_ELSEWHERE.contains(&name.as_str()),
                "nobody reads {name}"
            );
        }
    }
}

#[test]
fn constants_are_those_of_the_profile() {
    each("constants", |profile, case| {
        let ours = match text_of(case, "name") {
            "CLIP_DURATION_SEC" => profile.clip_duration_sec,
            "FAILURE_LOOKBACK_INTERVALS" => f64::from(profile.failure_lookback_intervals),
            "INTERVAL_LENGTH_BLOCKS" => profile.interval_length_blocks as f64,
            "MINER_SAMPLE_MAX" => f64::from(profile.miner_sample_max),
            "MINER_SAMPLE_MIN" => f64::from(profile.miner_sample_min),
            "MINER_SAMPLE_RATE" => profile.miner_sample_rate,
            "MIN_CLIP_GAP_SEC" => profile.clip_step_sec,
            "ROW_SAMPLE_ALL_THRESHOLD" => f64::from(profile.row_sample_all_up_to),
            "ROW_SAMPLE_MAX" => f64::from(profile.row_sample_max),
            "ROW_SAMPLE_RATE" => profile.row_sample_rate,
            "SCORING_EXPONENT" => f64::from(profile.scoring_exponent),
            "UPLOAD_DEADLINE_RESERVED_BLOCKS" => profile.reserve_blocks as f64,
            "WEIGHT_SUBMISSION_INTERVAL_BLOCKS" => profile.weight_period_blocks as f64,
            "PROTOCOL_VERSION" => return assert_eq!(case["value"], *profile.protocol_version),
            "SCHEMA_VERSION" => return assert_eq!(case["value"], *profile.schema_version),
            "INTERVAL_MODE" => return assert_eq!(case["value"], "blocks"),
            other => panic!("no field for {other}"),
        };
        same(case, &ours, &number(&case["value"]));
    });
}

#[test]
fn the_calendar_agrees() {
    each("interval_schedule", |profile, case| {
        let calendar = Calendar::of(profile);
        let block = BlockNumber::new(case["block"].as_u64().unwrap());
        let current = calendar.interval_of(block);
        same(
            case,
            &Some(current.get()),
            &case["current_interval_start"].as_u64(),
        );
        let start = calendar.miner_start(block).get();
        same(
            case,
            &Some(start),
            &case["initial_miner_interval_start"].as_u64(),
        );
        let newest = calendar.newest_eligible(block).map(IntervalId::get);
        same(
            case,
            &newest,
            &case["latest_eligible_validation_interval_start"].as_u64(),
        );
        same(
            case,
            &calendar.label(current).as_str(),
            &text_of(case, "label"),
        );
        let epoch = calendar.weight_epoch(block).get();
        same(case, &Some(epoch), &case["weight_epoch"].as_u64());
    });
}

#[test]
fn blanks_are_blanks() {
    each("whitespace", |_, case| {
        let code = u32::from_str_radix(&text_of(case, "codepoint")[2..], 16).unwrap();
        let c = char::from_u32(code).unwrap();
        let wrapped = format!("{c}x{c}");
        same(
            case,
            &(text::word_count(&format!("a{c}b")) == 2),
            &case["py_split"].as_bool().unwrap(),
        );
        let python = text::python_strip(&wrapped) == "x";
        same(case, &python, &case["py_strip"].as_bool().unwrap());
        same(
            case,
            &(text::strip(&wrapped) == "x"),
            &case["schema_strip"].as_bool().unwrap(),
        );
    });
}

fn one_row<'a>(clip_id: &'a str, caption: &'a str, start_sec: f64) -> RowFacts<'a> {
    RowFacts {
        clip_id,
        source_video_id: "s",
        source_video_url: "https://youtu.be/x",
        caption,
        clip_start_sec: start_sec,
    }
}

fn checked(rows: &[RowFacts<'_>], profile: &Profile) -> Vec<String> {
    let claims = Claims::collect(rows.iter().copied(), profile);
    let kept: Vec<u32> = claims.rows().collect();
    codes(&hard_checks(&claims, &kept, profile))
}

#[test]
fn captions_are_judged_word_by_word() {
    each("captions", |profile, case| {
        let stored = text::strip(text_of(case, "caption"));
        same(
            case,
            &!stored.is_empty(),
            &case["schema_ok"].as_bool().unwrap(),
        );
        if stored.is_empty() {
            return;
        }
        same(case, &stored, &text_of(case, "stored_caption"));
        same(
            case,
            &(text::word_count(stored) as u64),
            &case["word_count"].as_u64().unwrap(),
        );
        same(
            case,
            &checked(&[one_row("X", stored, 0.0)], profile),
            &texts(&case["failures"]),
        );
    });
}

#[test]
fn late_starts_fail_only_above_the_limit() {
    each("clip_start_limit", |profile, case| {
        let row = one_row("c", CAPTION, number(&case["clip_start_sec"]));
        same(case, &checked(&[row], profile), &texts(&case["failures"]));
    });
}

#[test]
fn own_overlaps_are_found_in_order() {
    each("overlap", |profile, case| {
        let profile = Profile {
            clip_start_max_sec: None,
            ..profile.clone()
        };
        let rows: Vec<RowFacts<'_>> = case["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| RowFacts {
                source_video_id: text_of(row, "source_video_id"),
                source_video_url: text_of(row, "source_video_url"),
                ..one_row(
                    text_of(row, "clip_id"),
                    CAPTION,
                    number(&row["clip_start_sec"]),
                )
            })
            .collect();
        same(case, &checked(&rows, &profile), &texts(&case["result"]));
    });
}

#[test]
fn source_urls_are_read_as_python_reads_them() {
    each("source_urls", |_, case| {
        let url = text_of(case, "url");
        let read = SourceUrl::read(url);
        same(
            case,
            &read.is_err(),
            &case["hostname"]["raises"].is_string(),
        );
        let index_key = source::index_key(url);
        same(
            case,
            &index_key.is_err(),
            &case["record_info_key"]["raises"].is_string(),
        );
        let Ok(read) = read else { return };
        same(
            case,
            &read.host.as_deref(),
            &case["hostname"]["result"].as_str(),
        );
        same(
            case,
            &read.is_youtube(),
            &case["allowed"]["result"].as_bool().unwrap(),
        );
        same(
            case,
            &read.key(),
            &case["spec_canonical_key"]["result"].as_str().unwrap(),
        );
        same(
            case,
            &index_key.unwrap().as_deref(),
            &case["record_info_key"]["result"].as_str(),
        );
        let merged = record_info::merge_key(url).unwrap();
        same(
            case,
            &merged.as_str(),
            &case["canonical_source_key"]["result"].as_str().unwrap(),
        );
        if case["row_accepts"] == true {
            let keys = source::row_index_keys(&read, "SRC");
            same(case, &keys, &texts(&case["overlap_index_keys"]["result"]));
        }
    });
}

#[test]
fn uris_are_normalised() {
    each("normalize_relative_uri", |_, case| {
        let ours = uri::normalize_relative_uri(text_of(case, "uri"));
        same(case, &ours.as_deref(), &case["result"].as_str());
    });
}

#[test]
fn clip_ids_are_those_of_honest_miners() {
    each("deterministic_clip_id", |_, case| {
        let ours = deterministic_clip_id(
            text_of(case, "source_video_id"),
            number(&case["clip_start_sec"]),
            number(&case["duration_sec"]),
        );
        same(case, &ours.as_str(), &text_of(case, "result"));
    });
}

#[test]
fn seeds_agree() {
    each("interval_seed", |_, case| {
        // Heights are never negative, so one vector has no typed argument.
        let Some(id) = case["interval_id"].as_u64() else {
            return assert_eq!(case["interval_id"], -1);
        };
        let interval = IntervalId::new(id);
        same(
            case,
            &sampling::interval_seed(interval).as_str(),
            &text_of(case, "result"),
        );
    });
    each("seed_int", |_, case| {
        let ours = sampling::seed_int(text_of(case, "text"));
        same(case, &Some(ours), &case["result"].as_u64());
    });
}

#[test]
fn the_twister_is_cpythons() {
    const BOUNDS: [u32; 12] = [1, 2, 3, 5, 7, 10, 100, 255, 256, 257, 65_536, 100_000];
    each("cpython_random", |_, case| {
        let seed: u64 = text_of(case, "seed_str").parse().unwrap();
        let fresh = || CpythonRandom::new(seed);
        let mut random = fresh();
        let drawn: Vec<u64> = (0..8).map(|_| u64::from(random.bits(32))).collect();
        same(case, &serde_json::json!(drawn), &case["getrandbits32_x8"]);
        let mut random = fresh();
        let below: Vec<u32> = BOUNDS.iter().map(|bound| random.below(*bound)).collect();
        let name = "randbelow_1_2_3_5_7_10_100_255_256_257_65536_100000";
        same(case, &serde_json::json!(below), &case[name]);
        for (length, expected) in case["shuffle"].as_object().unwrap() {
            let mut items: Vec<u32> = (0..length.parse().unwrap()).collect();
            fresh().shuffle(&mut items);
            if expected.is_array() {
                same(case, &serde_json::json!(items), expected);
            } else {
                let joined: Vec<String> = items.iter().map(ToString::to_string).collect();
                let digest = Digest::of(joined.join(",").as_bytes()).to_string();
                same(
                    case,
                    &digest.as_str(),
                    &text_of(expected, "sha256_of_comma_join"),
                );
            }
        }
    });
}

#[test]
fn the_same_miners_are_drawn() {
    each("select_miners", |profile, case| {
        let hotkeys = texts(&case["hotkeys"]);
        let seed = text_of(case, "interval_seed");
        let drawn = sampling::select_miners(&hotkeys, |_| false, seed, profile);
        same(case, &drawn, &texts(&case["result"]));
    });
}

#[test]
fn the_same_rows_are_drawn() {
    each("select_row_indices", |profile, case| {
        let total = u32::try_from(case["total_rows"].as_i64().unwrap().max(0)).unwrap();
        let drawn = sampling::select_rows(
            total,
            text_of(case, "hotkey"),
            case["validator_hotkey"].as_str(),
            text_of(case, "interval_seed"),
            profile,
        );
        same(case, &serde_json::json!(drawn), &case["result"]);
    });
}

fn index_of(value: &Value) -> RecordIndex {
    let entries = value.as_object().unwrap().iter();
    RecordIndex::from_entries(entries.map(|(key, starts)| (key.clone(), numbers(starts))))
}

fn same_index(case: &Value, ours: &RecordIndex, theirs: &Value) {
    let theirs = theirs.as_object().unwrap();
    same(case, &ours.len(), &theirs.len());
    for (key, starts) in ours.entries() {
        let mut expected = numbers(&theirs[key]);
        if case["advisory"] == true {
            // How Python sorts a list with a NaN in it is nobody's rule.
            expected.sort_by(f64::total_cmp);
        }
        let fits = starts.len() == expected.len()
            && starts.iter().zip(&expected).all(|(a, b)| close(*a, *b));
        assert!(fits, "{key}: {starts:?} instead of {expected:?} in {case}");
    }
}

#[test]
fn the_index_is_read_merged_and_written() {
    each("record_info_parse", |_, case| {
        let ours = RecordIndex::parse(text_of(case, "raw").as_bytes());
        same(case, &ours.is_err(), &case["raises"].is_string());
        if let Ok(ours) = ours {
            same_index(case, &ours, &case["result"]);
        }
    });
    each("record_info_serialize", |_, case| {
        let ours = index_of(&case["index"]).serialize();
        same(case, &ours.as_str(), &text_of(case, "result"));
    });
    each("record_info_merge", |_, case| {
        let mut index = index_of(&case["index"]);
        let before = index.clone();
        let rows = case["rows"].as_array().unwrap().iter();
        let merged = index.merge(rows.map(|row| {
            (
                text_of(row, "source_video_url"),
                number(&row["clip_start_sec"]),
            )
        }));
        same(case, &merged.is_err(), &case["raises"].is_string());
        if merged.is_ok() {
            same_index(case, &index, &case["result"]);
        } else {
            assert_eq!(index, before);
        }
    });
}

#[test]
fn injection_words_are_found() {
    each("caption_injection_terms", |_, case| {
        let ours = vision::has_injection_keyword(text_of(case, "caption"));
        same(case, &ours, &case["result"].as_bool().unwrap());
    });
}

#[test]
fn the_models_match_answers_are_read() {
    each("caption_parse_match", |_, case| {
        same(
            case,
            &vision::parse_match(text_of(case, "text")),
            &case["result"].as_bool(),
        );
    });
}

#[test]
fn transient_faults_are_told_from_real_ones() {
    each("llm_transient", |_, case| {
        // Statuses that are no integers are none.
        let status = case["status_code"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        let ours = vision::is_transient_fault(status, text_of(case, "message"));
        same(case, &ours, &case["caption"].as_bool().unwrap());
        same(case, &ours, &case["category"].as_bool().unwrap());
    });
}

#[test]
fn the_middle_three_frames_are_taken() {
    each("middle_three", |_, case| {
        // Only files that exist count; in the vectors those are named f00.jpg and so on.
        let exists = |name: &String| name.len() == 7 && name.starts_with('f');
        let frames: Vec<String> = texts(&case["paths"]).into_iter().filter(exists).collect();
        let ours = vision::middle_three(&frames).map(|three| serde_json::json!(three));
        same(case, &ours.unwrap_or_default(), &case["result"]);
    });
}

#[test]
fn category_answers_are_read_and_judged() {
    each("category_strict", |profile, case| {
        let parsed = vision::parse_category(text_of(case, "text"));
        let expected = &case["result"]["parsed"];
        same(case, &parsed.is_none(), &expected.is_null());
        let Some(frames) = parsed else { return };
        for (ours, theirs) in frames.iter().zip(expected.as_array().unwrap()) {
            same(
                case,
                &Some(ours.frame_index),
                &theirs["frame_index"].as_i64(),
            );
            same(case, &ours.winner.as_str(), &text_of(theirs, "winner"));
            let names = ["people", "animal", "vehicle", "urban", "indoor"];
            let rivals = names.map(|name| number(&theirs[format!("{name}_score")]));
            same(case, &ours.rivals, &rivals);
            same(case, &ours.nature, &number(&theirs["nature_score"]));
        }
        let verdict = vision::judge_category(&frames, profile);
        let decision = &case["result"]["decision"];
        same(case, &verdict.accepted, &(decision["decision"] == "accept"));
        same(case, &verdict.nature, &number(&decision["nature_score"]));
        same(case, &verdict.rival, &number(&decision["rival_score"]));
    });
}

#[test]
fn scores_of_counts_agree() {
    each("score_from_sample_count", |profile, case| {
        // Two counts are larger than any data set; no typed argument takes them.
        let Some(count) = case["n"].as_i64() else {
            return assert!(case["n"].is_string());
        };
        let ours = score::score_of_count(count, profile);
        same(case, &ours, &number(&case["result"]));
    });
}

#[test]
fn score_totals_agree() {
    each("score_totals", |_, case| {
        let decisions: Result<Vec<Option<ScoredDecision>>, _> = case["decisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|decision| ScoredDecision::read(&python_value(decision)))
            .collect();
        let window =
            case["interval_start"].as_u64().unwrap()..case["interval_end"].as_u64().unwrap();
        let totals =
            decisions.and_then(|decisions| score::score_totals(decisions.iter().flatten(), window));
        same(case, &totals.is_err(), &case["raises"].is_string());
        let Ok(totals) = totals else { return };
        let expected = case["result"].as_object().unwrap();
        same(case, &totals.len(), &expected.len());
        for (hotkey, score) in &totals {
            same(case, score, &number(&expected[hotkey]));
        }
        let ranked = totals
            .windows(2)
            .all(|pair| pair[0].1 > pair[1].1 || (pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0));
        assert!(ranked, "{case}");
    });
}

#[test]
fn interval_weights_agree() {
    each("weight_computer", |profile, case| {
        let lookback = u32::try_from(case["lookback"].as_u64().unwrap()).unwrap();
        let profile = Profile {
            failure_lookback_intervals: lookback,
            ..profile.clone()
        };
        let mut computer = WeightComputer::new(&profile);
        for interval in case["history"].as_array().unwrap() {
            let outcomes = interval.as_object().unwrap().iter();
            computer
                .record(outcomes.map(|(key, passed)| (key.as_str(), passed.as_bool().unwrap())));
        }
        let ours = if let Some(totals) = case["totals"].as_object() {
            let totals: Vec<(String, f64)> = totals
                .iter()
                .map(|(key, total)| (key.clone(), number(total)))
                .collect();
            computer.weights(&totals)
        } else {
            let results: Vec<IntervalResult> = case["scores"]
                .as_array()
                .unwrap()
                .iter()
                .map(|score| IntervalResult {
                    hotkey: text_of(score, "miner_hotkey").to_owned(),
                    accepted: score["accepted"].as_bool().unwrap(),
                    sampled_rows: score["passed_sample_count"].as_i64().unwrap(),
                })
                .collect();
            computer.interval_weights(&results, &profile)
        };
        let expected = case["result"].as_object().unwrap();
        same(case, &ours.len(), &expected.len());
        for (hotkey, weight) in &ours {
            let theirs = number(&expected[hotkey]);
            assert!(
                close(*weight, theirs),
                "{hotkey}: {weight} instead of {theirs} in {case}"
            );
        }
    });
}

#[test]
fn chain_payloads_agree() {
    each("chain_weight_payload", |_, case| {
        // Coercions of Python that typed arguments do not need: what cannot be read raises there.
        let uid = |uid: &Value| match uid {
            Value::String(text) => text.parse::<i64>().ok(),
            #[expect(clippy::cast_possible_truncation, reason = "truncated there too")]
            other => other
                .as_i64()
                .or_else(|| other.as_f64().map(|number| number as i64)),
        };
        let weight = |weight: &Value| match weight {
            Value::Null => None,
            Value::String(text) => text.parse().ok(),
            other => Some(number(other)),
        };
        let uids: Option<Vec<i64>> = case["uids"].as_array().unwrap().iter().map(uid).collect();
        let given = case["weights"].as_object().unwrap().iter();
        let given: Option<Vec<(String, f64)>> = given
            .map(|(key, share)| Some((key.clone(), weight(share)?)))
            .collect();
        let payload = uids.zip(given).and_then(|(uids, given)| {
            weights::chain_payload(&texts(&case["hotkeys"]), &uids, &given).ok()
        });
        same(case, &payload.is_none(), &case["raises"].is_string());
        let Some(payload) = payload else { return };
        same(
            case,
            &serde_json::json!(payload.uids),
            &case["result"]["uids"],
        );
        same(
            case,
            &payload.unknown_hotkeys,
            &texts(&case["result"]["unknown_hotkeys"]),
        );
        let expected = numbers(&case["result"]["weights"]);
        same(case, &payload.weights.len(), &expected.len());
        assert!(
            payload
                .weights
                .iter()
                .zip(&expected)
                .all(|(a, b)| close(*a, *b)),
            "{case}"
        );
    });
}

#[test]
fn retries_back_off() {
    each("weight_retry_backoff", |_, case| {
        let ours = weights::retry_delay_sec(case["failures"].as_i64().unwrap());
        same(case, &Some(ours), &case["result"].as_u64());
    });
}

#[test]
fn signed_messages_agree() {
    each("auth_message", |_, case| {
        let request = SignedRequest {
            method: text_of(case, "method"),
            path: text_of(case, "path"),
            body_sha256: text_of(case, "body_sha256"),
            timestamp: case["timestamp"]
                .to_string()
                .replace('"', "")
                .parse()
                .unwrap(),
            nonce: text_of(case, "nonce"),
        };
        same(case, &request.message().as_str(), &text_of(case, "result"));
    });
}

#[test]
fn credentials_are_encoded_and_decoded() {
    each("r2_encode", |_, case| {
        let ours = credentials::concatenate(
            text_of(case, "account_id"),
            text_of(case, "read_access_key"),
            text_of(case, "read_secret_key"),
        );
        same(case, &ours.as_str(), &text_of(case, "result"));
    });
    each("r2_decode", |_, case| {
        let ours = credentials::ReadCredentials::decode(text_of(case, "payload"));
        same(case, &ours.is_err(), &case["result"].is_null());
        if let Ok(ours) = ours {
            same(
                case,
                &ours.account_id(),
                &text_of(&case["result"], "account_id"),
            );
            same(
                case,
                &ours.access_key(),
                &text_of(&case["result"], "read_access_key"),
            );
            same(
                case,
                &ours.secret_key(),
                &text_of(&case["result"], "read_secret_key"),
            );
            assert!(!format!("{ours:?}").contains(ours.secret_key()));
        }
    });
    each("r2_account_id", |_, case| {
        let value = text_of(case, "value");
        let ours = credentials::account_id(value);
        same(case, &ours.is_ok(), &case["valid"].as_bool().unwrap());
        let endpoint = credentials::r2_endpoint(value).ok();
        same(
            case,
            &endpoint.as_deref(),
            &case["endpoint"]["result"].as_str(),
        );
    });
    each("bucket_name", |_, case| {
        let ours = credentials::bucket_name(text_of(case, "hotkey"));
        same(case, &ours.as_str(), &text_of(case, "result"));
    });
}

#[test]
fn credentials_are_validated() {
    each("r2_credentials_validate", |_, case| {
        let hotkey = text_of(case, "hotkey");
        let part = |name: &str, honest: &str| {
            case["overrides"][name]
                .as_str()
                .map_or_else(|| honest.to_owned(), str::to_owned)
        };
        let account = part("account_id", "0123456789abcdef0123456789abcdef");
        let access = part("read_access_key", &"k".repeat(32));
        let secret = part("read_secret_key", &"s".repeat(64));
        let bucket = part("bucket_name", &hotkey.to_lowercase());
        let raises = |name: &str| case[name]["raises"].is_string();
        same(
            case,
            &credentials::account_id(&account).is_err(),
            &raises("validate_account_id"),
        );
        let lengths = credentials::check_key_lengths(&access, &secret);
        same(
            case,
            &lengths.is_err(),
            &raises("validate_read_key_lengths"),
        );
        let named = credentials::check_bucket_name(&bucket);
        same(case, &named.is_err(), &raises("validate_bucket_name"));
        let own = credentials::check_bucket_for(&bucket, hotkey);
        same(case, &own.is_err(), &raises("validate_bucket_for_hotkey"));
        let print = credentials::fingerprint(&account, &access, &secret).to_string();
        same(case, &print.as_str(), &text_of(case, "read_commitment"));
    });
}

/// Raw bytes of the first variant of the first field, as a SCALE decoder of the chain sees them.
fn first_field_bytes(value: &Value) -> Option<Vec<u8>> {
    let field = value["info"]["fields"].get(0)?.get(0)?.as_object()?;
    match field.values().next()? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        list => match list.get(0)? {
            Value::Array(bytes) => bytes
                .iter()
                .map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect(),
            bytes => hex_bytes(bytes["$hex"].as_str()?),
        },
    }
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[test]
fn commitments_are_text_or_nothing() {
    each("r2_extract_commitment", |_, case| {
        let value = case["value"].get("value").unwrap_or(&case["value"]);
        let ours = first_field_bytes(value).and_then(|raw| credentials::commitment_text(&raw));
        same(case, &ours.as_deref(), &case["result"].as_str());
    });
}
