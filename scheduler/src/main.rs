//! `nexis-scheduler`: options, settings, run, exit code.

mod narrate;
mod wiring;

use clap::{Parser, Subcommand};
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

#[derive(Subcommand)]
enum Command {
    /// The queues and exchanges of this subnet on the broker.
    #[command(subcommand)]
    Topology(Topology),
}

#[derive(Subcommand, Clone, Copy)]
enum Topology {
    /// Declare everything; may be repeated.
    Apply,
    /// Check that everything is there; changes nothing.
    Verify,
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
        }
    })
}
