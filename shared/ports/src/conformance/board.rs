//! Laws of [`crate::Board`].

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
    the_first_campaign_wins_and_renewing_keeps_the_epoch(make().await).await;
    an_expired_lease_passes_to_the_next_with_a_larger_epoch(make().await).await;
    a_renewed_lease_does_not_expire(make().await).await;
    resigning_frees_the_lease_at_once(make().await).await;
    only_the_leader_can_resign(make().await).await;
    an_old_epoch_is_refused_on_every_leader_write(make().await).await;
    an_epoch_never_given_out_is_refused(make().await).await;
    opening_twice_is_opening_once(make().await).await;
    advancing_twice_is_advancing_once(make().await).await;
    a_round_may_close_without_clips(make().await).await;
    advancing_a_round_that_is_not_open_is_refused(make().await).await;
    jobs_of_another_round_or_stage_cannot_be_expected(make().await).await;
    plans_are_kept_per_stage(make().await).await;
    the_first_result_wins(make().await).await;
    done_never_drifts_under_duplicates(make().await).await;
    posts_at_the_same_time_count_once(make().await).await;
    a_late_result_is_kept_and_counts_for_nothing(make().await).await;
    late_clips_are_kept_too(make().await).await;
    what_was_never_expected_is_unknown(make().await).await;
    wanted_follows_the_stage_and_the_results(make().await).await;
    missing_and_results_are_sorted_and_complete(make().await).await;
    rounds_are_listed_oldest_first(make().await).await;
    a_retired_round_is_gone_and_stays_so(make().await).await;
    a_round_never_opened_can_be_retired(make().await).await;
    facts_are_written_and_replaced(make().await).await;
    a_change_wakes_those_who_wait(make().await).await;
    waiting_for_a_change_ends_in_time(make().await).await;
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

/// Campaigning as the holder is renewing; others learn who holds.
pub async fn the_first_campaign_wins_and_renewing_keeps_the_epoch<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    assert_eq!(lead(&board, "a").await, epoch);
    let answer = board.campaign("b", LONG).await.unwrap();
    assert_eq!(
        answer,
        Leadership::Follower {
            holder: "a".to_owned()
        }
    );
    assert_eq!(lead(&board, "a").await, epoch);
}

/// Without renewal the next one leads, and epochs only grow, for the old holder coming back too.
pub async fn an_expired_lease_passes_to_the_next_with_a_larger_epoch<B: Board>(board: B) {
    let Leadership::Leader(first) = board.campaign("a", SHORT).await.unwrap() else {
        panic!("an empty board has no leader");
    };
    let second = eventually("the lease to end", || async {
        match board.campaign("b", SHORT).await.unwrap() {
            Leadership::Leader(epoch) => Some(epoch),
            Leadership::Follower { holder } => {
                assert_eq!(holder, "a");
                None
            }
        }
    })
    .await;
    assert!(second > first);
    let third = eventually("the lease to end again", || async {
        match board.campaign("a", LONG).await.unwrap() {
            Leadership::Leader(epoch) => Some(epoch),
            Leadership::Follower { .. } => None,
        }
    })
    .await;
    assert!(third > second);
}

/// Renewing extends the time, counted from the renewal.
pub async fn a_renewed_lease_does_not_expire<B: Board>(board: B) {
    let Leadership::Leader(first) = board.campaign("a", SHORT).await.unwrap() else {
        panic!("an empty board has no leader");
    };
    assert_eq!(lead(&board, "a").await, first, "renewed for long");
    tokio::time::sleep(SHORT * 2).await;
    let answer = board.campaign("b", LONG).await.unwrap();
    assert_eq!(
        answer,
        Leadership::Follower {
            holder: "a".to_owned()
        }
    );
}

/// After resigning another leads at once.
pub async fn resigning_frees_the_lease_at_once<B: Board>(board: B) {
    let first = lead(&board, "a").await;
    board.resign(first).await.unwrap();
    let second = lead(&board, "b").await;
    assert!(second > first);
}

/// An old epoch cannot end a newer leader's lease.
pub async fn only_the_leader_can_resign<B: Board>(board: B) {
    let first = lead(&board, "a").await;
    let second = take_over(&board, first, "b").await;
    board.resign(first).await.unwrap();
    assert_eq!(lead(&board, "b").await, second, "still the same leader");
    let answer = board.campaign("a", LONG).await.unwrap();
    assert_eq!(
        answer,
        Leadership::Follower {
            holder: "b".to_owned()
        }
    );
}

