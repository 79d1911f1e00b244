//! `nexis validate`: scheduler and worker joined in one process.

use crate::args::ValidateArgs;
use crate::show::{Show, Style};
use crate::wiring;
use anyhow::Result;
use nexis_runtime::{Exit, Lifecycle, Settings};
use nexis_scheduler::{Event, Observer, Scheduler, settings as wired};
use nexis_worker::Worker;
use nexis_worker::measure::Prober;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// When a bounded run is over.
struct Goal {
    intervals: Option<u64>,
    epochs: Option<u64>,
    decided: AtomicU64,
    submitted: AtomicU64,
    reached: CancellationToken,
}

impl Goal {
    fn of(args: &ValidateArgs) -> Self {
        Self {
            intervals: args.intervals.or(args.once.then_some(1)),
            epochs: args.epochs,
            decided: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            reached: CancellationToken::new(),
        }
    }

    fn see(&self, event: &Event) {
        match event {
            Event::Decided { .. } => {
                self.decided.fetch_add(1, Ordering::Relaxed);
            }
            Event::Submitted { outcome, .. } if outcome.is_success() => {
                self.submitted.fetch_add(1, Ordering::Relaxed);
            }
            _ => return,
        }
        let wanted = self.intervals.is_some() || self.epochs.is_some();
        let enough = |goal: Option<u64>, seen: &AtomicU64| {
            goal.is_none_or(|goal| seen.load(Ordering::Relaxed) >= goal)
        };
        if wanted && enough(self.intervals, &self.decided) && enough(self.epochs, &self.submitted) {
            self.reached.cancel();
        }
    }
}

/// Runs until a signal, or until the goal of a bounded run is reached.
pub async fn run(settings: &Settings, args: &ValidateArgs) -> Result<Exit> {
    let prober = Prober::sandboxed(usize::from(settings.validator.decoders))?;
    let validator = wiring::validator(settings, prober)?;
    let show = Show::new(if args.json { Style::Json } else { Style::Text });
    let goal = Arc::new(Goal::of(args));
    let seen = Arc::clone(&goal);
    let observe: Observer = Arc::new(move |event| {
        show.event(event);
        seen.see(event);
    });
    let lifecycle = Lifecycle::new(settings.fleet.drain_grace);
    let spawner = lifecycle.spawner();
    let stop = lifecycle.stop();
    let (ports, options) = validator.scheduler;
    let scheduler = Scheduler::new(ports, options, observe);
    let soft = stop.soft.clone();
    spawner.essential("scheduler", async move {
        wired::ending(scheduler.run(soft).await)
    });
    let (ports, options) = validator.worker;
    let worker = Worker::new(ports, options);
    let tokens = stop.clone();
    spawner.essential("worker", async move {
        Ok(worker.run(tokens.soft, tokens.hard).await?)
    });
    let soft = stop.soft.clone();
    spawner.goal("goal", async move {
        tokio::select! {
            () = goal.reached.cancelled() => {}
            () = soft.cancelled() => {}
        }
        Ok(())
    });
    Ok(lifecycle.run().await)
}
