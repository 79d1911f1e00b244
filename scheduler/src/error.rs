//! Why a step of the scheduler failed, and what may be done about it.

use crate::identity::IdentityError;
use crate::ledger::LedgerError;
use nexis_ports::{ArchiveError, BoardError, ChainError, FaultClass, QueueError};
use nexis_wire::WireError;

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The board failed.
    #[error("board: {0}")]
    Board(#[from] BoardError),
    /// The queue failed.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
    /// The chain failed.
    #[error("chain: {0}")]
    Chain(#[from] ChainError),
    /// The archive failed.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// Stored decisions cannot be read.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Archive or board belong to another validator, or cannot say to whom.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// Scores cannot be computed.
    #[error("computing scores: {0}")]
    Score(#[from] nexis_protocol::score::ScoreError),
    /// Weights cannot be computed.
    #[error("computing weights: {0}")]
    Weights(#[from] nexis_protocol::weights::WeightError),
    /// Something stored by us cannot be read.
    #[error("reading back what a round stored: {0}")]
    Wire(#[from] WireError),
    /// The global index could not be read (which is not the same as there being none).
    #[error("reading the global overlap index: {0}")]
    Index(String),
    /// The global index is larger than we read. No interval can be opened until that is changed.
    #[error(
        "the global overlap index has {bytes} bytes, more than the {most} that are read: raise \
         NEXIS_RECORD_INFO_MAX_BYTES"
    )]
    IndexTooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        most: u64,
    },
    /// The board lost part of a round. It is opened again from its plan.
    #[error(
        "the board lost part of the round: {0}; it is opened again. A Redis that evicts keys does this: set \
         maxmemory-policy to noeviction"
    )]
    StateLost(String),
    /// The chain holds commitments of which none can be decoded.
    #[error(
        "none of the chain's {raw} commitments can be decoded, so no miner can be drawn: install a release of Nexis that \
         knows this runtime"
    )]
    Commitments {
        /// Entries of registered hotkeys.
        raw: usize,
    },
    /// We lead no more; whatever was going on ends where it stands.
    #[error("leadership was lost: {0}")]
    Lost(&'static str),
    /// A computation panicked: a bug.
    #[error("a bug: a computation of the round panicked ({0}); please report it with the log")]
    Panicked(String),
    /// A computation was cut off, which happens when the process ends.
    #[error("a computation was cut off: {0}")]
    CutOff(String),
}

impl SchedulerError {
    /// What the loop may do about it.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Board(fault) => fault.class(),
            Self::Queue(fault) => fault.class(),
            Self::Chain(fault) => fault.class(),
            Self::Archive(fault) => fault.class(),
            Self::Ledger(fault) => fault.class(),
            Self::Identity(fault) => fault.class(),
            Self::Index(_) | Self::CutOff(_) => FaultClass::Transient,
            Self::Lost(_) => FaultClass::Fenced,
            Self::Wire(_)
            | Self::Score(_)
            | Self::Weights(_)
            | Self::StateLost(_)
            | Self::IndexTooLarge { .. }
            | Self::Commitments { .. }
            | Self::Panicked(_) => FaultClass::Permanent,
        }
    }

    /// Whether it is about what is stored of one interval, so that it says nothing about the others.
    pub(crate) fn is_about_stored_data(&self) -> bool {
        match self {
            Self::Wire(_) | Self::StateLost(_) | Self::Panicked(_) => true,
            Self::Ledger(fault) => !matches!(fault, LedgerError::Archive(_)),
            Self::Board(fault) => matches!(fault, BoardError::Corrupt(_)),
            Self::Queue(_)
            | Self::Chain(_)
            | Self::Archive(_)
            | Self::Score(_)
            | Self::Weights(_)
            | Self::Identity(_)
            | Self::Index(_)
            | Self::IndexTooLarge { .. }
            | Self::Commitments { .. }
            | Self::Lost(_)
            | Self::CutOff(_) => false,
        }
    }
}
