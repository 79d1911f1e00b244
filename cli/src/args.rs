//! The command line.

use clap::{Args, Parser, Subcommand};
use nexis_protocol::{Hotkey, IntervalId};
use std::path::PathBuf;

/// The Nexisgen validator.
#[derive(Debug, Parser)]
#[command(name = "nexis", version, about, propagate_version = true)]
pub struct Cli {
    /// Settings file (TOML). The environment and flags win over it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log everything that helps to find a fault.
    #[arg(long, global = true)]
    pub debug: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole validator in this process.
    Validate(ValidateArgs),
    /// A miner's dry run: the verdict, before you upload.
    Check(CheckArgs),
    /// Why a miner was accepted or rejected, from stored evidence.
    Explain {
        /// The interval's first block.
        interval: IntervalId,
        /// The miner's hotkey (SS58).
        hotkey: Hotkey,
    },
    /// Compute decisions of stored intervals again and compare bytes.
    Replay {
        /// Intervals; all that are stored when none is given.
        intervals: Vec<IntervalId>,
    },
    /// What this validator has decided and submitted.
    Status,
    /// Work on the archive by hand; the validator must not run meanwhile.
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Could this validator set weights now? Every condition, with what is, what must be and what to do.
    Doctor,
    /// Show the effective settings (secrets hidden) and check them.
    Config {
        /// List every setting there is instead.
        #[arg(long)]
        list: bool,
    },
    /// Run a subnet on this machine: chain, store, miners honest and otherwise.
    Localnet(LocalnetArgs),
    /// Localnet and a validator together, for two intervals and one weight epoch.
    Demo(DemoArgs),
    /// Make a hotkey file that the Bittensor tools load.
    Wallet {
        /// Name of the wallet.
        #[arg(long, default_value = "default")]
        name: String,
        /// Name of the hotkey.
        #[arg(long, default_value = "default")]
        hotkey: String,
    },
}

/// What can be done to the archive by hand.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ArchiveCommand {
    /// After a change of NEXIS_PROFILE: begin a new era with the new interval length and weight period. The first
    /// interval of the era is the first point of the new grid at which the newest interval has ended; rounds and
    /// submissions that are stored stay as they are and stay readable.
    Adopt,
}

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Specs to check, comma separated (NEXIS_VALIDATOR_ENABLED_SPECS).
    #[arg(long, value_name = "LIST")]
    pub specs: Option<String>,
    /// Hotkeys never to judge, comma separated (NEXIS_EXCLUDE_HOTKEYS).
    #[arg(long, value_name = "LIST")]
    pub exclude_hotkeys: Option<String>,
    /// Longest pause between two looks at the chain, seconds (NEXIS_BLOCK_POLL_SEC).
    #[arg(long, value_name = "SECONDS")]
    pub poll_sec: Option<String>,
    /// Stop after one interval is decided.
    #[arg(long)]
    pub once: bool,
    /// Stop after this many intervals are decided and, with --epochs, that many weight epochs are on the chain.
    #[arg(long, value_name = "N")]
    pub intervals: Option<u64>,
    /// Stop after this many weight epochs are on the chain.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// One JSON line per decision on standard output instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Folder of one package (manifest.json, dataset.parquet and assets), or s3://BUCKET/INTERVAL.
    #[arg(required_unless_present = "case", conflicts_with = "case")]
    pub package: Option<String>,
    /// Judge a whole case file (buckets are folders) and print its outcome as JSON.
    #[arg(long, value_name = "FILE")]
    pub case: Option<PathBuf>,
    /// Protocol profile; the setting NEXIS_PROFILE when not given.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print JSON instead of words.
    #[arg(long)]
    pub json: bool,
}

/// Flags of `localnet`.
#[derive(Debug, Args, Clone)]
pub struct LocalnetArgs {
    /// Folder for the store, keys and made clips; a temporary one when not given.
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Milliseconds per block.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub block_ms: u64,
    /// Write the settings that a validator needs to this file, as NAME=VALUE lines.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Also run an OpenAI-compatible vision stub.
    #[arg(long)]
    pub vision: bool,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Milliseconds per block.
    #[arg(long, default_value_t = 300, value_name = "MS")]
    pub block_ms: u64,
    /// Intervals to decide before it ends.
    #[arg(long, default_value_t = 2)]
    pub intervals: u64,
    /// Keep the work folder.
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}
