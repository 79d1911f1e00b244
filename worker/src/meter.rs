use nexis_ports::Route;
use nexis_runtime::label;
use nexis_runtime::metrics::{Counters, Gauges, Histograms, Metrics, SECONDS};
use nexis_wire::WireError;

label! {
    /// Kind of a job.
    pub(crate) enum Kind as "kind" {
        /// A package.
        Miner => "miner",
        /// A clip.
        Clip => "clip",
    }
}

impl From<Route> for Kind {
    fn from(route: Route) -> Self {
        match route {
            Route::Miner => Self::Miner,
            Route::Clip => Self::Clip,
        }
    }
}

label! {
    /// How a job ended.
    pub(crate) enum Ending as "outcome" {
        /// Its result is the one that counts.
        Done => "done",
        /// Nobody waits for it any more.
        Stale => "stale",
        /// Handed back for another attempt.
        Retry => "retry",
        /// Can never be done.
        Dead => "dead",
        /// Dropped by a hard stop; the queue hands it out again.
        Dropped => "dropped",
    }
}

label! {
    /// Why a message became a dead letter here.
    pub(crate) enum Reason as "reason" {
        /// Not ours.
        Foreign => "foreign",
        /// From a newer program.
        Newer => "wire-version-newer",
        /// From an older program.
        Older => "wire-version-older",
        /// Ours, on the wrong queue.
        WrongKind => "wrong-kind",
        /// Ours, but it cannot be read.
        Damaged => "damaged",
        /// Its report would be larger than the scheduler reads.
        TooLarge => "too-large",
        /// The board refuses its result.
        Board => "board",
    }
}

impl From<&WireError> for Reason {
    fn from(fault: &WireError) -> Self {
        match fault {
            WireError::Foreign => Self::Foreign,
            WireError::Newer { .. } => Self::Newer,
            WireError::Older { .. } => Self::Older,
            WireError::WrongKind(_) => Self::WrongKind,
            WireError::Damaged(_) => Self::Damaged,
            WireError::TooLarge { .. } => Self::TooLarge,
        }
    }
}

/// The worker's instruments.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) jobs: Counters<(Kind, Ending)>,
    pub(crate) seconds: Histograms<Kind>,
    pub(crate) in_flight: Gauges<Kind>,
    pub(crate) permits: Gauges<Kind>,
    pub(crate) dead: Counters<Reason>,
}

impl Meter {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            jobs: metrics.counters("nexis_worker_jobs", "Jobs by kind and how they ended"),
            seconds: metrics.histograms(
                "nexis_worker_job_seconds",
                "Time from taking a job to its result on the board",
                &SECONDS,
            ),
            in_flight: metrics.gauges("nexis_worker_jobs_in_flight", "Jobs begun and not ended"),
            permits: metrics.gauges("nexis_worker_permits", "Jobs that may be in flight"),
            dead: metrics.counters(
                "nexis_worker_dead_letters",
                "Messages that this worker moved to the dead letters, by reason",
            ),
        }
    }
}

/// A job in flight; counted until it is dropped.
pub(crate) struct InFlight {
    meter: Meter,
    kind: Kind,
    ending: Ending,
}

impl InFlight {
    pub(crate) fn new(meter: Meter, kind: Kind) -> Self {
        meter.in_flight.shift(kind, 1);
        Self {
            meter,
            kind,
            ending: Ending::Dropped,
        }
    }

    pub(crate) fn ends(mut self, ending: Ending, seconds: f64) {
        self.ending = ending;
        self.meter.seconds.observe(self.kind, seconds);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.meter.in_flight.shift(self.kind, -1);
        self.meter.jobs.inc((self.kind, self.ending));
    }
}
