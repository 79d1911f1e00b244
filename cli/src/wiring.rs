//! Settings to ports: the only file that names an adapter. No `if` on what the subnet's rules are about.

use anyhow::{Context, Result};
use nexis_bucket::{BucketStore, EndpointPattern};
use nexis_chain::{ChainClient, ChainPort, ConnectOptions, Network, Wallet};
use nexis_local::{DirArchive, LocalBoard, LocalQueue, LocalQueueOptions, TokioClock};
use nexis_ports::{Bucket, BucketAccess};
use nexis_protocol::clip::AdvisoryKind;
use nexis_protocol::profile::Profile;
use nexis_protocol::Netuid;
use nexis_runtime::Settings;
use nexis_runtime::config::{self, Keys};
use nexis_scheduler::{SchedulerOptions, SchedulerPorts};
use nexis_vision::{VisionClient, VisionSettings};
use nexis_wire::{JobRules, Sampling, VisionChecks};
use nexis_worker::measure::Prober;
use nexis_worker::{WorkerOptions, WorkerPorts};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A setting that only shows to be wrong when it is used; ends the process with 78 before anything starts.
#[derive(Debug)]
pub struct WrongSetting(pub Vec<String>);

impl std::fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the settings are wrong, nothing was started:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for WrongSetting {}

/// Share of an interval after which a round's miner stage closes whoever is missing, in percent; beyond it the
/// clip stage would not end before the next interval opens.
const MINERS_DEADLINE_PERCENT: u64 = 40;
/// The same for the clip stage.
const CLIPS_DEADLINE_PERCENT: u64 = 90;

/// The profile with the operator's overrides.
pub fn profile(settings: &Settings) -> Result<Profile> {
    let mut problems = Vec::new();
    let mut profile = match Profile::by_name(&settings.profile.name) {
        Ok(profile) => profile,
        Err(fault) => return Err(WrongSetting(vec![format!("NEXIS_PROFILE: {fault}")]).into()),
    };
    for (field, value) in &settings.profile.overrides {
        if let Err(fault) = profile.set(field, value) {
            problems.push(format!("NEXIS_PROFILE_{}: {fault}", field.to_uppercase()));
        }
    }
    if problems.is_empty() { Ok(profile) } else { Err(WrongSetting(problems).into()) }
}

/// The rules that go into every job.
pub fn rules(settings: &Settings) -> Result<JobRules> {
    let mut problems = Vec::new();
    let mut reject_advisories = Vec::new();
    for name in &settings.validator.reject_advisories {
        match AdvisoryKind::by_name(name) {
            Some(kind) => reject_advisories.push(kind),
            None => problems.push(format!(
                "NEXIS_REJECT_ADVISORIES: there is no advisory '{name}'; known are {}",
                AdvisoryKind::ALL.map(AdvisoryKind::as_str).join(", ")
            )),
        }
    }
    if !problems.is_empty() {
        return Err(WrongSetting(problems).into());
    }
    let has_model = model(settings).is_some();
    Ok(JobRules {
        netuid: Netuid::new(settings.chain.netuid),
        profile: profile(settings)?,
        enabled_specs: settings.validator.specs.clone(),
        expected_category: settings.validator.category.clone(),
        vision: VisionChecks {
            caption: has_model && settings.vision.semantic.enabled,
            category: has_model && settings.vision.category.enabled,
            category_caption_gate: has_model && settings.vision.caption_gate,
        },
        reject_advisories,
        sampling: match settings.validator.sampling {
            config::Sampling::Protocol => Sampling::Protocol,
            config::Sampling::Full => Sampling::Full,
        },
        fetch_budget_ms: u64::try_from(settings.limits.fetch_budget.as_millis())
            .unwrap_or(u64::MAX),
        max_dataset_bytes: settings.limits.dataset_bytes,
        max_asset_bytes: settings.limits.clip_bytes,
    })
}

/// The store of miners' buckets.
pub fn bucket_store(settings: &Settings) -> Result<BucketStore> {
    let pattern: EndpointPattern = settings
        .store
        .endpoint
        .parse()
        .map_err(|fault| WrongSetting(vec![format!("NEXIS_R2_ENDPOINT: {fault}")]))?;
    Ok(BucketStore::new(pattern))
}

fn model(settings: &Settings) -> Option<VisionSettings> {
    let vision = &settings.vision;
    let mut chosen = match (&vision.openai_api_key, &vision.gemini_api_key) {
        (Some(key), _) => VisionSettings::openai(key.expose().to_owned()),
        (None, Some(key)) => VisionSettings::gemini(key.expose().to_owned()),
        (None, None) => return None,
    };
    if let Some(url) = &vision.base_url {
        chosen.base_url.clone_from(url);
    }
    if let Some(name) = vision.semantic.model.as_ref().or(vision.category.model.as_ref()) {
        chosen.model.clone_from(name);
    }
    Some(chosen)
}

