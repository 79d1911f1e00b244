//! How many blocks each stage of an open round has had. A deadline counts only blocks in which the stage could be
//! worked on: a leader looked, the servers answered, every job had been handed to a worker, and no jobs waited in the
//! queue while no result arrived. Kept on the board, so that a takeover goes on counting.

use crate::error::SchedulerError;
use nexis_ports::{Board, Stage};
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the fact on the board.
const FACT: &str = "stage-clock";
/// A takeover takes no longer, nor does a slow look; more blocks without anybody looking are an outage.
pub(crate) const OUTAGE_BLOCKS: u64 = 3;
/// How often one stage gets time back because its jobs lost their workers. Bounded: a job that kills every worker must
/// not keep its round open for ever.
const MAX_REFUNDS: u8 = 3;

/// What the stages of the open rounds have had.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageClock {
    /// Newest head that a leader looked at.
    head: u64,
    stages: BTreeMap<IntervalId, StageTime>,
    /// Whether the board has this as it is.
    #[serde(skip)]
    noted: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StageTime {
    stage: Stage,
    /// Blocks that count.
    counted: u64,
    /// Head up to which they were counted.
    seen: u64,
    /// Whether every job has been handed to a worker once.
    taken: bool,
    /// Whether jobs were last seen waiting without any result arriving.
    starved: bool,
    refunds: u8,
    /// Why no block counts at present.
    #[serde(skip)]
    held: Option<String>,
}

/// What a look found out about the stage's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Supply {
    /// None of them waits in the queue, or later ones have results: workers have taken them all.
    Taken,
    /// Some may wait in the queue; results arrive.
    Waiting,
    /// Jobs wait in the queue and no result arrives.
    Starved(String),
    /// A server could not be asked.
    Unavailable(String),
}

impl StageClock {
    /// Takes up what the last leader left.
    pub(crate) async fn restore(board: &dyn Board) -> Result<Self, SchedulerError> {
        let note = board.fact(FACT).await?;
        // Only a program of another version writes what we cannot read: counting starts anew then.
        let read = |note: Vec<u8>| serde_json::from_slice(&note).unwrap_or_default();
        Ok(note.map(read).unwrap_or_default())
    }

    /// Counts the blocks since the last look at a stage. `allotted` are those that it gets until its deadline.
    pub(crate) fn observe(
        &mut self,
        (interval, stage): (IntervalId, Stage),
        head: BlockNumber,
        allotted: u64,
        supply: &Supply,
    ) {
        let head = head.get();
        let time = self.stages.get_mut(&interval);
        let Some(time) = time.filter(|time| time.stage == stage) else {
            self.stages.insert(interval, StageTime::new(stage, head));
            self.noted = false;
            return;
        };
        if head < time.seen {
            return;
        }
        let gap = head - time.seen;
        time.seen = head;
        let before = (time.taken, time.starved);
        let why = match supply {
            Supply::Taken => {
                time.taken = true;
                if std::mem::take(&mut time.starved) && time.refunds < MAX_REFUNDS {
                    // Those who had taken them are gone; whoever took them now gets time to do them.
                    time.refunds += 1;
                    time.counted = time.counted.min(allotted / 2);
                }
                None
            }
            Supply::Waiting if time.taken => None,
            Supply::Waiting => Some("not every job has been handed to a worker yet".to_owned()),
            Supply::Starved(why) => {
                time.starved = true;
                Some(why.clone())
            }
            Supply::Unavailable(why) => Some(why.clone()),
        };
        if why.is_none() && gap <= OUTAGE_BLOCKS {
            time.counted += gap;
        }
        time.held = why;
        if before != (time.taken, time.starved) {
            self.noted = false;
        }
    }

    /// Whether blocks do not count for some round at present.
    pub(crate) fn is_any_held(&self) -> bool {
        self.stages.values().any(|time| time.held.is_some())
    }

    /// Blocks that count for a round's stage.
    pub(crate) fn counted(&self, interval: IntervalId, stage: Stage) -> u64 {
        let time = self.stages.get(&interval);
        time.filter(|time| time.stage == stage)
            .map_or(0, |time| time.counted)
    }

    /// Why no block of the round counts at present.
    pub(crate) fn held(&self, interval: IntervalId) -> Option<&str> {
        self.stages.get(&interval)?.held.as_deref()
    }

    /// Gives the stage its whole time again: its jobs are published anew.
    pub(crate) fn restart(&mut self, interval: IntervalId) {
        self.stages.remove(&interval);
        self.noted = false;
    }

    /// Leaves the note for whoever leads next, once a block and when something changed.
    pub(crate) async fn note(
        &mut self,
        board: &dyn Board,
        epoch: LeaderEpoch,
        head: BlockNumber,
        open: &[IntervalId],
    ) -> Result<(), SchedulerError> {
        self.stages.retain(|interval, _| open.contains(interval));
        if self.noted && self.head >= head.get() {
            return Ok(());
        }
        self.head = self.head.max(head.get());
        let note = serde_json::to_vec(self).expect("plain data");
        board.set_fact(epoch, FACT, note).await?;
        self.noted = true;
        Ok(())
    }
}

