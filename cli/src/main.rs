//! Entry point: parse, dispatch, exit code.

use nexis::args::Cli;
use nexis_runtime::Exit;
use nexis_wiring::entry;

fn main() -> Exit {
    // A process that reads clips is this same program, told apart before anything else is looked at.
    if let Some(code) = nexis_worker::child_main() {
        return entry::child_exit(code);
    }
    let cli: Cli = match entry::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    nexis::commands::run(cli)
}
