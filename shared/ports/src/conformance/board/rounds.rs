//! Laws of rounds: opened, moved on, listed, retired; of facts, and of hints.

use super::*;

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
    assert_eq!(again, Write::Retired);
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
    assert_eq!(opened, Write::Retired);
}

/// Nothing of what came before is left, whatever stage it had reached.
pub async fn a_discarded_round_can_be_opened_as_if_it_never_had_been<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    for reached in [Stage::Miners, Stage::Clips, Stage::Closed] {
        board.post(&miner(ROUND, 1), b"old".to_vec()).await.unwrap();
        if reached >= Stage::Clips {
            let clips = [clip(ROUND, 1, 0), clip(ROUND, 1, 1)];
            let plan = b"old".to_vec();
            let advanced = board.advance(epoch, ROUND, Stage::Clips, plan, &clips);
            advanced.await.unwrap();
            board.post(&clips[0], b"old".to_vec()).await.unwrap();
            board.post(&miner(ROUND, 2), b"old".to_vec()).await.unwrap();
        }
        if reached == Stage::Closed {
            let closed = board.advance(epoch, ROUND, Stage::Closed, Vec::new(), &[]);
            closed.await.unwrap();
        }
        assert_eq!(board.discard(epoch, ROUND).await.unwrap(), Write::Applied);
        assert_eq!(board.discard(epoch, ROUND).await.unwrap(), Write::Already);
        assert!(board.rounds().await.unwrap().is_empty(), "{reached:?}");
        assert_eq!(board.tally(ROUND).await.unwrap(), None);
        let unknown = board.post(&miner(ROUND, 1), Vec::new()).await.unwrap();
        assert_eq!(unknown, Posted::Unknown);
        let ids = [miner(ROUND, 1), miner(ROUND, 2)];
        let opened = board.open(epoch, ROUND, b"new".to_vec(), &ids);
        assert_eq!(opened.await.unwrap(), Write::Applied);
        let now = board.tally(ROUND).await.unwrap();
        assert_eq!(now, Some(tally(Stage::Miners, 2, 0)), "{reached:?}");
        assert!(board.late(ROUND).await.unwrap().is_empty(), "{reached:?}");
        let clips = [clip(ROUND, 1, 0), clip(ROUND, 2, 5)];
        let advanced = board.advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips);
        assert_eq!(advanced.await.unwrap(), Write::Applied);
        for id in &clips {
            let posted = board.post(id, b"new".to_vec()).await.unwrap();
            assert_eq!(posted, Posted::First, "{reached:?}");
        }
        let now = board.tally(ROUND).await.unwrap();
        assert_eq!(now, Some(tally(Stage::Clips, 2, 2)), "{reached:?}");
        board.discard(epoch, ROUND).await.unwrap();
        let ids = [miner(ROUND, 1), miner(ROUND, 2), miner(ROUND, 3)];
        let opened = board.open(epoch, ROUND, b"plan".to_vec(), &ids);
        assert_eq!(opened.await.unwrap(), Write::Applied);
    }
}

/// An archive that was restored from a backup has no decisions of the interval any more.
pub async fn discarding_removes_the_mark_of_a_retired_round<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    board.retire(epoch, ROUND).await.unwrap();
    assert_eq!(board.discard(epoch, ROUND).await.unwrap(), Write::Applied);
    let ids = [miner(ROUND, 1)];
    let opened = board.open(epoch, ROUND, Vec::new(), &ids);
    assert_eq!(opened.await.unwrap(), Write::Applied);
    assert_eq!(board.rounds().await.unwrap(), [ROUND]);
}

/// A result is either in what the leader computed the next stage from, or it is late: never in between.
pub async fn a_stage_whose_results_changed_since_they_were_read_does_not_advance<B: Board>(
    board: B,
) {
    let epoch = open_three(&board).await;
    board.post(&miner(ROUND, 1), Vec::new()).await.unwrap();
    let clips = [clip(ROUND, 1, 0)];
    let from = async |seen| {
        let plan = b"clips".to_vec();
        let advanced = board.advance_from(epoch, ROUND, Some(seen), Stage::Clips, plan, &clips);
        advanced.await.unwrap()
    };
    assert_eq!(from(0).await, Write::Changed);
    board.post(&miner(ROUND, 2), Vec::new()).await.unwrap();
    assert_eq!(from(1).await, Write::Changed);
    assert_eq!(board.plan(ROUND, Stage::Clips).await.unwrap(), None);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 2))
    );
    assert_eq!(from(2).await, Write::Applied);
    assert_eq!(from(2).await, Write::Already);
    let late = board.post(&miner(ROUND, 3), Vec::new()).await.unwrap();
    assert_eq!(late, Posted::Late);
    board.post(&clips[0], Vec::new()).await.unwrap();
    let close = board.advance_from(epoch, ROUND, Some(0), Stage::Closed, Vec::new(), &[]);
    assert_eq!(close.await.unwrap(), Write::Changed);
    let close = board.advance_from(epoch, ROUND, Some(1), Stage::Closed, Vec::new(), &[]);
    assert_eq!(close.await.unwrap(), Write::Applied);
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
