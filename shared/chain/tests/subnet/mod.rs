//! A small subnet on the dev chain and a client for it.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test file uses its own part of this"
)]

use nexis_chain::submit::WeightsOrder;
use nexis_chain::{ChainClient, Clock, ConnectOptions, Wallet};
use nexis_devchain::{DevChain, DevChainConfig, DevChainHandle, GenesisNeuron, Mode, Spec};
use nexis_protocol::Netuid;
use std::time::Duration;

pub const NETUID: Netuid = Netuid::new(70);
pub const BLOCK: Duration = Duration::from_millis(100);

pub fn wallet(name: &str) -> Wallet {
    Wallet::from_uri(name).unwrap()
}

pub fn config(spec: Spec) -> DevChainConfig {
    let neuron = |name: &str, permit| GenesisNeuron {
        hotkey: wallet(name).hotkey().public_key(),
        stake_rao: 7_000_000_000_000,
        permit,
    };
    DevChainConfig {
        spec,
        block_time: BLOCK,
        start_block: 1_000,
        weights_rate_limit: 0,
        neurons: vec![
            neuron("//Alice", true),
            neuron("//Bob", false),
            neuron("//Charlie", false),
        ],
        ..DevChainConfig::default()
    }
}

pub fn options(urls: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(urls.parse().unwrap());
    options.allow_other_genesis = true;
    options.block_time = Some(BLOCK);
    options.pool.request_timeout = Duration::from_secs(2);
    options.pool.connect_timeout = Duration::from_secs(2);
    options.pool.ping_interval = Duration::from_millis(200);
    options.pool.inactive_limit = Duration::from_millis(600);
    options
}

pub async fn start(config: DevChainConfig) -> (DevChainHandle, ChainClient) {
    let chain = DevChain::start(config).await.unwrap();
    let client = ChainClient::connect(options(&chain.url())).await.unwrap();
    (chain, client)
}

/// A chain whose blocks are made by hand, 12 s apart by its own clock, so that the beacon's rounds are what they are
/// elsewhere; and a client that goes by that clock.
pub async fn start_by_hand(config: DevChainConfig) -> (DevChainHandle, ChainClient) {
    let config = DevChainConfig {
        mode: Mode::Manual,
        block_time: Duration::from_secs(12),
        ..config
    };
    let chain = DevChain::start(config).await.unwrap();
    let mut options = options(&chain.url());
    options.pool.clock = Clock::new(chain.clock());
    let client = ChainClient::connect(options).await.unwrap();
    (chain, client)
}

/// While `doing` runs, makes the blocks that it waits for, on a chain whose blocks are made by hand: one for what is in
/// the pool, and those that make it final. However slow the machine is, no more.
pub async fn with_blocks<T>(chain: &DevChainHandle, doing: impl Future<Output = T>) -> T {
    let mut doing = std::pin::pin!(doing);
    let mut looks = tokio::time::interval(BLOCK / 5);
    let mut wanted = 0;
    loop {
        tokio::select! {
            done = &mut doing => return done,
            _ = looks.tick() => {
                let pooled = chain.pooled() > 0;
                if pooled || chain.head().number < wanted {
                    let head = chain.new_block();
                    wanted = if pooled { head.number + 2 } else { wanted };
                }
            }
        }
    }
}

pub fn order() -> WeightsOrder {
    WeightsOrder {
        netuid: NETUID,
        mechanism: None,
        uids: vec![1, 2],
        values: vec![65535, 21845],
        version_key: 0,
        owners: Vec::new(),
        not_after: None,
    }
}
