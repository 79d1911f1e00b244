//! `nexis doctor`: every condition for setting weights, with what is, what must be, and what to do.

use anyhow::Result;
use nexis_chain::preflight::{Condition, Preflight, Standing};
use nexis_chain::submit::WeightsOrder;
use nexis_chain::weights::quantise;
use nexis_chain::{ChainClient, ChainError, ConnectOptions, Network, Wallet};
use nexis_local::DirArchive;
use nexis_protocol::{Hotkey, Netuid};
use nexis_runtime::{Exit, Settings};
use nexis_scheduler::{SubmissionRecord, settings as wired};
use std::fmt::Write as _;

/// Records of submissions looked through for weights that were computed.
const LOOK_BACK: u64 = 8;

/// Looks at everything and says it. Ends with 0 when nothing stands in the way, 75 when only time (or the chain)
/// is missing, 78 when somebody must do something.
pub async fn run(settings: &Settings) -> Result<Exit> {
    let options = wired::connection(settings)?;
    let netuid = Netuid::new(settings.chain.netuid);
    let wallet = wired::wallet(settings);
    let mut conditions = vec![wallet_condition(settings, wallet.as_ref())];
    conditions.extend(endpoints(&options).await);
    let hotkey = wallet.as_ref().ok().map(|wallet| wallet.hotkey().clone());
    let client = ChainClient::new(options);
    let mut block = None;
    match (
        &hotkey,
        preflight(&client, settings, netuid, hotkey.as_ref()).await,
    ) {
        (Some(_), Ok(found)) => {
            block = Some(found.block);
            conditions.extend(found.conditions);
        }
        (None, _) => {}
        (Some(_), Err(fault)) => conditions.push(chain_condition(&fault)),
    }
    print!("{}", page(netuid, hotkey.as_ref(), block, &conditions));
    if block.is_none()
        && let Ok(Some(old)) = client.last_good(netuid)
    {
        println!(
            "the last snapshot of the subnet is of block {} ({} hotkeys)",
            old.number,
            old.neurons.len()
        );
    }
    Ok(verdict(&conditions))
}

fn verdict(conditions: &[Condition]) -> Exit {
    let any = |unlike: fn(Standing) -> bool| conditions.iter().any(|c| unlike(c.standing));
    if any(|standing| standing == Standing::Unmet) {
        Exit::Config
    } else if any(|standing| matches!(standing, Standing::Wait(_))) {
        Exit::TryAgain
    } else {
        Exit::Asked
    }
}

/// With the newest weights that were computed here, when there are any: they decide on the minimum.
async fn preflight(
    client: &ChainClient,
    settings: &Settings,
    netuid: Netuid,
    hotkey: Option<&Hotkey>,
) -> Result<Preflight, ChainError> {
    let Some(hotkey) = hotkey else {
        return Err(ChainError::Unreachable("no hotkey to look for".to_owned()));
    };
    match computed(settings, netuid).await {
        Some(mut order) => client.preflight_with(netuid, hotkey, &mut order).await,
        None => client.preflight(netuid, hotkey, None).await,
    }
}

async fn computed(settings: &Settings, netuid: Netuid) -> Option<WeightsOrder> {
    let folder = settings.validator.workdir.join("archive");
    let archive = DirArchive::open_for_reading(&folder);
    let records = SubmissionRecord::recent(&archive, LOOK_BACK).await;
    let newest = records
        .ok()?
        .into_iter()
        .rfind(|record| !record.weights.is_empty())?;
    let uids: Vec<u16> = newest.weights.iter().map(|(uid, ..)| *uid).collect();
    let shares: Vec<f64> = newest.weights.iter().map(|(.., share)| *share).collect();
    let scaled = quantise(&uids, &shares).ok()?;
    Some(WeightsOrder {
        netuid,
        mechanism: None,
        uids: scaled.uids,
        values: scaled.values,
        version_key: 0,
        owners: Vec::new(),
        not_after: None,
    })
}

fn wallet_condition<E: std::fmt::Display>(
    settings: &Settings,
    wallet: Result<&Wallet, E>,
) -> Condition {
    let path = Wallet::path_of(
        &settings.wallet.path,
        &settings.wallet.name,
        &settings.wallet.hotkey,
    );
    let required = path.map_or_else(
        |fault| fault.to_string(),
        |path| format!("a hotkey file {}", path.display()),
    );
    let (standing, current, remedy) = match wallet {
        Ok(wallet) => (Standing::Met, wallet.hotkey().to_string(), String::new()),
        Err(fault) => (
            Standing::Unmet,
            "cannot be used".to_owned(),
            fault.to_string(),
        ),
    };
    Condition {
        name: "wallet".to_owned(),
        standing,
        current,
        required,
        remedy,
    }
}

