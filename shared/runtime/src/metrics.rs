//! Counters, gauges and histograms in the text form that Prometheus reads.
//!
//! Names are `nexis_<noun>_<unit>`; counters get `_total` by themselves. Labels are closed sets: a type that
//! implements [`Label`], never a hotkey, an id or an error text. All values of a label exist at zero from the start.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram as RawHistogram;
use prometheus_client::registry::Registry;
use std::fmt::Debug;
use std::hash::Hash;
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

/// Declares a label: its values and their texts.
///
/// ```
/// nexis_runtime::label! {
///     /// How a job ended.
///     pub enum Outcome as "outcome" {
///         /// The result is there.
///         Done => "done",
///         /// It will be tried again.
///         Retry => "retry",
///     }
/// }
/// use nexis_runtime::metrics::Label;
/// assert_eq!(Outcome::ALL.len(), 2);
/// assert_eq!(Outcome::Retry.as_str(), "retry");
/// ```
#[macro_export]
macro_rules! label {
    ($(#[$doc:meta])* $shown:vis enum $name:ident as $label:literal {
        $($(#[$about:meta])* $value:ident => $text:literal),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $shown enum $name {
            $($(#[$about])* $value,)*
        }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$value),*];
            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

/// One label, or a pair of them: `Counters<Outcome>`, `Counters<(Kind, Outcome)>`.
pub trait Labels: Copy + Send + Sync + 'static {
    /// Names and values as the encoder takes them.
    type Pairs: EncodeLabelSet + Clone + Eq + Hash + Debug + Send + Sync + 'static;
    /// Every combination.
    fn all() -> Vec<Self>;
    /// This one.
    fn pairs(self) -> Self::Pairs;
}

type Pair = (&'static str, &'static str);

impl<L: Label> Labels for L {
    type Pairs = [Pair; 1];

    fn all() -> Vec<Self> {
        L::ALL.to_vec()
    }

    fn pairs(self) -> Self::Pairs {
        [(L::NAME, self.as_str())]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    type Pairs = [Pair; 2];

    fn all() -> Vec<Self> {
        let with_each = |&a: &A| B::ALL.iter().map(move |&b| (a, b));
        A::ALL.iter().flat_map(with_each).collect()
    }

    fn pairs(self) -> Self::Pairs {
        [(A::NAME, self.0.as_str()), (B::NAME, self.1.as_str())]
    }
}

/// Instruments of one name, by label.
struct ByLabel<L: Labels, M, C = fn() -> M> {
    family: Family<L::Pairs, M, C>,
}

impl<L: Labels, M, C: Clone> Clone for ByLabel<L, M, C> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
        }
    }
}

impl<L: Labels, M: Clone, C: MetricConstructor<M>> ByLabel<L, M, C> {
    /// All of them, at zero.
    fn new(make: C) -> Self {
        let family = Family::new_with_constructor(make);
        for label in L::all() {
            drop(family.get_or_create(&label.pairs()));
        }
        Self { family }
    }

    fn of(&self, label: L) -> M {
        self.family.get_or_create_owned(&label.pairs())
    }
}

/// Counters of one name, by label.
#[derive(Clone)]
pub struct Counters<L: Labels>(ByLabel<L, Counter>);

impl<L: Labels> Counters<L> {
    /// One more.
    pub fn inc(&self, label: L) {
        self.add(label, 1);
    }

    /// So many more.
    pub fn add(&self, label: L, count: u64) {
        self.0.of(label).inc_by(count);
    }

    /// How many so far.
    pub fn get(&self, label: L) -> u64 {
        self.0.of(label).get()
    }
}

/// Gauges of one name, by label.
#[derive(Clone)]
pub struct Gauges<L: Labels>(ByLabel<L, Gauge>);

impl<L: Labels> Gauges<L> {
    /// Sets one.
    pub fn set(&self, label: L, value: i64) {
        self.0.of(label).set(value);
    }

    /// Moves one up or down.
    pub fn shift(&self, label: L, by: i64) {
        self.0.of(label).inc_by(by);
    }
}

/// Histograms of one name, by label.
#[derive(Clone)]
pub struct Histograms<L: Labels>(ByLabel<L, RawHistogram, Buckets>);

impl<L: Labels> Histograms<L> {
    /// Adds a value.
    pub fn observe(&self, label: L, value: f64) {
        self.0.of(label).observe(value);
    }
}

/// Makes histograms with the same bucket ends.
#[derive(Clone)]
struct Buckets(Arc<[f64]>);

impl MetricConstructor<RawHistogram> for Buckets {
    fn new_metric(&self) -> RawHistogram {
        RawHistogram::new(self.0.iter().copied())
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
    pub fn counters<L: Labels>(&self, name: &str, help: &str) -> Counters<L> {
        let counters = Counters(ByLabel::new(Counter::default as fn() -> Counter));
        self.with(|registry| registry.register(name, help, counters.0.family.clone()));
        counters
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.with(|registry| registry.register(name, help, gauge.clone()));
        gauge
    }

    /// A gauge for each value of a label.
    pub fn gauges<L: Labels>(&self, name: &str, help: &str) -> Gauges<L> {
        let gauges = Gauges(ByLabel::new(Gauge::default as fn() -> Gauge));
        self.with(|registry| registry.register(name, help, gauges.0.family.clone()));
        gauges
    }

    /// A histogram for each value of a label, with these bucket ends.
    pub fn histograms<L: Labels>(&self, name: &str, help: &str, ends: &[f64]) -> Histograms<L> {
        let histograms = Histograms(ByLabel::new(Buckets(ends.into())));
        self.with(|registry| registry.register(name, help, histograms.0.family.clone()));
        histograms
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
    use super::{Metrics, SECONDS};

    crate::label! {
        enum Outcome as "outcome" {
            Done => "done",
            Retry => "retry",
        }
    }

    crate::label! {
        enum Kind as "kind" {
            Miner => "miner",
            Clip => "clip",
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
    fn two_labels_give_every_combination() {
        let metrics = Metrics::new();
        let jobs = metrics.counters::<(Kind, Outcome)>("nexis_jobs", "Jobs");
        jobs.add((Kind::Clip, Outcome::Retry), 3);
        let seconds = metrics.histograms::<Kind>("nexis_job_seconds", "Job time", &SECONDS);
        seconds.observe(Kind::Clip, 0.3);
        let text = metrics.render();
        for line in [
            "nexis_jobs_total{kind=\"clip\",outcome=\"retry\"} 3",
            "nexis_jobs_total{kind=\"miner\",outcome=\"done\"} 0",
            "nexis_job_seconds_count{kind=\"clip\"} 1",
            "nexis_job_seconds_count{kind=\"miner\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(jobs.get((Kind::Clip, Outcome::Retry)), 3);
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
