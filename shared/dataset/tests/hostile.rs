//! Broken and hostile bytes: always an answer, never a panic, never more memory than fits the limits.
#![expect(clippy::unwrap_used, reason = "a test")]

mod forged;

use forged::{Chunk, PAGE_V1, Page, forge};
use nexis_dataset::{DatasetError, Limits, read, write};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{RowRef, Rows};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Small limits, so that a broken byte cannot ask for much before it is refused.
fn small() -> Limits {
    Limits {
        file_bytes: 1 << 20,
        rows: 10_000,
        decoded_bytes: 16 << 20,
        text_bytes: 4 << 20,
        ..Limits::default()
    }
}

fn parse(bytes: &[u8], limits: &Limits) -> Result<Rows, DatasetError> {
    read(bytes, limits, &Profile::default())
}

/// Golden files of different shapes, smallest first.
fn golden(count: usize) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/corpus");
    let folders = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let mut files: Vec<Vec<u8>> = folders(&corpus)
        .iter()
        .flat_map(|hotkey| folders(hotkey))
        .filter_map(|interval| std::fs::read(interval.join("dataset.parquet")).ok())
        .filter(|file| file.len() > 1000)
        .collect();
    files.sort();
    files.sort_by_key(Vec::len);
    files.dedup();
    assert!(files.len() > count, "only {} golden files", files.len());
    let step = files.len() / count;
    files.into_iter().step_by(step).take(count).collect()
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Peak resident memory of this process, bytes. nextest runs every test in a process of its own.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

fn assert_modest(before: usize, mib: usize) {
    let grown = peak_bytes().saturating_sub(before);
    assert!(grown < mib << 20, "took {} MiB", grown >> 20);
}

#[test]
fn every_cut_of_a_file_is_answered() {
    let before = peak_bytes();
    for file in golden(4) {
        for end in (0..file.len())
            .step_by(7)
            .chain(file.len() - 64..file.len())
        {
            assert!(
                parse(&file[..end], &small()).is_err(),
                "{end} bytes were read"
            );
        }
        // A cut in the middle, with the end still in place.
        for gap in [1, 16, 500] {
            for begin in (4..file.len() - gap).step_by(97) {
                let bytes = [&file[..begin], &file[begin + gap..]].concat();
                drop(parse(&bytes, &small()));
            }
        }
    }
    assert_modest(before, 64);
}

#[test]
fn flipped_bytes_are_answered() {
    let before = peak_bytes();
    let mut random = SplitMix(70);
    let (mut read, mut refused) = (0, 0);
    for file in golden(8) {
        let footer = u32::from_le_bytes(*file[..file.len() - 4].last_chunk().unwrap()) as usize;
        for round in 0..700 {
            let mut bytes = file.clone();
            for _ in 0..=random.below(3) {
                // Half of them in the footer, which is what the decoder believes.
                let at = if round % 2 == 0 {
                    bytes.len() - 8 - 1 - random.below(footer)
                } else {
                    random.below(bytes.len())
                };
                bytes[at] = match random.below(4) {
                    0 => 0xff,
                    1 => 0x80 | bytes[at],
                    2 => bytes[at] ^ (1 << random.below(8)),
                    _ => random.next().to_le_bytes()[0],
                };
            }
            match parse(&bytes, &small()) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        read > 100 && refused > 1000,
        "{read} read, {refused} refused"
    );
    // The window of one damaged brotli page alone may take 16 MiB and more.
    assert_modest(before, 128);
}

fn row(clip_id: &str) -> RowRef<'_> {
    RowRef {
        clip_id,
        clip_uri: "clips/a.mp4",
        first_frame_uri: "frames/a.jpg",
        source_video_id: "abcdefghijk",
        split_group_id: "group",
        split: "train",
        caption: "a calm lake under drifting clouds",
        source_video_url: "https://www.youtube.com/watch?v=abcdefghijk",
        clip_sha256: Some(nexis_protocol::Digest::of(b"clip")),
        first_frame_sha256: Some(nexis_protocol::Digest::of(b"frame")),
        clip_start_sec: 10.0,
        duration_sec: 5.0,
        width: 1280,
        height: 720,
        num_frames: 150,
        fps: 30.0,
        has_audio: true,
    }
}

