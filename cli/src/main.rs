//! Entry point: parse, dispatch, exit code.

use clap::Parser;
use nexis::args::Cli;
use nexis_runtime::Exit;

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
            let asked_for_help = !refused.use_stderr();
            if refused.print().is_err() || asked_for_help {
                return Exit::Asked;
            }
            return Exit::Usage;
        }
    };
    nexis::commands::run(cli)
}
