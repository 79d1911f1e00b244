//! Every golden vector of this crate's rules, for both profiles. A vector file that no test reads fails
//! `every_vector_file_has_a_reader`.

#![expect(
    clippy::unwrap_used,
    reason = "a golden file that cannot be read must stop the test, also in its helper functions"
)]
#![expect(clippy::float_cmp, reason = "parity is to the last bit")]

#[path = "golden_vectors/chain.rs"]
mod chain;
#[path = "golden_vectors/index.rs"]
mod index;
#[path = "golden_vectors/models.rs"]
mod models;
#[path = "golden_vectors/package.rs"]
mod package;
#[path = "golden_vectors/sample.rs"]
mod sample;
#[path = "golden_vectors/scores.rs"]
mod scores;

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