fn assert_fenced<T: std::fmt::Debug>(
    what: &str,
    result: Result<T, BoardError>,
    epoch: LeaderEpoch,
) {
    match result {
        Err(BoardError::Fenced { ours, .. }) => assert_eq!(ours, epoch),
        other => panic!("{what} of an old leader: {other:?}"),
    }
}

/// Open, advance, retire and facts of a paused leader change nothing, on rounds the new leader has
/// not touched too.
pub async fn an_old_epoch_is_refused_on_every_leader_write<B: Board>(board: B) {
    let old = open_three(&board).await;
    board
        .set_fact(old, "submission", b"old".to_vec())
        .await
        .unwrap();
    let new = take_over(&board, old, "b").await;

    assert_fenced(
        "open",
        board.open(old, OTHER, Vec::new(), &[miner(OTHER, 1)]).await,
        old,
    );
    assert_fenced(
        "open again",
        board.open(old, ROUND, Vec::new(), &[]).await,
        old,
    );
    let clips = [clip(ROUND, 1, 0)];
    assert_fenced(
        "advance",
        board
            .advance(old, ROUND, Stage::Clips, Vec::new(), &clips)
            .await,
        old,
    );
    assert_fenced("retire", board.retire(old, ROUND).await, old);
    assert_fenced("retire", board.retire(old, OTHER).await, old);
    assert_fenced(
        "fact",
        board.set_fact(old, "submission", b"paused".to_vec()).await,
        old,
    );

    assert_eq!(board.rounds().await.unwrap(), [ROUND]);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 0))
    );
    assert_eq!(board.tally(OTHER).await.unwrap(), None);
    assert_eq!(
        board.fact("submission").await.unwrap().as_deref(),
        Some(&b"old"[..])
    );

    let opened = board
        .open(new, OTHER, Vec::new(), &[miner(OTHER, 1)])
        .await
        .unwrap();
    assert_eq!(opened, Write::Applied);
    let advanced = board
        .advance(new, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    assert_eq!(advanced, Write::Applied);
    assert_fenced(
        "advance",
        board
            .advance(old, ROUND, Stage::Closed, Vec::new(), &[])
            .await,
        old,
    );
    assert_eq!(board.retire(new, ROUND).await.unwrap(), Write::Applied);
    assert_fenced("retire", board.retire(old, ROUND).await, old);
    board
        .set_fact(new, "submission", b"new".to_vec())
        .await
        .unwrap();
}

/// An epoch that this board has not given out (it was emptied since) leads nothing.
pub async fn an_epoch_never_given_out_is_refused<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    let later = LeaderEpoch::new(epoch.get() + 1_000_000);
    assert_fenced(
        "open",
        board
            .open(later, ROUND, Vec::new(), &[miner(ROUND, 1)])
            .await,
        later,
    );
    assert_fenced("fact", board.set_fact(later, "x", Vec::new()).await, later);
    assert!(board.rounds().await.unwrap().is_empty());
}

/// The first plan and the first expected ids stay.
pub async fn opening_twice_is_opening_once<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    board.post(&miner(ROUND, 1), b"r".to_vec()).await.unwrap();
    let again = board
        .open(epoch, ROUND, b"other".to_vec(), &[miner(ROUND, 9)])
        .await
        .unwrap();
    assert_eq!(again, Write::Already);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 1))
    );
    let plan = board.plan(ROUND, Stage::Miners).await.unwrap();
    assert_eq!(plan.as_deref(), Some(&b"plan"[..]));
}

/// Stages go forwards once; going where the round is, or back, changes nothing.
pub async fn advancing_twice_is_advancing_once<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    let clips = [clip(ROUND, 1, 0), clip(ROUND, 2, 7), clip(ROUND, 2, 7)];
    let first = board
        .advance(epoch, ROUND, Stage::Clips, b"clips".to_vec(), &clips)
        .await
        .unwrap();
    assert_eq!(first, Write::Applied);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Clips, 2, 0))
    );
    for to in [Stage::Clips, Stage::Miners] {
        let again = board
            .advance(epoch, ROUND, to, b"other".to_vec(), &[])
            .await
            .unwrap();
        assert_eq!(again, Write::Already);
    }
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Clips, 2, 0))
    );
    let closed = board
        .advance(epoch, ROUND, Stage::Closed, b"end".to_vec(), &[])
        .await
        .unwrap();
    assert_eq!(closed, Write::Applied);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Closed, 0, 0))
    );
    let again = board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    assert_eq!(again, Write::Already);
    assert_eq!(
        board.rounds().await.unwrap(),
        [ROUND],
        "closed is still open until retired"
    );
}

