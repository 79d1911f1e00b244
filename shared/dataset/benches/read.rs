//! How many rows per second does one core read, screen and check hard at 100,000 rows?
//!
//! One call is what a worker does with a submission before it looks at clips: digest and manifest, parquet to rows,
//! claims, hard checks. The captions have about 120 characters, every source has 50 clips.

#[path = "submission/mod.rs"]
mod submission;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nexis_dataset::{Limits, read};
use nexis_protocol::profile::Profile;
use std::hint::black_box;
use submission::{ROWS, Submission};

fn a_large_submission(criterion: &mut Criterion) {
    let submission = Submission::of(ROWS);
    let profile = Profile::default();
    let mut group = criterion.benchmark_group("submission");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.bench_function("read_screen_check_100000", |bench| {
        bench.iter(|| black_box(&submission).judge());
    });
    group.bench_function("read_100000", |bench| {
        bench.iter(|| read(black_box(&submission.dataset), &Limits::default(), &profile));
    });
    group.finish();
}

criterion_group!(benches, a_large_submission);
criterion_main!(benches);
