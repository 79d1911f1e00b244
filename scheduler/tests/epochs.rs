//! Weight epochs on the dev chain, its clock turned up, under faults that a seed draws: connections dropped, silent,
//! slow and turned away, submissions refused, usurped and lost, reorganisations, runtime upgrades, slots that change
//! hands, leaders that die. Each epoch's weights must be on the chain exactly once, and none may be lost.
//!
//! `NEXIS_EPOCHS` and `NEXIS_SEED` (through [`asked`]) make longer runs and repeat one.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

#[path = "epochs/world.rs"]
mod world;

use world::{Trouble, World, asked};

async fn side_by_side(commit_reveal: bool, epochs: u64, worlds: u64) {
    let first = asked("NEXIS_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000));
    let all = asked("NEXIS_EPOCHS").unwrap_or(epochs);
    let runs = (0..worlds).map(|which| {
        let seed = first + which;
        let share = all / worlds;
        eprintln!("NEXIS_SEED={seed}: {share} epochs, commit-reveal {commit_reveal}");
        tokio::spawn(World::run(seed, share, commit_reveal, Trouble::Drawn))
    });
    let runs: Vec<_> = runs.collect();
    let mut total = 0;
    for run in runs {
        total += run.await.unwrap();
    }
    eprintln!("{total} epochs, each on the chain exactly once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_epochs_weights_are_set_exactly_once_whatever_goes_wrong() {
    side_by_side(false, 12, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_epochs_weights_are_committed_once_and_opened_whatever_goes_wrong() {
    side_by_side(true, 4, 2).await;
}

/// Found by seed 2 of committed epochs: the outcome was noted beside the signature, the record that should follow was
/// refused because the lease was gone, and the next leader neither found an open signature nor a record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lost_between_inclusion_and_record_sends_nothing_twice() {
    World::run(7, 2, true, Trouble::LeaseLostAtInclusion).await;
}
