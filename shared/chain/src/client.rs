//! The client: one view of the chain over whichever endpoint works.

use crate::endpoint::{GenesisRule, Network};
use crate::error::ChainError;
use crate::rpc::{EndpointHealth, EndpointPool, PoolOptions};
use crate::selfcheck::SelfCheck;
use nexis_protocol::BlockNumber;
use parity_scale_codec::Encode as _;
use scale_decode::DecodeAsType;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subxt::backend::LegacyBackend;
use subxt::client::{OnlineClient, OnlineClientAtBlock};
use subxt::config::substrate::{BlakeTwo256, SubstrateHeader};
use subxt::config::{Hasher as _, RpcConfigFor};
use subxt::ext::frame_decode::storage::{IntoDecodableValues, IntoEncodableValues};
use subxt::utils::H256;
use subxt::{SubstrateConfig, dynamic};
use subxt_rpcs::client::RpcClient;
use subxt_rpcs::methods::legacy::LegacyRpcMethods;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// subxt's view at one block.
pub(crate) type AtBlock = OnlineClientAtBlock<SubstrateConfig>;
/// Bare JSON-RPC methods.
pub(crate) type Legacy = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// A block by height and hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Head {
    /// Height.
    pub number: BlockNumber,
    /// Hash, lower-case hex with 0x.
    pub hash: String,
}

/// Which block to read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// The newest block, final or not: for nonces, rate limits and epochs.
    Best,
    /// The newest final block.
    Finalized,
    /// The canonical block of this height.
    Number(BlockNumber),
    /// The block with this hash (hex with 0x).
    Hash(String),
}

/// Settings of a [`ChainClient`].
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Endpoints, best first, and what they must serve.
    pub network: Network,
    /// Take whatever chain the endpoints serve (for dev chains). Finney stays pinned by name.
    pub allow_other_genesis: bool,
    /// Deadlines and health.
    pub pool: PoolOptions,
    /// Folder for the last good snapshot; none: it is not kept.
    pub workdir: Option<PathBuf>,
    /// Time between blocks as far as pauses and patience go, when the chain's constant does not say it (a dev chain
    /// whose blocks are made faster than its own clock goes).
    pub block_time: Option<Duration>,
}

impl ConnectOptions {
    /// The defaults for a network.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            allow_other_genesis: false,
            pool: PoolOptions::default(),
            workdir: None,
            block_time: None,
        }
    }
}

pub(crate) struct Inner {
    pub(crate) pool: Arc<EndpointPool>,
    pub(crate) rpc: RpcClient,
    pub(crate) options: ConnectOptions,
    api: OnceCell<OnlineClient<SubstrateConfig>>,
    checked: Mutex<Option<SelfCheck>>,
    pub(crate) flights: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>>,
}

/// Reads from the chain and writes to it. Cheap to clone.
#[derive(Clone)]
pub struct ChainClient {
    pub(crate) inner: Arc<Inner>,
}

