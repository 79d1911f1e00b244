//! The chain: its blocks, and how one comes about.

mod making;
mod pool;

use crate::config::{DevChainConfig, Mode};
use crate::extrinsic::{self, BadFormat, Covered, Signed};
use crate::header::Header;
use crate::pallets::{self, drand, epoch, subnet};
use crate::runtime::Runtime;
use crate::spec::{Spec, SpecError};
use crate::state::{DispatchError, State};
use crate::store::{Store, Writes};
use making::*;
use parity_scale_codec::Encode as _;
use scale_value::Value;
use sp_crypto_hashing::blake2_256;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, mpsc};

/// Headers below the first block that exist without state.
const HEADERS_BELOW: u64 = 4_096;
/// Blocks that are kept.
const MOST_BLOCKS: usize = 50_000;

/// A block hash.
pub(crate) type Hash = [u8; 32];

/// A block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub hash: Hash,
    pub header: Header,
    pub spec: Spec,
    pub milliseconds: u64,
    pub extrinsics: Vec<Vec<u8>>,
}

/// What subscribers are told.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    Best(Header),
    Finalized(Header),
}

/// What becomes of a watched transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Future,
    Ready,
    InBlock(Hash),
    Retracted(Hash),
    Finalized(Hash),
    Usurped(Hash),
    Dropped,
    Invalid,
}

/// Why the pool refuses a transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Format(#[from] BadFormat),
    #[error("Transaction is outdated")]
    Stale,
    #[error("Transaction has a bad signature")]
    BadProof,
    #[error("Transaction has an ancient birth block")]
    AncientBirthBlock,
    #[error("Custom error: {0}")]
    Custom(u8),
    #[error("the transaction is already in the pool")]
    AlreadyImported,
    #[error("another transaction with the same nonce is in the pool")]
    TooLowPriority,
    #[error("the pool is full")]
    Full,
}

/// Why a block's state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("Header was not found in the database: 0x{}", hex::encode(.0))]
    Header(Hash),
    #[error("State already discarded for 0x{}", hex::encode(.0))]
    Discarded(Hash),
}

#[derive(Debug)]
struct Pooled {
    signed: Signed,
    dies_at: Option<u64>,
}

#[derive(Debug)]
struct Watched {
    hash: Hash,
    block: Option<(u64, Hash)>,
    tell: mpsc::UnboundedSender<Fate>,
}

/// Something that the next block does before its transactions.
pub(crate) enum Change {
    Write(Writes),
    Register {
        hotkey: [u8; 32],
        stake_rao: u64,
        permit: bool,
        replace: Option<u16>,
    },
    Stake {
        hotkey: [u8; 32],
        rao: u64,
    },
    Permit {
        uid: u16,
        holds: bool,
    },
    Spec(Spec),
}

/// What becomes of the next transactions, by order of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Usurped,
    Dropped,
    Invalid,
}

/// The whole chain.
pub(crate) struct Chain {
    pub config: DevChainConfig,
    runtimes: BTreeMap<Spec, Arc<Runtime>>,
    pub store: Store,
    genesis: Block,
    /// Blocks in a row, the last one the best.
    blocks: VecDeque<Block>,
    by_hash: HashMap<Hash, u64>,
    finalized: u64,
    pool: BTreeMap<([u8; 32], u32), Pooled>,
    watched: Vec<Watched>,
    notices: broadcast::Sender<Notice>,
    /// Fates of the next transactions to be submitted.
    pub dooms: VecDeque<Doom>,
    /// Commits that will be dropped where they should be opened.
    pub reveals_to_lose: u64,
    /// The blocks in which one was.
    pub reveals_lost: Vec<u64>,
    /// Makes blocks of the same content differ after a reorganisation.
    forks: u64,
}

