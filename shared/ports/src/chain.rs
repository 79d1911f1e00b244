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
    /// Entries that the chain holds for registered hotkeys, whether or not they could be read.
    pub raw_commitments: usize,
    /// Those of them whose encoding this program does not know.
    pub unreadable_commitments: usize,
    /// The subnet's numbers.
    pub parameters: SubnetParameters,
}

/// A condition for setting weights that is not met, and that does not pass by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// Its name.
    pub name: String,
    /// What is.
    pub current: String,
    /// What must be.
    pub required: String,
    /// What to do.
    pub remedy: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            current,
            required,
            remedy,
        } = self;
        write!(f, "{name}: {current}, needed: {required} ({remedy})")
    }
}

/// Whether our hotkey could set weights now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// What an operator must mend first; empty: nothing.
    pub obstacles: Vec<Obstacle>,
    /// Block of the last change of our weights, or of our last commit; `None`: never, or not registered.
    pub last_update: Option<u64>,
}

/// Weights to put on the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightRequest {
    /// The subnet.
    pub netuid: Netuid,
    /// Slots, ascending.
    pub uids: Vec<u16>,
    /// Whose slots these are, same length. Slots are reused: nothing is signed at a block at which one of them
    /// that has a share belongs to somebody else.
    pub hotkeys: Vec<Hotkey>,
    /// Shares, summing to 1, same length.
    pub weights: Vec<f64>,
    /// The last block that may hold them; `None`: any.
    pub not_after: Option<BlockNumber>,
}

/// A commit that waits for its reveal. Kept until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTicket {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism.
    pub mechanism: Option<u8>,
    /// Who committed.
    pub hotkey: Hotkey,
    /// Block that holds the commit; 0 until it is included.
    pub committed_at: u64,
    /// First block of the epoch in which the chain should open it.
    pub reveal_block: u64,
    /// Block by which it must have been opened.
    pub reveal_deadline: u64,
    /// Beacon round that opens it.
    pub reveal_round: u64,
    /// SHA-256 of the ciphertext, hex.
    pub sealed_sha256: String,
    /// Weights that must then be stored.
    pub expected: Vec<(u16, u16)>,
}

/// Where a commit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevealState {
    /// The chain still holds it, sealed.
    Waiting,
    /// Opened: its weights were stored.
    Revealed,
    /// Gone without its weights being stored, or too late: commit again, and tell somebody.
    Missed,
    /// Gone, and the blocks that would tell are forgotten by the node.
    Unseen,
}

/// A signed extrinsic with weights, kept before it is sent: whoever leads next knows where to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSubmission {
    /// The subnet.
    pub netuid: Netuid,
    /// Its hash, hex with 0x.
    pub extrinsic: String,
    /// Block it was signed at; it can only be in later ones.
    pub signed_at: u64,
    /// Last block that can hold it.
    pub last_valid: u64,
    /// The weights as the chain will store them.
    pub weights: Vec<(u16, u16)>,
    /// When they are committed: what to look for at the reveal.
    pub commit: Option<CommitTicket>,
}

/// Keeps what was signed. Nothing is sent that it did not take.
#[async_trait]
pub trait SubmissionJournal: Send {
    /// Called before each sending; an error ends the submission with nothing (more) sent.
    async fn signed(&mut self, submission: &SignedSubmission) -> Result<(), ChainError>;
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
        /// What to look for at the reveal.
        ticket: CommitTicket,
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
    /// The journal did not take what was signed, so it was not sent.
    #[error("the signed extrinsic could not be noted and was not sent")]
    NotNoted,
    /// This process holds no key.
    #[error("no hotkey is loaded: this process cannot sign")]
    NoWallet,
}

impl ChainError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unavailable(_) | Self::StatePruned(_) | Self::NotNoted => FaultClass::Transient,
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
    /// The chain's genesis hash, hex with 0x.
    async fn genesis(&self) -> Result<String, ChainError>;
    /// Whether our hotkey could set weights on a subnet now.
    async fn standing(&self, netuid: Netuid) -> Result<Standing, ChainError>;
    /// Our own hotkey, when this process can sign.
    fn own_hotkey(&self) -> Option<Hotkey>;
    /// Looks whether the chain would take it, signs, submits and follows a submission to its end. An error means
    /// that nothing was sent.
    async fn set_weights(
        &self,
        request: &WeightRequest,
        journal: &mut dyn SubmissionJournal,
    ) -> Result<SubmitOutcome, ChainError>;
    /// What became of a submission that was signed, by looking at the final blocks that can hold it.
    async fn resolve(&self, signed: &SignedSubmission) -> Result<SubmitOutcome, ChainError>;
    /// Where a commit stands, by final blocks.
    async fn reveal(&self, ticket: &CommitTicket) -> Result<RevealState, ChainError>;
    /// Weights of a slot as the chain holds them: (uid, share of u16::MAX).
    async fn weights_of(&self, netuid: Netuid, uid: Uid) -> Result<Vec<(u16, u16)>, ChainError>;
}
