//! What the archive knows of intervals, at a cost that does not grow with its age: each question is about intervals
//! of the calendar, whose names are known, so nothing is listed but the folder of one round.

use crate::identity::{self, Era, IdentityError};
use crate::ledger::{self, LedgerError};
use crate::window::{IntervalState, WindowState};
use nexis_ports::Archive;
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{BlockNumber, IntervalId, WeightEpoch};
use serde::{Deserialize, Serialize};

/// Object of a round that was set aside because it failed: its reason, as text. Decisions make it void.
pub const QUARANTINE: &str = "quarantine.json";

/// Objects removed at one time: a scheduler that starts with a shorter retention does not stop for an hour.
const REMOVED_AT_ONCE: usize = 4_096;

/// Where an interval stands, by the objects in its folder.
pub async fn interval_state(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<IntervalState, LedgerError> {
    let folder = ledger::round_object(interval, "");
    let names = archive.list(&folder).await?;
    let has = |what: &str| names.iter().any(|name| name[folder.len()..] == *what);
    Ok(if has("decisions.json") {
        IntervalState::Decided
    } else if has(QUARANTINE) {
        IntervalState::Quarantined
    } else if has("plan.bin") {
        IntervalState::Open
    } else {
        IntervalState::NotOpened
    })
}

/// Where each interval of an epoch's window stands, by the calendar. `first` is the first interval that this
/// validator ever opened in the era ([`identity::first_interval`]).
pub async fn window_state(
    archive: &dyn Archive,
    profile: &Profile,
    epoch: WeightEpoch,
    first: Option<IntervalId>,
) -> Result<WindowState, LedgerError> {
    let calendar = Calendar::of(profile);
    let mut states = Vec::new();
    for interval in calendar.window_intervals(epoch) {
        let state = match first {
            Some(first) if interval < first => IntervalState::NotOpened,
            _ => interval_state(archive, interval).await?,
        };
        states.push((interval, state));
    }
    Ok(WindowState::of(calendar, epoch, first, |interval| {
        let found = states.iter().find(|(known, _)| *known == interval);
        found.map_or(IntervalState::NotOpened, |(_, state)| *state)
    }))
}

/// How far an era has come: a note that a leader renews each epoch. An old note costs some look-ups and is never
/// wrong: decided intervals stay decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Every interval of the era up to this one is decided.
    pub decided_through: Option<IntervalId>,
    /// The head at which it was written.
    pub head: u64,
}

fn mark_object(era: u32) -> String {
    format!("eras/{era:04}/progress.json")
}

/// Reads the mark of an era.
pub async fn mark(archive: &dyn Archive, era: u32) -> Result<Mark, LedgerError> {
    let Some(bytes) = archive.get(&mark_object(era)).await? else {
        return Ok(Mark::default());
    };
    // One that cannot be read costs what none costs.
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Intervals of an era, up to the newest eligible one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The first one that was ever opened.
    pub first: Option<IntervalId>,
    /// Every interval from the first one up to this one is decided.
    pub decided_through: Option<IntervalId>,
    /// Later ones that are not decided, ascending, with their state.
    pub undecided: Vec<(IntervalId, IntervalState)>,
    /// Number of later ones that are decided.
    pub decided_after: u64,
    /// The newest one that was opened.
    pub newest: Option<IntervalId>,
}

impl Progress {
    /// Those in a state, ascending.
    pub fn in_state(&self, wanted: IntervalState) -> Vec<IntervalId> {
        let found = self.undecided.iter().filter(|(_, state)| *state == wanted);
        found.map(|(interval, _)| *interval).collect()
    }
}

/// Looks at each interval of the era that the mark does not cover, and at every interval of the window that is paid
/// now, whatever the mark says: an operator may have removed a damaged round.
pub async fn progress(
    archive: &dyn Archive,
    profile: &Profile,
    era: &Era,
    head: BlockNumber,
) -> Result<Progress, IdentityError> {
    let calendar = Calendar::of(profile);
    let mut found = Progress {
        first: identity::first_interval(archive, era.number).await?,
        ..Progress::default()
    };
    for interval in &era.left_open {
        let state = interval_state(archive, *interval).await?;
        if state != IntervalState::Decided {
            found.undecided.push((*interval, state));
        }
    }
    let (Some(first), Some(eligible)) = (found.first, calendar.newest_eligible(head)) else {
        return Ok(found);
    };
    let first = calendar.align_up(first);
    let mark = mark(archive, era.number).await?;
    let unmarked = mark.decided_through.map_or(first, |id| calendar.next(id));
    let window = calendar.score_window(calendar.weight_epoch(head)).start;
    let paid = calendar.align_up(IntervalId::new(window));
    let mut interval = unmarked.min(paid).max(first);
    found.decided_through = (interval > first).then(|| calendar.previous(interval));
    let mut contiguous = true;
    while interval <= eligible {
        let state = interval_state(archive, interval).await?;
        if state != IntervalState::NotOpened {
            found.newest = Some(interval);
        }
        if state != IntervalState::Decided {
            contiguous = false;
            found.undecided.push((interval, state));
        } else if contiguous {
            found.decided_through = Some(interval);
        } else {
            found.decided_after += 1;
        }
        interval = calendar.next(interval);
    }
    found.newest = found.newest.max(found.decided_through);
    Ok(found)
}

