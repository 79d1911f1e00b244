//! Which intervals are to be opened: every one of the calendar from the first that this validator ever opened, but
//! those that are decided or open. What is missing is found by the calendar and not by what happens to be there.

use crate::identity::{Era, IdentityError};
use crate::progress;
use crate::window::sort_for_catch_up;
use nexis_ports::Archive;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{BlockNumber, IntervalId};
use std::collections::BTreeSet;

/// Intervals that wait to be opened.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    todo: BTreeSet<IntervalId>,
    /// The first one of the calendar that was not looked at yet; `None` before the archive was read.
    next: Option<IntervalId>,
}

impl Backlog {
    /// Reads the archive, once; later calls only add what has become eligible.
    pub(crate) async fn fill(
        &mut self,
        archive: &dyn Archive,
        profile: &Profile,
        era: &Era,
        head: BlockNumber,
        open: &[IntervalId],
    ) -> Result<(), IdentityError> {
        let calendar = Calendar::of(profile);
        let Some(eligible) = calendar.newest_eligible(head) else {
            return Ok(());
        };
        let mut next = match self.next {
            Some(next) => next,
            None => {
                let known = progress::progress(archive, profile, era, head).await?;
                let undecided = known.undecided.iter().map(|(interval, _)| *interval);
                self.todo.extend(undecided);
                self.todo.retain(|interval| !open.contains(interval));
                let after = calendar.next(eligible);
                known
                    .first
                    .map_or(eligible, |first| after.max(calendar.align_up(first)))
            }
        };
        while next <= eligible {
            if !open.contains(&next) {
                self.todo.insert(next);
            }
            next = calendar.next(next);
        }
        // Kept, so that an outage right now does not move the beginning.
        self.next = Some(next);
        Ok(())
    }

    /// The interval to open next: of the window that pays next first, older ones last.
    pub(crate) fn first(
        &self,
        calendar: Calendar,
        head: BlockNumber,
        is_due: impl Fn(IntervalId) -> bool,
    ) -> Option<IntervalId> {
        let mut due: Vec<IntervalId> = self.todo.iter().copied().collect();
        due.retain(|interval| is_due(*interval));
        sort_for_catch_up(calendar, head, &mut due);
        due.first().copied()
    }

    /// It was open, and is not any more: it is opened again.
    pub(crate) fn add(&mut self, interval: IntervalId) {
        self.todo.insert(interval);
    }

    /// It is open, or decided.
    pub(crate) fn remove(&mut self, interval: IntervalId) {
        self.todo.remove(&interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity;
    use nexis_local::DirArchive;

    fn era() -> Era {
        Era {
            number: 0,
            interval_length_blocks: 50,
            weight_period_blocks: 250,
            left_open: Vec::new(),
        }
    }

    /// An archive with these rounds, whose first one is the first of the validator.
    async fn archive(folder: &std::path::Path, names: &[&str]) -> DirArchive {
        let archive = DirArchive::open(folder).unwrap();
        if let Some(first) = names.first() {
            let first = first[..12].parse().unwrap();
            identity::note_first(&archive, 0, first).await.unwrap();
        }
        for name in names {
            archive.put(&format!("rounds/{name}"), b"x").await.unwrap();
        }
        archive
    }

    fn all(backlog: &mut Backlog, calendar: Calendar, head: u64) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(next) = backlog.first(calendar, BlockNumber::new(head), |_| true) {
            backlog.remove(next);
            order.push(next.get());
        }
        order
    }

    #[tokio::test]
    async fn every_interval_since_the_first_is_opened_and_the_window_that_pays_next_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "000000000600/decisions.json",
            "000000000600/plan.bin",
            "000000000650/plan.bin",
            "000000000750/plan.bin",
            "000000000750/decisions.json",
            "000000000800/plan.bin",
        ];
        let archive = archive(folder.path(), &names).await;
        let calendar = Calendar::of(&Profile::default());
        let mut backlog = Backlog::default();
        let open = [IntervalId::new(800)];
        let head = BlockNumber::new(1_302);
        let profile = Profile::default();
        let era = era();
        let filled = backlog.fill(&archive, &profile, &era, head, &open);
        filled.await.unwrap();
        let due = |interval| interval != IntervalId::new(950);
        let first = backlog.first(calendar, head, due);
        assert_eq!(
            first,
            Some(IntervalId::new(1_000)),
            "one that is not due is passed over"
        );
        let order = all(&mut backlog, calendar, 1_302);
        // The window of epoch 5, that of epoch 6, the rest; 650 was lost with the board, 700 never opened.
        assert_eq!(
            order,
            [950, 1000, 1050, 1100, 1150, 1200, 1250, 650, 700, 850, 900]
        );
        let later = BlockNumber::new(1_352);
        let filled = backlog.fill(&archive, &profile, &era, later, &open);
        filled.await.unwrap();
        assert_eq!(all(&mut backlog, calendar, 1_352), [1300]);
    }

    #[tokio::test]
    async fn a_validator_without_an_archive_begins_with_the_newest_eligible_interval() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), &[]).await;
        let calendar = Calendar::of(&Profile::default());
        let mut backlog = Backlog::default();
        let fill = async |backlog: &mut Backlog, head| {
            let head = BlockNumber::new(head);
            let profile = Profile::default();
            let era = era();
            let filled = backlog.fill(&archive, &profile, &era, head, &[]);
            filled.await.unwrap();
        };
        fill(&mut backlog, 20).await;
        assert_eq!(all(&mut backlog, calendar, 20), [0_u64; 0]);
        fill(&mut backlog, 1_004).await;
        fill(&mut backlog, 1_104).await;
        assert_eq!(all(&mut backlog, calendar, 1_104), [950, 1000, 1050]);
    }

    /// Another interval length made these ids; ours are rounded up to the grid.
    #[tokio::test]
    async fn every_id_that_is_opened_is_on_the_grid() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), &["000000001050/decisions.json"]).await;
        let profile = Profile::by_name("2026-04-13").unwrap();
        let calendar = Calendar::of(&profile);
        let mut backlog = Backlog::default();
        let head = BlockNumber::new(1_402);
        let era = era();
        let filled = backlog.fill(&archive, &profile, &era, head, &[]);
        filled.await.unwrap();
        assert_eq!(all(&mut backlog, calendar, 1_402), [1100, 1200, 1300]);
    }
}
