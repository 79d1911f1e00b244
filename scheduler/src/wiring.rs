//! Settings to ports, and the tasks of the process: the only file that names an adapter.

use crate::narrate;
use nexis_local::DirArchive;
use nexis_runtime::lifecycle::Stop;
use nexis_runtime::{Exit, Lifecycle, Settings};
use nexis_scheduler::{Scheduler, SchedulerPorts, settings};
use nexis_wiring::WrongSetting;
use nexis_wiring::fleet::{self, FleetError};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs the scheduler until a signal.
pub async fn run(given: Settings) -> Exit {
    let lifecycle = Lifecycle::new(given.fleet.drain_grace);
    let spawner = lifecycle.spawner();
    let Stop { soft, .. } = lifecycle.stop();
    let tasks = spawner.clone();
    spawner.essential("scheduler", async move {
        let health = match fleet::health(&given, &tasks).await {
            Ok(health) => health,
            Err(fault) => return fault.ending(),
        };
        let scheduler = match scheduler(&given, &soft).await {
            Ok(scheduler) => scheduler,
            Err(fault) => return fault.ending(),
        };
        health.started();
        Ok(scheduler.run(soft).await?)
    });
    lifecycle.run().await
}

async fn scheduler(given: &Settings, stop: &CancellationToken) -> Result<Scheduler, FleetError> {
    // What needs no network first: a wrong setting must not hide behind a broker that is away.
    let options = settings::options(given, own_name())?;
    let chain = settings::chain(given)?;
    let bucket = nexis_wiring::bucket_store(given)?;
    // Every replica needs the same archive: for now a folder that all of them mount.
    let folder = given.validator.workdir.join("archive");
    let archive = DirArchive::open_shared(&folder)
        .map_err(|fault| WrongSetting::one(format!("NEXIS_WORKDIR: {fault}")))?;
    let ports = SchedulerPorts {
        queue: Arc::new(fleet::queue(given, stop).await?),
        board: Arc::new(fleet::board(given, stop).await?),
        chain: Arc::new(chain),
        archive: Arc::new(archive),
        bucket: Arc::new(bucket),
    };
    tracing::info!(name = options.name, "scheduler started");
    Ok(Scheduler::new(ports, options, narrate::observer()))
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
        let broker = fleet::broker(given, stop).await?;
        broker
            .apply()
            .await
            .map_err(|fault| FleetError::Refused(format!("declaring the topology: {fault}")))?;
        broker.close().await;
        Ok("the topology is declared")
    })
    .await
}

/// Checks the topology.
pub async fn verify(given: Settings) -> Exit {
    once(given, async |given, stop| {
        fleet::queue(given, stop).await?.close().await;
        Ok("the topology is complete")
    })
    .await
}

async fn once(
    given: Settings,
    work: impl AsyncFnOnce(&Settings, &CancellationToken) -> Result<&'static str, FleetError>,
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
            eprintln!("{fault}");
            Exit::Config
        }
    }
}
