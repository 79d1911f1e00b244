//! Laws of results: the first wins, late ones are kept, counts never drift.

use super::*;

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

/// A job whose result is forgotten is done again; the others stay, and a closed stage keeps what it has.
pub async fn forgotten_results_are_wanted_again<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    let [first, second] = [1, 2].map(|number| miner(ROUND, number));
    board.post(&first, b"a".to_vec()).await.unwrap();
    board.post(&second, b"b".to_vec()).await.unwrap();
    let forget = async |ids: &[JobId]| board.forget(epoch, ROUND, ids).await.unwrap();
    let two = [first.clone(), miner(ROUND, 3)];
    assert_eq!(forget(&two).await, Write::Applied);
    assert_eq!(forget(&two).await, Write::Already);
    assert!(board.wanted(&first).await.unwrap());
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Miners, 3, 1))
    );
    assert_eq!(board.missing(ROUND, Stage::Miners).await.unwrap().len(), 2);
    let again = board.post(&first, b"c".to_vec()).await.unwrap();
    assert_eq!(again, Posted::First);
    let results = board.results(ROUND, Stage::Miners).await.unwrap();
    let expected = [(first.clone(), b"c".to_vec()), (second, b"b".to_vec())];
    assert_eq!(results.len(), 2);
    assert!(expected.iter().all(|one| results.contains(one)));
    let clips = [clip(ROUND, 1, 0), clip(ROUND, 1, 9), clip(ROUND, 2, 0)];
    let advanced = board.advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips);
    advanced.await.unwrap();
    assert_eq!(
        forget(std::slice::from_ref(&first)).await,
        Write::Already,
        "its stage is closed"
    );
    for id in &clips {
        board.post(id, b"v".to_vec()).await.unwrap();
    }
    assert_eq!(forget(&clips[1..]).await, Write::Applied);
    assert_eq!(
        board.tally(ROUND).await.unwrap(),
        Some(tally(Stage::Clips, 3, 1))
    );
    assert!(board.wanted(&clips[1]).await.unwrap());
    assert_eq!(
        board.post(&clips[1], b"w".to_vec()).await.unwrap(),
        Posted::First
    );
    let results = board.results(ROUND, Stage::Clips).await.unwrap();
    let expected = [
        (clips[0].clone(), b"v".to_vec()),
        (clips[1].clone(), b"w".to_vec()),
    ];
    assert_eq!(results, expected);
}

/// What is read miner by miner is what is read at once.
pub async fn one_miners_results_are_those_of_all<B: Board>(board: B) {
    let epoch = open_three(&board).await;
    for number in [1, 2] {
        board
            .post(&miner(ROUND, number), vec![number])
            .await
            .unwrap();
    }
    let clips = [
        clip(ROUND, 1, 11),
        clip(ROUND, 1, 2),
        clip(ROUND, 2, 2),
        clip(ROUND, 2, 3),
    ];
    let advanced = board.advance(epoch, ROUND, Stage::Clips, Vec::new(), &clips);
    advanced.await.unwrap();
    for id in &clips[..3] {
        board.post(id, id.to_string().into_bytes()).await.unwrap();
    }
    for stage in [Stage::Miners, Stage::Clips, Stage::Closed] {
        let mut all = board.results(ROUND, stage).await.unwrap();
        for number in 1..=4 {
            let hotkey = hotkey(number);
            let own = board.results_of(ROUND, stage, &hotkey).await.unwrap();
            let is_own = |(id, _): &(JobId, Vec<u8>)| *id.hotkey() == hotkey;
            let expected: Vec<_> = all.iter().filter(|one| is_own(one)).cloned().collect();
            assert_eq!(own, expected, "miner {number}, {stage:?}");
            all.retain(|one| !is_own(one));
        }
        assert!(all.is_empty(), "{stage:?}: {all:?}");
    }
    let none = board.results_of(OTHER, Stage::Miners, &hotkey(1)).await;
    assert!(none.unwrap().is_empty());
}
