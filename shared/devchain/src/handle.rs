//! Starting and steering a dev chain from Rust.

use crate::chain::{Chain, Change};
use crate::config::{DevChainConfig, GenesisNeuron, Mode};
use crate::faults::{Fault, stand_at_door};
use crate::pallets::subnet;
use crate::pallets::weights::StoredCommit;
use crate::rpc::{self, Shared};
use crate::spec::{Spec, SpecError};
use jsonrpsee::server::{PingConfig, RandomStringIdProvider, Server, ServerConfig, ServerHandle};
use parity_scale_codec::{Decode as _, Encode as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Characters of a subscription's name.
const SUBSCRIPTION_NAME: usize = 16;

/// Why a dev chain does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would listen to the world.
    #[error("the dev chain listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// A block time of zero.
    #[error("the block time must be at least one millisecond")]
    NoBlockTime,
    /// More neurons than a subnet takes.
    #[error("a subnet takes at most 256 neurons, {0} were given")]
    TooManyNeurons(usize),
    /// Bundled metadata is unusable.
    #[error("loading the runtime")]
    Spec(#[from] SpecError),
    /// The address is taken, or not ours.
    #[error("listening on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The JSON-RPC methods cannot be registered.
    #[error("registering the methods")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
}

/// A chain for developing and testing that speaks a subtensor node's JSON-RPC.
#[derive(Debug)]
pub struct DevChain;

impl DevChain {
    /// Starts a chain. It ends with [`DevChainHandle::stop`] or when the handle is dropped.
    pub async fn start(config: DevChainConfig) -> Result<DevChainHandle, StartError> {
        if !config.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(config.listen));
        }
        if config.block_time.as_millis() == 0 {
            return Err(StartError::NoBlockTime);
        }
        if config.neurons.len() > usize::from(subnet::MAX_UIDS) {
            return Err(StartError::TooManyNeurons(config.neurons.len()));
        }
        let (address, mode, block_time) = (config.listen, config.mode, config.block_time);
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(Chain::new(config)?));
        let module = rpc::module(Arc::clone(&shared))?;
        let limits = ServerConfig::builder()
            .max_connections(1_024)
            .max_request_body_size(15 * 1024 * 1024)
            .max_response_body_size(64 * 1024 * 1024)
            .set_id_provider(RandomStringIdProvider::new(SUBSCRIPTION_NAME))
            .enable_ws_ping(PingConfig::default())
            .build();
        let server = Server::builder()
            .set_config(limits)
            .build(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .map_err(failed)?;
        let behind = server.local_addr().map_err(failed)?;
        let server = server.start(module);
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        let faults = Arc::clone(&shared.faults);
        tasks.push(tokio::spawn(stand_at_door(
            listener,
            behind,
            faults,
            stop.clone(),
        )));
        if mode == Mode::Interval {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tasks.push(tokio::spawn(async move {
                let mut clock = tokio::time::interval(block_time);
                clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
                clock.tick().await;
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = clock.tick() => drop(shared.chain().produce(vec![])),
                    }
                }
            }));
        }
        Ok(DevChainHandle {
            address,
            shared,
            server,
            stop,
            tasks,
        })
    }
}

/// A running dev chain.
pub struct DevChainHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: ServerHandle,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for DevChainHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevChainHandle")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A block by height and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevHead {
    /// Height.
    pub number: u64,
    /// blake2-256 of the header.
    pub hash: [u8; 32],
}

/// Weights that a uid set, or a commit that it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightChange {
    /// Height of the block that holds it.
    pub block: u64,
    /// The uid's weights after that block: (uid, share of 65,535).
    pub weights: Vec<(u16, u16)>,
    /// Public key of each uid's owner at that block.
    pub owners: Vec<[u8; 32]>,
}

impl DevChainHandle {
    /// Where it listens: `ws://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The best block.
    pub fn head(&self) -> DevHead {
        let chain = self.shared.chain();
        DevHead {
            number: chain.best().header.number,
            hash: chain.best().hash,
        }
    }

    /// The newest finalized block.
    pub fn finalized(&self) -> DevHead {
        let chain = self.shared.chain();
        DevHead {
            number: chain.finalized().header.number,
            hash: chain.finalized().hash,
        }
    }

