//! What a site is made of before it runs: folders, a subnet, queues, settings.

use crate::process::{Env, Release};
use crate::site::Plan;
use nexis_localnet::{Localnet, LocalnetConfig};
use nexis_protocol::profile::Profile;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// With a block every half second no deadline comes near while something is down; what waits for blocks gets
/// them from the test.
const INTERVAL_BLOCKS: u64 = 500;
const BLOCK: Duration = Duration::from_millis(500);
const NETUID: u16 = 70;

/// A folder of this run, new for each name.
pub fn folder_of(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fleet-{}", std::process::id()));
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the run");
    folder
}

/// Folder of a localnet, with clips that are kept between runs.
fn localnet_folder(folder: &Path) -> PathBuf {
    let clips = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet-clips");
    let workdir = folder.join("localnet");
    std::fs::create_dir_all(&clips).expect("a folder for clips");
    std::fs::create_dir_all(&workdir).expect("a folder for the localnet");
    std::os::unix::fs::symlink(clips, workdir.join("clips")).expect("a link to the clips");
    workdir
}

pub fn profile() -> Profile {
    let mut profile = Profile::by_name("readme").expect("a built-in profile");
    profile.interval_length_blocks = INTERVAL_BLOCKS;
    profile.weight_period_blocks = INTERVAL_BLOCKS;
    profile.miner_sample_rate = 1.0;
    profile
}

/// Starts the subnet of a site.
pub async fn localnet(plan: &Plan, folder: &Path) -> Localnet {
    let mut config = LocalnetConfig::new(localnet_folder(folder));
    config.block_time = BLOCK;
    config.profile = profile();
    config.miners.clone_from(&plan.miners);
    Localnet::start(config).await.expect("a localnet")
}

/// Declares the queues; gives when.
pub fn declare(release: Release, amqp: &str) -> Instant {
    let applied = std::process::Command::new(release.program("nexis-scheduler"))
        .args(["topology", "apply"])
        .env_clear()
        .env("NEXIS_AMQP_URL", amqp)
        .env("NEXIS_NETUID", NETUID.to_string())
        .status();
    assert!(applied.expect("it runs").success(), "topology apply");
    Instant::now()
}

/// Settings of every process of a site; addresses of broker, board and chain come with the seat.
pub fn settings(net: &Localnet, folder: &Path, more: &Env) -> Env {
    let mut env = net.env();
    for (name, value) in [
        ("NEXIS_PROFILE_MINER_SAMPLE_RATE", "1.0".to_owned()),
        ("NEXIS_WORKDIR", folder.display().to_string()),
        ("NEXIS_CHAIN_TIMEOUT", "4s".to_owned()),
        ("NEXIS_CHAIN_HEAD_SILENCE", "5s".to_owned()),
        ("NEXIS_LOG_LEVEL", "info".to_owned()),
        ("HOME", folder.display().to_string()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
    ] {
        env.push((name.to_owned(), value));
    }
    env.extend(more.iter().cloned());
    env
}

/// Where a seat's peers are.
pub struct Addresses {
    pub broker: String,
    pub board: String,
    pub chain: String,
    pub store: String,
}

impl Addresses {
    /// The settings, with these addresses in them.
    pub fn into(self, mut env: Env) -> Env {
        env.retain(|(name, _)| name != "BT_NETWORK" && name != "NEXIS_R2_ENDPOINT");
        for (name, value) in [
            (
                "NEXIS_AMQP_URL",
                format!("amqp://guest:guest@{}/%2f?heartbeat=4", self.broker),
            ),
            ("NEXIS_REDIS_URL", format!("redis://{}", self.board)),
            ("BT_NETWORK", format!("ws://{}", self.chain)),
            ("NEXIS_R2_ENDPOINT", self.store),
        ] {
            env.push((name.to_owned(), value));
        }
        env
    }
}
