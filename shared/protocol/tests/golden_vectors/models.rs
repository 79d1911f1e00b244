//! Answers of the models.

use super::*;

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