/// A round that kept no rows goes from the miners straight to its end.
pub async fn a_round_may_close_without_clips<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    let closed = board
        .advance(epoch, ROUND, Stage::Closed, Vec::new(), &[])
        .await
        .unwrap();
    assert_eq!(closed, Write::Applied);
    assert!(board.results(ROUND, Stage::Clips).await.unwrap().is_empty());
    assert!(board.missing(ROUND, Stage::Clips).await.unwrap().is_empty());
    assert_eq!(board.missing(ROUND, Stage::Miners).await.unwrap().len(), 3);
}

/// There is nothing to advance: the board was emptied, or the caller is wrong.
pub async fn advancing_a_round_that_is_not_open_is_refused<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    let refused = board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &[])
        .await;
    assert!(
        matches!(refused, Err(BoardError::Refused(_))),
        "{refused:?}"
    );
    assert!(board.rounds().await.unwrap().is_empty());
}

/// An id that could never be posted to this stage would hang the round.
pub async fn jobs_of_another_round_or_stage_cannot_be_expected<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    for wrong in [miner(OTHER, 1), clip(ROUND, 1, 0)] {
        let refused = board.open(epoch, ROUND, Vec::new(), &[wrong]).await;
        assert!(
            matches!(refused, Err(BoardError::Refused(_))),
            "{refused:?}"
        );
    }
    assert!(board.rounds().await.unwrap().is_empty());
    let epoch = open_three(&board).await;
    for (to, wrong) in [
        (Stage::Clips, clip(OTHER, 1, 0)),
        (Stage::Clips, miner(ROUND, 1)),
        (Stage::Closed, clip(ROUND, 1, 0)),
    ] {
        let refused = board.advance(epoch, ROUND, to, Vec::new(), &[wrong]).await;
        assert!(
            matches!(refused, Err(BoardError::Refused(_))),
            "{refused:?}"
        );
    }
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 0))
    );
}

/// Each stage's plan comes back as it was, empty ones too.
pub async fn plans_are_kept_per_stage<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    assert_eq!(board.plan(ROUND, Stage::Clips).await.unwrap(), None);
    let bytes: Vec<u8> = (0..=255).collect();
    board
        .advance(
            epoch,
            ROUND,
            Stage::Clips,
            bytes.clone(),
            &[clip(ROUND, 1, 0)],
        )
        .await
        .unwrap();
    board
        .advance(epoch, ROUND, Stage::Closed, Vec::new(), &[])
        .await
        .unwrap();
    let plan = board.plan(ROUND, Stage::Miners).await.unwrap();
    assert_eq!(plan.as_deref(), Some(&b"plan"[..]));
    assert_eq!(board.plan(ROUND, Stage::Clips).await.unwrap(), Some(bytes));
    assert_eq!(
        board.plan(ROUND, Stage::Closed).await.unwrap(),
        Some(Vec::new())
    );
    assert_eq!(board.plan(OTHER, Stage::Miners).await.unwrap(), None);
}

/// A second result of an id changes nothing, also when it differs.
pub async fn the_first_result_wins<B: Board>(board: B) {
    open_three(&board).await;
    let id = miner(ROUND, 2);
    assert_eq!(
        board.post(&id, b"first".to_vec()).await.unwrap(),
        Posted::First
    );
    assert_eq!(
        board.post(&id, b"second".to_vec()).await.unwrap(),
        Posted::Duplicate
    );
    let results = board.results(ROUND, Stage::Miners).await.unwrap();
    assert_eq!(results, [(id, b"first".to_vec())]);
}

