//! Golden submissions, as far as the screening verdict.

use nexis_dataset::{Limits, read};
use nexis_protocol::profile::Profile;
use nexis_protocol::screen::{ScreenContext, screen};
use serde_json::Value;
use std::path::Path;

const SCREEN_CODES: [&str; 12] = [
    "missing_committed_read_credentials",
    "missing_submission_files",
    "manifest_schema_invalid",
    "manifest_identity_mismatch",
    "unknown_spec",
    "incompatible_spec_version",
    "spec_not_enabled",
    "missing_category_metadata",
    "unsupported_category",
    "dataset_sha256_mismatch",
    "dataset_schema_invalid",
    "manifest_record_count_mismatch",
];

#[test]
fn every_golden_submission_is_screened_as_others_screen_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let json =
        |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let mut wrong = Vec::new();
    let mut cases = 0;
    for profile_name in Profile::NAMES {
        let profile = Profile::by_name(profile_name).unwrap();
        for entry in std::fs::read_dir(root.join("cases")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !["solo__m_", "solo__d_", "solo__s_"]
                .iter()
                .any(|kind| name.starts_with(kind))
            {
                continue;
            }
            cases += 1;
            let case = json(&path);
            let expected = json(&root.join("expected").join(profile_name).join(&name));
            let hotkey = case["hotkeys"][0].as_str().unwrap();
            let interval = case["interval_id"].as_u64().unwrap();
            let folder = root
                .join("corpus")
                .join(hotkey.to_lowercase())
                .join(interval.to_string());
            let strings = |value: &Value| -> Vec<String> {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|v| v.as_str().unwrap().to_owned())
                    .collect()
            };
            let context = ScreenContext {
                hotkey: &hotkey.parse().unwrap(),
                interval: nexis_protocol::IntervalId::new(interval),
                has_credentials: !strings(&case["missing_credentials"])
                    .iter()
                    .any(|other| other == hotkey),
                enabled_specs: &strings(&case["enabled_specs"]),
                expected_category: case["expected_category"].as_str(),
                profile: &profile,
            };
            let manifest = std::fs::read(folder.join("manifest.json")).ok();
            let dataset = std::fs::read(folder.join("dataset.parquet")).ok();
            let verdict = screen(&context, manifest.as_deref(), dataset.as_deref(), |bytes| {
                read(bytes, &Limits::default(), &profile)
            });
            let decision = &expected["decisions"][0];
            let codes: Vec<String> = strings(&decision["failures"])
                .into_iter()
                .filter(|code| SCREEN_CODES.contains(&code.split(':').next().unwrap()))
                .collect();
            let fits = match &verdict {
                Err(rejection) => {
                    rejection
                        .reasons
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        == codes
                }
                Ok(screened) => {
                    codes.is_empty()
                        && Some(screened.rows.len() as u64) == decision["record_count"].as_u64()
                }
            };
            if !fits {
                wrong.push(format!(
                    "{profile_name}/{name}: {codes:?}, got {:?}",
                    verdict.map(|s| s.rows.len())
                ));
            }
        }
    }
    assert!(cases > 200, "only {cases} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
