//! Every golden case through the program as a user runs it, both profiles.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const SIDE_BY_SIDE: usize = 2;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

/// Drops the advisory texts, which other validators word differently.
fn without_error_text(mut value: Value) -> Value {
    if let Some(decisions) = value.get_mut("decisions").and_then(Value::as_array_mut) {
        for decision in decisions {
            if let Some(fields) = decision.as_object_mut() {
                fields.remove("error_text");
            }
        }
    }
    value
}

fn judge(case: &Path, profile: &str) -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_nexis"))
        .args(["check", "--json", "--profile", profile, "--case"])
        .arg(case)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .map_err(|fault| fault.to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{}: {text}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|fault| fault.to_string())
}

fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default()
    };
    let mut all = keys(expected);
    all.extend(keys(got));
    all.sort();
    all.dedup();
    all.iter()
        .filter(|key| !same(expected.get(key.as_str()), got.get(key.as_str())))
        .map(|key| {
            format!(
                "{key}:\n      want {:?}\n      got  {:?}",
                expected.get(key),
                got.get(key)
            )
        })
        .collect()
}

/// Equal, with numbers compared as numbers (1 is 1.0).
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.as_f64() == b.as_f64(),
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.len() == b.len() && a.iter().all(|(key, value)| same(Some(value), b.get(key)))
        }
        (a, b) => a == b,
    }
}

fn all_cases_agree(profile: &str) {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(golden().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .collect();
    cases.sort();
    assert!(
        cases.len() >= 237,
        "only {} golden cases are here",
        cases.len()
    );
    let total = cases.len();
    let queue = Mutex::new(cases);
    let failed: Mutex<Vec<String>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().pop() else {
                        return;
                    };
                    let name = case.file_name().unwrap().to_owned();
                    let expected = golden().join("expected").join(profile).join(&name);
                    let expected: Value =
                        serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
                    let problems = match judge(&case, profile) {
                        Ok(got) => differences(&without_error_text(expected), &got),
                        Err(fault) => vec![fault],
                    };
                    if !problems.is_empty() {
                        let text = format!("{}\n    {}", name.display(), problems.join("\n    "));
                        failed.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {total} differ:\n  {}",
        failed.len(),
        failed.join("\n  ")
    );
}

#[test]
fn every_golden_case_gets_its_verdict_under_the_readme_profile() {
    all_cases_agree("readme");
}

#[test]
fn every_golden_case_gets_its_verdict_under_the_dated_profile() {
    all_cases_agree("2026-04-13");
}