/// Each endpoint by itself: does it answer, on the right chain, and how old is what it knows?
async fn endpoints(options: &ConnectOptions) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for endpoint in &options.network.endpoints {
        let alone = ConnectOptions {
            network: Network {
                endpoints: vec![endpoint.clone()],
                ..options.network.clone()
            },
            workdir: None,
            ..options.clone()
        };
        let client = ChainClient::new(alone);
        let most = options.pool.max_block_age;
        let (standing, current, remedy) = match client.head_age().await {
            Ok((head, age)) => {
                let current = format!("block {}, {} s old", head.number, age.as_secs());
                if age <= most {
                    (Standing::Met, current, String::new())
                } else {
                    let remedy = "it is behind: another one is used while there is one";
                    (Standing::Warning, current, remedy.to_owned())
                }
            }
            Err(fault) => (
                Standing::Warning,
                "not usable".to_owned(),
                fault.to_string(),
            ),
        };
        conditions.push(Condition {
            name: endpoint.to_string(),
            standing,
            current,
            required: format!("answers, at most {} s old", most.as_secs()),
            remedy,
        });
    }
    conditions
}

fn chain_condition(fault: &ChainError) -> Condition {
    let standing = if fault.is_transient() {
        Standing::Wait(None)
    } else {
        Standing::Unmet
    };
    Condition {
        name: "chain".to_owned(),
        standing,
        current: "could not be read".to_owned(),
        required: "an endpoint that answers".to_owned(),
        remedy: fault.to_string(),
    }
}

fn page(
    netuid: Netuid,
    hotkey: Option<&Hotkey>,
    block: Option<u64>,
    conditions: &[Condition],
) -> String {
    let mut text = String::new();
    let who = hotkey.map_or_else(|| "no hotkey".to_owned(), ToString::to_string);
    let at = block.map_or_else(String::new, |block| format!(" at block {block}"));
    let _infallible = writeln!(text, "weights of {who} on subnet {netuid}{at}");
    for condition in conditions {
        let mark = match condition.standing {
            Standing::Met => "ok  ",
            Standing::Fact => "    ",
            Standing::Warning => "warn",
            Standing::Wait(_) => "WAIT",
            Standing::Unmet => "FAIL",
        };
        let _infallible = writeln!(
            text,
            "  {mark}  {:<16}  {} (needed: {})",
            condition.name, condition.current, condition.required
        );
        if !condition.remedy.is_empty() {
            let _infallible = writeln!(text, "        {:<16}  -> {}", "", condition.remedy);
        }
    }
    let answer = match verdict(conditions) {
        Exit::Asked => "nothing stands in the way of setting weights",
        Exit::TryAgain => "weights cannot be set now; it passes by itself",
        _ => "weights cannot be set: do what the lines with FAIL say",
    };
    let _infallible = writeln!(text, "{answer}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(standing: Standing) -> Condition {
        Condition {
            name: "stake".to_owned(),
            standing,
            current: "1 TAO".to_owned(),
            required: "at least 2 TAO".to_owned(),
            remedy: "stake more".to_owned(),
        }
    }

    #[test]
    fn the_worst_condition_decides_how_it_ends() {
        let exit = |standings: &[Standing]| {
            let conditions: Vec<_> = standings.iter().map(|s| condition(*s)).collect();
            verdict(&conditions)
        };
        assert_eq!(exit(&[Standing::Met, Standing::Warning]), Exit::Asked);
        assert_eq!(
            exit(&[Standing::Met, Standing::Wait(Some(5))]),
            Exit::TryAgain
        );
        assert_eq!(exit(&[Standing::Wait(None), Standing::Unmet]), Exit::Config);
    }

    #[test]
    fn each_line_says_what_is_what_must_be_and_what_to_do() {
        let text = page(
            Netuid::new(70),
            None,
            Some(9),
            &[condition(Standing::Unmet)],
        );
        for part in [
            "FAIL  stake",
            "1 TAO (needed: at least 2 TAO)",
            "-> stake more",
            "block 9",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