fn rows(count: usize) -> Rows {
    let mut rows = Rows::default();
    for at in 0..count {
        rows.push(row(&format!("{at:024}"))).unwrap();
    }
    rows
}

#[test]
fn what_is_written_is_read_again() {
    for count in [0, 1, 2, 33_000] {
        let rows = rows(count);
        let bytes = write(&rows).unwrap();
        assert_eq!(
            bytes,
            write(&rows).unwrap(),
            "the same rows, the same bytes"
        );
        assert_eq!(parse(&bytes, &Limits::default()).unwrap(), rows);
    }
}

#[test]
fn rows_that_parquet_cannot_hold_are_not_written() {
    let mut none = Rows::default();
    none.push(RowRef {
        clip_sha256: None,
        ..row("a")
    })
    .unwrap();
    let error = write(&none).unwrap_err().to_string();
    assert!(error.contains("clip_sha256 of row 0"), "{error}");
    let mut wide = Rows::default();
    wide.push(RowRef {
        width: u128::MAX,
        ..row("a")
    })
    .unwrap();
    assert!(write(&wide).unwrap_err().to_string().contains("width"));
}

#[test]
fn an_honest_hundred_thousand_rows_fit_the_default_limits() {
    let caption = "slow drone flight over a wide green valley with a river ".repeat(8);
    let mut rows = Rows::default();
    for at in 0..100_000_u32 {
        let id = format!("{at:024}");
        let digest = nexis_protocol::Digest::of(&at.to_le_bytes());
        let row = RowRef {
            caption: &caption,
            clip_sha256: Some(digest),
            clip_start_sec: f64::from(at) * 5.0,
            ..row(&id)
        };
        rows.push(row).unwrap();
    }
    let bytes = write(&rows).unwrap();
    assert_eq!(parse(&bytes, &Limits::default()).unwrap().len(), 100_000);
}

#[test]
fn limits_are_kept() {
    let bytes = write(&rows(100)).unwrap();
    let limits = Limits::default();
    for (what, limits) in [
        (
            "bytes",
            Limits {
                file_bytes: bytes.len() - 1,
                ..limits.clone()
            },
        ),
        (
            "footer bytes",
            Limits {
                decoded_bytes: 1600,
                ..limits.clone()
            },
        ),
        (
            "rows",
            Limits {
                rows: 99,
                ..limits.clone()
            },
        ),
        (
            "bytes in its pages",
            Limits {
                decoded_bytes: 20_000,
                ..limits.clone()
            },
        ),
        (
            "bytes of text in a row",
            Limits {
                row_text_bytes: 100,
                ..limits.clone()
            },
        ),
        (
            "bytes of text",
            Limits {
                text_bytes: 20_000,
                ..limits.clone()
            },
        ),
    ] {
        match parse(&bytes, &limits) {
            Err(error @ DatasetError::TooLarge { what: found, .. }) => {
                assert_eq!(found, what);
                let words = error.to_string();
                assert!(
                    words.contains("NEXIS_") && words.contains("bounds it"),
                    "{words}"
                );
            }
            other => panic!("{what}: {:?}", other.map(|rows| rows.len())),
        }
    }
}

/// Asserts that a file is refused for that reason, at once and without much memory.
fn assert_refused(bytes: &[u8], why: &str) {
    assert_refused_within(&Limits::default(), bytes, why);
}

fn assert_refused_within(limits: &Limits, bytes: &[u8], why: &str) {
    let (before, since) = (peak_bytes(), Instant::now());
    match parse(bytes, limits) {
        Ok(rows) => panic!("read {} rows, expected: {why}", rows.len()),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains(why), "{error}, expected: {why}");
        }
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(10), "{why}: took {took:?}");
    assert_modest(before, 64);
}

fn one_page(page: Page, body: Vec<u8>, chunk: Chunk) -> Chunk {
    Chunk {
        pages: vec![(page, body)],
        ..chunk
    }
}

#[test]
fn a_forged_file_without_a_lie_is_decoded() {
    let file = forge(&[Chunk::plain(1)], 1);
    assert_refused(&file, "row 0 of dataset.parquet: clip_sha256");
}