/// However often results come, each id counts once.
pub async fn done_never_drifts_under_duplicates<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    for _ in 0..5 {
        for number in [1, 2] {
            board
                .post(&miner(ROUND, number), vec![number])
                .await
                .unwrap();
        }
    }
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 2))
    );
    let clips = [clip(ROUND, 1, 3), clip(ROUND, 1, 4)];
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    board
        .post(&miner(ROUND, 1), b"again".to_vec())
        .await
        .unwrap();
    board
        .post(&miner(ROUND, 3), b"late".to_vec())
        .await
        .unwrap();
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Clips, 2, 0))
    );
    for _ in 0..3 {
        board.post(&clips[0], b"v".to_vec()).await.unwrap();
    }
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Clips, 2, 1))
    );
}

/// Of many posts of one id at once exactly one is the first.
pub async fn posts_at_the_same_time_count_once<B: Board>(board: B) {
    open_three(&board).await;
    let id = miner(ROUND, 1);
    let post = |n: u8| {
        let (board, id) = (&board, &id);
        async move { board.post(id, vec![n]).await.unwrap() }
    };
    let (a, b, c, d) = tokio::join!(post(1), post(2), post(3), post(4));
    let firsts = [a, b, c, d]
        .iter()
        .filter(|posted| **posted == Posted::First)
        .count();
    assert_eq!(firsts, 1);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 1))
    );
}

/// After the barrier a result is evidence: the first late one of an id is kept, none counts.
pub async fn a_late_result_is_kept_and_counts_for_nothing<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    board
        .post(&miner(ROUND, 2), b"in time".to_vec())
        .await
        .unwrap();
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &[clip(ROUND, 2, 0)])
        .await
        .unwrap();
    assert_eq!(
        board
            .post(&miner(ROUND, 3), b"late 3".to_vec())
            .await
            .unwrap(),
        Posted::Late
    );
    assert_eq!(
        board
            .post(&miner(ROUND, 1), b"late 1".to_vec())
            .await
            .unwrap(),
        Posted::Late
    );
    let again = board
        .post(&miner(ROUND, 3), b"later".to_vec())
        .await
        .unwrap();
    assert_eq!(again, Posted::Duplicate);
    let again = board
        .post(&miner(ROUND, 2), b"later".to_vec())
        .await
        .unwrap();
    assert_eq!(again, Posted::Duplicate, "its result is already there");

    let results = board.results(ROUND, Stage::Miners).await.unwrap();
    assert_eq!(results, [(miner(ROUND, 2), b"in time".to_vec())]);
    let mut late = vec![
        (miner(ROUND, 1), b"late 1".to_vec()),
        (miner(ROUND, 3), b"late 3".to_vec()),
    ];
    late.sort();
    assert_eq!(board.late(ROUND).await.unwrap(), late);
    let mut missing = vec![miner(ROUND, 1), miner(ROUND, 3)];
    missing.sort();
    assert_eq!(board.missing(ROUND, Stage::Miners).await.unwrap(), missing);
}

/// The clip barrier treats late verdicts alike.
pub async fn late_clips_are_kept_too<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    let clips = [clip(ROUND, 1, 9), clip(ROUND, 1, 10)];
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    assert_eq!(
        board.post(&clips[0], b"v".to_vec()).await.unwrap(),
        Posted::First
    );
    board
        .advance(epoch, ROUND, Stage::Closed, Vec::new(), &[])
        .await
        .unwrap();
    assert_eq!(
        board.post(&clips[1], b"late".to_vec()).await.unwrap(),
        Posted::Late
    );
    assert_eq!(
        board
            .post(&miner(ROUND, 1), b"late".to_vec())
            .await
            .unwrap(),
        Posted::Late
    );
    let late = board.late(ROUND).await.unwrap();
    let expected = [
        (miner(ROUND, 1), b"late".to_vec()),
        (clips[1].clone(), b"late".to_vec()),
    ];
    assert_eq!(late, expected);
    let results = board.results(ROUND, Stage::Clips).await.unwrap();
    assert_eq!(results, [(clips[0].clone(), b"v".to_vec())]);
}

