//! Settings to ports, and the tasks of the process: the only file that names an adapter.

use nexis_ports::{Bucket, QueueError};
use nexis_runtime::lifecycle::{Failure, Spawner, Stop};
use nexis_runtime::{Exit, Lifecycle, Settings};
use nexis_wiring::WrongSetting;
use nexis_wiring::fleet::{self, Broker, Declares, FleetError, Role, Vitals};
use nexis_worker::measure::Prober;
use nexis_worker::{Worker, WorkerOptions, WorkerPorts};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Share of the grace period in which jobs in hand may still be finished.
const FINISHING: f64 = 0.75;

/// Runs the worker until a signal.
pub async fn run(given: Settings) -> Exit {
    let lifecycle = Lifecycle::new(given.fleet.drain_grace);
    let spawner = lifecycle.spawner();
    let Stop { soft, hard } = lifecycle.stop();
    let tasks = spawner.clone();
    spawner.essential("worker", async move {
        let vitals = match fleet::vitals(&given, &tasks).await {
            Ok(vitals) => vitals,
            Err(fault) => return fault.ending(),
        };
        let (ports, broker) = match ports(&given, &soft, &vitals, &tasks).await {
            Ok(ready) => ready,
            Err(fault) => return fault.ending(),
        };
        vitals.health.started();
        let options = WorkerOptions {
            permits: given.validator.permits,
            fetches: given.validator.fetches,
            delivery_limit: given.fleet.delivery_limit,
            job_deadline: given.limits.job_deadline,
            held_bytes: given.limits.scratch_bytes,
        };
        tracing::info!(
            permits = options.permits,
            fetches = options.fetches,
            decoders = given.validator.decoders,
            held_bytes = options.held_bytes,
            "worker started"
        );
        let worker = Worker::new(ports, options)
            .metered(&vitals.metrics)
            .shown(&vitals.health);
        // What takes longer than most of the grace period is handed back while there is time for it.
        let give_back = hard.child_token();
        let patience = async {
            soft.cancelled().await;
            tokio::time::sleep(given.fleet.drain_grace.mul_f64(FINISHING)).await;
            give_back.cancel();
            std::future::pending().await
        };
        let worked = tokio::select! {
            worked = worker.run(soft.clone(), give_back.clone()) => worked,
            ended = patience => ended,
        };
        fleet::goodbye(&broker).await;
        worked.map_err(|fault| match fault {
            // Only at the first subscription: later a consumer waits until it may consume again.
            QueueError::Refused(_) => Failure::with_exit(Exit::Config, fault),
            fault => Failure::from(fault),
        })
    });
    lifecycle.run().await
}

async fn ports(
    given: &Settings,
    stop: &CancellationToken,
    vitals: &Vitals,
    tasks: &Spawner,
) -> Result<(WorkerPorts, Broker), FleetError> {
    // What needs no network first: a wrong setting must not hide behind a broker that is away.
    let bucket: Arc<dyn Bucket> = Arc::new(nexis_wiring::bucket_store(given)?);
    let vision = nexis_wiring::vision(given)?;
    let prober = Prober::sandboxed(usize::from(given.validator.decoders))
        .map_err(|fault| WrongSetting::one(format!("reading clips: {fault}")))?;
    let broker = fleet::queue(given, stop, vitals, Role::Consumes).await?;
    let board = fleet::board(given, stop, vitals).await?;
    fleet::watch(vitals, tasks, (&broker, Declares::No), &board);
    fleet::watch_store(vitals, tasks, given);
    let ports = WorkerPorts {
        queue: Arc::new(broker.clone()),
        board: Arc::new(board),
        bucket,
        prober: Arc::new(prober),
        vision,
    };
    Ok((ports, broker))
}