#[test]
fn a_page_that_declares_gigabytes_or_billions_of_values_costs_nothing() {
    let page = Page {
        decompressed: i64::from(i32::MAX),
        ..PAGE_V1
    };
    let chunk = one_page(page, vec![0; 30], Chunk::zstd(1));
    assert_refused(&forge(&[chunk], 1), "more bytes in its pages");
    let page = Page {
        values: i64::from(i32::MAX),
        ..PAGE_V1
    };
    let chunk = one_page(page, vec![0; 30], Chunk::plain(i64::from(i32::MAX)));
    assert_refused(&forge(&[chunk], 1), "clip_id must not be blank");
}

#[test]
fn a_page_that_expands_beyond_what_it_declares_is_refused() {
    let zeros = std::io::Read::take(std::io::repeat(0), 256 << 20);
    let bomb = zstd::stream::encode_all(zeros, 3).unwrap();
    assert!(bomb.len() < 100_000);
    let chunk = one_page(PAGE_V1, bomb, Chunk::zstd(1));
    assert_refused(&forge(&[chunk], 1), "cannot be decompressed");
}

#[test]
fn a_dictionary_that_declares_billions_is_refused() {
    let page = Page {
        kind: 2,
        values: i64::from(i32::MAX),
        decompressed: 10,
        ..PAGE_V1
    };
    let chunk = one_page(page, vec![0; 10], Chunk::plain(1));
    assert_refused(
        &forge(&[chunk], 1),
        "more values in lists, structures and dictionaries",
    );
}

#[test]
fn a_dictionary_that_repeats_a_long_text_is_refused() {
    // 1 MB of blanks and one letter, in each of 100,000 rows.
    const ROWS: i64 = 100_000;
    let mut text = vec![b' '; 1 << 20];
    text.push(b'a');
    let mut dictionary = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    dictionary.extend(text);
    let first = Page {
        kind: 2,
        values: 1,
        decompressed: i64::try_from(dictionary.len()).unwrap(),
        encoding: 0,
    };
    // Indices of no width, one run of them.
    let indices = vec![0, 0xc0, 0x9a, 0x0c];
    let second = Page {
        values: ROWS,
        decompressed: 4,
        encoding: 8,
        ..PAGE_V1
    };
    let chunk = Chunk {
        pages: vec![(first, dictionary), (second, indices)],
        ..Chunk::plain(ROWS)
    };
    let limits = Limits {
        text_bytes: 4 << 20,
        row_text_bytes: usize::MAX,
        ..Limits::default()
    };
    assert_refused_within(&limits, &forge(&[chunk], ROWS), "more bytes of text than");
}

#[test]
fn a_footer_that_declares_billions_of_rows_or_values_costs_nothing() {
    // There are as many rows as the columns have, here as elsewhere, unless a row group declares fewer.
    let one_row = "row 0 of dataset.parquet: clip_sha256";
    assert_refused(&forge(&[Chunk::plain(1)], i64::from(i32::MAX)), one_row);
    assert_refused(&forge(&[Chunk::plain(1_000_000)], 1_000_000), one_row);
    assert_refused(&forge(&[Chunk::plain(i64::MAX)], 1), one_row);
    assert_refused(
        &forge(&[Chunk::plain(1)], i64::MAX),
        "more rows than memory holds",
    );
    assert_refused(&forge(&[Chunk::plain(1)], -1), "a negative number of rows");
}

#[test]
fn prefixes_that_multiply_a_text_are_refused() {
    // One text of 1 MB, then 100,000 texts that begin with all of it: 100 GB of text in 1 MB of file.
    const ROWS: usize = 100_000;
    let text = vec![b'a'; 1 << 20];
    let length = i64::try_from(text.len()).unwrap();
    let mut values = Vec::new();
    // Lengths of the prefixes: 0, then always the whole text. Lengths of the rest: the whole text, then 0.
    forged::deltas(&mut values, ROWS, 0, length);
    forged::deltas(&mut values, ROWS, length, -length);
    values.extend(&text);
    let rows = i64::try_from(ROWS).unwrap();
    let page = Page {
        values: rows,
        encoding: 7,
        decompressed: i64::try_from(values.len()).unwrap(),
        ..PAGE_V1
    };
    let chunk = one_page(page, values, Chunk::plain(rows));
    assert_refused(&forge(&[chunk], rows), "more bytes in its pages");
}
