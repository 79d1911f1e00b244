//! What a dev chain is started with.

use crate::spec::Spec;
use std::net::SocketAddr;
use std::time::Duration;

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One each block time, by the wall clock.
    #[default]
    Interval,
    /// Only when asked: [`crate::DevChainHandle::new_block`] or the call `dev_newBlock`. Chain time moves by one block
    /// time per block.
    Manual,
    /// At once for every transaction, and when asked. Chain time as in `Manual`.
    Instant,
}

/// Who gets a validator permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permits {
    /// Those whom [`GenesisNeuron::permit`] names, for good.
    #[default]
    Fixed,
    /// The so many with the largest stake, computed anew at each epoch as the runtime does.
    LargestStake(u16),
}

/// Whose beacon opens timelocked commits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Beacon {
    /// One of the chain's own: it can sign any round, so that everything opens without the internet.
    #[default]
    Own,
    /// drand's quicknet, as on finney: commits by clients that have its key built in are real ones here too, but only
    /// those rounds open whose signature is known. A chain that is to reach them starts in their time
    /// ([`DevChainConfig::start_time`]).
    Quicknet {
        /// Rounds and their signatures (48 bytes).
        signatures: Vec<(u64, Vec<u8>)>,
    },
}

/// A neuron that is on the subnet from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisNeuron {
    /// sr25519 public key.
    pub hotkey: [u8; 32],
    /// Total stake, rao (1e-9 TAO).
    pub stake_rao: u64,
    /// Whether it holds a validator permit.
    pub permit: bool,
}

/// Settings of a dev chain.
#[derive(Debug, Clone)]
pub struct DevChainConfig {
    /// The runtime to impersonate.
    pub spec: Spec,
    /// Time between blocks; also stated in the metadata's constants.
    pub block_time: Duration,
    /// Where to listen. Only loopback addresses are accepted.
    pub listen: SocketAddr,
    /// The subnet's number.
    pub netuid: u16,
    /// Blocks per epoch; 0: no epochs.
    pub tempo: u16,
    /// Blocks between two weight changes of one hotkey.
    pub weights_rate_limit: u64,
    /// Fewest weights in one submission.
    pub min_allowed_weights: u16,
    /// Version key that a submission must reach.
    pub weights_version: u64,
    /// Stake below which weights are refused, rao.
    pub stake_threshold: u64,
    /// Whether weights must be committed and revealed.
    pub commit_reveal: bool,
    /// Epochs between a commit and its reveal.
    pub reveal_period: u64,
    /// How many blocks finality lags behind the best block.
    pub finality_lag: u64,
    /// Height of the first block. Those below have headers (the last 4,096 of them) but no state.
    pub start_block: u64,
    /// Unix time of the first block; `None`: now. Chains that are started alike and make their blocks by hand are
    /// alike, block for block.
    pub start_time: Option<Duration>,
    /// How many blocks' states are kept.
    pub state_blocks: u64,
    /// The subnet's neurons: uids in this order.
    pub neurons: Vec<GenesisNeuron>,
    /// The subnet owner's hotkey: exempt from the stake threshold.
    pub owner_hotkey: Option<[u8; 32]>,
    /// Who gets a validator permit.
    pub permits: Permits,
    /// Whose beacon opens timelocked commits.
    pub beacon: Beacon,
    /// When blocks are made.
    pub mode: Mode,
    /// Whether the pool checks what the real one checks before a block does (CHAIN.md §2.D). Without it those checks
    /// end as dispatch errors, as on runtimes before spring 2025.
    pub pool_checks: bool,
    /// What a spec's metadata does not show although the runtime has it, as if an upgrade had taken it away:
    /// `Pallet.Entry`, `Pallet.call` or `Api.method`.
    pub hidden: Vec<(Spec, String)>,
    /// Genesis hash to report instead of the chain's own.
    pub genesis_hash: Option<[u8; 32]>,
}

impl Default for DevChainConfig {
    fn default() -> Self {
        Self {
            spec: Spec::default(),
            block_time: Duration::from_millis(250),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            netuid: 70,
            tempo: 20,
            weights_rate_limit: 5,
            min_allowed_weights: 1,
            weights_version: 0,
            stake_threshold: 0,
            commit_reveal: false,
            reveal_period: 1,
            finality_lag: 2,
            start_block: 0,
            start_time: None,
            state_blocks: 256,
            neurons: Vec::new(),
            owner_hotkey: None,
            permits: Permits::Fixed,
            beacon: Beacon::Own,
            mode: Mode::Interval,
            pool_checks: true,
            hidden: Vec::new(),
            genesis_hash: None,
        }
    }
}
