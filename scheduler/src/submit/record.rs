//! What the archive keeps of submissions: one record per weight epoch, and one object per signature.
//!
//! A record is never replaced. Each change is a new version, created under the next number: whoever read an older
//! version and slept cannot take a submission back to an earlier state.
//!
//! A signature's object is written before it is sent and never replaced by another one's, so that a leader that
//! slept cannot make its successor forget what was sent.

use crate::identity::{self, IdentityError};
use crate::progress;
use nexis_ports::{
    Archive, ArchiveError, CommitTicket, FaultClass, SignedSubmission, SubmitOutcome,
};
use nexis_protocol::{Hotkey, IntervalId, WeightEpoch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Where an epoch's submission stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionState {
    /// The epoch's beginning was, or will be, under our eyes; nothing is on the chain yet.
    Armed,
    /// Something was sent and its ending is not known: look before sending again.
    Sent,
    /// The commit is in a final block and waits for its reveal.
    Committed {
        /// Height of the block that holds it.
        block: u64,
        /// Hash of the extrinsic.
        extrinsic: String,
        /// What to look for at the reveal.
        ticket: CommitTicket,
    },
    /// The weights are on the chain: set and read back, or revealed and read back.
    Done(SubmitOutcome),
    /// The epoch ended without success.
    Missed {
        /// The last reason.
        last: String,
    },
}

/// One epoch's submission, as the archive keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmissionRecord {
    /// The epoch.
    pub epoch: WeightEpoch,
    /// The era that the epoch is counted in.
    #[serde(default)]
    pub era: u32,
    /// Where it stands.
    pub state: SubmissionState,
    /// What was or will be sent: (uid, hotkey, share).
    #[serde(default)]
    pub weights: Vec<(u16, Hotkey, f64)>,
    /// Scored hotkeys that are not on the subnet any more.
    #[serde(default)]
    pub unknown_hotkeys: Vec<String>,
    /// Intervals of the window that were not decided when the weights were computed.
    #[serde(default)]
    pub left_out: Vec<IntervalId>,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Blocks that hold what this validator sent.
    #[serde(default)]
    pub included: Vec<u64>,
    /// Reveals of this epoch's commits that did not happen.
    #[serde(default)]
    pub missed_reveals: u32,
    /// Last refusal or failure.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Number of the version that this was read from; 0: none yet.
    #[serde(skip)]
    version: u32,
}

/// Signatures, and the records of earlier versions of this program, which list these folders: they must find nothing
/// else there while both versions run side by side.
const FOLDER: &str = "submissions/";
const RECORDS: &str = "records/";

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|fault| {
        ArchiveError::Refused(format!(
            "'{name}' is unreadable: {fault}; restore it from a backup, or move it away"
        ))
    })
}

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain data")
}

/// The folder of an epoch. Epochs are counted anew in each era.
fn folder(of: &str, era: u32, epoch: WeightEpoch) -> String {
    match era {
        0 => format!("{of}{:012}/", epoch.get()),
        era => format!("{of}era-{era:04}/{:012}/", epoch.get()),
    }
}

/// The one object of a record that was written by an earlier version of this program.
fn unversioned(epoch: WeightEpoch) -> String {
    format!("{FOLDER}{:012}.json", epoch.get())
}

impl SubmissionRecord {
    pub(super) fn new(era: u32, epoch: WeightEpoch, state: SubmissionState) -> Self {
        Self {
            epoch,
            era,
            state,
            weights: Vec::new(),
            unknown_hotkeys: Vec::new(),
            left_out: Vec::new(),
            attempts: 0,
            included: Vec::new(),
            missed_reveals: 0,
            last_error: None,
            version: 0,
        }
    }

    /// Whether nothing more will be done for this epoch.
    pub const fn is_closed(&self) -> bool {
        matches!(
            self.state,
            SubmissionState::Done(_) | SubmissionState::Missed { .. }
        )
    }

