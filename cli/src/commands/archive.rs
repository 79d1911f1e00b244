//! `nexis archive`: what an operator does to the archive by hand.

use crate::args::ArchiveCommand;
use anyhow::Result;
use nexis_local::{DirArchive, Sharing};
use nexis_protocol::profile::Profile;
use nexis_runtime::{Exit, Settings};
use nexis_scheduler::identity::{self, Adoption};
use nexis_wiring::WrongSetting;

/// Runs the command.
pub async fn run(settings: &Settings, command: ArchiveCommand) -> Result<Exit> {
    match command {
        ArchiveCommand::Adopt => {
            let profile = nexis_wiring::profile(settings)?;
            let folder = settings.validator.workdir.join("archive");
            // Nobody may work on it meanwhile.
            let archive = DirArchive::open(&folder)
                .and_then(|archive| archive.locked(Sharing::Alone))
                .map_err(|fault| WrongSetting(vec![format!("NEXIS_WORKDIR: {fault}")]))?;
            let adopted = identity::adopt(&archive, &profile).await?;
            print!("{}", describe(&adopted, &profile));
            Ok(Exit::Asked)
        }
    }
}

fn describe(adopted: &Adoption, profile: &Profile) -> String {
    let (length, period) = (profile.interval_length_blocks, profile.weight_period_blocks);
    match adopted {
        Adoption::Nothing(era) => format!(
            "nothing to do: the archive is in era {}, with intervals of {length} blocks and weights every {period} blocks\n",
            era.number
        ),
        Adoption::Begun { before, era, first } => format!(
            "era {} begins: intervals of {length} blocks and weights every {period} blocks (before: {} and {})\n\
             first interval of the new era: {first}\n\
             rounds that were open are still decided by their own rules: {}\n\
             nothing that is stored was changed; weights are set from the new era's intervals only\n",
            era.number,
            before.interval_length_blocks,
            before.weight_period_blocks,
            match era.left_open.len() {
                0 => "none".to_owned(),
                _ => crate::show::list(&era.left_open),
            }
        ),
    }
}