impl Chain {
    /// A chain at its first block.
    pub fn new(config: DevChainConfig) -> Result<Self, SpecError> {
        let runtime = Arc::new(Runtime::load(config.spec, &config)?);
        let (notices, _) = broadcast::channel(1_024);
        // The block below the first one has a state too: clients ask a block's parent for its runtime.
        let first = config.start_block.saturating_sub(1);
        let mut store = Store::starting_at(first);
        let mut state = State::at(&runtime, &store, first);
        let milliseconds = config.start_time.map_or_else(wall_clock, |at| {
            u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
        });
        subnet::genesis(&mut state, &config);
        drand::genesis(&mut state, &config.beacon);
        drand::on_block(&mut state, milliseconds);
        begin(&mut state, &Header::default(), milliseconds);
        let writes = state.finish();
        let root = root_of(&[0; 32], &writes);
        store.apply(first, writes);

        let genesis = made(Header::first(), config.spec, 0, vec![]);
        let mut blocks = VecDeque::new();
        let mut parent = config.genesis_hash.unwrap_or(genesis.hash);
        if config.start_block > 1 {
            for number in first.saturating_sub(HEADERS_BELOW).max(1)..=first {
                let state_root = if number == first { root } else { [0; 32] };
                let header = Header {
                    parent,
                    number,
                    state_root,
                    ..Header::default()
                };
                let block = made(header, config.spec, milliseconds, vec![]);
                parent = block.hash;
                blocks.push_back(block);
            }
        } else {
            let block = Block {
                milliseconds,
                hash: parent,
                ..genesis.clone()
            };
            blocks.push_back(block);
        }
        let by_hash = blocks.iter().map(|b| (b.hash, b.header.number)).collect();
        let genesis = Block {
            hash: config.genesis_hash.unwrap_or(genesis.hash),
            ..genesis
        };
        let mut chain = Self {
            runtimes: BTreeMap::from([(config.spec, runtime)]),
            store,
            genesis,
            blocks,
            by_hash,
            finalized: first,
            pool: BTreeMap::new(),
            watched: Vec::new(),
            notices,
            dooms: VecDeque::new(),
            reveals_to_lose: 0,
            reveals_lost: Vec::new(),
            forks: 0,
            config,
        };
        if chain.config.start_block > 0 {
            chain.produce(vec![]);
        }
        Ok(chain)
    }

    /// The best block.
    pub fn best(&self) -> &Block {
        self.blocks.back().unwrap_or(&self.genesis)
    }

    /// The newest finalized block.
    pub fn finalized(&self) -> &Block {
        self.by_number(self.finalized).unwrap_or(&self.genesis)
    }

    /// The genesis block.
    pub const fn genesis(&self) -> &Block {
        &self.genesis
    }

    /// A block of the best chain by height.
    pub fn by_number(&self, number: u64) -> Option<&Block> {
        if number == 0 {
            return Some(&self.genesis);
        }
        let lowest = self.blocks.front()?.header.number;
        self.blocks
            .get(usize::try_from(number.checked_sub(lowest)?).ok()?)
    }

    /// A block of the best chain by hash.
    pub fn by_hash(&self, hash: &Hash) -> Option<&Block> {
        if *hash == self.genesis.hash {
            return self.by_number(0);
        }
        self.by_number(*self.by_hash.get(hash)?)
    }

    /// The runtime of a spec that has been in use.
    pub fn runtime(&self, spec: Spec) -> &Arc<Runtime> {
        self.runtimes
            .get(&spec)
            .expect("a spec is loaded before a block uses it")
    }

