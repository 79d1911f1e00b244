//! The parts put together: chain, store, vision stub, identities.

use crate::clips::{ClipError, Clips};
use crate::keys::{DevKey, bucket_access};
use crate::miner::MinerKind;
use crate::package::{CATEGORY, Miner, indexed_source, miners};
use crate::publish::{PublishError, Publisher};
use crate::store::{Grant, S3Server, StoreStartError};
use crate::stub::VisionStub;
use bytes::Bytes;
use nexis_bucket::{BucketAccess, BucketStore, EndpointError, FetchError, ObjectStore, StoreError};
use nexis_chain::{
    ChainClient, ChainError, ConnectOptions, Network, NetworkError, Outcome, Wallet,
};
use nexis_devchain::{DevChain, DevChainConfig, DevChainHandle, GenesisNeuron, Spec};
use nexis_protocol::profile::Profile;
use nexis_protocol::record_info::RecordIndex;
use nexis_protocol::{Hotkey, IntervalId, Netuid};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

const NETUID: u16 = 70;
const RAO: u64 = 1_000_000_000;
/// Enough for every stake threshold that the protocol knows (PROTOCOL §15: 5000).
const VALIDATOR_STAKE_RAO: u64 = 10_000 * RAO;
const WALLET: &str = "localnet";
const VALIDATOR: &str = "validator";
const RECORD_INFO_BUCKET: &str = "nexis-record-info";
const RECORD_INFO_KEY: &str = "record_info.json";
/// Blocks between the best and the newest final one.
const FINALITY_LAG: u64 = 2;

/// What a localnet is started with.
#[derive(Debug, Clone)]
pub struct LocalnetConfig {
    /// Folder for clips, objects and wallets. Clips are kept between runs.
    pub workdir: PathBuf,
    /// Everything that could be drawn is derived from it.
    pub seed: u64,
    /// Time between blocks.
    pub block_time: Duration,
    /// The protocol's numbers: interval length, weight period.
    pub profile: Profile,
    /// Numbers that the operator set beside the profile's own, by field: the validator's settings repeat them.
    pub overrides: Vec<(String, String)>,
    /// The miners, in the order of their uids (the validator is uid 0).
    pub miners: Vec<MinerKind>,
    /// Whether to start the vision stub and let the validator's settings use it.
    pub vision: bool,
    /// The runtime that the chain impersonates.
    pub spec: Spec,
    /// Whether weights are committed and revealed.
    pub commit_reveal: bool,
    /// Loopback ports; 0 takes a free one.
    pub ports: Ports,
}

/// Loopback ports; 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ports {
    /// JSON-RPC of the chain.
    pub chain: u16,
    /// The S3 store.
    pub store: u16,
    /// The vision stub.
    pub vision: u16,
}

impl LocalnetConfig {
    /// All kinds of miners and three honest ones, on a chain with four blocks a second.
    pub fn new(workdir: impl Into<PathBuf>) -> Self {
        let mut miners = vec![MinerKind::Honest; 2];
        miners.extend(MinerKind::ALL);
        Self {
            workdir: workdir.into(),
            seed: 1,
            block_time: Duration::from_millis(250),
            profile: Profile::by_name("readme").expect("a built-in profile"),
            overrides: Vec::new(),
            miners,
            vision: false,
            spec: Spec::default(),
            commit_reveal: false,
            ports: Ports::default(),
        }
    }
}

