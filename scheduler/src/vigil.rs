//! Since when each open stage is watched. Deadlines are blocks, and blocks during which nobody looked are nobody's
//! delay; but a change of leaders is no reason to wait longer. So leaders leave each other a note on the board.

use crate::error::SchedulerError;
use nexis_ports::{Board, Stage};
use nexis_protocol::{BlockNumber, IntervalId, LeaderEpoch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the note.
const FACT: &str = "vigil";
/// A takeover takes no longer; more blocks without anybody looking are an outage.
const OUTAGE_BLOCKS: u64 = 3;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Vigil {
    /// Newest head that a leader looked at.
    head: u64,
    /// Per open round its stage, and the head since which that is watched.
    since: BTreeMap<IntervalId, (Stage, u64)>,
    /// Whether the board has this as it is.
    #[serde(skip)]
    noted: bool,
}

impl Vigil {
    /// Takes up what the last leader left. An outage since then moves everything by its length.
    pub(crate) async fn take_up(
        board: &dyn Board,
        head: BlockNumber,
    ) -> Result<Self, SchedulerError> {
        let Some(note) = board.fact(FACT).await? else {
            return Ok(Self::default());
        };
        // Only a program of another version writes what we cannot read: waiting starts anew then.
        let mut vigil: Self = serde_json::from_slice(&note).unwrap_or_default();
        let away = head.get().saturating_sub(vigil.head);
        if away > OUTAGE_BLOCKS {
            for (_, since) in vigil.since.values_mut() {
                *since += away;
            }
        }
        Ok(vigil)
    }

    /// The head since which a round's stage is watched.
    pub(crate) fn since(&mut self, interval: IntervalId, stage: Stage, head: BlockNumber) -> u64 {
        match self.since.get(&interval) {
            Some((of, since)) if *of == stage => *since,
            _ => {
                self.since.insert(interval, (stage, head.get()));
                self.noted = false;
                head.get()
            }
        }
    }

    /// Leaves the note for whoever leads next, once a block and when something changed.
    pub(crate) async fn note(
        &mut self,
        board: &dyn Board,
        epoch: LeaderEpoch,
        head: BlockNumber,
        open: &[IntervalId],
    ) -> Result<(), SchedulerError> {
        self.since.retain(|interval, _| open.contains(interval));
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

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: IntervalId = IntervalId::new(100);

    #[tokio::test]
    async fn a_new_leader_goes_on_counting_and_an_outage_is_not_counted() {
        let board = nexis_local::LocalBoard::in_memory(nexis_local::TokioClock::new());
        let epoch = match board
            .campaign("a", std::time::Duration::from_secs(60))
            .await
        {
            Ok(nexis_ports::Leadership::Leader(epoch)) => epoch,
            other => panic!("{other:?}"),
        };
        let mut vigil = Vigil::take_up(&board, BlockNumber::new(112)).await.unwrap();
        assert_eq!(
            vigil.since(ROUND, Stage::Miners, BlockNumber::new(112)),
            112
        );
        vigil
            .note(&board, epoch, BlockNumber::new(113), &[ROUND])
            .await
            .unwrap();
        let at = |head| Vigil::take_up(&board, BlockNumber::new(head));
        let mut next = at(116).await.unwrap();
        assert_eq!(next.since(ROUND, Stage::Miners, BlockNumber::new(116)), 112);
        assert_eq!(next.since(ROUND, Stage::Clips, BlockNumber::new(116)), 116);
        let mut after_an_outage = at(123).await.unwrap();
        let since = after_an_outage.since(ROUND, Stage::Miners, BlockNumber::new(123));
        assert_eq!(since, 122);
    }
}
