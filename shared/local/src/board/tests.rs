use super::*;
use crate::HandClock;
use nexis_ports::conformance::board::{clip, hotkey, miner};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ROUND: IntervalId = IntervalId::new(100);

fn open(folder: &Path) -> LocalBoard {
    LocalBoard::open(folder, HandClock::new()).unwrap()
}

fn state(board: &LocalBoard) -> State {
    board.inner.guarded().state.clone()
}

async fn lead(board: &LocalBoard) -> LeaderEpoch {
    match board.campaign("us", Duration::MAX).await.unwrap() {
        Leadership::Leader(epoch) => epoch,
        Leadership::Follower { holder } => panic!("{holder} leads"),
    }
}

/// A round's whole life, one change after another; gives the state after each and the journal's length.
async fn a_round(board: &LocalBoard) -> Vec<State> {
    let mut states = vec![state(board)];
    let epoch = lead(board).await;
    states.push(state(board));
    let ids = [miner(ROUND, 1), miner(ROUND, 2)];
    board
        .open(epoch, ROUND, b"plan".to_vec(), &ids)
        .await
        .unwrap();
    states.push(state(board));
    board.post(&ids[0], b"report".to_vec()).await.unwrap();
    states.push(state(board));
    board
        .set_fact(epoch, "submission", b"in flight".to_vec())
        .await
        .unwrap();
    states.push(state(board));
    let clips = [clip(ROUND, 1, 0), clip(ROUND, 1, 300)];
    board
        .advance(epoch, ROUND, Stage::Clips, b"clips".to_vec(), &clips)
        .await
        .unwrap();
    states.push(state(board));
    board.post(&ids[1], b"late".to_vec()).await.unwrap();
    states.push(state(board));
    board.post(&clips[1], b"verdict".to_vec()).await.unwrap();
    states.push(state(board));
    board
        .advance(epoch, ROUND, Stage::Closed, Vec::new(), &[])
        .await
        .unwrap();
    states.push(state(board));
    board.retire(epoch, ROUND).await.unwrap();
    states.push(state(board));
    states
}

#[tokio::test]
async fn a_journal_cut_at_any_byte_gives_the_state_after_some_of_its_changes() {
    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    let states = a_round(&board).await;
    drop(board);
    let bytes = std::fs::read(folder.path().join("board.journal")).unwrap();
    let mut seen = 0;
    for cut in 0..=bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("board.journal"), &bytes[..cut]).unwrap();
        let board = open(folder.path());
        let found = states.iter().position(|one| *one == state(&board));
        let found = found.unwrap_or_else(|| panic!("cut at {cut}: no state we ever were in"));
        assert!(
            found >= seen,
            "cut at {cut}: a longer journal gave an older state"
        );
        assert_eq!(board.recovery().entries, found);
        seen = found;
        // It goes on from there: the next leader is newer, and the next opening finds it.
        let epoch = lead(&board).await;
        let after = state(&board);
        drop(board);
        let board = open(folder.path());
        assert_eq!(state(&board), after, "cut at {cut}");
        assert_eq!(
            board.recovery().dropped_bytes,
            0,
            "cut at {cut}: not cut off"
        );
        assert!(lead(&board).await > epoch);
    }
    assert_eq!(
        seen,
        states.len() - 1,
        "the whole journal gives the last state"
    );
}

#[tokio::test]
async fn a_flipped_bit_costs_the_changes_from_there_on_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    let states = a_round(&board).await;
    drop(board);
    let bytes = std::fs::read(folder.path().join("board.journal")).unwrap();
    for at in 8..bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board.journal");
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        let board = open(folder.path());
        assert!(states.contains(&state(&board)), "flip at {at}");
        let dropped = usize::try_from(board.recovery().dropped_bytes).unwrap();
        assert!(dropped > 0, "flip at {at} went unseen");
        let torn = std::fs::read(folder.path().join("board.torn")).unwrap();
        assert_eq!(
            torn,
            damaged[bytes.len() - dropped..],
            "what was cut off is kept"
        );
    }
}

