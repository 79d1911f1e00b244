//! Can the scheduler arbitrate a full subnet within a block? 256 miners with 1,000 rows each, all on the same
//! 20 sources and on overlapping starts, against an index that already holds those sources.

use criterion::{Criterion, criterion_group, criterion_main};
use nexis_protocol::Hotkey;
use nexis_protocol::arbitration::{Submission, arbitrate};
use nexis_protocol::checks::hard_checks;
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::likeness::{Shown, near_duplicates};
use nexis_protocol::picture::{Mark, Pictures};
use nexis_protocol::profile::Profile;
use nexis_protocol::record_info::RecordIndex;
use std::hint::black_box;

const MINERS: u32 = 256;
const ROWS: u32 = 1000;
const SOURCES: u32 = 20;

fn claims(miner: u32, profile: &Profile) -> Claims {
    let rows: Vec<(String, String, f64)> = (0..ROWS)
        .map(|row| {
            let source = row % SOURCES;
            // Starts of different miners fall between each other, so that many lookups hit.
            let start = f64::from(row / SOURCES * 400 + miner * 17 % 400) * 0.7;
            (
                format!("{miner:012}{row:012}"),
                format!("video{source:06}"),
                start,
            )
        })
        .collect();
    let urls: Vec<String> = rows
        .iter()
        .map(|(_, id, _)| format!("https://www.youtube.com/watch?v={id}"))
        .collect();
    let facts = rows
        .iter()
        .zip(&urls)
        .map(|((clip_id, id, start), url)| RowFacts {
            clip_id,
            source_video_id: id,
            source_video_url: url,
            caption: "a calm lake under drifting clouds",
            clip_start_sec: *start,
        });
    Claims::collect(facts, profile)
}

fn full_subnet(criterion: &mut Criterion) {
    let profile = Profile::default();
    let all: Vec<Claims> = (0..MINERS).map(|miner| claims(miner, &profile)).collect();
    let hotkeys: Vec<String> = (0..MINERS).map(|miner| format!("5F{miner:046}")).collect();
    let submissions: Vec<Submission<'_>> = all
        .iter()
        .zip(&hotkeys)
        .map(|(claims, hotkey)| Submission {
            hotkey,
            submitted_at: 1.775e9,
            claims,
        })
        .collect();
    let index = RecordIndex::from_entries((0..SOURCES).map(|source| {
        let key = format!("https://www.youtube.com/watch?v=video{source:06}");
        (key, (0..500).map(|at| f64::from(at) * 97.0).collect())
    }));
    let mut group = criterion.benchmark_group("full_subnet");
    group.sample_size(10);
    group.bench_function("arbitrate_256x1000_on_20_sources", |bench| {
        bench.iter(|| arbitrate(black_box(&submissions), &index, &profile));
    });
    group.bench_function("hard_checks_256x1000", |bench| {
        let results = arbitrate(&submissions, &index, &profile);
        bench.iter(|| {
            let check = |(claims, found): (&Claims, &nexis_protocol::arbitration::Arbitrated)| {
                hard_checks(claims, &found.kept, &profile).len()
            };
            all.iter()
                .zip(black_box(&results))
                .map(check)
                .sum::<usize>()
        });
    });
    group.finish();
}

/// Clips of `miners` miners with `rows` clips each, all different: nothing is found early.
fn clips(miners: u8, rows: u32) -> Vec<(Hotkey, u32, Pictures)> {
    let mut clips = Vec::new();
    for miner in 0..miners {
        for row in 0..rows {
            let number = u64::from(miner) << 32 | u64::from(row);
            let mark = |picture: u64| Mark {
                // An odd multiplier spreads numbers over all bits.
                hash: (number * 6 + picture + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                mean: 100,
                deviation: 30,
                fine_permille: Some(400),
                moved: Some(100),
            };
            let sampled = (0..6).map(mark).collect();
            let pictures = Pictures {
                sampled,
                ..Pictures::default()
            };
            clips.push((Hotkey::from_public_key(&[miner; 32]), row, pictures));
        }
    }
    clips
}

/// How long does finding copies take at the end of a round: for the protocol's sample, and when every row is checked?
fn copies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copies");
    group.sample_size(10);
    for (miners, rows) in [(35, 3), (255, 100)] {
        let clips = clips(miners, rows);
        let shown: Vec<Shown<'_>> = clips
            .iter()
            .map(|(hotkey, row, pictures)| Shown {
                hotkey,
                submitted_at: f64::from(*row),
                row: *row,
                clip_id: "clip",
                pictures,
            })
            .collect();
        group.bench_function(format!("near_duplicates_{miners}x{rows}"), |bench| {
            bench.iter(|| near_duplicates(black_box(&shown)));
        });
    }
    group.finish();
}

criterion_group!(benches, full_subnet, copies);
criterion_main!(benches);