    /// JSON-RPC calls taken and bytes sent so far, over all connections.
    pub fn traffic(&self) -> (u64, u64) {
        let faults = &self.shared.faults;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&faults.calls), read(&faults.bytes))
    }

    /// The genesis hash.
    pub fn genesis_hash(&self) -> [u8; 32] {
        self.shared.chain().genesis().hash
    }

    /// A clock that shows the chain's own time, unix time: that of its best block.
    pub fn clock(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || Duration::from_millis(shared.chain().best().milliseconds)
    }

    /// Makes a block now, with what the pool holds.
    pub fn new_block(&self) -> DevHead {
        self.shared.chain().produce(vec![]);
        self.head()
    }

    /// Makes so many blocks now.
    pub fn new_blocks(&self, count: u64) -> DevHead {
        for _ in 0..count {
            self.shared.chain().produce(vec![]);
        }
        self.head()
    }

    /// Registers a neuron in a block of its own; in place of the one at `replace`, when given. Answers its uid.
    pub fn register_neuron(&self, neuron: &GenesisNeuron, replace: Option<u16>) -> Option<u16> {
        let mut chain = self.shared.chain();
        chain.produce(vec![Change::Register {
            hotkey: neuron.hotkey,
            stake_rao: neuron.stake_rao,
            permit: neuron.permit,
            replace,
        }]);
        let state = chain.state(None).ok()?;
        subnet::uid_of(&state, chain.config.netuid, &neuron.hotkey)
    }

    /// Sets a hotkey's stake, rao, in a block of its own.
    pub fn set_stake(&self, hotkey: [u8; 32], rao: u64) {
        self.shared
            .chain()
            .produce(vec![Change::Stake { hotkey, rao }]);
    }

    /// Gives or takes a validator permit in a block of its own.
    pub fn set_permit(&self, uid: u16, holds: bool) {
        self.shared
            .chain()
            .produce(vec![Change::Permit { uid, holds }]);
    }

    /// Writes raw storage (key, value; `None` removes) in a block of its own.
    pub fn set_storage(&self, pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        self.shared
            .chain()
            .produce(vec![Change::Write(pairs.into_iter().collect())]);
    }

    /// Writes a value of the subnet pallet that is keyed by the netuid (`Tempo`, `WeightsSetRateLimit`,
    /// `CommitRevealWeightsEnabled`, …), in a block of its own. The caller answers for its type.
    pub fn set_parameter(&self, entry: &str, value: &impl parity_scale_codec::Encode) {
        let mut chain = self.shared.chain();
        let runtime = Arc::clone(chain.runtime(chain.best().spec));
        let key = runtime.key("SubtensorModule", entry, &[&chain.config.netuid.encode()]);
        chain.produce(vec![Change::Write([(key, Some(value.encode()))].into())]);
    }

    /// Upgrades the runtime in a block of its own.
    pub fn set_spec(&self, spec: Spec) -> Result<(), SpecError> {
        rpc::dev::upgrade(&mut self.shared.chain(), spec).map(|_| ())
    }

    /// Gives up the last `depth` blocks that are not final and goes on without them; their transactions return to
    /// the pool. Answers how many were given up.
    pub fn reorganise(&self, depth: u64) -> u64 {
        self.shared.chain().reorganise(depth)
    }

    /// Plays a fault.
    pub fn fault(&self, fault: &Fault) {
        rpc::dev::play(&self.shared, fault);
    }

    /// How many timelocked commits to the first mechanism wait to be opened, at the best block.
    pub fn sealed_commits(&self) -> usize {
        let chain = self.shared.chain();
        let Ok(state) = chain.state(None) else {
            return 0;
        };
        let index = chain.config.netuid.encode();
        let prefix = state
            .rt
            .key("SubtensorModule", "TimelockedWeightCommits", &[&index]);
        let best = chain.best().header.number;
        let keys = chain.store.keys(&prefix, None, best, usize::MAX);
        keys.into_iter()
            .filter_map(|key| Vec::<StoredCommit>::decode(&mut chain.store.get(key, best)?).ok())
            .map(|commits| commits.len())
            .sum()
    }

    /// How many timelocked commits were dropped by order of [`Fault::LoseReveals`].
    pub fn reveals_lost(&self) -> usize {
        self.shared.chain().reveals_lost.len()
    }

    /// The weights that a uid has set, at the best block: (uid, share of 65,535).
    pub fn weights(&self, uid: u16) -> Vec<(u16, u16)> {
        let chain = self.shared.chain();
        let netuid = chain.config.netuid.encode();
        chain.state(None).map_or_else(
            |_| vec![],
            |s| s.subnet("Weights", &[&netuid, &uid.encode()]),
        )
    }

    /// How many transactions wait for a block.
    pub fn pooled(&self) -> usize {
        self.shared.chain().pending().count()
    }

    /// How many transactions of an account are in the chain, up to the best block: failed ones too.
    pub fn transactions(&self, account: &[u8; 32]) -> u32 {
        let chain = self.shared.chain();
        chain.state(None).map_or(0, |state| state.nonce(account))
    }

    /// The blocks among these at which a uid set or committed weights, by the best chain as it is now.
    pub fn weight_changes(&self, uid: u16, blocks: Range<u64>) -> Vec<WeightChange> {
        let chain = self.shared.chain();
        let netuid = chain.config.netuid.encode();
        let slot = usize::from(uid);
        blocks
            .filter_map(|number| {
                let block = chain.by_number(number)?;
                let state = chain.state(Some(&block.hash)).ok()?;
                let updates: Vec<u64> = state.subnet("LastUpdate", &[&netuid]);
                (updates.get(slot) == Some(&number)).then(|| WeightChange {
                    block: number,
                    weights: state.subnet("Weights", &[&netuid, &uid.encode()]),
                    owners: subnet::owners(&state, chain.config.netuid),
                })
            })
            .collect()
    }

    /// Public key of each uid's owner at a block of the best chain whose state is kept.
    pub fn owners(&self, block: u64) -> Option<Vec<[u8; 32]>> {
        let chain = self.shared.chain();
        let hash = chain.by_number(block)?.hash;
        let state = chain.state(Some(&hash)).ok()?;
        Some(subnet::owners(&state, chain.config.netuid))
    }

    /// The slot of a hotkey at the best block.
    pub fn uid(&self, hotkey: &[u8; 32]) -> Option<u16> {
        let chain = self.shared.chain();
        let state = chain.state(None).ok()?;
        subnet::uid_of(&state, chain.config.netuid, hotkey)
    }

    /// Stops the chain and waits until its port is free.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It may have stopped already.
        self.server.stop().ok();
        self.server.clone().stopped().await;
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the dev chain died");
            }
        }
    }
}

impl Drop for DevChainHandle {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.stop().ok();
    }
}