impl StageTime {
    fn new(stage: Stage, head: u64) -> Self {
        Self {
            stage,
            counted: 0,
            seen: head,
            taken: false,
            starved: false,
            refunds: 0,
            held: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_ports::Leadership;
    use proptest::prelude::*;

    const ROUND: IntervalId = IntervalId::new(100);
    const STAGE: (IntervalId, Stage) = (ROUND, Stage::Miners);
    const ALLOTTED: u64 = 20;

    fn look(clock: &mut StageClock, head: u64, supply: &Supply) -> u64 {
        clock.observe(STAGE, BlockNumber::new(head), ALLOTTED, supply);
        clock.counted(ROUND, Stage::Miners)
    }

    fn starved() -> Supply {
        Supply::Starved("12 jobs wait".to_owned())
    }

    fn unavailable() -> Supply {
        Supply::Unavailable("the queue is unavailable".to_owned())
    }

    #[tokio::test]
    async fn a_new_leader_goes_on_counting_and_an_outage_is_not_counted() {
        let board = nexis_local::LocalBoard::in_memory(nexis_local::TokioClock::new());
        let lease = std::time::Duration::from_secs(60);
        let Ok(Leadership::Leader(epoch)) = board.campaign("a", lease).await else {
            panic!("nobody else leads");
        };
        let mut clock = StageClock::restore(&board).await.unwrap();
        look(&mut clock, 112, &Supply::Taken);
        look(&mut clock, 113, &Supply::Taken);
        clock
            .note(&board, epoch, BlockNumber::new(113), &[ROUND])
            .await
            .unwrap();
        let mut next = StageClock::restore(&board).await.unwrap();
        assert_eq!(look(&mut next, 116, &Supply::Taken), 4);
        let mut after_an_outage = StageClock::restore(&board).await.unwrap();
        assert_eq!(look(&mut after_an_outage, 123, &Supply::Taken), 1);
        assert_eq!(after_an_outage.counted(ROUND, Stage::Clips), 0);
    }

    /// A living leader that could not look: the chain's endpoint was unavailable, or the machine was suspended.
    #[test]
    fn blocks_in_which_a_leader_that_stayed_leader_did_not_look_are_not_counted() {
        let mut clock = StageClock::default();
        look(&mut clock, 100, &Supply::Taken);
        assert_eq!(look(&mut clock, 102, &Supply::Taken), 2);
        assert_eq!(look(&mut clock, 500, &Supply::Taken), 2);
        assert_eq!(look(&mut clock, 501, &Supply::Taken), 3);
    }

    #[test]
    fn nothing_counts_before_every_job_was_taken_or_while_a_server_is_unavailable() {
        let mut clock = StageClock::default();
        look(&mut clock, 100, &Supply::Waiting);
        assert_eq!(look(&mut clock, 103, &Supply::Waiting), 0);
        assert!(clock.held(ROUND).is_some());
        assert_eq!(look(&mut clock, 104, &Supply::Taken), 1);
        assert_eq!(clock.held(ROUND), None);
        // Once taken, later jobs of other rounds may wait.
        assert_eq!(look(&mut clock, 106, &Supply::Waiting), 3);
        for head in 107..300 {
            assert_eq!(look(&mut clock, head, &unavailable()), 3);
        }
        assert_eq!(clock.held(ROUND), Some("the queue is unavailable"));
        assert_eq!(look(&mut clock, 300, &Supply::Taken), 4);
    }

    /// All workers died in the stage's last block, and others come days later: they get half of the time again.
    #[test]
    fn workers_that_come_after_others_were_lost_get_time() {
        let mut clock = StageClock::default();
        for head in 100..=119 {
            look(&mut clock, head, &Supply::Taken);
        }
        for head in 120..9_000 {
            assert_eq!(look(&mut clock, head, &starved()), 19);
        }
        assert_eq!(look(&mut clock, 9_000, &Supply::Taken), ALLOTTED / 2 + 1);
    }

    proptest! {
        /// Whatever the supply does, the count never exceeds the blocks that passed, and a stage whose jobs are taken
        /// in every third look at the latest reaches its deadline.
        #[test]
        fn a_stage_always_ends_when_its_jobs_are_taken(supplies in prop::collection::vec(0_u8..4, 0..200)) {
            let mut clock = StageClock::default();
            look(&mut clock, 100, &Supply::Taken);
            let mut head = 100;
            for kind in supplies {
                head += 1;
                let supply = match kind {
                    0 => Supply::Taken,
                    1 => Supply::Waiting,
                    2 => starved(),
                    _ => unavailable(),
                };
                let counted = look(&mut clock, head, &supply);
                prop_assert!(counted <= head - 100);
            }
            // It flaps between the two, as with a job that kills every worker.
            for _ in 0..3 * ALLOTTED * u64::from(MAX_REFUNDS + 1) {
                head += 1;
                look(&mut clock, head, &starved());
                head += 1;
                look(&mut clock, head, &Supply::Taken);
            }
            prop_assert!(clock.counted(ROUND, Stage::Miners) >= ALLOTTED);
        }
    }
}
