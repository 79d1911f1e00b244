//! Seeds, the twister, and who and what is drawn.

use super::*;

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
