//! Settings to a scheduler's options and its chain (feature `settings`). Shared by `nexis validate` and
//! `nexis-scheduler`; kept out of `nexis-wiring` because the chain can sign, and a worker links that crate.

use crate::{IndexLimits, Keeping, SchedulerError, SchedulerOptions};
use nexis_chain::{ChainClient, ChainPort, ConnectOptions, GenesisRule, Network, Wallet};
use nexis_runtime::lifecycle::Failure;
use nexis_runtime::{Exit, Secret, Settings};
use nexis_wiring::WrongSetting;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Share of an interval after which a round's miner stage closes whoever is missing, in percent; beyond it the
/// clip stage would not end before the next interval opens.
const MINERS_DEADLINE_PERCENT: u64 = 40;
/// The same for the clip stage.
const CLIPS_DEADLINE_PERCENT: u64 = 90;
/// Long enough that an honest worker has posted something, short enough that a lost broker costs a fraction of an
/// interval.
const REPUBLISH_AFTER: Duration = Duration::from_secs(30);
/// Rounds open at one time while catching up after an outage.
const MAX_OPEN_ROUNDS: usize = 2;

/// The options of a scheduler; `name` must differ from that of every other process.
pub fn options(settings: &Settings, name: String) -> Result<SchedulerOptions, WrongSetting> {
    let rules = nexis_wiring::rules(settings)?;
    let length = rules.profile.interval_length_blocks;
    Ok(SchedulerOptions {
        name,
        rules,
        record_info: nexis_wiring::record_info(settings),
        index: IndexLimits {
            max_bytes: settings.record_info.max_bytes,
            budget: settings.record_info.budget,
        },
        exclude: settings.validator.exclude_hotkeys.iter().cloned().collect(),
        miners_deadline_blocks: (length * MINERS_DEADLINE_PERCENT).div_ceil(100),
        clips_deadline_blocks: (length * CLIPS_DEADLINE_PERCENT).div_ceil(100),
        lease: settings.fleet.lease_ttl,
        republish_after: REPUBLISH_AFTER,
        poll: settings.chain.block_poll,
        submit: true,
        max_open_rounds: MAX_OPEN_ROUNDS,
        retry_unit: Duration::from_secs(1),
        clock: seconds_since_epoch,
        keeping: keeping(settings),
    })
}

/// A day of blocks, 12 s each.
const BLOCKS_PER_DAY: u64 = 7_200;

fn keeping(settings: &Settings) -> Keeping {
    let validator = &settings.validator;
    let days = Some(validator.archive_retention_days).filter(|days| *days > 0);
    Keeping {
        least_window_percent: validator.weights_min_window,
        retention_blocks: days.map(|days| days.saturating_mul(BLOCKS_PER_DAY)),
    }
}

/// What the end of a scheduler means to its process: an archive or board that is another validator's is a wrong
/// setting (78).
pub fn ending(ended: Result<(), SchedulerError>) -> Result<(), Failure> {
    match ended {
        Err(fault @ SchedulerError::Identity(_)) => Err(Failure::with_exit(Exit::Config, fault)),
        other => Ok(other?),
    }
}

/// How to reach the chain.
pub fn connection(settings: &Settings) -> Result<ConnectOptions, WrongSetting> {
    let network: Network = settings
        .chain
        .network
        .parse()
        .map_err(|fault| WrongSetting::one(format!("BT_NETWORK: {fault}")))?;
    let mut options = ConnectOptions::new(network);
    options.workdir = Some(settings.validator.workdir.clone());
    if let Some(genesis) = &settings.chain.genesis {
        if genesis == "any" {
            options.allow_other_genesis = true;
        } else {
            options.network.genesis = GenesisRule::Exactly(genesis.clone());
        }
    }
    options.pool.request_timeout = settings.chain.timeout;
    options.pool.head_silence = settings.chain.head_silence;
    Ok(options)
}

/// The wallet that signs.
pub fn wallet(settings: &Settings) -> Result<Wallet, WrongSetting> {
    let wallet = &settings.wallet;
    let password = wallet.password.as_ref().map(Secret::expose);
    Wallet::load(&wallet.path, &wallet.name, &wallet.hotkey, password).map_err(|fault| {
        WrongSetting::one(format!(
            "BT_WALLET_NAME, BT_WALLET_HOTKEY, BT_WALLET_PATH: {fault}"
        ))
    })
}

/// The chain, with the wallet that signs.
pub fn chain(settings: &Settings) -> Result<ChainPort, WrongSetting> {
    let options = connection(settings)?;
    let wallet = wallet(settings)?;
    Ok(ChainPort::new(ChainClient::new(options), Some(wallet)))
}

fn seconds_since_epoch() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
