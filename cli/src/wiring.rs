//! Settings to ports: the only file that names an adapter. No `if` on what the subnet's rules are about.

use anyhow::{Context, Result};
use nexis_local::{DirArchive, LocalBoard, LocalQueue, LocalQueueOptions, Sharing, TokioClock};
use nexis_ports::Bucket;
use nexis_runtime::Settings;
use nexis_scheduler::{SchedulerOptions, SchedulerPorts, settings};
use nexis_worker::measure::Prober;
use nexis_worker::{WorkerOptions, WorkerPorts};
use std::path::Path;
use std::sync::Arc;

pub use nexis_wiring::{WrongSetting, bucket_store, package_bucket, profile, rules, vision};

/// Everything that `nexis validate` runs on.
pub struct Validator {
    /// For the scheduler.
    pub scheduler: (SchedulerPorts, SchedulerOptions),
    /// For the worker.
    pub worker: (WorkerPorts, WorkerOptions),
}

/// Builds the ports of a validator in one process.
pub fn validator(given: &Settings, prober: Prober) -> Result<Validator> {
    let mut wrong = Vec::new();
    note(profile(given), &mut wrong);
    let name = format!("validate-{}", std::process::id());
    let options = note(settings::options(given, name), &mut wrong);
    let chain = note(settings::chain(given), &mut wrong);
    let store = note(bucket_store(given), &mut wrong);
    let vision = note(vision(given), &mut wrong);
    let (Some(options), Some(chain), Some(store), Some(vision)) = (options, chain, store, vision)
    else {
        return Err(WrongSetting(wrong).into());
    };
    let bucket: Arc<dyn Bucket> = Arc::new(store);
    let workdir = &given.validator.workdir;
    let board = Arc::new(open_board(&workdir.join("board"))?);
    let archive = DirArchive::open(&workdir.join("archive"))
        .and_then(|archive| archive.locked(Sharing::Alone))
        .map_err(|fault| WrongSetting(vec![format!("NEXIS_WORKDIR: {fault}")]))?;
    let queue = Arc::new(LocalQueue::new(LocalQueueOptions {
        delivery_limit: given.fleet.delivery_limit,
        ..LocalQueueOptions::default()
    }));
    let scheduler = SchedulerPorts {
        queue: queue.clone(),
        board: board.clone(),
        chain: Arc::new(chain),
        archive: Arc::new(archive),
        bucket: bucket.clone(),
    };
    let worker = WorkerPorts {
        queue,
        board,
        bucket,
        prober: Arc::new(prober),
        vision,
    };
    let worker_options = WorkerOptions {
        permits: given.validator.permits,
        fetches: given.validator.fetches,
        delivery_limit: given.fleet.delivery_limit,
        job_deadline: given.limits.job_deadline,
        held_bytes: given.limits.scratch_bytes,
    };
    Ok(Validator {
        scheduler: (scheduler, options),
        worker: (worker, worker_options),
    })
}

/// Keeps what is wrong, each problem once, so that all of it is told together.
fn note<T>(read: Result<T, WrongSetting>, wrong: &mut Vec<String>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(WrongSetting(problems)) => {
            for problem in problems {
                if !wrong.contains(&problem) {
                    wrong.push(problem);
                }
            }
            None
        }
    }
}

fn open_board(folder: &Path) -> Result<LocalBoard> {
    let board = LocalBoard::open(folder, TokioClock::new())
        .with_context(|| format!("opening the journal in {}", folder.display()))?;
    let recovery = board.recovery();
    if recovery.entries > 0 {
        tracing::info!(
            entries = recovery.entries,
            dropped_bytes = recovery.dropped_bytes,
            "continuing from the journal"
        );
    }
    Ok(board)
}
