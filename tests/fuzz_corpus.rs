//! What the fuzz targets demand, over their corpus and over seeded damage of it.
//!
//! `NEXIS_FUZZ_INPUTS=1000000 NEXIS_FUZZ_SEED=7 cargo test -p nexis-e2e --test fuzz_corpus` tries more. A failure names
//! the target; its input is written where the message says.

#[path = "../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use mutate::{Dice, mutant};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::TARGETS;

fn wanted(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().expect("a whole number"),
        Err(_) => otherwise,
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let files = fs::read_dir(folder.join(target)).expect("every target has a corpus");
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_file_of_the_corpus_holds() {
    for (target, check) in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{target} has a corpus");
        for (path, bytes) in corpus {
            let held = catch_unwind(|| check(&bytes));
            assert!(held.is_ok(), "{target} fails on {}", path.display());
        }
    }
}

#[test]
fn damaged_files_of_the_corpus_hold() {
    let (count, seed) = (
        wanted("NEXIS_FUZZ_INPUTS", 3_000),
        wanted("NEXIS_FUZZ_SEED", 1),
    );
    let mut failures = Vec::new();
    for (target, check) in TARGETS {
        let seeds: Vec<_> = corpus(target).into_iter().map(|file| file.1).collect();
        for number in 0..count {
            let bytes = mutant(&seeds, &mut Dice(seed ^ number << 20));
            if catch_unwind(AssertUnwindSafe(|| check(&bytes))).is_err() {
                let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
                    .join(format!("{target}-{seed}-{number}"));
                fs::write(&path, &bytes).unwrap();
                failures.push(path);
            }
        }
    }
    assert!(failures.is_empty(), "inputs that fail: {failures:?}");
}
