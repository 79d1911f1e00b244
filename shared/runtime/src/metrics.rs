//! Counters, gauges and histograms in the text form that Prometheus reads.
//!
//! Names are `nexis_<noun>_<unit>`; counters get `_total` by themselves. Labels are closed sets: a type that
//! implements [`Label`], never a hotkey, an id or an error text. All values of a label exist at zero from the start.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram as RawHistogram;
use prometheus_client::registry::Registry;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

/// Bucket ends for things that take from a millisecond to ten minutes, seconds.
pub const SECONDS: [f64; 12] = [
    0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0,
];

/// A closed set of values of one label.
pub trait Label: Copy + Send + Sync + 'static {
    /// Name of the label: `outcome`, `queue`, `stage`, `reason`.
    const NAME: &'static str;
    /// Every value.
    const ALL: &'static [Self];
    /// The value as text.
    fn as_str(self) -> &'static str;
}

type Labels = [(&'static str, &'static str); 1];

/// Counters of one name, by label.
pub struct Counters<L> {
    family: Family<Labels, Counter>,
    label: PhantomData<L>,
}

impl<L> Clone for Counters<L> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Counters<L> {
    /// One more.
    pub fn inc(&self, label: L) {
        self.add(label, 1);
    }

    /// So many more.
    pub fn add(&self, label: L, count: u64) {
        self.family
            .get_or_create(&[(L::NAME, label.as_str())])
            .inc_by(count);
    }

    /// How many so far.
    pub fn get(&self, label: L) -> u64 {
        self.family
            .get_or_create(&[(L::NAME, label.as_str())])
            .get()
    }
}

/// Gauges of one name, by label.
pub struct Gauges<L> {
    family: Family<Labels, Gauge>,
    label: PhantomData<L>,
}

impl<L> Clone for Gauges<L> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Gauges<L> {
    /// Sets one.
    pub fn set(&self, label: L, value: i64) {
        self.family
            .get_or_create(&[(L::NAME, label.as_str())])
            .set(value);
    }
}

/// Observed values in buckets.
#[derive(Clone, Debug)]
pub struct Histogram(RawHistogram);

impl Histogram {
    /// Adds a value.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }
}

/// The instruments of a process. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// No instruments yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        // A panic while registering leaves a registry that still reads.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A counter. `name` without `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.with(|registry| registry.register(name, help, counter.clone()));
        counter
    }

    /// A counter for each value of a label. `name` without `_total`.
    pub fn counters<L: Label>(&self, name: &str, help: &str) -> Counters<L> {
        let counters = Counters {
            family: Family::default(),
            label: PhantomData,
        };
        for &label in L::ALL {
            counters.add(label, 0);
        }
        self.with(|registry| registry.register(name, help, counters.family.clone()));
        counters
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.with(|registry| registry.register(name, help, gauge.clone()));
        gauge
    }

    /// A gauge for each value of a label.
    pub fn gauges<L: Label>(&self, name: &str, help: &str) -> Gauges<L> {
        let gauges = Gauges {
            family: Family::default(),
            label: PhantomData,
        };
        for &label in L::ALL {
            gauges.set(label, 0);
        }
        self.with(|registry| registry.register(name, help, gauges.family.clone()));
        gauges
    }

    /// A histogram with these bucket ends; [`SECONDS`] for durations.
    pub fn histogram(&self, name: &str, help: &str, ends: &[f64]) -> Histogram {
        let histogram = RawHistogram::new(ends.iter().copied());
        self.with(|registry| registry.register(name, help, histogram.clone()));
        Histogram(histogram)
    }

    /// All instruments as Prometheus reads them.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        self.with(|registry| encode(&mut text, registry)).ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Label, Metrics, SECONDS};

    #[derive(Clone, Copy)]
    enum Outcome {
        Done,
        Retry,
    }

    impl Label for Outcome {
        const NAME: &'static str = "outcome";
        const ALL: &'static [Self] = &[Outcome::Done, Outcome::Retry];
        fn as_str(self) -> &'static str {
            match self {
                Outcome::Done => "done",
                Outcome::Retry => "retry",
            }
        }
    }

    #[test]
    fn every_value_of_a_label_is_there_at_zero_and_counts_apart() {
        let metrics = Metrics::new();
        let jobs = metrics.counters::<Outcome>("nexis_jobs", "Jobs by outcome");
        jobs.inc(Outcome::Done);
        let text = metrics.render();
        assert!(
            text.contains("nexis_jobs_total{outcome=\"done\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("nexis_jobs_total{outcome=\"retry\"} 0"),
            "{text}"
        );
    }

    #[test]
    fn gauges_and_histograms_are_rendered() {
        let metrics = Metrics::new();
        metrics
            .gauge("nexis_head_lag_blocks", "Blocks behind")
            .set(7);
        metrics
            .histogram("nexis_job_seconds", "Job time", &SECONDS)
            .observe(0.3);
        let text = metrics.render();
        assert!(text.contains("nexis_head_lag_blocks 7"), "{text}");
        assert!(
            text.contains("nexis_job_seconds_bucket{le=\"0.5\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("nexis_job_seconds_bucket{le=\"0.25\"} 0"),
            "{text}"
        );
        assert!(text.trim_end().ends_with("# EOF"), "{text}");
    }
}
