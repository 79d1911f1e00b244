//! The global overlap index.

use super::*;

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
