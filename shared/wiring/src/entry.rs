//! How every program begins and ends: options, settings, logs, async runtime, exit code.

use nexis_protocol::profile::Profile;
use nexis_runtime::{Exit, Settings, Sources, telemetry};
use std::path::PathBuf;
use std::time::Duration;

/// Threads that measure a clip are not waited for longer than this at the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Reads the command line. `Err` when the program is to end here: help was asked for, or an option is wrong; both
/// are printed already.
pub fn parse<C: clap::Parser>() -> Result<C, Exit> {
    C::try_parse().map_err(|refused| {
        let asked_for_help = !refused.use_stderr();
        // A closed standard output is no reason to fail either.
        if refused.print().is_err() || asked_for_help {
            Exit::Asked
        } else {
            Exit::Usage
        }
    })
}

/// What the end of a process that reads clips means (`nexis_worker::child_main` gives the code).
pub fn child_exit(code: i32) -> Exit {
    if code == 0 {
        Exit::Asked
    } else {
        Exit::TaskDied
    }
}

/// The process's settings: environment, `.env`, the file given, and the profile's single fields.
pub fn sources(config: Option<PathBuf>) -> Sources {
    let sources = Sources::from_process().with_profile_fields(&Profile::FIELDS);
    match config {
        Some(file) => sources.with_file(file),
        None => sources,
    }
}

/// Reads the settings, starts logs and async runtime, and runs a program to its end.
pub fn process<F: Future<Output = Exit>>(
    sources: &Sources,
    run: impl FnOnce(Settings) -> F,
) -> Exit {
    let settings = match Settings::load(sources) {
        Ok(settings) => settings,
        Err(refused) => {
            eprintln!("{refused}");
            return Exit::Config;
        }
    };
    if let Err(refused) = telemetry::init(&settings.log, settings.redactor().clone()) {
        eprintln!("{refused}");
        return Exit::Config;
    }
    for notice in &settings.notices {
        tracing::warn!("{notice}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("starting the async runtime: {fault}");
            return Exit::TaskDied;
        }
    };
    let exit = runtime.block_on(run(settings));
    runtime.shutdown_timeout(LAST_WAIT);
    exit
}
