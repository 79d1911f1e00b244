//! Whose archive, and whose board. Both are bound to one chain, subnet and hotkey, and to one grid of intervals and
//! epochs; what was decided for another is never mixed in. Written once each, compared at every start.
//!
//! A change of the interval length or the weight period begins a new *era*: a grid of its own, in which intervals and
//! epochs are counted anew. `nexis archive adopt` begins it; rounds and submissions of earlier eras stay readable.

use crate::ledger::{self, LedgerError};
use nexis_ports::{Archive, ArchiveError, Board, BoardError, FaultClass};
use nexis_protocol::calendar::Calendar;
use nexis_protocol::profile::Profile;
use nexis_protocol::{Hotkey, IntervalId, LeaderEpoch, Netuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const IDENTITY: &str = "identity.json";
/// Name of the board's note.
const FACT: &str = "identity";
/// Eras that an archive may have: more changes of profile than a subnet sees.
const MAX_ERAS: u32 = 10_000;

/// Whose decisions these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Genesis hash of the chain, hex with 0x.
    pub genesis: String,
    /// The subnet.
    pub netuid: Netuid,
    /// The validator's hotkey.
    pub hotkey: Hotkey,
}

/// A stretch of time with one grid of intervals and epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Era {
    /// 0 for the first one.
    pub number: u32,
    /// Length of its intervals, blocks.
    pub interval_length_blocks: u64,
    /// Blocks between its weight submissions.
    pub weight_period_blocks: u64,
    /// Rounds of the era before that were open when this one began: they are still decided, by their own rules.
    #[serde(default)]
    pub left_open: Vec<IntervalId>,
}

impl Era {
    fn first(profile: &Profile) -> Self {
        Self {
            number: 0,
            interval_length_blocks: profile.interval_length_blocks,
            weight_period_blocks: profile.weight_period_blocks,
            left_open: Vec::new(),
        }
    }

    fn fits(&self, profile: &Profile) -> bool {
        self.interval_length_blocks == profile.interval_length_blocks
            && self.weight_period_blocks == profile.weight_period_blocks
    }

    fn object(number: u32, what: &str) -> String {
        format!("eras/{number:04}/{what}")
    }
}

/// What the board notes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BoardNote {
    identity: Identity,
    era: u32,
    interval_length_blocks: u64,
    weight_period_blocks: u64,
}

/// Why this process must not work on this archive or board.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The archive failed.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The board failed.
    #[error("{0}")]
    Board(#[from] BoardError),
    /// Another chain, subnet or hotkey.
    #[error(
        "{place} belongs to another validator: its {field} is {theirs}, the settings say {ours}. Set {setting} to a \
         place of its own for this validator, or correct {cause}"
    )]
    Other {
        /// The archive, or the board.
        place: &'static str,
        /// What differs.
        field: &'static str,
        /// As written there.
        theirs: String,
        /// As in the settings.
        ours: String,
        /// The setting that names the place.
        setting: &'static str,
        /// The setting that may be wrong.
        cause: &'static str,
    },
    /// Other lengths of intervals or epochs.
    #[error(
        "the archive was written with intervals of {theirs_length} blocks and weights every {theirs_period} blocks, the \
         settings (NEXIS_PROFILE) say {ours_length} and {ours_period}. Go back to the old profile, or run `nexis archive \
         adopt` once: it begins a new era with the new lengths and keeps everything that is stored"
    )]
    Lengths {
        /// Interval length of the archive.
        theirs_length: u64,
        /// Weight period of the archive.
        theirs_period: u64,
        /// Interval length of the settings.
        ours_length: u64,
        /// Weight period of the settings.
        ours_period: u64,
    },
    /// A board of another era.
    #[error(
        "the board works in era {board} with intervals of {length} blocks and weights every {period} blocks, the archive \
         is in era {archive}: all schedulers of a board need the same archive and NEXIS_PROFILE"
    )]
    BoardEra {
        /// The board's.
        board: u32,
        /// Its interval length.
        length: u64,
        /// Its weight period.
        period: u64,
        /// The archive's.
        archive: u32,
    },
    /// An object cannot be read.
    #[error("'{name}' of the archive cannot be read ({reason}): restore it from a backup")]
    Damaged {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

impl IdentityError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Archive(fault) => fault.class(),
            Self::Ledger(fault) => fault.class(),
            Self::Board(fault) => fault.class(),
            Self::Other { .. }
            | Self::Lengths { .. }
            | Self::BoardEra { .. }
            | Self::Damaged { .. } => FaultClass::Permanent,
        }
    }
}

