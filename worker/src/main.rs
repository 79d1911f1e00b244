//! `nexis-worker`: options, settings, run, exit code.

mod wiring;

use clap::Parser;
use nexis_runtime::{Exit, Sources};
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
        return if code == 0 {
            Exit::Asked
        } else {
            Exit::TaskDied
        };
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            let printed = refused.print().is_ok();
            return if printed && refused.use_stderr() {
                Exit::Usage
            } else {
                Exit::Asked
            };
        }
    };
    nexis_wiring::fleet::process(Sources::from_process(), cli.config, wiring::run)
}