/// Starting a localnet failed.
#[derive(Debug, thiserror::Error)]
pub enum LocalnetError {
    /// Making the clips.
    #[error("making clips")]
    Clips(#[from] ClipError),
    /// Starting the store.
    #[error("starting the store")]
    Store(#[from] StoreStartError),
    /// Starting the chain.
    #[error("starting the dev chain")]
    Chain(#[from] nexis_devchain::StartError),
    /// The port of the vision stub.
    #[error("opening a port for the vision stub")]
    Vision(#[source] std::io::Error),
    /// Writing a wallet.
    #[error("writing a hotkey file")]
    Wallet(#[source] std::io::Error),
    /// Reading back a wallet that was just written.
    #[error("opening a hotkey file")]
    OpenWallet(#[from] nexis_chain::wallet::WalletError),
    /// The chain's own address is refused.
    #[error("using the dev chain's address")]
    Network(#[from] NetworkError),
    /// The store's own address is refused.
    #[error("using the store's address")]
    Endpoint(#[from] EndpointError),
    /// No request to the store can be formed.
    #[error("using the store")]
    Request(#[from] FetchError),
    /// Writing to the store.
    #[error("writing to the store")]
    Write(#[from] StoreError),
    /// Publishing the first packages.
    #[error("publishing packages")]
    Publish(#[from] PublishError),
    /// Committing credentials.
    #[error("committing the credentials of {hotkey}")]
    Commit {
        /// Whose.
        hotkey: Hotkey,
        /// Cause.
        #[source]
        source: Box<ChainError>,
    },
    /// The chain did not take a commitment.
    #[error("the chain did not take the credentials of {hotkey}: {outcome}")]
    NotCommitted {
        /// Whose.
        hotkey: Hotkey,
        /// What became of it.
        outcome: String,
    },
    /// A task of ours died.
    #[error("a task of the localnet died")]
    Died(#[from] tokio::task::JoinError),
    /// The profile's interval is too short.
    #[error("an interval of {0} blocks is too short for a localnet: use at least 10")]
    Interval(u64),
}

/// A running subnet. Everything stops when it is dropped.
pub struct Localnet {
    config: LocalnetConfig,
    chain: Arc<DevChainHandle>,
    store: S3Server,
    vision: Option<VisionStub>,
    validator: DevKey,
    miners: Vec<Miner>,
    record_info: BucketAccess,
    first: IntervalId,
    _publishing: DropGuard,
}

impl Localnet {
    /// Starts all parts, commits the miners' credentials on the chain, and lets blocks run until the
    /// first interval is eligible, with its packages in the buckets.
    pub async fn start(config: LocalnetConfig) -> Result<Self, LocalnetError> {
        let length = config.profile.interval_length_blocks;
        if length < 10 {
            return Err(LocalnetError::Interval(length));
        }
        let folder = config.workdir.join("clips");
        let clips = tokio::task::spawn_blocking(move || Clips::prepare(&folder)).await??;
        let objects = config.workdir.join("s3");
        let server = S3Server::start(&objects, config.ports.store).await?;
        let validator = DevKey::derive(config.seed, VALIDATOR);
        let miners = miners(config.seed, &config.miners);
        let store = BucketStore::new(server.endpoint().parse()?);
        let record_info = open_buckets(&config, &server, &store, &miners).await?;

        let first = first_interval(&config.profile);
        let chain = DevChain::start(chain_config(&config, first, &validator, &miners)).await?;
        let chain = Arc::new(chain);
        write_wallets(&config, &validator, &miners)?;
        commit_credentials(&config, &chain, &miners).await?;

        let publisher = Publisher::new(config.seed, length, miners.clone(), clips, store, objects);
        publisher.publish(IntervalId::new(first)).await?;
        // The first interval is settled when this height is final; nobody wants to wait for it.
        let settled = first + length + config.profile.reserve_blocks + FINALITY_LAG;
        chain.new_blocks(settled.saturating_sub(chain.head().number));

        let vision = match config.vision {
            true => Some(
                VisionStub::start(config.ports.vision)
                    .await
                    .map_err(LocalnetError::Vision)?,
            ),
            false => None,
        };
        let stop = CancellationToken::new();
        let from = IntervalId::new(first + length);
        tokio::spawn(publisher.follow(Arc::clone(&chain), from, config.block_time, stop.clone()));
        Ok(Self {
            config,
            chain,
            store: server,
            vision,
            validator,
            miners,
            record_info,
            first: IntervalId::new(first),
            _publishing: stop.drop_guard(),
        })
    }

    /// The chain, to look at and to steer.
    pub fn chain(&self) -> &DevChainHandle {
        &self.chain
    }

    /// The chain's address: `ws://127.0.0.1:PORT`.
    pub fn chain_url(&self) -> String {
        self.chain.url()
    }

    /// The endpoint pattern of the store.
    pub fn store_endpoint(&self) -> String {
        self.store.endpoint()
    }

    /// The vision stub, when there is one.
    pub const fn vision(&self) -> Option<&VisionStub> {
        self.vision.as_ref()
    }

    /// The miners; the uid of each is its place plus one.
    pub fn miners(&self) -> &[Miner] {
        &self.miners
    }

    /// The validator's hotkey (uid 0).
    pub fn validator(&self) -> Hotkey {
        self.validator.hotkey()
    }

    /// Folder of the wallets, as `BT_WALLET_PATH` takes it.
    pub fn wallets(&self) -> PathBuf {
        self.config.workdir.join("wallets")
    }

    /// The bucket of the global index, with credentials that may write.
    pub const fn record_info(&self) -> &BucketAccess {
        &self.record_info
    }

    /// The first interval that a validator started now decides.
    pub const fn first_interval(&self) -> IntervalId {
        self.first
    }

    /// The settings that `nexis validate` needs for this subnet.
    pub fn env(&self) -> Vec<(String, String)> {
        let profile = &self.config.profile;
        let poll = self.config.block_time.as_secs_f64();
        let info = &self.record_info;
        let read = bucket_access(self.config.seed, RECORD_INFO_BUCKET, "read");
        let mut env = vec![
            ("NEXIS_NETUID", NETUID.to_string()),
            ("BT_NETWORK", self.chain_url()),
            (
                "NEXIS_CHAIN_GENESIS",
                format!("0x{}", hex::encode(self.chain.genesis_hash())),
            ),
            ("NEXIS_BLOCK_POLL_SEC", format!("{poll}")),
            ("BT_WALLET_PATH", self.wallets().display().to_string()),
            ("BT_WALLET_NAME", WALLET.to_owned()),
            ("BT_WALLET_HOTKEY", VALIDATOR.to_owned()),
            ("NEXIS_R2_ENDPOINT", self.store_endpoint()),
            ("NEXIS_RECORD_INFO_BUCKET", info.bucket.clone()),
            ("NEXIS_RECORD_INFO_OBJECT_KEY", RECORD_INFO_KEY.to_owned()),
            ("NEXIS_RECORD_INFO_ACCOUNT_ID", info.account_id.clone()),
            ("NEXIS_RECORD_INFO_READ_ACCESS_KEY", read.access_key.clone()),
            ("NEXIS_RECORD_INFO_READ_SECRET_KEY", read.secret_key.clone()),
            (
                "NEXIS_RECORD_INFO_WRITE_ACCESS_KEY",
                info.access_key.clone(),
            ),
            (
                "NEXIS_RECORD_INFO_WRITE_SECRET_KEY",
                info.secret_key.clone(),
            ),
            ("NEXIS_VALIDATOR_ENABLED_SPECS", "video_v1".to_owned()),
            ("NEXIS_DATASET_CATEGORY", CATEGORY.to_owned()),
            ("NEXIS_PROFILE", profile.name.clone()),
            (
                "NEXIS_PROFILE_INTERVAL_LENGTH_BLOCKS",
                profile.interval_length_blocks.to_string(),
            ),
            (
                "NEXIS_PROFILE_WEIGHT_PERIOD_BLOCKS",
                profile.weight_period_blocks.to_string(),
            ),
        ];
        let switch = |on: bool| if on { "true" } else { "false" }.to_owned();
        let vision = self.vision.is_some();
        env.push(("NEXIS_VALIDATOR_SEMANTIC_CHECK_ENABLED", switch(vision)));
        env.push(("NEXIS_VALIDATOR_CATEGORY_CHECK_ENABLED", switch(vision)));
        if let Some(stub) = &self.vision {
            env.push(("NEXIS_VISION_BASE_URL", stub.base_url()));
            env.push(("OPENAI_API_KEY", "localnet".to_owned()));
        }
        let mut env: Vec<(String, String)> = env
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for (field, value) in &self.config.overrides {
            let name = format!("NEXIS_PROFILE_{}", field.to_uppercase());
            if !env.iter().any(|(known, _)| *known == name) {
                env.push((name, value.clone()));
            }
        }
        env
    }
}

/// The first interval: so placed that a weight epoch begins three intervals after it began, with two
/// intervals decided by then.
fn first_interval(profile: &Profile) -> u64 {
    let (length, period) = (profile.interval_length_blocks, profile.weight_period_blocks);
    let epochs = (4 * length).div_ceil(period.max(1)) + 3;
    let boundary = epochs * period;
    (boundary - 3 * length) / length * length
}

fn chain_config(
    config: &LocalnetConfig,
    first: u64,
    validator: &DevKey,
    miners: &[Miner],
) -> DevChainConfig {
    let mut neurons = vec![GenesisNeuron {
        hotkey: validator.public_key(),
        stake_rao: VALIDATOR_STAKE_RAO,
        permit: true,
    }];
    neurons.extend(miners.iter().map(|miner| GenesisNeuron {
        hotkey: miner.key.public_key(),
        stake_rao: 0,
        permit: false,
    }));
    DevChainConfig {
        spec: config.spec,
        block_time: config.block_time,
        listen: ([127, 0, 0, 1], config.ports.chain).into(),
        netuid: NETUID,
        commit_reveal: config.commit_reveal,
        finality_lag: FINALITY_LAG,
        start_block: first,
        // A validator that was away reads the roster of each interval that it missed.
        state_blocks: (config.profile.interval_length_blocks * 40).max(2_000),
        neurons,
        ..DevChainConfig::default()
    }
}

/// Makes every bucket with its accounts, and the global index. Answers the access to the index.
async fn open_buckets(
    config: &LocalnetConfig,
    server: &S3Server,
    store: &BucketStore,
    miners: &[Miner],
) -> Result<BucketAccess, LocalnetError> {
    let mut opened = Vec::new();
    for bucket in miners.iter().map(|miner| miner.key.hotkey().bucket_name()) {
        opened.push(bucket);
    }
    opened.push(RECORD_INFO_BUCKET.to_owned());
    for bucket in &opened {
        let write = bucket_access(config.seed, bucket, "write");
        server.grant(&bucket_access(config.seed, bucket, "read"), Grant::Read);
        server.grant(&write, Grant::Write);
        store.objects(write)?.create_bucket().await?;
    }
    let duplicates = miners
        .iter()
        .filter(|miner| miner.kind == MinerKind::IndexDuplicate);
    let index = duplicates.map(|miner| indexed_source(config.seed, miner));
    let index = RecordIndex::from_entries(index).serialize();
    let access = bucket_access(config.seed, RECORD_INFO_BUCKET, "write");
    let own = store.objects(access.clone())?;
    own.put(RECORD_INFO_KEY, Bytes::from(index), "application/json")
        .await?;
    Ok(access)
}

fn write_wallets(
    config: &LocalnetConfig,
    validator: &DevKey,
    miners: &[Miner],
) -> Result<(), LocalnetError> {
    let wallets = config.workdir.join("wallets");
    validator
        .write_wallet(&wallets, WALLET, VALIDATOR)
        .map_err(LocalnetError::Wallet)?;
    for (number, miner) in miners.iter().enumerate() {
        let name = format!("miner{number}");
        miner
            .key
            .write_wallet(&wallets, WALLET, &name)
            .map_err(LocalnetError::Wallet)?;
    }
    Ok(())
}

/// Signs and submits every miner's `set_commitment`, and waits until each is in a final block.
async fn commit_credentials(
    config: &LocalnetConfig,
    chain: &DevChainHandle,
    miners: &[Miner],
) -> Result<(), LocalnetError> {
    let network: Network = chain.url().parse()?;
    let mut options = ConnectOptions::new(network);
    options.allow_other_genesis = true;
    let client = ChainClient::new(options);
    let wallets = config.workdir.join("wallets").join(WALLET).join("hotkeys");
    let mut commits = JoinSet::new();
    for (number, miner) in miners
        .iter()
        .enumerate()
        .filter(|(_, miner)| miner.kind.commits())
    {
        let wallet = Wallet::open(&wallets.join(format!("miner{number}")), None)?;
        let hotkey = miner.key.hotkey();
        let read = bucket_access(config.seed, &hotkey.bucket_name(), "read");
        let account = match miner.kind {
            MinerKind::BrokenCredentials => "not-hexadecimal-not-hexadecimal!".to_owned(),
            _ => read.account_id,
        };
        let data = [account, read.access_key, read.secret_key]
            .concat()
            .into_bytes();
        let client = client.clone();
        commits.spawn(async move {
            let committed = client
                .set_commitment(&wallet, Netuid::new(NETUID), data)
                .await;
            match committed {
                Ok(Outcome::Included(_)) => Ok(()),
                Ok(other) => Err(LocalnetError::NotCommitted {
                    hotkey,
                    outcome: format!("{other:?}"),
                }),
                Err(source) => Err(LocalnetError::Commit {
                    hotkey,
                    source: Box::new(source),
                }),
            }
        });
    }
    while let Some(committed) = commits.join_next().await {
        committed??;
    }
    Ok(())
}
