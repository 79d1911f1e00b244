//! Laws of the lease, and of who may write.

use super::*;

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
    assert_fenced("discard", board.discard(old, ROUND).await, old);
    assert_fenced("discard", board.discard(old, OTHER).await, old);
    let report = [miner(ROUND, 1)];
    assert_fenced("forget", board.forget(old, ROUND, &report).await, old);
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
