//! What small hostile files cost: processor time and peak memory of reading them and checking their rows, each in a
//! process of its own. Prints the table.
#![expect(clippy::unwrap_used, reason = "a test")]

use nexis_dataset::{Limits, needed_memory, read};
use nexis_protocol::checks::hard_checks;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::profile::Profile;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the file that a child process judges.
const FILE: &str = "NEXIS_COST_FILE";
/// An optimised build must stay within a second; others are some twenty times slower, and the machine may be loaded.
const MOST_SECONDS: f64 = if cfg!(debug_assertions) { 30.0 } else { 1.0 };
const MOST_MEMORY: u64 = 256 << 20;

/// Reads and checks as a worker does before it looks at clips.
fn judge(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let profile = Profile::default();
    let rows = match read(&bytes, &Limits::default(), &profile) {
        Ok(rows) => rows,
        Err(error) => return error.to_string(),
    };
    let facts = rows.iter().map(|row| RowFacts {
        clip_id: row.clip_id,
        source_video_id: row.source_video_id,
        source_video_url: row.source_video_url,
        caption: row.caption,
        clip_start_sec: row.clip_start_sec,
    });
    let claims = Claims::collect(facts, &profile);
    let kept: Vec<u32> = claims.rows().collect();
    let failures = hard_checks(&claims, &kept, &profile).len();
    format!("{} rows, {failures} failures", rows.len())
}

/// Processor seconds and peak memory of this process, bytes.
fn used() -> (f64, u64) {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = [11, 12]
        .iter()
        .map(|at| fields[*at].parse::<f64>().unwrap())
        .sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    (ticks / TICKS_PER_SECOND, kib << 10)
}

#[test]
fn a_child_judges_the_file_it_is_given() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let bytes = std::fs::read(&path).unwrap();
    let said = needed_memory(&bytes, &Limits::default());
    drop(bytes);
    let outcome = judge(Path::new(&path));
    let (seconds, peak) = used();
    println!("cost\t{seconds}\t{peak}\t{said}\t{outcome}");
}

fn cost(path: &Path) -> (f64, u64, u64, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_judges_the_file_it_is_given",
            "--nocapture",
        ])
        .env(FILE, path)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout).into_owned();
    let line = out.lines().find_map(|line| line.split_once("cost\t"));
    let (_, line) = line.unwrap_or_else(|| panic!("{}: {out}", path.display()));
    let fields: Vec<&str> = line.splitn(4, '\t').collect();
    (
        fields[0].parse().unwrap(),
        fields[1].parse().unwrap(),
        fields[2].parse().unwrap(),
        fields[3].to_owned(),
    )
}

fn files() -> Vec<PathBuf> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = crate_root.join("../../target/costly");
    std::fs::create_dir_all(&made).unwrap();
    let python = crate_root.join("../../target/venv-parquet/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup.sh test",
        python.display()
    );
    let done = Command::new(python)
        .arg(crate_root.join("tests/parity/costly.py"))
        .arg(&made)
        .status();
    assert!(done.unwrap().success(), "tests/parity/costly.py failed");
    let mut files: Vec<PathBuf> = [crate_root.join("tests/hostile_files"), made]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn small_hostile_files_cost_little() {
    let mut beyond = Vec::new();
    for path in files() {
        let size = std::fs::metadata(&path).unwrap().len();
        let (seconds, peak, said, outcome) = cost(&path);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let line = format!(
            "{name:28} {size:9} bytes {seconds:6.2} s {:4} MB (said {:4})  {outcome}",
            peak >> 20,
            said >> 20
        );
        println!("{line}");
        // A process takes a few megabytes before it reads anything; checks are counted with the reading.
        if seconds > MOST_SECONDS || peak > MOST_MEMORY || peak > said + (48 << 20) {
            beyond.push(line);
        }
    }
    assert!(beyond.is_empty(), "cost too much:\n{}", beyond.join("\n"));
}
