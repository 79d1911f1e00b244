//! The same verdict and the same rows as pyarrow and pydantic give, for files of every make and for damaged ones.
//!
//! The suite runs a small share with fixed seeds; `make parity-parquet COUNT=... SEED=...` runs as many as wanted and
//! prints the differences (docs/dataset-parity.md).
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use nexis_dataset::{Limits, read};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{RowRef, Rows};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn python() -> PathBuf {
    let python = root().join("target/venv-parquet/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup.sh test",
        python.display()
    );
    python
}

/// How many shapes `special` of tests/parity/generate.py knows.
const SPECIAL: u64 = 17;

/// Files and what others say of them, as they come.
struct Cases {
    kind: &'static str,
    seed: u64,
    next: u64,
    end: u64,
    child: Child,
}

struct Case {
    number: u64,
    file: Vec<u8>,
    /// `None`: the process of others ended over it.
    verdict: Option<Value>,
}

fn start(kind: &str, seed: u64, first: u64, count: u64) -> Child {
    Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/run.py"))
        .args([
            kind,
            &seed.to_string(),
            &first.to_string(),
            &count.to_string(),
        ])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Cases {
    fn of(kind: &'static str, seed: u64, first: u64, count: u64) -> Self {
        Self {
            kind,
            seed,
            next: first,
            end: first + count,
            child: start(kind, seed, first, count),
        }
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        let mut out = BufReader::with_capacity(0, self.child.stdout.as_mut().unwrap());
        let mut length = [0; 4];
        out.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        out.read_exact(&mut frame).ok()?;
        Some(frame)
    }
}

impl Iterator for Cases {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        if self.next == self.end {
            drop(self.child.wait());
            return None;
        }
        let number = self.next;
        self.next += 1;
        let file = self
            .frame()
            .expect("a file; see why tests/parity/run.py ended");
        let verdict: Option<Value> = self
            .frame()
            .map(|json| serde_json::from_slice(&json).unwrap());
        if verdict.is_none() {
            // It ended over this file: go on behind it.
            drop(self.child.wait());
            self.child = start(self.kind, self.seed, self.next, self.end - self.next);
        }
        Some(Case {
            number,
            file,
            verdict,
        })
    }
}

fn digest(rows: &Rows) -> String {
    let mut digest = Sha256::new();
    for row in rows.iter() {
        let RowRef {
            clip_id,
            clip_uri,
            first_frame_uri,
            source_video_id,
            split_group_id,
            ..
        } = row;
        let texts = [
            clip_id,
            clip_uri,
            first_frame_uri,
            source_video_id,
            split_group_id,
            row.split,
            row.caption,
            row.source_video_url,
        ];
        for text in texts {
            digest.update(u32::try_from(text.len()).unwrap().to_le_bytes());
            digest.update(text);
        }
        for hash in [row.clip_sha256, row.first_frame_sha256] {
            digest.update(hash.map_or("-".to_owned(), |hash| hash.to_string()));
        }
        for float in [row.clip_start_sec, row.duration_sec, row.fps] {
            digest.update(float.to_le_bytes());
        }
        for count in [row.width, row.height, row.num_frames] {
            digest.update(format!("{count};"));
        }
        digest.update([u8::from(row.has_audio)]);
    }
    format!("{:x}", digest.finalize())
}

fn hash_of(file: &[u8]) -> String {
    format!("{:x}", Sha256::digest(file))[..12].to_owned()
}

/// What differs, for whom: `None` when nothing does.
fn difference(file: &[u8], theirs: &Value) -> Option<String> {
    let ours = read(file, &Limits::default(), &Profile::default());
    match (&ours, theirs.get("rows").and_then(Value::as_u64)) {
        (Ok(rows), Some(count))
            if rows.len() as u64 == count && digest(rows) == theirs["digest"] =>
        {
            None
        }
        (Ok(_), Some(_)) => Some("other values".to_owned()),
        (Ok(_), None) => Some(format!("read here, elsewhere: {}", theirs["error"])),
        (Err(error), Some(_)) => Some(format!("read elsewhere, here: {error}")),
        (Err(_), None) => None,
    }
}

struct Outcome {
    cases: u64,
    accepted: u64,
    undecided: u64,
    differences: Vec<String>,
}

/// Compares, and keeps files that differ under `target/parity`.
fn compare(kind: &'static str, seed: u64, first: u64, count: u64) -> Outcome {
    let kept = root().join("target/parity");
    let mut outcome = Outcome {
        cases: 0,
        accepted: 0,
        undecided: 0,
        differences: Vec::new(),
    };
    for Case {
        number,
        file,
        verdict,
    } in Cases::of(kind, seed, first, count)
    {
        outcome.cases += 1;
        let Some(verdict) = verdict else {
            outcome.undecided += 1;
            continue;
        };
        outcome.accepted += u64::from(verdict.get("rows").is_some());
        if let Some(difference) = difference(&file, &verdict) {
            std::fs::create_dir_all(&kept).unwrap();
            let name = format!("{kind}-{seed}-{number}.parquet");
            std::fs::write(kept.join(&name), &file).unwrap();
            outcome
                .differences
                .push(format!("{name} ({}): {difference}", hash_of(&file)));
        }
    }
    outcome
}

#[test]
fn generated_files_are_read_and_refused_as_others_do() {
    let outcome = compare("good", 70, 0, 300);
    assert!(
        outcome.differences.is_empty(),
        "{}",
        outcome.differences.join("\n")
    );
    assert_eq!(outcome.undecided, 0);
    assert!(
        (100..280).contains(&outcome.accepted),
        "{} accepted",
        outcome.accepted
    );
}

#[test]
fn long_deep_wide_and_odd_files_are_read_and_refused_as_others_do() {
    let outcome = compare("special", 0, 0, SPECIAL);
    assert!(
        outcome.differences.is_empty(),
        "{}",
        outcome.differences.join("\n")
    );
    assert_eq!(outcome.accepted, 12, "of {SPECIAL}");
}

#[test]
fn damaged_files_are_read_and_refused_as_others_do() {
    let outcome = compare("damaged", 70, 0, 300);
    assert!(
        outcome.differences.is_empty(),
        "{}",
        outcome.differences.join("\n")
    );
    assert!(
        (20..280).contains(&outcome.accepted),
        "{} accepted",
        outcome.accepted
    );
}

/// `make parity-parquet` asks for this one; a run of the suite compares nothing here.
#[test]
fn as_many_files_as_asked_for() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let Some(count) = number("NEXIS_PARITY_COUNT") else {
        return;
    };
    let seed = number("NEXIS_PARITY_SEED").unwrap_or(1);
    let first = number("NEXIS_PARITY_FIRST").unwrap_or(0);
    let mut total = 0;
    for kind in ["good", "damaged"] {
        let outcome = compare(kind, seed, first, count);
        println!(
            "{kind}: {} files, {} accepted elsewhere, {} without a verdict elsewhere, {} differences",
            outcome.cases,
            outcome.accepted,
            outcome.undecided,
            outcome.differences.len()
        );
        let mut classes: BTreeMap<String, u32> = BTreeMap::new();
        for difference in &outcome.differences {
            println!("  {difference}");
            let class = difference.split_once(": ").map_or("", |(_, class)| class);
            *classes.entry(class.chars().take(60).collect()).or_default() += 1;
        }
        println!("  by class: {classes:#?}");
        let allowed = if kind == "good" { 0 } else { count / 1000 };
        total += (outcome.differences.len() as u64).saturating_sub(allowed);
    }
    assert_eq!(
        total, 0,
        "more differences than allowed; the files are in target/parity"
    );
}
