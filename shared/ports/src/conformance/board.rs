//! Laws of [`crate::Board`]. Each is a function of its own, below by what it is about.

pub mod leadership;
pub mod results;
pub mod rounds;

use super::{QUIET, eventually, soon};
use crate::{Board, BoardError, Leadership, Posted, Stage, Tally, Write};
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use std::time::Duration;

/// Long enough not to end within a law.
const LONG: Duration = Duration::from_secs(600);
/// Short enough to wait for its end.
const SHORT: Duration = Duration::from_millis(200);
const ROUND: IntervalId = IntervalId::new(7_756_900);
const OTHER: IntervalId = IntervalId::new(7_756_950);

/// Runs every law, each on a fresh, empty board.
pub async fn run_all<B, F, Fut>(make: F)
where
    B: Board,
    F: Fn() -> Fut,
    Fut: Future<Output = B>,
{
    leadership::the_first_campaign_wins_and_renewing_keeps_the_epoch(make().await).await;
    leadership::an_expired_lease_passes_to_the_next_with_a_larger_epoch(make().await).await;
    leadership::a_renewed_lease_does_not_expire(make().await).await;
    leadership::resigning_frees_the_lease_at_once(make().await).await;
    leadership::only_the_leader_can_resign(make().await).await;
    leadership::an_old_epoch_is_refused_on_every_leader_write(make().await).await;
    leadership::an_epoch_never_given_out_is_refused(make().await).await;
    rounds::opening_twice_is_opening_once(make().await).await;
    rounds::advancing_twice_is_advancing_once(make().await).await;
    rounds::a_round_may_close_without_clips(make().await).await;
    rounds::advancing_a_round_that_is_not_open_is_refused(make().await).await;
    rounds::jobs_of_another_round_or_stage_cannot_be_expected(make().await).await;
    rounds::plans_are_kept_per_stage(make().await).await;
    results::the_first_result_wins(make().await).await;
    results::done_never_drifts_under_duplicates(make().await).await;
    results::posts_at_the_same_time_count_once(make().await).await;
    results::a_late_result_is_kept_and_counts_for_nothing(make().await).await;
    results::late_clips_are_kept_too(make().await).await;
    results::what_was_never_expected_is_unknown(make().await).await;
    results::wanted_follows_the_stage_and_the_results(make().await).await;
    results::missing_and_results_are_sorted_and_complete(make().await).await;
    rounds::rounds_are_listed_oldest_first(make().await).await;
    rounds::a_retired_round_is_gone_and_stays_so(make().await).await;
    rounds::a_round_never_opened_can_be_retired(make().await).await;
    rounds::a_discarded_round_can_be_opened_as_if_it_never_had_been(make().await).await;
    rounds::discarding_removes_the_mark_of_a_retired_round(make().await).await;
    rounds::a_stage_whose_results_changed_since_they_were_read_does_not_advance(make().await).await;
    results::forgotten_results_are_wanted_again(make().await).await;
    results::one_miners_results_are_those_of_all(make().await).await;
    rounds::facts_are_written_and_replaced(make().await).await;
    rounds::a_change_wakes_those_who_wait(make().await).await;
    rounds::waiting_for_a_change_ends_in_time(make().await).await;
}

/// The hotkey of a made-up miner.
pub fn hotkey(number: u8) -> Hotkey {
    Hotkey::from_public_key(&[number; 32])
}

/// The id of its miner job.
pub fn miner(interval: IntervalId, number: u8) -> JobId {
    JobId::Miner {
        interval,
        hotkey: hotkey(number),
    }
}

/// The id of one of its clip jobs.
pub fn clip(interval: IntervalId, number: u8, row: u32) -> JobId {
    JobId::Clip {
        interval,
        hotkey: hotkey(number),
        row,
    }
}

async fn lead<B: Board>(board: &B, who: &str) -> LeaderEpoch {
    match board.campaign(who, LONG).await.unwrap() {
        Leadership::Leader(epoch) => epoch,
        Leadership::Follower { holder } => panic!("{holder} leads, {who} should"),
    }
}

/// Takes over as if the other's lease had run out.
async fn take_over<B: Board>(board: &B, old: LeaderEpoch, who: &str) -> LeaderEpoch {
    board.resign(old).await.unwrap();
    lead(board, who).await
}

fn tally(stage: Stage, expected: u64, done: u64) -> Tally {
    Tally {
        stage,
        expected,
        done,
    }
}

/// Opens [`ROUND`] for miners 1, 2 and 3.
async fn open_three<B: Board>(board: &B) -> LeaderEpoch {
    let epoch = lead(board, "a").await;
    let ids = [miner(ROUND, 1), miner(ROUND, 2), miner(ROUND, 3)];
    let opened = board
        .open(epoch, ROUND, b"plan".to_vec(), &ids)
        .await
        .unwrap();
    assert_eq!(opened, Write::Applied);
    epoch
}
