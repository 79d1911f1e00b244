//! `nexis demo`: a localnet in this process, the validator as a process of its own, and a look at whether every miner
//! got what it deserves and the weights are on the chain.

use crate::args::DemoArgs;
use crate::commands::localnet::{config, workdir};
use anyhow::{Context, Result, bail};
use nexis_chain::{At, ChainClient, ConnectOptions, Network};
use nexis_local::DirArchive;
use nexis_localnet::{Expectation, Localnet, Miner};
use nexis_protocol::decision::Decision;
use nexis_protocol::{Netuid, Uid};
use nexis_runtime::{Exit, Settings};
use nexis_scheduler::ledger;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Longest that the validator may take. Far more than it needs: a hang must end, not a slow machine.
const VALIDATOR_LIMIT: Duration = Duration::from_secs(600);

/// Runs the demo to its end.
pub async fn run(settings: &Settings, args: &DemoArgs) -> Result<Exit> {
    let started = Instant::now();
    let (workdir, _kept) = workdir(args.workdir.clone(), "demo")?;
    let mut config = config(&workdir.join("localnet"), settings)?;
    config.block_time = Duration::from_millis(args.block_ms.max(1));
    // Half of the miners, and 35 at most, are drawn per interval by the protocol; here all, so that each cheat is seen.
    config.profile.miner_sample_rate = 1.0;
    config.profile.miner_sample_max = 1000;
    println!(
        "== a subnet of {} miners is being started by profile {} (making clips takes a while)",
        config.miners.len(),
        config.profile.name
    );
    let net = Localnet::start(config)
        .await
        .context("starting the localnet")?;
    println!(
        "== chain {}, store {}, first interval {}",
        net.chain_url(),
        net.store_endpoint(),
        net.first_interval()
    );
    let ended = validate(&net, args, &workdir).await;
    let checked = match ended {
        Ok(()) => report(&net, &workdir.join("validator")).await,
        Err(fault) => Err(fault),
    };
    drop(net);
    checked?;
    println!(
        "== all as expected, everything stopped, {} s",
        started.elapsed().as_secs()
    );
    Ok(Exit::Asked)
}

async fn validate(net: &Localnet, args: &DemoArgs, workdir: &Path) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    println!(
        "== nexis validate, until {} intervals are decided and one weight epoch is on the chain",
        args.intervals
    );
    let mut child = tokio::process::Command::new(program)
        .arg("validate")
        .args(["--intervals", &args.intervals.to_string(), "--epochs", "1"])
        .env_clear()
        .envs(net.env())
        .env("NEXIS_PROFILE_MINER_SAMPLE_RATE", "1.0")
        .env("NEXIS_PROFILE_MINER_SAMPLE_MAX", "1000")
        .env("NEXIS_WORKDIR", workdir.join("validator"))
        .env("NEXIS_LOG_LEVEL", "warning")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", workdir)
        .current_dir(workdir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting the validator")?;
    let status = tokio::select! {
        status = child.wait() => status.context("waiting for the validator")?,
        () = tokio::time::sleep(VALIDATOR_LIMIT) => bail!("the validator is not done after {} s", VALIDATOR_LIMIT.as_secs()),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    };
    anyhow::ensure!(status.success(), "the validator ended with {status}");
    Ok(())
}

async fn report(net: &Localnet, workdir: &Path) -> Result<()> {
    let archive = DirArchive::open(&workdir.join("archive")).context("opening the archive")?;
    let intervals = ledger::decided(&archive).await?;
    anyhow::ensure!(
        intervals.len() >= 2,
        "only {} intervals were decided",
        intervals.len()
    );
    let mut wrong = Vec::new();
    for interval in &intervals {
        let file = ledger::load(&archive, *interval)
            .await?
            .context("a decided interval")?;
        for miner in net.miners() {
            let hotkey = miner.key.hotkey();
            let decision = file.decisions.iter().find(|d| d.miner_hotkey == hotkey);
            if let Some(problem) = unexpected(miner, decision) {
                wrong.push(format!(
                    "interval {interval}, {:?} ({hotkey}): {problem}",
                    miner.kind
                ));
            }
        }
    }
    println!(
        "== {} intervals: each kind of miner and its verdict",
        intervals.len()
    );
    for miner in net.miners() {
        let verdict = match miner.kind.expectation() {
            Expectation::Accepted => "accepted".to_owned(),
            Expectation::Pruned => "accepted, all rows pruned, weighs nothing".to_owned(),
            Expectation::Rejected(code) => format!("rejected: {code}"),
            Expectation::NotDrawn => "not drawn: no usable credentials on the chain".to_owned(),
        };
        println!("  {:<20} {verdict}", format!("{:?}", miner.kind));
    }
    if !wrong.is_empty() {
        bail!("these miners got something else:\n  {}", wrong.join("\n  "));
    }
    weights(net).await
}

/// What differs from what this kind of miner deserves.
fn unexpected(miner: &Miner, decision: Option<&Decision>) -> Option<String> {
    let drawn = miner.kind.expectation() != Expectation::NotDrawn;
    let Some(decision) = decision else {
        return drawn.then(|| "no decision".to_owned());
    };
    let first = decision.failures.first().map(ToString::to_string);
    let fits = match miner.kind.expectation() {
        Expectation::Accepted => decision.accepted && decision.record_count > 0,
        Expectation::Pruned => decision.accepted && decision.record_count == 0,
        Expectation::Rejected(code) => first.as_deref().is_some_and(|got| got.starts_with(code)),
        Expectation::NotDrawn => false,
    };
    (!fits).then(|| {
        format!(
            "{} with {} rows, failures {:?}",
            if decision.accepted {
                "accepted"
            } else {
                "rejected"
            },
            decision.record_count,
            decision
                .failures
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        )
    })
}

/// Reads the weights with a client of our own, as any third party would.
async fn weights(net: &Localnet) -> Result<()> {
    let network: Network = net
        .chain_url()
        .parse()
        .context("the localnet's own address")?;
    let mut options = ConnectOptions::new(network);
    options.allow_other_genesis = true;
    let client = ChainClient::connect(options)
        .await
        .context("reading the weights back")?;
    let stored = client
        .weights_of(Netuid::new(70), Uid::new(0), &At::Finalized)
        .await
        .context("reading the weights back")?;
    println!("== weights of the validator (uid 0) as read back from the chain");
    let total: u64 = stored.iter().map(|(_, share)| u64::from(*share)).sum();
    for (uid, share) in stored.iter().filter(|(_, share)| *share > 0) {
        let miner = net.miners().get(usize::from(*uid).wrapping_sub(1));
        let kind = miner.map_or("not a miner".to_owned(), |miner| {
            format!("{:?}", miner.kind)
        });
        println!(
            "  uid {uid:>3}  {:>6.2} %  {kind}",
            100.0 * f64::from(*share) / total as f64
        );
        let deserves = miner.is_some_and(|m| m.kind.expectation() == Expectation::Accepted);
        anyhow::ensure!(deserves, "uid {uid} has weight and should have none");
    }
    anyhow::ensure!(total > 0, "the chain holds no weights of the validator");
    Ok(())
}