/// Renews the mark.
pub(crate) async fn advance_mark(
    archive: &dyn Archive,
    profile: &Profile,
    era: &Era,
    head: BlockNumber,
) -> Result<Mark, IdentityError> {
    let progress = progress(archive, profile, era, head).await?;
    let mark = Mark {
        decided_through: progress.decided_through,
        head: head.get(),
    };
    let bytes = serde_json::to_vec(&mark).expect("plain data");
    archive.put(&mark_object(era.number), &bytes).await?;
    Ok(mark)
}

/// Removes the decided rounds before an interval, at most some thousand objects at one time. The decisions of a round
/// go last, so that a round that is half removed is never taken for an open one. Returns how many rounds went.
pub(crate) async fn remove_rounds(
    archive: &dyn Archive,
    before: IntervalId,
) -> Result<usize, LedgerError> {
    let end = ledger::round_object(before, "");
    let mut names = archive.list_from("rounds/", "", REMOVED_AT_ONCE).await?;
    let cut_off = names.len() == REMOVED_AT_ONCE;
    let folder_of = |name: &str| name.split('/').nth(1).map(str::to_owned);
    if cut_off && let Some(last) = names.last().and_then(|name| folder_of(name)) {
        // The last round of a page may be incomplete.
        names.retain(|name| folder_of(name).as_ref() != Some(&last));
    }
    names.retain(|name| *name < end);
    let mut removed = 0;
    for round in names.chunk_by(|a, b| folder_of(a) == folder_of(b)) {
        let decisions = round.iter().find(|name| name.ends_with("/decisions.json"));
        let Some(decisions) = decisions else {
            continue; // It is still open.
        };
        for name in round.iter().filter(|name| *name != decisions) {
            archive.remove(name).await?;
        }
        archive.remove(decisions).await?;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_local::DirArchive;

    async fn decide(archive: &DirArchive, interval: u64) {
        for what in ["plan.bin", "evidence.bin", "decisions.json"] {
            let name = ledger::round_object(IntervalId::new(interval), what);
            archive.put(&name, b"x").await.unwrap();
        }
    }

    fn era() -> Era {
        Era {
            number: 0,
            interval_length_blocks: 50,
            weight_period_blocks: 250,
            left_open: Vec::new(),
        }
    }

    fn ids(intervals: &[IntervalId]) -> Vec<u64> {
        intervals.iter().map(|id| id.get()).collect()
    }

    #[tokio::test]
    async fn progress_finds_every_gap_of_the_calendar_and_the_mark_hides_none_that_pays() {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        let profile = Profile::default();
        identity::note_first(&archive, 0, IntervalId::new(500))
            .await
            .unwrap();
        for interval in (500..1_100).step_by(50).chain([1_200]) {
            decide(&archive, interval).await;
        }
        let open = ledger::round_object(IntervalId::new(1_150), "plan.bin");
        archive.put(&open, b"x").await.unwrap();
        let at = |head| {
            let (archive, profile) = (&archive, &profile);
            async move {
                progress(archive, profile, &era(), BlockNumber::new(head))
                    .await
                    .unwrap()
            }
        };
        let found = at(1_302).await;
        assert_eq!(found.decided_through, Some(IntervalId::new(1_050)));
        assert_eq!(
            ids(&found.in_state(IntervalState::NotOpened)),
            [1_100, 1_250]
        );
        assert_eq!(ids(&found.in_state(IntervalState::Open)), [1_150]);
        assert_eq!(
            (found.decided_after, found.newest),
            (1, Some(IntervalId::new(1_200)))
        );
        let mark = advance_mark(&archive, &profile, &era(), BlockNumber::new(1_302)).await;
        assert_eq!(mark.unwrap().decided_through, Some(IntervalId::new(1_050)));
        assert_eq!(at(1_302).await, found);
        // An operator removed a damaged round of the window that is paid now: it is opened again.
        let removed = ledger::round_object(IntervalId::new(1_000), "");
        for name in archive.list(&removed).await.unwrap() {
            archive.remove(&name).await.unwrap();
        }
        let found = at(1_302).await;
        assert_eq!(
            ids(&found.in_state(IntervalState::NotOpened)),
            [1_000, 1_100, 1_250]
        );
    }

    #[tokio::test]
    async fn old_rounds_are_removed_whole_and_open_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        for interval in [500, 550, 600, 650] {
            decide(&archive, interval).await;
        }
        let open = ledger::round_object(IntervalId::new(525), "plan.bin");
        archive.put(&open, b"x").await.unwrap();
        let before = IntervalId::new(600);
        assert_eq!(remove_rounds(&archive, before).await.unwrap(), 2);
        let left = archive.list("rounds/").await.unwrap();
        assert_eq!(left.len(), 7, "{left:?}");
        assert_eq!(left[0], open);
        assert_eq!(remove_rounds(&archive, before).await.unwrap(), 0);
    }
}