#[test]
fn somebody_elses_file_is_set_aside_whole_and_a_new_journal_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("board.journal");
    std::fs::write(&path, b"SQLite format 3\0").unwrap();
    assert_eq!(state(&open(folder.path())), State::default());
    let aside = std::fs::read(path.with_extension("unreadable-1")).unwrap();
    assert_eq!(aside, b"SQLite format 3\0");
}

#[test]
fn a_journal_with_an_entry_of_a_newer_program_is_set_aside_each_time_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("board.journal");
    for number in 1..=2 {
        let mut journal = Journal::load(&path).unwrap().journal;
        let known = postcard::to_stdvec(&Entry::Epoch(LeaderEpoch::new(1))).unwrap();
        journal.append(&known, Durability::Disk).unwrap();
        journal.append(&[99, 1, 2], Durability::Disk).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let board = open(folder.path());
        assert_eq!(state(&board), State::default());
        assert_eq!(board.recovery(), Recovery::default());
        let aside = path.with_extension(format!("unreadable-{number}"));
        assert_eq!(std::fs::read(aside).unwrap(), whole);
    }
}

/// Nothing but a restart mends it: the process must end, and not look again for ever.
#[test]
fn a_write_after_the_journals_end_was_lost_is_refused_and_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    let mut guarded = board.inner.guarded();
    guarded.journal = Some(Journal::on_a_full_disk());
    let entry = Entry::Fact {
        name: "submission".to_owned(),
        value: Vec::new(),
    };
    for _ in 0..2 {
        let refused = guarded.commit(entry.clone(), Durability::Disk).unwrap_err();
        assert!(matches!(refused, BoardError::Refused(_)), "{refused}");
    }
}

#[test]
fn a_second_board_on_one_folder_is_refused_with_the_holders_process() {
    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    let refused = LocalBoard::open(folder.path(), HandClock::new())
        .err()
        .unwrap();
    match &refused {
        LocalBoardError::InUse { holder, .. } => assert_eq!(*holder, Some(std::process::id())),
        other => panic!("{other}"),
    }
    assert!(
        refused.to_string().contains("in use by another process"),
        "{refused}"
    );
    drop(board);
    open(folder.path());
}