impl ChainClient {
    /// A client that connects when it is first used: a process can start, and serve the last good
    /// snapshot, while the chain is away.
    pub fn new(options: ConnectOptions) -> Self {
        let rule = match (&options.network.genesis, options.allow_other_genesis) {
            (GenesisRule::Finney, true) => GenesisRule::Any,
            (rule, _) => rule.clone(),
        };
        let pool = Arc::new(EndpointPool::new(
            options.network.endpoints.clone(),
            rule,
            options.pool.clone(),
        ));
        let rpc = RpcClient::new(Arc::clone(&pool));
        Self {
            inner: Arc::new(Inner {
                pool,
                rpc,
                options,
                api: OnceCell::new(),
                checked: Mutex::new(None),
                flights: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// A client that has reached an endpoint and looked at the runtime.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ChainError> {
        let client = Self::new(options);
        client.at(&At::Finalized).await?;
        Ok(client)
    }

    /// What is known about the endpoints, best first.
    pub async fn health(&self) -> Vec<EndpointHealth> {
        self.inner.pool.health().await
    }

    /// Genesis hash, once an endpoint was reached.
    pub fn genesis(&self) -> Option<String> {
        self.inner.pool.genesis()
    }

    /// What the runtime offers of what we need, by the last look at it.
    pub fn self_check(&self) -> Option<SelfCheck> {
        self.inner
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The newest final block.
    pub async fn head_finalized(&self) -> Result<Head, ChainError> {
        let legacy = self.legacy();
        let hash = legacy
            .chain_get_finalized_head()
            .await
            .map_err(|e| self.rpc_error("the finalized head", &e))?;
        let header = self.header(Some(hash)).await?;
        self.inner.pool.saw_final(header.number).await;
        Ok(Head {
            number: BlockNumber::new(header.number),
            hash: show(hash),
        })
    }

    /// The newest block, final or not.
    pub async fn head_best(&self) -> Result<Head, ChainError> {
        Ok(head_of(&self.header(None).await?))
    }

    /// The canonical block of a height.
    pub async fn head_at(&self, number: BlockNumber) -> Result<Head, ChainError> {
        let what = format!("block {number}");
        let hash = self
            .legacy()
            .chain_get_block_hash(Some(number.get().into()))
            .await
            .map_err(|e| self.rpc_error(&what, &e))?
            .ok_or(ChainError::UnknownBlock(what))?;
        Ok(Head {
            number,
            hash: show(hash),
        })
    }

    /// The newest block, and its age by this machine's clock.
    pub async fn head_age(&self) -> Result<(Head, Duration), ChainError> {
        let view = self.at(&At::Best).await?;
        let millis: u64 = self.read(&view, "Timestamp", "Now", ()).await?;
        let now = self.now();
        let head = Head {
            number: BlockNumber::new(view.block_number()),
            hash: show(view.block_hash()),
        };
        Ok((head, now.saturating_sub(Duration::from_millis(millis))))
    }

    /// Time between blocks that we pace ourselves by: the setting, else the slot time of the chain.
    pub async fn block_time(&self) -> Result<Duration, ChainError> {
        if let Some(set) = self.inner.options.block_time {
            return Ok(set);
        }
        let at = self.at(&At::Best).await?;
        Ok(slot_time(&at))
    }

    /// The time by the options' clock.
    pub(crate) fn now(&self) -> Duration {
        self.inner.options.pool.clock.now()
    }

    /// Version of the runtime at the newest block.
    pub async fn spec_version(&self) -> Result<u32, ChainError> {
        Ok(self.at(&At::Best).await?.spec_version())
    }

    pub(crate) fn legacy(&self) -> Legacy {
        Legacy::new(self.inner.rpc.clone())
    }

    pub(crate) async fn header(
        &self,
        hash: Option<H256>,
    ) -> Result<SubstrateHeader<H256>, ChainError> {
        let what = hash.map_or_else(
            || "the best head".to_owned(),
            |h| format!("block {}", show(h)),
        );
        self.legacy()
            .chain_get_header(hash)
            .await
            .map_err(|e| self.rpc_error(&what, &e))?
            .ok_or(ChainError::UnknownBlock(what))
    }

    pub(crate) fn rpc_error(&self, what: &str, error: &subxt_rpcs::Error) -> ChainError {
        self.refused()
            .unwrap_or_else(|| ChainError::of_rpc(what, error))
    }

    fn refused(&self) -> Option<ChainError> {
        let words = self.inner.pool.refused_chain()?;
        let (found, expected) = words
            .trim_start_matches("wrong chain: genesis ")
            .split_once(", expected ")
            .map(|(f, e)| (f.to_owned(), e.to_owned()))?;
        let endpoint = self
            .inner
            .options
            .network
            .endpoints
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        Some(ChainError::WrongGenesis {
            endpoint,
            expected,
            found,
        })
    }

    /// Total time that one compound read may take.
    pub(crate) fn read_budget(&self) -> Duration {
        let pool = &self.inner.options.pool;
        (pool.request_timeout + pool.connect_timeout) * 2
    }

    /// Waits for an answer, within the budget.
    pub(crate) async fn timed<T, E, F>(&self, what: &str, call: F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<subxt::Error>,
    {
        let after = self.read_budget();
        match timeout(after, Box::pin(call)).await {
            Ok(answer) => answer.map_err(|e| {
                let sorted = ChainError::of(what, e);
                if matches!(sorted, ChainError::Unreachable(_)) {
                    return self.refused().unwrap_or(sorted);
                }
                sorted
            }),
            Err(_) => Err(ChainError::Timeout {
                what: what.to_owned(),
                after,
            }),
        }
    }

    async fn api(&self) -> Result<&OnlineClient<SubstrateConfig>, ChainError> {
        self.inner
            .api
            .get_or_try_init(|| async {
                let backend = LegacyBackend::<SubstrateConfig>::builder()
                    .storage_page_size(512)
                    .build(self.inner.rpc.clone());
                self.timed("connecting", OnlineClient::from_backend(Arc::new(backend)))
                    .await
            })
            .await
    }

    /// A view at one block. Looks at the runtime again when its version has changed.
    pub(crate) async fn at(&self, at: &At) -> Result<AtBlock, ChainError> {
        let head = match at {
            At::Best => self.head_best().await?,
            At::Finalized => self.head_finalized().await?,
            At::Number(number) => self.head_at(*number).await?,
            At::Hash(text) => head_of(&self.header(Some(parse_hash(text)?)).await?),
        };
        let hash = parse_hash(&head.hash)?;
        let api = self.api().await?;
        let what = format!("block {}", head.number);
        let view = self
            .timed(&what, api.at_block_hash_and_number(hash, head.number.get()))
            .await?;
        self.look_at_runtime(&view);
        Ok(view)
    }

    fn look_at_runtime(&self, view: &AtBlock) {
        let spec = view.spec_version();
        let mut checked = self
            .inner
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if checked.as_ref().is_some_and(|c| c.spec_version >= spec) {
            return;
        }
        let found = SelfCheck::of(spec, view.metadata_ref());
        found.log();
        *checked = Some(found);
    }

    /// Reads a storage value; the runtime's default when nothing is stored.
    pub(crate) async fn read<K, V>(
        &self,
        view: &AtBlock,
        pallet: &'static str,
        entry: &'static str,
        keys: K,
    ) -> Result<V, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues + Send,
        V: DecodeAsType + Send + 'static,
    {
        let what = format!("{pallet}.{entry} at block {}", view.block_number());
        let address = dynamic::storage::<K, V>(pallet, entry);
        let value = self
            .timed(&what, view.storage().fetch(address, keys))
            .await?;
        value.decode().map_err(|e| ChainError::Decode {
            what,
            detail: e.to_string(),
        })
    }

    /// Reads a storage value of a runtime that may not have it: `None` when the name is unknown or
    /// nothing is stored and there is no default.
    pub(crate) async fn read_optional<K, V>(
        &self,
        view: &AtBlock,
        pallet: &'static str,
        entry: &'static str,
        keys: K,
    ) -> Result<Option<V>, ChainError>
    where
        K: IntoEncodableValues + IntoDecodableValues + Send,
        V: DecodeAsType + Send + 'static,
    {
        let known = view
            .metadata_ref()
            .pallet_by_name(pallet)
            .and_then(|p| p.storage())
            .is_some_and(|s| s.entry_by_name(entry).is_some());
        if !known {
            return Ok(None);
        }
        let what = format!("{pallet}.{entry} at block {}", view.block_number());
        let address = dynamic::storage::<K, V>(pallet, entry);
        let storage = view.storage();
        let entry = storage
            .entry(address)
            .map_err(|e| ChainError::of(&what, e))?;
        let value = self
            .timed(&what, entry.try_fetch(keys))
            .await?
            .or_else(|| entry.default_value());
        value
            .map(|v| {
                v.decode().map_err(|e| ChainError::Decode {
                    what,
                    detail: e.to_string(),
                })
            })
            .transpose()
    }
}

/// Time between blocks by the chain's own constant (`Aura.SlotDuration`), else 12 s: what its clock, and with it the
/// beacon's, goes forward by.
pub(crate) fn slot_time(view: &AtBlock) -> Duration {
    let millis: u64 = view
        .constants()
        .entry(dynamic::constant::<u64>("Aura", "SlotDuration"))
        .unwrap_or(12_000);
    Duration::from_millis(millis.max(1))
}

pub(crate) fn head_of(header: &SubstrateHeader<H256>) -> Head {
    Head {
        number: BlockNumber::new(header.number),
        hash: show(BlakeTwo256.hash(&header.encode())),
    }
}

pub(crate) fn show(hash: H256) -> String {
    format!("0x{}", hex::encode(hash.as_bytes()))
}

pub(crate) fn parse_hash(text: &str) -> Result<H256, ChainError> {
    let bad = || ChainError::Invalid {
        what: format!("block hash '{text}'"),
        detail: "it is not 0x and 64 hex digits".into(),
    };
    let bytes = hex::decode(text.strip_prefix("0x").ok_or_else(bad)?).map_err(|_| bad())?;
    <[u8; 32]>::try_from(bytes)
        .map(H256::from)
        .map_err(|_| bad())
}
