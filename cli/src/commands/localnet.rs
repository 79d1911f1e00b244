//! `nexis localnet`: a subnet on this machine until Ctrl-C.

use crate::args::LocalnetArgs;
use crate::wiring::profile;
use anyhow::{Context, Result};
use nexis_localnet::{Localnet, LocalnetConfig};
use nexis_runtime::{Exit, Settings};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs until a signal.
pub async fn run(settings: &Settings, args: &LocalnetArgs) -> Result<Exit> {
    let (workdir, _kept) = workdir(args.workdir.clone(), "localnet")?;
    let mut config = config(&workdir, settings)?;
    config.block_time = Duration::from_millis(args.block_ms.max(1));
    config.vision = args.vision;
    eprintln!(
        "starting by profile {}: making clips, store, chain and {} miners ...",
        config.profile.name,
        config.miners.len()
    );
    let net = Localnet::start(config)
        .await
        .context("starting the localnet")?;
    let env = env_text(&net);
    println!("{env}");
    if let Some(file) = &args.env_file {
        std::fs::write(file, &env).with_context(|| format!("writing {}", file.display()))?;
        eprintln!("the same is in {}", file.display());
    }
    eprintln!(
        "running; start `nexis validate` with these settings in another terminal; Ctrl-C stops all"
    );
    tokio::signal::ctrl_c()
        .await
        .context("waiting for Ctrl-C")?;
    drop(net);
    Ok(Exit::Asked)
}

/// A localnet by the profile in the settings.
pub(super) fn config(folder: &Path, settings: &Settings) -> Result<LocalnetConfig> {
    let mut config = LocalnetConfig::new(folder);
    config.profile = profile(settings)?;
    config.overrides = settings.profile.overrides.clone();
    Ok(config)
}

/// The settings as lines of a `.env` file.
fn env_text(net: &Localnet) -> String {
    net.env()
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

/// A folder to work in, and what keeps a temporary one alive.
pub(super) fn workdir(
    given: Option<PathBuf>,
    what: &str,
) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(folder) = given {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        return Ok((std::fs::canonicalize(&folder)?, None));
    }
    let temporary = tempfile::Builder::new()
        .prefix(&format!("nexis-{what}-"))
        .tempdir()
        .context("creating a temporary folder")?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}