/// Results nobody asked for leave no trace.
pub async fn what_was_never_expected_is_unknown<B: Board>(board: B) {
    assert_eq!(
        board.post(&miner(ROUND, 1), b"x".to_vec()).await.unwrap(),
        Posted::Unknown
    );
    let epoch = open_three(&board).await;
    for id in [miner(ROUND, 9), miner(OTHER, 1), clip(ROUND, 1, 0)] {
        assert_eq!(
            board.post(&id, b"x".to_vec()).await.unwrap(),
            Posted::Unknown,
            "{id}"
        );
        assert!(!board.wanted(&id).await.unwrap(), "{id}");
    }
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &[clip(ROUND, 1, 0)])
        .await
        .unwrap();
    for id in [
        miner(ROUND, 9),
        clip(ROUND, 1, 1),
        clip(ROUND, 2, 0),
        clip(ROUND, 1, u32::MAX),
    ] {
        assert_eq!(
            board.post(&id, b"x".to_vec()).await.unwrap(),
            Posted::Unknown,
            "{id}"
        );
    }
    assert!(board.late(ROUND).await.unwrap().is_empty());
    assert!(board.results(ROUND, Stage::Clips).await.unwrap().is_empty());
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Clips, 1, 0))
    );
}

/// A job is wanted while its stage is open and it has no result.
pub async fn wanted_follows_the_stage_and_the_results<B: Board>(board: B) {
    assert!(!board.wanted(&miner(ROUND, 1)).await.unwrap());
    let epoch = open_three(&board).await;
    assert!(board.wanted(&miner(ROUND, 1)).await.unwrap());
    board.post(&miner(ROUND, 1), Vec::new()).await.unwrap();
    assert!(
        !board.wanted(&miner(ROUND, 1)).await.unwrap(),
        "it has a result"
    );
    let id = clip(ROUND, 1, 5);
    assert!(!board.wanted(&id).await.unwrap(), "its stage has not begun");
    board
        .advance(
            epoch,
            ROUND,
            Stage::Clips,
            Vec::new(),
            std::slice::from_ref(&id),
        )
        .await
        .unwrap();
    assert!(
        !board.wanted(&miner(ROUND, 2)).await.unwrap(),
        "its stage is over"
    );
    assert!(board.wanted(&id).await.unwrap());
    board.post(&id, Vec::new()).await.unwrap();
    assert!(!board.wanted(&id).await.unwrap());
}

/// Both lists are ascending by id (rows as numbers) and together are what was expected.
pub async fn missing_and_results_are_sorted_and_complete<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    let ids: Vec<JobId> = (0..40).rev().map(|n| miner(ROUND, n)).collect();
    board.open(epoch, ROUND, Vec::new(), &ids).await.unwrap();
    let rows = [2, 10, 9, 100, 11, 1, 4_999, 0];
    let clips: Vec<JobId> = [7, 3]
        .into_iter()
        .flat_map(|n| rows.map(|row| clip(ROUND, n, row)))
        .collect();
    for id in ids.iter().step_by(3) {
        board.post(id, id.to_string().into_bytes()).await.unwrap();
    }
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips)
        .await
        .unwrap();
    for id in clips.iter().step_by(2) {
        board.post(id, id.to_string().into_bytes()).await.unwrap();
    }
    for (stage, mut expected) in [(Stage::Miners, ids), (Stage::Clips, clips)] {
        let missing = board.missing(ROUND, stage).await.unwrap();
        let results = board.results(ROUND, stage).await.unwrap();
        assert!(missing.is_sorted(), "{missing:?}");
        assert!(results.is_sorted_by(|a, b| a.0 < b.0));
        for (id, body) in &results {
            assert_eq!(
                *body,
                id.to_string().into_bytes(),
                "a body under the wrong id"
            );
        }
        let mut all = missing;
        all.extend(results.into_iter().map(|(id, _)| id));
        all.sort();
        expected.sort();
        assert_eq!(all, expected);
    }
    assert!(
        board
            .missing(ROUND, Stage::Closed)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        board
            .results(ROUND, Stage::Closed)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        board
            .missing(OTHER, Stage::Miners)
            .await
            .unwrap()
            .is_empty()
    );
}

/// In the order of intervals, not of opening.
pub async fn rounds_are_listed_oldest_first<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    for number in [100, 50, 7_756_900, 1_000] {
        let interval = IntervalId::new(number);
        board
            .open(epoch, interval, Vec::new(), &[miner(interval, 1)])
            .await
            .unwrap();
    }
    let numbers: Vec<u64> = board
        .rounds()
        .await
        .unwrap()
        .into_iter()
        .map(IntervalId::get)
        .collect();
    assert_eq!(numbers, [50, 100, 1_000, 7_756_900]);
    board.retire(epoch, IntervalId::new(100)).await.unwrap();
    assert_eq!(board.rounds().await.unwrap().len(), 3);
}

