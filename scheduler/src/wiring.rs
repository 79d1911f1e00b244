//! Settings to ports, and the tasks of the process: the only file that names an adapter.

use crate::command::{Dead, Which, routes};
use crate::narrate;
use nexis_local::{DirArchive, Sharing};
use nexis_ports::{Queue, QueueError};
use nexis_runtime::lifecycle::{Spawner, Stop};
use nexis_runtime::{Exit, Lifecycle, Settings};
use nexis_scheduler::{Scheduler, SchedulerPorts, settings};
use nexis_wiring::WrongSetting;
use nexis_wiring::fleet::{self, Broker, Declares, FleetError, Role, Verified, Vitals};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs the scheduler until a signal.
pub async fn run(given: Settings) -> Exit {
    let lifecycle = Lifecycle::new(given.fleet.drain_grace);
    let spawner = lifecycle.spawner();
    let Stop { soft, .. } = lifecycle.stop();
    let tasks = spawner.clone();
    spawner.essential("scheduler", async move {
        let vitals = match fleet::vitals(&given, &tasks).await {
            Ok(vitals) => vitals,
            Err(fault) => return fault.ending(),
        };
        let (scheduler, broker) = match scheduler(&given, &soft, &vitals, &tasks).await {
            Ok(ready) => ready,
            Err(fault) => return fault.ending(),
        };
        vitals.health.started();
        let worked = scheduler.run(soft).await;
        fleet::goodbye(&broker).await;
        settings::ending(worked)
    });
    lifecycle.run().await
}

async fn scheduler(
    given: &Settings,
    stop: &CancellationToken,
    vitals: &Vitals,
    tasks: &Spawner,
) -> Result<(Scheduler, Broker), FleetError> {
    // What needs no network first: a wrong setting must not hide behind a broker that is away.
    let options = settings::options(given, own_name())?;
    let chain = settings::chain(given)?;
    let bucket = nexis_wiring::bucket_store(given)?;
    // Every replica needs the same archive: for now a folder that all of them mount.
    let folder = given.validator.workdir.join("archive");
    let archive = DirArchive::open_shared(&folder)
        .and_then(|archive| archive.locked(Sharing::Replicas))
        .map_err(|fault| WrongSetting::one(format!("NEXIS_WORKDIR: {fault}")))?;
    let broker = fleet::queue(given, stop, vitals, Role::Publishes).await?;
    let board = fleet::board(given, stop, vitals).await?;
    let chain = Arc::new(chain);
    fleet::watch(vitals, tasks, (&broker, Declares::Yes), &board);
    fleet::watch_chain(vitals, tasks, chain.clone());
    fleet::watch_store(vitals, tasks, given);
    fleet::watch_depths(vitals, tasks, &broker);
    let ports = SchedulerPorts {
        queue: Arc::new(broker.clone()),
        board: Arc::new(board),
        chain,
        archive: Arc::new(archive),
        bucket: Arc::new(bucket),
    };
    tracing::info!(name = options.name, "scheduler started");
    let observer = narrate::observer(&vitals.metrics);
    Ok((Scheduler::new(ports, options, observer), broker))
}

/// No two processes may campaign under one name: each would take the other's lease for its own.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "{}-{}-{:08x}",
        host.trim(),
        std::process::id(),
        rand::random::<u32>()
    )
}

/// Declares the topology.
pub async fn apply(given: Settings) -> Exit {
    once(given, async |given, stop| {
        let broker = fleet::broker(given, stop, &Vitals::unseen()).await?;
        let applied = broker.apply().await;
        fleet::goodbye(&broker).await;
        applied.map_err(|fault| asked(&fault, "declaring the topology"))?;
        Ok("the topology is declared".to_owned())
    })
    .await
}

/// Checks the topology.
pub async fn verify(given: Settings) -> Exit {
    once(given, async |given, stop| {
        let broker = fleet::queue(given, stop, &Vitals::unseen(), Role::Looks).await?;
        let verified = broker.verify().await;
        fleet::goodbye(&broker).await;
        Ok(match verified.map_err(|fault| asked(&fault, "checking the topology"))? {
            Verified::Complete => "the topology is complete",
            Verified::NamesOnly => {
                "the names exist; types, arguments and bindings could not be compared, because this user may not \
                 declare (permission `configure` on the names, `write` on the queues, `read` on the exchanges)"
            }
        }
        .to_owned())
    })
    .await
}

/// Shows dead letters, publishes them again or throws them away.
pub async fn dead(given: Settings, what: Dead) -> Exit {
    once(given, async |given, stop| {
        let broker = fleet::queue(given, stop, &Vitals::unseen(), Role::Looks).await?;
        let done = match what {
            Dead::List(which) => list(&broker, which).await,
            Dead::Replay(which) => replay(&broker, which).await,
            Dead::Purge { queue } => {
                let mut count = 0;
                for route in routes(queue) {
                    count += broker.purge(route).await.map_err(dead_fault)?;
                }
                Ok(format!("{count} dead letters thrown away"))
            }
        };
        fleet::goodbye(&broker).await;
        done
    })
    .await
}

async fn list(broker: &Broker, which: Which) -> Result<String, FleetError> {
    let mut lines = Vec::new();
    for route in routes(which.queue) {
        let limit = usize::try_from(which.limit).unwrap_or(usize::MAX);
        for (message, reason) in broker.dead(route, limit).await.map_err(dead_fault)? {
            let id = if message.id.is_empty() {
                "-"
            } else {
                message.id.as_str()
            };
            let (queue, size) = (route.name(), message.body.len());
            lines.push(format!("{queue}\t{id}\t{size} bytes\t{reason}"));
        }
    }
    if lines.is_empty() {
        lines.push("no dead letters".to_owned());
    }
    Ok(lines.join("\n"))
}

async fn replay(broker: &Broker, which: Which) -> Result<String, FleetError> {
    let mut count = 0;
    for route in routes(which.queue) {
        let limit = which.limit.into();
        count += broker.replay(route, limit).await.map_err(dead_fault)?;
    }
    Ok(format!("{count} dead letters published again"))
}

fn dead_fault(fault: QueueError) -> FleetError {
    asked(&fault, "looking after dead letters")
}

fn asked(fault: &QueueError, what: &str) -> FleetError {
    FleetError::Refused(format!("{what}: {fault}"))
}

async fn once(
    given: Settings,
    work: impl AsyncFnOnce(&Settings, &CancellationToken) -> Result<String, FleetError>,
) -> Exit {
    let never = CancellationToken::new();
    let worked = tokio::select! {
        worked = work(&given, &never) => worked,
        _ = tokio::signal::ctrl_c() => return Exit::TryAgain,
    };
    match worked {
        Ok(said) => {
            println!("{said}");
            Exit::Asked
        }
        Err(fault) => {
            eprintln!("{}", given.redactor().apply(&fault.to_string()));
            Exit::Config
        }
    }
}
