//! Events as log lines and counts.

use crate::meter::Meter;
use nexis_runtime::metrics::Metrics;
use nexis_scheduler::{Event, Observer};
use std::sync::Arc;

/// Tells everything that happens to the log, and counts it.
pub fn observer(metrics: &Metrics) -> Observer {
    let meter = Meter::new(metrics);
    Arc::new(move |event| {
        meter.count(event);
        tell(event);
    })
}

fn tell(event: &Event) {
    match event {
        Event::Head { block } => tracing::debug!(%block, "new head"),
        Event::Opened { interval, miners } => {
            tracing::info!(interval.id = %interval, miners, "interval opened");
        }
        Event::Progress {
            interval,
            stage,
            done,
            expected,
        } => {
            tracing::info!(interval.id = %interval, stage, done, expected, "results");
        }
        Event::Decided {
            interval,
            decisions,
            absent,
            ..
        } => {
            let accepted = decisions
                .iter()
                .filter(|decision| decision.accepted)
                .count();
            tracing::info!(interval.id = %interval, decisions = decisions.len(), accepted,
                absent = absent.len(), "interval decided");
        }
        Event::Submitted {
            epoch,
            outcome,
            weights,
        } => {
            tracing::info!(%epoch, ?outcome, slots = weights.len(), "weights");
        }
        Event::Revealed { epoch, block } => {
            tracing::info!(%epoch, %block, "the chain opened the commit");
        }
        // The scheduler has said it, as an error.
        Event::Held { .. }
        | Event::RevealMissed { .. }
        | Event::EpochMissed { .. }
        | Event::Alert { .. } => {}
        Event::Leading => tracing::info!("this process leads"),
        Event::Following { holder } => tracing::info!(holder, "another process leads"),
        Event::Waiting { on } => tracing::debug!(on, "waiting"),
    }
}
