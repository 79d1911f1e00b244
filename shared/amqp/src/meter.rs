use nexis_ports::Route;
use nexis_runtime::label;
use nexis_runtime::metrics::{Counter, Counters, Histogram, Metrics, SECONDS};

label! {
    /// A route's queue.
    pub(crate) enum QueueOf as "queue" {
        /// Jobs per miner.
        Miner => "miner",
        /// Jobs per clip.
        Clip => "clip",
    }
}

impl From<Route> for QueueOf {
    fn from(route: Route) -> Self {
        match route {
            Route::Miner => Self::Miner,
            Route::Clip => Self::Clip,
        }
    }
}

/// The queue's instruments.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) connections: Counter,
    pub(crate) published: Counters<QueueOf>,
    pub(crate) failures: Counters<QueueOf>,
    pub(crate) publish: Histogram,
    pub(crate) confirm: Histogram,
}

impl Meter {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            connections: metrics.counter(
                "nexis_queue_connections",
                "Connections made to the broker; more than two mean that it was lost",
            ),
            published: metrics.counters(
                "nexis_queue_published",
                "Messages that the broker confirmed",
            ),
            failures: metrics.counters(
                "nexis_queue_publish_failures",
                "Calls that did not get all of their messages confirmed",
            ),
            publish: metrics.histogram(
                "nexis_queue_publish_seconds",
                "Time of a publishing call, from the first message to the last confirm",
                &SECONDS,
            ),
            confirm: metrics.histogram(
                "nexis_queue_confirm_seconds",
                "Time from a message to its confirm",
                &SECONDS,
            ),
        }
    }
}
