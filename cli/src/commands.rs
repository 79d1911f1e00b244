//! One module per command; this one reads the settings and dispatches.

mod archive;
mod case;
mod check;
mod demo;
mod doctor;
mod explain;
mod localnet;
mod replay;
mod status;
mod validate;
mod wallet;

use crate::args::{Cli, Command};
use anyhow::Result;
use nexis_local::DirArchive;
use nexis_runtime::{Exit, Settings, Sources, config};
use nexis_wiring::{self as wired, entry};

/// Runs a command to its end.
pub fn run(cli: Cli) -> Exit {
    let sources = sources(&cli);
    entry::process(&sources, |settings| async move {
        match dispatch(cli.command, settings).await {
            Ok(exit) => exit,
            Err(fault) => {
                eprintln!("{fault:#}");
                exit_of(&fault)
            }
        }
    })
}

fn exit_of(fault: &anyhow::Error) -> Exit {
    if fault.is::<crate::wiring::WrongSetting>() {
        Exit::Config
    } else {
        Exit::TaskDied
    }
}

fn sources(cli: &Cli) -> Sources {
    let mut sources = entry::sources(cli.config.clone());
    if cli.debug {
        sources = sources.with_flag("--debug", "NEXIS_LOG_LEVEL", Some("debug".to_owned()));
    }
    if let Command::Validate(args) = &cli.command {
        sources = sources
            .with_flag(
                "--specs",
                "NEXIS_VALIDATOR_ENABLED_SPECS",
                args.specs.clone(),
            )
            .with_flag(
                "--exclude-hotkeys",
                "NEXIS_EXCLUDE_HOTKEYS",
                args.exclude_hotkeys.clone(),
            )
            .with_flag("--poll-sec", "NEXIS_BLOCK_POLL_SEC", args.poll_sec.clone());
    }
    if let Command::Check(args) = &cli.command {
        sources = sources.with_flag("--profile", "NEXIS_PROFILE", args.profile.clone());
    }
    sources
}

async fn dispatch(command: Command, settings: Settings) -> Result<Exit> {
    match command {
        Command::Validate(args) => validate::run(&settings, &args).await,
        Command::Check(args) => check::run(&settings, &args).await,
        Command::Explain { interval, hotkey } => {
            print!(
                "{}",
                explain::explain(&archive(&settings)?, interval, &hotkey).await?
            );
            Ok(Exit::Asked)
        }
        Command::Replay { intervals } => replay::run(&archive(&settings)?, &intervals).await,
        Command::Status => {
            print!(
                "{}",
                status::status(&archive(&settings)?, &wired::profile(&settings)?).await?
            );
            Ok(Exit::Asked)
        }
        Command::Archive(command) => archive::run(&settings, command).await,
        Command::Doctor => doctor::run(&settings).await,
        Command::Config { list } => {
            print!(
                "{}",
                if list {
                    config::reference()
                } else {
                    settings.effective()
                }
            );
            Ok(Exit::Asked)
        }
        Command::Localnet(args) => localnet::run(&settings, &args).await,
        Command::Demo(args) => demo::run(&settings, &args).await,
        Command::Wallet { name, hotkey } => wallet::create(&settings, &name, &hotkey),
    }
}

fn archive(settings: &Settings) -> Result<DirArchive> {
    let folder = settings.validator.workdir.join("archive");
    anyhow::ensure!(
        folder.is_dir(),
        "there is no archive in {}: set NEXIS_WORKDIR to the folder that `nexis validate` works in",
        settings.validator.workdir.display()
    );
    Ok(DirArchive::open_for_reading(&folder))
}
