//! `nexis-scheduler`: options, settings, run, exit code.

mod narrate;
mod wiring;

use clap::{Parser, Subcommand};
use nexis_runtime::{Exit, Sources};
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
    let sources = Sources::from_process();
    nexis_wiring::fleet::process(sources, cli.config, |settings| async move {
        match cli.command {
            None => wiring::run(settings).await,
            Some(Command::Topology(Topology::Apply)) => wiring::apply(settings).await,
            Some(Command::Topology(Topology::Verify)) => wiring::verify(settings).await,
        }
    })
}