async fn read<T: DeserializeOwned>(
    archive: &dyn Archive,
    name: &str,
) -> Result<Option<T>, IdentityError> {
    let Some(bytes) = archive.get(name).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|fault| IdentityError::Damaged {
            name: name.to_owned(),
            reason: fault.to_string(),
        })
}

async fn create<T: Serialize>(
    archive: &dyn Archive,
    name: &str,
    value: &T,
) -> Result<bool, IdentityError> {
    let bytes = serde_json::to_vec_pretty(value).expect("plain data");
    Ok(archive.create(name, &bytes).await?)
}

/// The era that an archive is in; `None`: nothing was ever written by a version that knows eras.
pub async fn current_era(archive: &dyn Archive) -> Result<Option<Era>, IdentityError> {
    let mut newest = None;
    for number in 0..MAX_ERAS {
        match era_of(archive, number).await? {
            Some(era) => newest = Some(era),
            None => break,
        }
    }
    Ok(newest)
}

/// An era of an archive by its number.
pub(crate) async fn era_of(
    archive: &dyn Archive,
    number: u32,
) -> Result<Option<Era>, IdentityError> {
    read(archive, &Era::object(number, "era.json")).await
}

/// The first interval that this validator ever opened in an era.
pub async fn first_interval(
    archive: &dyn Archive,
    era: u32,
) -> Result<Option<IntervalId>, IdentityError> {
    read(archive, &Era::object(era, "first.json")).await
}

/// Notes the first interval that was opened in an era; later ones change nothing.
pub(crate) async fn note_first(
    archive: &dyn Archive,
    era: u32,
    interval: IntervalId,
) -> Result<(), IdentityError> {
    create(archive, &Era::object(era, "first.json"), &interval).await?;
    Ok(())
}

fn compare(
    place: &'static str,
    setting: &'static str,
    theirs: &Identity,
    ours: &Identity,
) -> Result<(), IdentityError> {
    let fields = [
        (
            "chain (genesis)",
            theirs.genesis.clone(),
            ours.genesis.clone(),
            "BT_NETWORK",
        ),
        (
            "netuid",
            theirs.netuid.to_string(),
            ours.netuid.to_string(),
            "NEXIS_NETUID",
        ),
        (
            "hotkey",
            theirs.hotkey.to_string(),
            ours.hotkey.to_string(),
            "BT_WALLET_NAME and BT_WALLET_HOTKEY",
        ),
    ];
    for (field, theirs, ours, cause) in fields {
        if theirs != ours {
            return Err(IdentityError::Other {
                place,
                field,
                theirs,
                ours,
                setting,
                cause,
            });
        }
    }
    Ok(())
}

/// Binds the archive to this validator, or finds that it is bound to it. An archive of an earlier version, which has
/// no identity yet, is judged by its newest plan.
pub async fn establish(
    archive: &dyn Archive,
    ours: &Identity,
    profile: &Profile,
) -> Result<Era, IdentityError> {
    let theirs = match read(archive, IDENTITY).await? {
        Some(theirs) => theirs,
        None => {
            let theirs = upgraded(archive, ours, profile).await?;
            if !create(archive, IDENTITY, &theirs).await? {
                return Box::pin(establish(archive, ours, profile)).await; // Another replica was first.
            }
            theirs
        }
    };
    compare("the archive", "NEXIS_WORKDIR", &theirs, ours)?;
    let era = match current_era(archive).await? {
        Some(era) => era,
        None => {
            let era = Era::first(profile);
            create(archive, &Era::object(0, "era.json"), &era).await?;
            current_era(archive).await?.unwrap_or(era)
        }
    };
    if !era.fits(profile) {
        return Err(IdentityError::Lengths {
            theirs_length: era.interval_length_blocks,
            theirs_period: era.weight_period_blocks,
            ours_length: profile.interval_length_blocks,
            ours_period: profile.weight_period_blocks,
        });
    }
    Ok(era)
}

