//! `nexis-scheduler`: options, settings, run, exit code.

mod command;
mod meter;
mod narrate;
mod wiring;

use clap::Parser;
use command::{Command, Topology};
use nexis_runtime::Exit;
use nexis_wiring::entry;
use std::path::PathBuf;

/// The scheduler of a fleet: opens rounds, decides, submits weights. Any number may run; one leads.
#[derive(Parser)]
#[command(name = "nexis-scheduler", version)]
struct Cli {
    /// Settings file (TOML); the environment wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Runs the scheduler when none is given.
    #[command(subcommand)]
    command: Option<Command>,
}

fn main() -> Exit {
    let cli: Cli = match entry::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    entry::process(&entry::sources(cli.config), |settings| async move {
        match cli.command {
            None => wiring::run(settings).await,
            Some(Command::Topology(Topology::Apply)) => wiring::apply(settings).await,
            Some(Command::Topology(Topology::Verify)) => wiring::verify(settings).await,
            Some(Command::Dead(what)) => wiring::dead(settings, what).await,
        }
    })
}
