//! Damaged clips against the sandbox: every one ends in a verdict within its time, and no place of the pool is lost.
//!
//! Every clip goes to a child, is probed there and read for facts, as in a worker; one in four is asked for six pictures
//! and what they show too, which takes most of the time. `NEXIS_MUTANTS=100000 NEXIS_MUTANTS_SEED=7 cargo test
//! -p nexis-media --test mutants -- --nocapture` tries more of them. Clips that took a child down are kept in the folder
//! that it names.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nexis_media::{Asked, Budget, Pool, PoolOptions, Undecodable};
use nexis_protocol::picture::PictureChecks;

/// Wall time of one clip; the decoders' own budget is below it.
const WALL: Duration = Duration::from_secs(10);
/// One clip in this many is asked for pictures.
const PICTURES_EACH: u64 = 4;
/// A line is printed after this many.
const PROGRESS_EACH: u64 = 5_000;
/// A child that was killed is gone within this, also on a busy machine.
const GRACE: Duration = Duration::from_secs(5);

#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;

use mutate::{Dice, mutant};

fn wanted(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().expect("a whole number"),
        Err(_) => otherwise,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/clip");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() > 20, "the corpus is there");
    seeds
}

/// What became of a clip, in a word.
fn ending(fault: Option<&Undecodable>) -> String {
    match fault {
        None => "read".to_owned(),
        Some(Undecodable::Refused(_)) => "refused".to_owned(),
        Some(Undecodable::Died(signal)) => format!("died of signal {signal}"),
        Some(Undecodable::GaveUp) => "gave up".to_owned(),
        Some(Undecodable::Memory) => "memory".to_owned(),
        Some(Undecodable::Deadline) => "deadline".to_owned(),
        Some(Undecodable::Nonsense) => "nonsense".to_owned(),
    }
}

#[test]
fn every_damaged_clip_ends_in_a_verdict_and_no_place_of_the_pool_is_lost() {
    let (count, seed) = (
        wanted("NEXIS_MUTANTS", 1_500),
        wanted("NEXIS_MUTANTS_SEED", 1),
    );
    let permits = std::thread::available_parallelism().map_or(2, usize::from);
    let pool = Pool::start(PoolOptions {
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-media-child"))),
        // Only clips cost children here, so that what is counted is what clips did.
        clips_per_child: u32::MAX,
        wall: WALL,
        ..PoolOptions::new(permits)
    })
    .unwrap();
    let budget = Budget {
        time: Duration::from_secs(4),
        ..Budget::default()
    };
    let (seeds, next) = (seeds(), AtomicU64::new(0));
    let tally = Mutex::new((BTreeMap::<String, u64>::new(), Duration::ZERO));
    let start = Instant::now();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    fs::create_dir_all(&kept).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..permits {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let clip = mutant(
                        &seeds,
                        &mut Dice(seed.wrapping_mul(0x1_0000_0001) ^ number << 20),
                    );
                    let began = Instant::now();
                    // An error here is a place of the pool that could not be filled again.
                    let pictures = if number.is_multiple_of(PICTURES_EACH) {
                        6
                    } else {
                        0
                    };
                    let sight = match pictures {
                        0 => PictureChecks::Off,
                        _ => PictureChecks::All,
                    };
                    let look = pool.look_at(Asked {
                        clip: &clip,
                        asset: Some(&clip),
                        pictures,
                        sight,
                        budget,
                    });
                    let look = look.unwrap();
                    let took = began.elapsed();
                    let fault = look.size.as_ref().err().or(look.pictures.as_ref().err());
                    let fault = look.lost.as_ref().or(fault);
                    let asked = if pictures > 0 { "pictures" } else { "size" };
                    let word = format!("{asked}: {}", ending(fault));
                    if look.lost.is_some() {
                        fs::write(kept.join(format!("{seed}-{number}")), &clip).unwrap();
                    }
                    let mut tally = tally.lock().unwrap();
                    *tally.0.entry(word).or_default() += 1;
                    tally.1 = tally.1.max(took);
                    let done: u64 = tally.0.values().sum();
                    if done.is_multiple_of(PROGRESS_EACH) {
                        let rate = done as f64 / start.elapsed().as_secs_f64();
                        println!(
                            "{done} of {count}, {rate:.0} a second: {:?}, {} lost",
                            tally.0,
                            pool.replaced()
                        );
                    }
                }
            });
        }
    });
    let (endings, longest) = tally.into_inner().unwrap();
    println!(
        "{count} damaged clips (seed {seed}) in {:?}: {endings:?}; longest {longest:?}",
        start.elapsed()
    );
    println!(
        "children lost: {}; their clips are in {}",
        pool.replaced(),
        kept.display()
    );
    assert_eq!(
        endings.values().sum::<u64>(),
        count,
        "every clip has an ending"
    );
    assert!(longest < WALL + GRACE, "a clip took {longest:?}");
    for word in ["pictures: read", "size: read"] {
        let reached = endings.get(word).is_some_and(|read| *read > count / 100);
        assert!(reached, "{word}: the decoders were reached");
    }
    // All places at once: each still has a child that reads an undamaged clip.
    std::thread::scope(|scope| {
        for seed in seeds.iter().cycle().take(1) {
            for _ in 0..permits * 2 {
                scope.spawn(|| assert!(pool.look(seed, 1, budget).unwrap().size.is_ok()));
            }
        }
    });
}
