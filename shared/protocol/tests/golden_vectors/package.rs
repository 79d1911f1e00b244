//! Rows, captions, links and names of a package.

use super::*;

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
