//! `nexis wallet`: a hotkey file for tests and newcomers.

use anyhow::{Context, Result};
use nexis_chain::Wallet;
use nexis_runtime::{Exit, Settings};

/// Creates a hotkey and says where it is.
pub fn create(settings: &Settings, name: &str, hotkey: &str) -> Result<Exit> {
    let wallet = Wallet::create(&settings.wallet.path, name, hotkey)
        .with_context(|| format!("creating hotkey '{hotkey}' of wallet '{name}'"))?;
    println!("{}", wallet.hotkey());
    if let Some(path) = wallet.path() {
        eprintln!("written to {}: keep it secret, keep a copy", path.display());
    }
    Ok(Exit::Asked)
}