#[tokio::test]
async fn a_journal_that_has_grown_is_rewritten_when_a_round_retires() {
    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    let epoch = lead(&board).await;
    let large = vec![7; 1 << 20];
    let keep = IntervalId::new(50);
    board
        .open(
            epoch,
            keep,
            b"kept".to_vec(),
            &[miner(keep, 1), miner(keep, 2)],
        )
        .await
        .unwrap();
    board
        .post(&miner(keep, 1), b"kept too".to_vec())
        .await
        .unwrap();
    let clips = [clip(keep, 1, 3)];
    board
        .advance(epoch, keep, Stage::Clips, b"c".to_vec(), &clips)
        .await
        .unwrap();
    board.post(&miner(keep, 2), b"late".to_vec()).await.unwrap();
    for number in 2..12 {
        let interval = IntervalId::new(number * 50);
        let id = miner(interval, 1);
        board
            .open(epoch, interval, Vec::new(), std::slice::from_ref(&id))
            .await
            .unwrap();
        board.post(&id, large.clone()).await.unwrap();
        board.retire(epoch, interval).await.unwrap();
    }
    let length = std::fs::metadata(folder.path().join("board.journal"))
        .unwrap()
        .len();
    assert!(
        length < COMPACT_FROM_BYTES,
        "{length} bytes for one small round"
    );
    let before = state(&board);
    drop(board);
    let board = open(folder.path());
    assert_eq!(state(&board), before);
    assert_eq!(board.late(keep).await.unwrap().len(), 1);
    assert_eq!(board.results(keep, Stage::Miners).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unfinished_rewriting_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let board = open(folder.path());
    a_round(&board).await;
    let before = state(&board);
    drop(board);
    std::fs::write(folder.path().join("board.new"), b"NXSBRD1\nhalf").unwrap();
    assert_eq!(state(&open(folder.path())), before);
}

/// What may happen to a board, on few enough names that things collide.
#[derive(Debug, Clone)]
enum Op {
    Campaign,
    Resign,
    Open(u64, Vec<u8>),
    Advance(u64, Stage, Vec<(u8, u32)>),
    Retire(u64),
    PostMiner(u64, u8, u8),
    PostClip(u64, u8, u32, u8),
    OldLeader(u64),
    Fact(u8),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let round = || 1..4_u64;
    let stage = prop_oneof![Just(Stage::Clips), Just(Stage::Closed)];
    let rows = prop::collection::vec((0..3_u8, 0..3_u32), 0..4);
    prop_oneof![
        1 => Just(Op::Campaign),
        1 => Just(Op::Resign),
        4 => (round(), prop::collection::vec(0..3_u8, 0..4)).prop_map(|(r, m)| Op::Open(r, m)),
        4 => (round(), stage, rows).prop_map(|(r, s, c)| Op::Advance(r, s, c)),
        1 => round().prop_map(Op::Retire),
        8 => (round(), 0..4_u8, any::<u8>()).prop_map(|(r, m, v)| Op::PostMiner(r, m, v)),
        8 => (round(), 0..4_u8, 0..3_u32, any::<u8>())
            .prop_map(|(r, m, row, v)| Op::PostClip(r, m, row, v)),
        1 => round().prop_map(Op::OldLeader),
        1 => any::<u8>().prop_map(Op::Fact),
        2 => Just(Op::Reopen),
    ]
}

/// The laws said once more, as plainly as possible and with no thought of speed.
#[derive(Default)]
struct Model {
    stage: BTreeMap<u64, Stage>,
    retired: BTreeSet<u64>,
    expected: BTreeSet<JobId>,
    counted: BTreeMap<JobId, Vec<u8>>,
    late: BTreeMap<JobId, Vec<u8>>,
    fact: Option<Vec<u8>>,
}

impl Model {
    fn post(&mut self, job: &JobId, result: Vec<u8>) -> Posted {
        let Some(stage) = self.stage.get(&job.interval().get()) else {
            return Posted::Unknown;
        };
        if !self.expected.contains(job) {
            return Posted::Unknown;
        }
        if self.counted.contains_key(job) || self.late.contains_key(job) {
            return Posted::Duplicate;
        }
        let own = matches!(
            (job, stage),
            (JobId::Miner { .. }, Stage::Miners) | (JobId::Clip { .. }, Stage::Clips)
        );
        if own {
            self.counted.insert(job.clone(), result);
            Posted::First
        } else {
            self.late.insert(job.clone(), result);
            Posted::Late
        }
    }

    fn forget(&mut self, round: u64) {
        self.stage.remove(&round);
        self.expected.retain(|id| id.interval().get() != round);
        self.counted.retain(|id, _| id.interval().get() != round);
        self.late.retain(|id, _| id.interval().get() != round);
    }

    async fn agrees_with(&self, board: &LocalBoard) {
        let rounds: Vec<u64> = board
            .rounds()
            .await
            .unwrap()
            .into_iter()
            .map(IntervalId::get)
            .collect();
        assert_eq!(rounds, self.stage.keys().copied().collect::<Vec<_>>());
        assert_eq!(board.fact("fact").await.unwrap(), self.fact);
        for (round, stage) in &self.stage {
            let interval = IntervalId::new(*round);
            let of = |id: &JobId, stage: Stage| {
                id.interval() == interval
                    && matches!(id, JobId::Miner { .. }) == (stage == Stage::Miners)
            };
            for stage in [Stage::Miners, Stage::Clips] {
                let counted: Vec<_> = self.counted.clone().into_iter().collect();
                let counted: Vec<_> = counted
                    .into_iter()
                    .filter(|(id, _)| of(id, stage))
                    .collect();
                assert_eq!(board.results(interval, stage).await.unwrap(), counted);
                let missing: Vec<_> = self
                    .expected
                    .iter()
                    .filter(|id| of(id, stage) && !self.counted.contains_key(*id))
                    .cloned()
                    .collect();
                assert_eq!(board.missing(interval, stage).await.unwrap(), missing);
            }
            let late = self.late.iter().filter(|(id, _)| id.interval() == interval);
            let late: Vec<_> = late.map(|(id, body)| (id.clone(), body.clone())).collect();
            assert_eq!(board.late(interval).await.unwrap(), late);
            let tally = board.tally(interval).await.unwrap().unwrap();
            let current = |id: &&JobId| *stage != Stage::Closed && of(id, *stage);
            let expected = self.expected.iter().filter(current).count() as u64;
            let done = self.counted.keys().filter(current).count() as u64;
            assert_eq!(
                tally,
                Tally {
                    stage: *stage,
                    expected,
                    done
                }
            );
        }
    }
}

async fn run(ops: Vec<Op>, folder: &Path) {
    let mut board = open(folder);
    let mut model = Model::default();
    let mut epoch = lead(&board).await;
    for op in ops {
        match op {
            Op::Campaign => assert_eq!(lead(&board).await, epoch),
            Op::Resign => {
                board.resign(epoch).await.unwrap();
                let newer = lead(&board).await;
                assert!(newer > epoch);
                epoch = newer;
            }
            Op::Open(round, miners) => {
                let interval = IntervalId::new(round);
                let ids: Vec<_> = miners.iter().map(|n| miner(interval, *n)).collect();
                let write = board.open(epoch, interval, vec![1], &ids).await.unwrap();
                let expected = if model.stage.contains_key(&round) {
                    Write::Already
                } else if model.retired.contains(&round) {
                    Write::Retired
                } else {
                    Write::Applied
                };
                assert_eq!(write, expected);
                if write == Write::Applied {
                    model.stage.insert(round, Stage::Miners);
                    model.expected.extend(ids);
                }
            }
            Op::Advance(round, to, rows) => {
                let interval = IntervalId::new(round);
                let rows = if to == Stage::Closed {
                    Vec::new()
                } else {
                    rows
                };
                let ids: Vec<_> = rows
                    .iter()
                    .map(|(n, row)| clip(interval, *n, *row))
                    .collect();
                let write = board.advance(epoch, interval, to, vec![2], &ids).await;
                match model.stage.get_mut(&round) {
                    Some(stage) if *stage < to => {
                        assert_eq!(write.unwrap(), Write::Applied);
                        *stage = to;
                        model.expected.extend(ids);
                    }
                    Some(_) => assert_eq!(write.unwrap(), Write::Already),
                    None if model.retired.contains(&round) => {
                        assert_eq!(write.unwrap(), Write::Already);
                    }
                    None => assert!(matches!(write, Err(BoardError::Refused(_)))),
                }
            }
            Op::Retire(round) => {
                let write = board.retire(epoch, IntervalId::new(round)).await.unwrap();
                assert_eq!(write == Write::Applied, model.retired.insert(round));
                model.forget(round);
            }
            Op::PostMiner(round, number, value) => {
                let id = miner(IntervalId::new(round), number);
                let posted = board.post(&id, vec![value]).await.unwrap();
                assert_eq!(posted, model.post(&id, vec![value]));
            }
            Op::PostClip(round, number, row, value) => {
                let id = clip(IntervalId::new(round), number, row);
                let posted = board.post(&id, vec![value]).await.unwrap();
                assert_eq!(posted, model.post(&id, vec![value]));
            }
            Op::OldLeader(round) => {
                let old = LeaderEpoch::new(epoch.get() - 1);
                let refused = board.retire(old, IntervalId::new(round)).await;
                assert!(matches!(refused, Err(BoardError::Fenced { .. })));
            }
            Op::Fact(value) => {
                board.set_fact(epoch, "fact", vec![value]).await.unwrap();
                model.fact = Some(vec![value]);
            }
            Op::Reopen => {
                let before = state(&board);
                drop(board);
                board = open(folder);
                assert_eq!(state(&board), before);
                let rewritten = before
                    .entries()
                    .into_iter()
                    .fold(State::default(), |mut s, e| {
                        s.apply(e);
                        s
                    });
                assert_eq!(
                    rewritten, before,
                    "rewriting the journal would change the state"
                );
                epoch = lead(&board).await;
            }
        }
        model.agrees_with(&board).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_course_of_events_agrees_with_the_plain_model(
        ops in prop::collection::vec(op(), 0..60)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(ops, folder.path()));
    }
}

#[test]
fn a_hotkey_of_the_laws_is_a_real_one() {
    assert!(hotkey(7).as_str().parse::<nexis_protocol::Hotkey>().is_ok());
}
