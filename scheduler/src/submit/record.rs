//! What the archive keeps of submissions: one record per weight epoch, and one object per signature.
//!
//! A signature's object is written before it is sent and never replaced by another one's, so that a leader that
//! slept cannot make its successor forget what was sent.

use nexis_ports::{Archive, ArchiveError, CommitTicket, SignedSubmission, SubmitOutcome};
use nexis_protocol::{Hotkey, WeightEpoch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
    /// Where it stands.
    pub state: SubmissionState,
    /// What was or will be sent: (uid, hotkey, share).
    pub weights: Vec<(u16, Hotkey, f64)>,
    /// Scored hotkeys that are not on the subnet any more.
    pub unknown_hotkeys: Vec<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// Reveals of this epoch's commits that did not happen.
    #[serde(default)]
    pub missed_reveals: u32,
    /// Last refusal or failure.
    pub last_error: Option<String>,
}

const FOLDER: &str = "submissions/";

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|fault| {
        ArchiveError::Refused(format!(
            "'{name}' is unreadable: {fault}; restore it from a backup, or move it away"
        ))
    })
}

async fn put<T: Serialize>(
    archive: &dyn Archive,
    name: &str,
    value: &T,
) -> Result<(), ArchiveError> {
    let bytes = serde_json::to_vec_pretty(value).expect("plain data");
    archive.put(name, &bytes).await
}

impl SubmissionRecord {
    fn name(epoch: WeightEpoch) -> String {
        format!("{FOLDER}{:012}.json", epoch.get())
    }

    pub(super) fn new(epoch: WeightEpoch, state: SubmissionState) -> Self {
        Self {
            epoch,
            state,
            weights: Vec::new(),
            unknown_hotkeys: Vec::new(),
            attempts: 0,
            missed_reveals: 0,
            last_error: None,
        }
    }

    /// Reads one from the archive.
    pub async fn load(
        archive: &dyn Archive,
        epoch: WeightEpoch,
    ) -> Result<Option<Self>, ArchiveError> {
        let name = Self::name(epoch);
        let found = archive.get(&name).await?;
        found.map(|bytes| parse(&name, &bytes)).transpose()
    }

    /// The newest ones that the archive holds, at most so many, oldest first. Unreadable ones are left out, with
    /// a word in the log.
    pub async fn recent(archive: &dyn Archive, most: usize) -> Result<Vec<Self>, ArchiveError> {
        let mut names = archive.list(FOLDER).await?;
        names.retain(|name| !name.trim_start_matches(FOLDER).contains('/'));
        let older = names.len().saturating_sub(most);
        let mut records = Vec::new();
        for name in names.drain(older..) {
            let Some(bytes) = archive.get(&name).await? else {
                continue;
            };
            match parse(&name, &bytes) {
                Ok(record) => records.push(record),
                Err(fault) => tracing::warn!(error = %fault, "a submission's record is left out"),
            }
        }
        Ok(records)
    }

    /// All that the archive holds, oldest first.
    pub async fn history(archive: &dyn Archive) -> Result<Vec<Self>, ArchiveError> {
        Self::recent(archive, usize::MAX).await
    }

    pub(super) async fn store(&self, archive: &dyn Archive) -> Result<(), ArchiveError> {
        put(archive, &Self::name(self.epoch), self).await
    }
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) signed: SignedSubmission,
    /// How it ended, when that is known.
    pub(super) ended: Option<String>,
}

impl Attempt {
    fn folder(epoch: WeightEpoch) -> String {
        format!("{FOLDER}{:012}/", epoch.get())
    }

    pub(super) async fn store(
        &self,
        archive: &dyn Archive,
        epoch: WeightEpoch,
    ) -> Result<(), ArchiveError> {
        let signed = &self.signed;
        let name = format!(
            "{}{:012}-{}.json",
            Self::folder(epoch),
            signed.signed_at,
            signed.extrinsic
        );
        put(archive, &name, self).await
    }

    /// Those of an epoch whose ending is not known, oldest first.
    pub(super) async fn open(
        archive: &dyn Archive,
        epoch: WeightEpoch,
    ) -> Result<Vec<Self>, ArchiveError> {
        let mut open = Vec::new();
        for name in archive.list(&Self::folder(epoch)).await? {
            if let Some(bytes) = archive.get(&name).await? {
                let attempt: Self = parse(&name, &bytes)?;
                if attempt.ended.is_none() {
                    open.push(attempt);
                }
            }
        }
        Ok(open)
    }
}
