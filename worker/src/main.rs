//! `nexis-worker`: options, settings, run, exit code.

mod wiring;

use clap::Parser;
use nexis_runtime::Exit;
use nexis_wiring::entry;
use std::path::PathBuf;

/// A worker of a fleet: takes jobs from the broker, posts results to the board. Run as many as there is work for.
#[derive(Parser)]
#[command(name = "nexis-worker", version)]
struct Cli {
    /// Settings file (TOML); the environment wins over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> Exit {
    // A process that reads clips is this same program, told apart before anything else is looked at.
    if let Some(code) = nexis_worker::child_main() {
        return entry::child_exit(code);
    }
    let cli: Cli = match entry::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    entry::process(&entry::sources(cli.config), wiring::run)
}