/// The vision model, when a key is set.
pub fn vision(settings: &Settings) -> Result<Option<Arc<VisionClient>>> {
    let Some(chosen) = model(settings) else { return Ok(None) };
    let client = VisionClient::new(&chosen)
        .map_err(|fault| WrongSetting(vec![format!("NEXIS_VISION_BASE_URL: {fault}")]))?;
    Ok(Some(Arc::new(client)))
}

/// The chain, with the wallet that signs.
pub fn chain(settings: &Settings) -> Result<ChainPort> {
    let wrong = |problem: String| WrongSetting(vec![problem]);
    let network: Network = settings
        .chain
        .network
        .parse()
        .map_err(|fault| wrong(format!("BT_NETWORK: {fault}")))?;
    let mut options = ConnectOptions::new(network);
    options.workdir = Some(settings.validator.workdir.clone());
    if let Some(genesis) = &settings.chain.genesis {
        if genesis == "any" {
            options.allow_other_genesis = true;
        } else {
            options.network.genesis = nexis_chain::GenesisRule::Exactly(genesis.clone());
        }
    }
    options.pool.request_timeout = settings.chain.timeout;
    let password = settings.wallet.password.as_ref().map(nexis_runtime::Secret::expose);
    let wallet = &settings.wallet;
    let wallet = Wallet::load(&wallet.path, &wallet.name, &wallet.hotkey, password)
        .map_err(|fault| wrong(format!("BT_WALLET_NAME, BT_WALLET_HOTKEY, BT_WALLET_PATH: {fault}")))?;
    Ok(ChainPort::new(ChainClient::new(options), Some(wallet)))
}

/// Access to a bucket of our own.
fn own_bucket(account: Option<&String>, bucket: &str, keys: Option<&Keys>) -> Option<BucketAccess> {
    let keys = keys?;
    Some(BucketAccess {
        bucket: bucket.to_owned(),
        account_id: account?.clone(),
        access_key: keys.access_key.expose().to_owned(),
        secret_key: keys.secret_key.expose().to_owned(),
    })
}

/// Access to our own package bucket, for `nexis check s3://…`.
pub fn package_bucket(settings: &Settings, bucket: &str) -> Option<BucketAccess> {
    let keys = settings.store.read.as_ref().or(settings.store.write.as_ref());
    own_bucket(settings.store.account_id.as_ref(), bucket, keys)
}

/// Everything that `nexis validate` runs on.
pub struct Validator {
    /// For the scheduler.
    pub scheduler: (SchedulerPorts, SchedulerOptions),
    /// For the worker.
    pub worker: (WorkerPorts, WorkerOptions),
}

/// Builds the ports of a validator in one process.
pub fn validator(settings: &Settings, prober: Prober) -> Result<Validator> {
    let rules = rules(settings)?;
    let chain = chain(settings)?;
    let bucket: Arc<dyn Bucket> = Arc::new(bucket_store(settings)?);
    let vision = vision(settings)?;
    let workdir = &settings.validator.workdir;
    let board = Arc::new(open_board(&workdir.join("board"))?);
    let archive = DirArchive::open(&workdir.join("archive"))
        .with_context(|| format!("opening the archive in {}", workdir.display()))?;
    let queue = Arc::new(LocalQueue::new(LocalQueueOptions {
        delivery_limit: settings.fleet.delivery_limit,
        ..LocalQueueOptions::default()
    }));
    let length = rules.profile.interval_length_blocks;
    let record = &settings.record_info;
    let record_info = own_bucket(
        record.account_id.as_ref(),
        &record.bucket,
        record.read.as_ref().or(record.write.as_ref()),
    )
    .map(|access| (access, record.object_key.clone()));
    let options = SchedulerOptions {
        name: format!("validate-{}", std::process::id()),
        rules,
        record_info,
        exclude: settings.validator.exclude_hotkeys.iter().cloned().collect(),
        miners_deadline_blocks: (length * MINERS_DEADLINE_PERCENT).div_ceil(100),
        clips_deadline_blocks: (length * CLIPS_DEADLINE_PERCENT).div_ceil(100),
        lease: settings.fleet.lease_ttl,
        poll: settings.chain.block_poll,
        submit: true,
        max_open_rounds: 2,
        clock: seconds_since_epoch,
    };
    let scheduler = SchedulerPorts {
        queue: queue.clone(),
        board: board.clone(),
        chain: Arc::new(chain),
        archive: Arc::new(archive),
        bucket: bucket.clone(),
    };
    let worker = WorkerPorts { queue, board, bucket, prober: Arc::new(prober), vision };
    let worker_options = WorkerOptions {
        permits: settings.validator.permits,
        job_deadline: settings.limits.job_deadline,
    };
    Ok(Validator { scheduler: (scheduler, options), worker: (worker, worker_options) })
}

fn open_board(folder: &Path) -> Result<LocalBoard> {
    let board = LocalBoard::open(folder, TokioClock::new())
        .with_context(|| format!("opening the journal in {}", folder.display()))?;
    let recovery = board.recovery();
    if recovery.entries > 0 {
        tracing::info!(entries = recovery.entries, dropped_bytes = recovery.dropped_bytes,
            "continuing from the journal");
    }
    Ok(board)
}

fn seconds_since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
