//! Scores and weights.

use super::*;

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
