use crate::FaultClass;
use async_trait::async_trait;
use nexis_protocol::{BlockNumber, Hotkey, Netuid, Uid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A block we know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Height.
    pub number: BlockNumber,
    /// Hash, hex with 0x.
    pub hash: String,
}

/// One registered hotkey at the roster's block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neuron {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// Total stake, rao (1e-9 TAO).
    pub stake_rao: u64,
    /// Block of its last weight change or commit.
    pub last_update: u64,
}

/// Numbers of the subnet that decide on submissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetParameters {
    /// Blocks per epoch of the chain.
    pub tempo: u16,
    /// Blocks between two weight changes of one hotkey.
    pub weights_rate_limit: u64,
    /// Version key that a submission must reach.
    pub weights_version: u64,
    /// Fewest weights in one submission.
    pub min_allowed_weights: u16,
    /// Whether weights must be committed and revealed.
    pub commit_reveal: bool,
}

/// Who is on the subnet, at one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    /// The block it was read at.
    pub block: BlockNumber,
    /// That block's hash.
    pub hash: String,
    /// Ascending by uid.
    pub neurons: Vec<Neuron>,
    /// Commitments as published (text), by hotkey.
    pub commitments: BTreeMap<Hotkey, String>,
    /// The subnet's numbers.
    pub parameters: SubnetParameters,
}

/// Weights to put on the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightRequest {
    /// The subnet.
    pub netuid: Netuid,
    /// Slots, ascending.
    pub uids: Vec<u16>,
    /// Shares, summing to 1, same length.
    pub weights: Vec<f64>,
}

/// How a submission ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubmitOutcome {
    /// In a finalized block, and read back from the chain.
    Verified {
        /// Height of the block that holds it.
        block: u64,
        /// Hash of the extrinsic.
        extrinsic: String,
    },
    /// Committed; the chain reveals it later.
    Committed {
        /// Height of the block that holds the commit.
        block: u64,
        /// Hash of the extrinsic.
        extrinsic: String,
        /// Beacon round that reveals it.
        reveal_round: u64,
    },
    /// The chain said no, by name.
    Refused {
        /// Name of the error.
        error: String,
        /// What the operator can do.
        remedy: String,
        /// Block from which trying again makes sense, when known.
        retry_at: Option<u64>,
    },
    /// We cannot tell; look at the chain before doing anything else.
    Unknown {
        /// What happened.
        detail: String,
    },
}

impl SubmitOutcome {
    /// Whether the weights, or the commit to them, are on the chain.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Verified { .. } | Self::Committed { .. })
    }
}

/// A chain port's failure.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answers.
    #[error("reaching the chain: {0}")]
    Unavailable(String),
    /// The state of that block is gone from the node.
    #[error("the node has discarded the state of block {0}")]
    StatePruned(u64),
    /// What the chain offers is not what we know, or it is another chain.
    #[error("the chain is not the one expected: {0}")]
    Incompatible(String),
    /// This process holds no key.
    #[error("no hotkey is loaded: this process cannot sign")]
    NoWallet,
}

impl ChainError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unavailable(_) | Self::StatePruned(_) => FaultClass::Transient,
            Self::Incompatible(_) | Self::NoWallet => FaultClass::Permanent,
        }
    }
}

/// The chain: the truth about time and stake.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The newest finalized block.
    async fn head(&self) -> Result<Head, ChainError>;
    /// Returns when a block newer than `after` is finalized, or after `at_most`, with the newest one.
    async fn next_head(&self, after: BlockNumber, at_most: Duration) -> Result<Head, ChainError>;
    /// Who was on the subnet at a block (`None`: the newest finalized one).
    async fn roster(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Roster, ChainError>;
    /// Our own hotkey, when this process can sign.
    fn own_hotkey(&self) -> Option<Hotkey>;
    /// Signs, submits and follows a submission to its end.
    async fn set_weights(&self, request: &WeightRequest) -> Result<SubmitOutcome, ChainError>;
    /// Weights of a slot as the chain holds them: (uid, share of u16::MAX).
    async fn weights_of(&self, netuid: Netuid, uid: Uid) -> Result<Vec<(u16, u16)>, ChainError>;
}