/// Retiring forgets everything but the fact; a retired interval cannot be opened or posted to.
pub async fn a_retired_round_is_gone_and_stays_so<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    board.post(&miner(ROUND, 1), b"r".to_vec()).await.unwrap();
    board
        .advance(epoch, ROUND, Stage::Clips, Vec::new(), &[clip(ROUND, 1, 0)])
        .await
        .unwrap();
    board
        .post(&miner(ROUND, 2), b"late".to_vec())
        .await
        .unwrap();
    assert_eq!(board.retire(epoch, ROUND).await.unwrap(), Write::Applied);
    assert_eq!(board.retire(epoch, ROUND).await.unwrap(), Write::Already);
    assert!(board.rounds().await.unwrap().is_empty());
    assert_eq!(board.tally(ROUND).await.unwrap(), None);
    assert_eq!(board.plan(ROUND, Stage::Miners).await.unwrap(), None);
    for stage in [Stage::Miners, Stage::Clips] {
        assert!(board.results(ROUND, stage).await.unwrap().is_empty());
        assert!(board.missing(ROUND, stage).await.unwrap().is_empty());
    }
    assert!(board.late(ROUND).await.unwrap().is_empty());
    assert_eq!(
        board.post(&clip(ROUND, 1, 0), Vec::new()).await.unwrap(),
        Posted::Unknown
    );
    assert!(!board.wanted(&clip(ROUND, 1, 0)).await.unwrap());
    let again = board
        .open(epoch, ROUND, Vec::new(), &[miner(ROUND, 1)])
        .await
        .unwrap();
    assert_eq!(again, Write::Already);
    let again = board
        .advance(epoch, ROUND, Stage::Closed, Vec::new(), &[])
        .await
        .unwrap();
    assert_eq!(again, Write::Already);
    assert_eq!(board.tally(ROUND).await.unwrap(), None);
}

/// After the board was emptied, an interval whose decisions are archived is marked as done with.
pub async fn a_round_never_opened_can_be_retired<B: Board>(board: B) {
    let epoch = lead(&board, "a").await;
    assert_eq!(board.retire(epoch, ROUND).await.unwrap(), Write::Applied);
    assert_eq!(board.retire(epoch, ROUND).await.unwrap(), Write::Already);
    let opened = board
        .open(epoch, ROUND, Vec::new(), &[miner(ROUND, 1)])
        .await
        .unwrap();
    assert_eq!(opened, Write::Already);
}

/// A fact has its newest value; facts do not mix.
pub async fn facts_are_written_and_replaced<B: Board>(board: B) {
    assert_eq!(board.fact("submission/1").await.unwrap(), None);
    let epoch = lead(&board, "a").await;
    board
        .set_fact(epoch, "submission/1", b"a\0".to_vec())
        .await
        .unwrap();
    board
        .set_fact(epoch, "submission/2", Vec::new())
        .await
        .unwrap();
    assert_eq!(
        board.fact("submission/1").await.unwrap(),
        Some(b"a\0".to_vec())
    );
    board
        .set_fact(epoch, "submission/1", b"b".to_vec())
        .await
        .unwrap();
    assert_eq!(
        board.fact("submission/1").await.unwrap(),
        Some(b"b".to_vec())
    );
    assert_eq!(board.fact("submission/2").await.unwrap(), Some(Vec::new()));
}

/// The last result of a stage wakes a scheduler that waits, long before its time is up.
pub async fn a_change_wakes_those_who_wait<B: Board>(board: B) {
    open_three(&board).await;
    // Eats hints of what went before, and lets a lazy implementation connect.
    board.changed(QUIET).await;
    let finish = async {
        for number in [1, 2, 3] {
            board.post(&miner(ROUND, number), Vec::new()).await.unwrap();
        }
    };
    let began = tokio::time::Instant::now();
    let complete = async {
        while board
            .tally(ROUND)
            .await
            .unwrap()
            .is_some_and(|t| t.done < t.expected)
        {
            board.changed(LONG).await;
        }
    };
    soon("the hint", async { tokio::join!(complete, finish) }).await;
    assert!(began.elapsed() < LONG);
}

/// Without any change the wait ends by itself.
pub async fn waiting_for_a_change_ends_in_time<B: Board>(board: B) {
    soon("the end of a wait", board.changed(QUIET)).await;
    soon("the end of a wait", board.changed(QUIET)).await;
}