    /// Reads the newest version from the archive.
    pub async fn load(
        archive: &dyn Archive,
        era: u32,
        epoch: WeightEpoch,
    ) -> Result<Option<Self>, ArchiveError> {
        let folder = folder(RECORDS, era, epoch);
        let versions = archive.list(&folder).await?;
        let name = match versions.last() {
            Some(name) => name.clone(),
            None if era == 0 => unversioned(epoch),
            None => return Ok(None),
        };
        let Some(bytes) = archive.get(&name).await? else {
            return Ok(None);
        };
        let mut record: Self = parse(&name, &bytes)?;
        let number = name
            .strip_prefix(&folder)
            .and_then(|name| name.strip_suffix(".json"));
        record.version = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        Ok(Some(record))
    }

    /// The records of some epochs, ascending. Unreadable ones are left out, with a warning in the log.
    pub async fn of_epochs(
        archive: &dyn Archive,
        era: u32,
        epochs: RangeInclusive<u64>,
    ) -> Result<Vec<Self>, ArchiveError> {
        let mut records = Vec::new();
        for epoch in epochs {
            match Self::load(archive, era, WeightEpoch::new(epoch)).await {
                Ok(record) => records.extend(record),
                Err(fault) if fault.class() == FaultClass::Permanent => {
                    tracing::warn!(error = %fault, "a submission's record is left out");
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(records)
    }

    /// The newest records of the current era, up to a limit, oldest first.
    pub async fn recent(archive: &dyn Archive, most: u64) -> Result<Vec<Self>, IdentityError> {
        let Some(era) = identity::current_era(archive).await? else {
            let mut all = Self::history(archive).await?;
            let older = all
                .len()
                .saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
            return Ok(all.split_off(older));
        };
        let mark = progress::mark(archive, era.number).await?;
        // The coming epoch is noted, and the mark is renewed once per epoch: it may be one epoch old.
        let newest = mark.head / era.weight_period_blocks.max(1) + 2;
        let oldest = newest.saturating_sub(most);
        Ok(Self::of_epochs(archive, era.number, oldest..=newest).await?)
    }

    /// All that the archive holds, by era and epoch, oldest first.
    pub async fn history(archive: &dyn Archive) -> Result<Vec<Self>, ArchiveError> {
        let mut known = BTreeSet::new();
        for folder in [FOLDER, RECORDS] {
            let names = archive.list(folder).await?;
            known.extend(names.iter().filter_map(|name| epoch_of(folder, name)));
        }
        let mut records = Vec::new();
        for (era, epoch) in known {
            records.extend(Self::of_epochs(archive, era, epoch..=epoch).await?);
        }
        Ok(records)
    }

    /// Stores this as the next version. False: somebody else stored one since this was read, and nothing was stored.
    pub(super) async fn store(&mut self, archive: &dyn Archive) -> Result<bool, ArchiveError> {
        let next = self.version.saturating_add(1);
        let folder = folder(RECORDS, self.era, self.epoch);
        let name = format!("{folder}{next:06}.json");
        let stored = archive.create(&name, &bytes_of(self)).await?;
        if stored {
            self.version = next;
        }
        Ok(stored)
    }

    /// Removes the closed submissions of the era before an epoch, at most some at one time.
    pub(crate) async fn remove_before(
        archive: &dyn Archive,
        era: u32,
        epoch: WeightEpoch,
        from: WeightEpoch,
    ) -> Result<(), ArchiveError> {
        for number in from.get()..epoch.get() {
            let old = WeightEpoch::new(number);
            let record = Self::load(archive, era, old).await?;
            if !record.is_some_and(|record| record.is_closed()) {
                continue;
            }
            let mut names = archive.list(&folder(FOLDER, era, old)).await?;
            names.extend(archive.list(&folder(RECORDS, era, old)).await?);
            if era == 0 {
                names.push(unversioned(old));
            }
            for name in names {
                archive.remove(&name).await?;
            }
        }
        Ok(())
    }
}

/// Era and epoch of an object's name.
fn epoch_of(folder: &str, name: &str) -> Option<(u32, u64)> {
    let rest = name.strip_prefix(folder)?;
    let (era, rest) = match rest.strip_prefix("era-") {
        Some(rest) => {
            let (era, rest) = rest.split_once('/')?;
            (era.parse().ok()?, rest)
        }
        None => (0, rest),
    };
    let epoch = rest.split(['/', '.']).next()?;
    Some((era, epoch.parse().ok()?))
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) signed: SignedSubmission,
    /// How it ended, when that is known.
    pub(super) ended: Option<String>,
}

impl Attempt {
    pub(super) async fn store(
        &self,
        archive: &dyn Archive,
        era: u32,
        epoch: WeightEpoch,
    ) -> Result<(), ArchiveError> {
        let signed = &self.signed;
        let name = format!(
            "{}{:012}-{}.json",
            folder(FOLDER, era, epoch),
            signed.signed_at,
            signed.extrinsic
        );
        archive.put(&name, &bytes_of(self)).await
    }

    /// Those of an epoch, oldest first.
    pub(super) async fn all(
        archive: &dyn Archive,
        era: u32,
        epoch: WeightEpoch,
    ) -> Result<Vec<Self>, ArchiveError> {
        let mut all = Vec::new();
        for name in archive.list(&folder(FOLDER, era, epoch)).await? {
            if let Some(bytes) = archive.get(&name).await? {
                all.push(parse(&name, &bytes)?);
            }
        }
        Ok(all)
    }

    /// Those of an epoch whose ending is not known, oldest first.
    pub(super) async fn open(
        archive: &dyn Archive,
        era: u32,
        epoch: WeightEpoch,
    ) -> Result<Vec<Self>, ArchiveError> {
        let mut open = Self::all(archive, era, epoch).await?;
        open.retain(|attempt| attempt.ended.is_none());
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_local::DirArchive;

    const EPOCH: WeightEpoch = WeightEpoch::new(31_026);

    fn done() -> SubmissionState {
        SubmissionState::Done(SubmitOutcome::Verified {
            block: 7_756_502,
            extrinsic: "0x01".to_owned(),
        })
    }

    /// A leader that slept between reading a record and writing it.
    #[tokio::test]
    async fn a_record_never_goes_back_from_done() {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        let mut first = SubmissionRecord::new(0, EPOCH, SubmissionState::Armed);
        assert!(first.store(&archive).await.unwrap());
        let load = || async { SubmissionRecord::load(&archive, 0, EPOCH).await };
        let mut asleep = load().await.unwrap().unwrap();
        let mut awake = load().await.unwrap().unwrap();
        awake.state = done();
        assert!(awake.store(&archive).await.unwrap());
        for state in [SubmissionState::Armed, SubmissionState::Sent] {
            asleep.state = state;
            assert!(!asleep.store(&archive).await.unwrap());
            assert_eq!(load().await.unwrap().unwrap().state, done());
        }
        let mut noted_again = SubmissionRecord::new(0, EPOCH, SubmissionState::Armed);
        assert!(!noted_again.store(&archive).await.unwrap());
    }

    #[tokio::test]
    async fn records_of_earlier_versions_and_eras_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        let old = br#"{"epoch": 31026, "state": "armed", "weights": [], "unknown_hotkeys": [],
            "attempts": 2, "last_error": null}"#;
        archive.put(&unversioned(EPOCH), old).await.unwrap();
        let mut record = SubmissionRecord::load(&archive, 0, EPOCH)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((record.attempts, record.version), (2, 0));
        record.state = done();
        assert!(record.store(&archive).await.unwrap());
        let mut later = SubmissionRecord::new(1, WeightEpoch::new(25_856), SubmissionState::Armed);
        assert!(later.store(&archive).await.unwrap());
        let all = SubmissionRecord::history(&archive).await.unwrap();
        let found: Vec<(u32, u64)> = all.iter().map(|r| (r.era, r.epoch.get())).collect();
        assert_eq!(found, [(0, 31_026), (1, 25_856)]);
        assert_eq!(all[0].state, done());
    }
}
