//! Settings to ports, and the tasks of the process: the only file that names an adapter.

use nexis_ports::Bucket;
use nexis_runtime::lifecycle::Stop;
use nexis_runtime::{Exit, Lifecycle, Settings};
use nexis_wiring::WrongSetting;
use nexis_wiring::fleet::{self, FleetError};
use nexis_worker::measure::Prober;
use nexis_worker::{Worker, WorkerOptions, WorkerPorts};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest that saying goodbye to the broker may take; without it the broker notices by itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs the worker until a signal.
pub async fn run(given: Settings) -> Exit {
    let lifecycle = Lifecycle::new(given.fleet.drain_grace);
    let spawner = lifecycle.spawner();
    let Stop { soft, hard } = lifecycle.stop();
    let tasks = spawner.clone();
    spawner.essential("worker", async move {
        let health = match fleet::health(&given, &tasks).await {
            Ok(health) => health,
            Err(fault) => return fault.ending(),
        };
        let ports = match ports(&given, &soft).await {
            Ok(ports) => ports,
            Err(fault) => return fault.ending(),
        };
        health.started();
        let options = WorkerOptions {
            permits: given.validator.permits,
            job_deadline: given.limits.job_deadline,
        };
        tracing::info!(permits = options.permits, "worker started");
        let (ports, queue) = ports;
        let worked = Worker::new(ports, options).run(soft, hard).await;
        tokio::time::timeout(GOODBYE, queue.close()).await.ok();
        Ok(worked?)
    });
    lifecycle.run().await
}

async fn ports(
    given: &Settings,
    stop: &CancellationToken,
) -> Result<(WorkerPorts, fleet::Broker), FleetError> {
    // What needs no network first: a wrong setting must not hide behind a broker that is away.
    let bucket: Arc<dyn Bucket> = Arc::new(nexis_wiring::bucket_store(given)?);
    let vision = nexis_wiring::vision(given)?;
    let prober = Prober::sandboxed(usize::from(given.validator.permits))
        .map_err(|fault| WrongSetting::one(format!("reading clips: {fault}")))?;
    let broker = fleet::queue(given, stop).await?;
    let ports = WorkerPorts {
        queue: Arc::new(broker.clone()),
        board: Arc::new(fleet::board(given, stop).await?),
        bucket,
        prober: Arc::new(prober),
        vision,
    };
    Ok((ports, broker))
}