/// The identity of an archive that was written before archives had one: by its newest plan. Also notes its era and the
/// first interval in it.
async fn upgraded(
    archive: &dyn Archive,
    ours: &Identity,
    profile: &Profile,
) -> Result<Identity, IdentityError> {
    let mut theirs = ours.clone();
    let mut era = Era::first(profile);
    let known = ledger::known(archive).await?;
    if let Some(newest) = known.newest {
        match ledger::load_plan(archive, newest).await {
            Ok(Some(plan)) => {
                theirs.netuid = plan.rules.netuid;
                if let Some(validator) = plan.validator {
                    theirs.hotkey = validator;
                }
                let lengths = &plan.rules.profile;
                era.interval_length_blocks = lengths.interval_length_blocks;
                era.weight_period_blocks = lengths.weight_period_blocks;
                compare("the archive", "NEXIS_WORKDIR", &theirs, ours)?;
            }
            Ok(None) => {}
            Err(fault) if fault.class() == FaultClass::Permanent => {
                tracing::warn!(error = %fault, "the newest plan cannot be read: the archive is taken for ours");
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    create(archive, &Era::object(0, "era.json"), &era).await?;
    if let Some(oldest) = known.oldest {
        note_first(archive, 0, oldest).await?;
    }
    Ok(theirs)
}

/// What `nexis archive adopt` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// The lengths are the archive's already.
    Nothing(Era),
    /// A new era.
    Begun {
        /// The one before.
        before: Era,
        /// The new one.
        era: Era,
        /// Its first interval.
        first: IntervalId,
    },
}

/// Begins a new era with the profile's lengths: its first interval is the first point of the new grid at which the
/// newest interval of the old one has ended. Stored rounds and submissions are not touched.
pub async fn adopt(archive: &dyn Archive, profile: &Profile) -> Result<Adoption, IdentityError> {
    let known = ledger::known(archive).await?;
    let before = match current_era(archive).await? {
        Some(era) => era,
        None => {
            // Of an earlier version: its lengths are those of its newest plan.
            let mut era = Era::first(profile);
            if let Some(newest) = known.newest
                && let Some(plan) = ledger::load_plan(archive, newest).await?
            {
                era.interval_length_blocks = plan.rules.profile.interval_length_blocks;
                era.weight_period_blocks = plan.rules.profile.weight_period_blocks;
            }
            create(archive, &Era::object(0, "era.json"), &era).await?;
            if let Some(oldest) = known.oldest {
                note_first(archive, 0, oldest).await?;
            }
            era
        }
    };
    if before.fits(profile) {
        return Ok(Adoption::Nothing(before));
    }
    let ended = known.newest.map_or(0, |newest| {
        newest.get().saturating_add(before.interval_length_blocks)
    });
    let first = Calendar::of(profile).align_up(IntervalId::new(ended));
    let era = Era {
        number: before.number.saturating_add(1),
        left_open: known.undecided,
        ..Era::first(profile)
    };
    // The first interval before the era: an era without one would begin with the newest eligible interval.
    if known.newest.is_some() {
        note_first(archive, era.number, first).await?;
    }
    create(archive, &Era::object(era.number, "era.json"), &era).await?;
    Ok(Adoption::Begun { before, era, first })
}

/// Binds the board to this validator, or finds that it is bound to it.
pub(crate) async fn bind_board(
    board: &dyn Board,
    leader: LeaderEpoch,
    ours: &Identity,
    era: &Era,
) -> Result<(), IdentityError> {
    if check_board(board, ours, era).await? {
        return Ok(());
    }
    let note = BoardNote {
        identity: ours.clone(),
        era: era.number,
        interval_length_blocks: era.interval_length_blocks,
        weight_period_blocks: era.weight_period_blocks,
    };
    let bytes = serde_json::to_vec(&note).expect("plain data");
    Ok(board.set_fact(leader, FACT, bytes).await?)
}

/// Whether the board is bound to this validator and era; false: to nobody yet, or to an earlier era of ours.
pub(crate) async fn check_board(
    board: &dyn Board,
    ours: &Identity,
    era: &Era,
) -> Result<bool, IdentityError> {
    let Some(bytes) = board.fact(FACT).await? else {
        return Ok(false);
    };
    // A note that cannot be read is replaced: it protects nobody.
    let Ok(note) = serde_json::from_slice::<BoardNote>(&bytes) else {
        return Ok(false);
    };
    compare(
        "the board",
        "NEXIS_REDIS_URL (another database or server)",
        &note.identity,
        ours,
    )?;
    let same = note.era == era.number
        && note.interval_length_blocks == era.interval_length_blocks
        && note.weight_period_blocks == era.weight_period_blocks;
    if !same && note.era >= era.number {
        return Err(IdentityError::BoardEra {
            board: note.era,
            length: note.interval_length_blocks,
            period: note.weight_period_blocks,
            archive: era.number,
        });
    }
    Ok(same)
}

#[cfg(test)]
mod tests;