    /// The state of a block, `None`: of the best one.
    pub fn state(&self, hash: Option<&Hash>) -> Result<State<'_>, Unknown> {
        let block = match hash {
            Some(hash) => self.by_hash(hash).ok_or(Unknown::Header(*hash))?,
            None => self.best(),
        };
        let number = block.header.number;
        if number < self.store.oldest() {
            return Err(Unknown::Discarded(block.hash));
        }
        Ok(State::at(self.runtime(block.spec), &self.store, number))
    }

    /// The state on which the next block would build.
    fn next_state(&self) -> State<'_> {
        let best = self.best();
        State::at(self.runtime(best.spec), &self.store, best.header.number + 1)
    }

    /// News from now on.
    pub fn listen(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Makes a block out of changes and of what the pool holds.
    pub fn produce(&mut self, changes: Vec<Change>) -> Hash {
        self.expire();
        let (number, parent, spec) = {
            let best = self.best();
            (best.header.number + 1, best.hash, best.spec)
        };
        let milliseconds = self.next_time();
        let mut next_spec = spec;
        for change in &changes {
            if let Change::Spec(spec) = change {
                next_spec = *spec;
            }
        }
        let runtime = Arc::clone(self.runtime(next_spec));
        let mut state = State::at(&runtime, &self.store, number);
        let mut header = Header {
            parent,
            number,
            ..Header::default()
        };
        header.seal(milliseconds, self.config.block_time, self.forks);
        begin(&mut state, &header, milliseconds);
        if next_spec != spec {
            state.deposit("System", "CodeUpdated", vec![]);
        }
        drand::on_block(&mut state, milliseconds);
        if epoch::counts_epochs(&runtime) && !epoch::counts_epochs(self.runtime(spec)) {
            epoch::migrate(&mut state, self.config.netuid);
        }
        let mut to_lose = self.reveals_to_lose;
        epoch::on_block(&mut state, &self.config, &mut to_lose);
        for change in changes {
            perform(&mut state, self.config.netuid, change);
        }
        let mut extrinsics = vec![extrinsic::timestamp(&runtime, milliseconds)];
        state.enter_extrinsic(0);
        let done = success("Mandatory");
        state.deposit("System", "ExtrinsicSuccess", vec![done]);

        let mut included = Vec::new();
        let mut refused = Vec::new();
        for (key, pooled) in &self.pool {
            let signed = &pooled.signed;
            if signed.nonce != state.nonce(&signed.signer) {
                continue;
            }
            // The runtime's own checks run again when a block is built: a transaction that has become invalid is
            // dropped, not included.
            if self.config.pool_checks
                && pallets::pool_refusal(&state, &signed.signer, &signed.call).is_some()
            {
                refused.push((*key, signed.hash));
                continue;
            }
            let index = u32::try_from(extrinsics.len()).unwrap_or(u32::MAX);
            state.enter_extrinsic(index);
            state.count_transaction(&signed.signer);
            let outcome = state.transaction(|s| pallets::dispatch(s, &signed.signer, &signed.call));
            match outcome {
                Ok(()) => state.deposit("System", "ExtrinsicSuccess", vec![success("Normal")]),
                Err(error) => {
                    let fields = vec![failure(&runtime, error), success("Normal")];
                    state.deposit("System", "ExtrinsicFailed", fields);
                }
            }
            extrinsics.push(signed.bytes.clone());
            included.push((*key, signed.hash));
        }
        let writes = state.finish();
        header.state_root = root_of(&self.best().header.state_root, &writes);
        header.extrinsics_root = blake2_256(&extrinsics.encode());
        self.store.apply(number, writes);
        self.reveals_lost
            .extend((to_lose..self.reveals_to_lose).map(|_| number));
        self.reveals_to_lose = to_lose;
        for (key, _) in included.iter().chain(&refused) {
            self.pool.remove(key);
        }
        for (_, extrinsic) in refused {
            self.end(extrinsic, Fate::Invalid);
        }
        let block = made(header, next_spec, milliseconds, extrinsics);
        let hash = block.hash;
        self.by_hash.insert(hash, number);
        self.blocks.push_back(block);
        for (_, extrinsic) in included {
            for watched in self.watched.iter_mut().filter(|w| w.hash == extrinsic) {
                watched.block = Some((number, hash));
            }
            self.tell(extrinsic, Fate::InBlock(hash));
        }
        self.announce_best();
        self.finalize(number.saturating_sub(self.config.finality_lag));
        self.prune(number);
        hash
    }

    /// Loads a spec, so that blocks can use it.
    pub fn load(&mut self, spec: Spec) -> Result<(), SpecError> {
        if !self.runtimes.contains_key(&spec) {
            let runtime = Runtime::load(spec, &self.config)?;
            self.runtimes.insert(spec, Arc::new(runtime));
        }
        Ok(())
    }

    fn next_time(&self) -> u64 {
        let last = self.best().milliseconds;
        match self.config.mode {
            Mode::Interval => wall_clock().max(last + 1),
            Mode::Manual | Mode::Instant => {
                let step = u64::try_from(self.config.block_time.as_millis()).unwrap_or(1);
                last + step.max(1)
            }
        }
    }

    fn announce_best(&self) {
        let header = self.best().header.clone();
        // No receiver is no error: nobody listens then.
        drop(self.notices.send(Notice::Best(header)));
    }

    fn finalize(&mut self, number: u64) {
        while self.finalized < number {
            self.finalized += 1;
            let Some(block) = self.by_number(self.finalized) else {
                continue;
            };
            let (header, hash) = (block.header.clone(), block.hash);
            drop(self.notices.send(Notice::Finalized(header)));
            let at = self.finalized;
            self.watched.retain(|w| match w.block {
                Some((block, _)) if block == at => {
                    // A watcher that has gone away needs no news.
                    w.tell.send(Fate::Finalized(hash)).ok();
                    false
                }
                _ => true,
            });
        }
    }

    /// Gives up the last `depth` blocks that are not final, and builds as many and one more without their
    /// transactions, which return to the pool as far as they are still good. Returns how many were given up.
    pub fn reorganise(&mut self, depth: u64) -> u64 {
        let best = self.best().header.number;
        let target = best
            .saturating_sub(depth)
            .max(self.finalized)
            .max(self.config.start_block);
        let mut returned = Vec::new();
        let mut given_up = Vec::new();
        while self.best().header.number > target {
            let Some(block) = self.blocks.pop_back() else {
                break;
            };
            self.by_hash.remove(&block.hash);
            given_up.push(block.hash);
            returned.extend(block.extrinsics.into_iter().skip(1).rev());
        }
        let depth = best - target;
        self.store.rewind(target);
        // What was lost in a block that is given up may be opened in the one that takes its place.
        self.reveals_lost.retain(|block| *block <= target);
        self.forks += 1;
        for hash in &given_up {
            for watched in &mut self.watched {
                if watched.block.is_some_and(|(_, block)| block == *hash) {
                    watched.block = None;
                    watched.tell.send(Fate::Retracted(*hash)).ok();
                }
            }
        }
        let held = std::mem::take(&mut self.pool);
        for _ in 0..depth {
            self.produce(vec![]);
        }
        self.pool = held;
        for bytes in returned.into_iter().rev() {
            let Ok((signed, _)) = self.validate(&bytes) else {
                // Signed at a block that is given up, say.
                self.end(blake2_256(&bytes), Fate::Invalid);
                continue;
            };
            let (hash, key) = (signed.hash, (signed.signer, signed.nonce));
            let dies_at = signed.era.death(self.best().header.number + 1);
            if let Some(other) = self.pool.insert(key, Pooled { signed, dies_at }) {
                self.end(other.signed.hash, Fate::Usurped(hash));
            }
        }
        self.produce(vec![]);
        depth
    }

    fn prune(&mut self, best: u64) {
        let oldest = best
            .saturating_sub(self.config.state_blocks.max(1))
            .min(self.finalized);
        self.store.prune(oldest);
        while self.blocks.len() > MOST_BLOCKS {
            if let Some(block) = self.blocks.pop_front() {
                self.by_hash.remove(&block.hash);
            }
        }
    }
}
