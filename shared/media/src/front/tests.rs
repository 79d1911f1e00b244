use std::fs;
use std::path::Path;
use std::time::Duration;

use super::settled;
use crate::libav;

#[path = "../../../../fuzz/src/mutate.rs"]
mod mutate;

use mutate::{Dice, mutant};

const PATIENCE: Duration = Duration::from_secs(20);

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/clip");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn encoders_clips_are_settled_and_whatever_is_unusual_is_not() {
    for (name, bytes) in corpus() {
        let ordinary =
            name.starts_with("ordinary") || name.starts_with("h264") && name.ends_with(".mp4");
        assert_eq!(settled(&bytes).is_some(), ordinary, "{name}");
        // Never one that breaks off, nor one with something behind it.
        assert_eq!(settled(&bytes[..bytes.len() - 1]), None, "{name}");
        assert_eq!(
            settled(&[&bytes, &b"\0\0\0\x08skip"[..]].concat()),
            None,
            "{name}"
        );
    }
}

/// `NEXIS_ORDINARY=100000 NEXIS_ORDINARY_SEED=7` tries more.
#[test]
fn what_is_settled_has_the_size_that_libavformat_gives_it() {
    let number = |name: &str, otherwise| match std::env::var(name) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => otherwise,
    };
    let (count, seed) = (
        number("NEXIS_ORDINARY", 6_000),
        number("NEXIS_ORDINARY_SEED", 1),
    );
    let mut seeds: Vec<_> = corpus()
        .into_iter()
        .filter(|file| settled(&file.1).is_some())
        .collect();
    let mut settled_ones = 0;
    let seeds: Vec<_> = seeds.drain(..).map(|file| file.1).collect();
    for place in 0..count {
        let bytes = mutant(&seeds, &mut Dice(seed ^ place << 20));
        let Some(ours) = settled(&bytes) else {
            continue;
        };
        settled_ones += 1;
        let asked = libav::probe(&bytes, PATIENCE).ok();
        assert_eq!(Some(ours), asked, "mutant {place} of seed {seed}");
    }
    assert!(
        settled_ones > count / 50,
        "{settled_ones} of {count} were settled"
    );
}
