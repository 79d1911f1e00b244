//! What every part of the scheduler works with: its ports, its options, its observer.

use crate::event::{Event, Observer};
use nexis_ports::{Archive, Board, Bucket, BucketAccess, Chain, Queue};
use nexis_protocol::{IntervalId, Netuid};
use nexis_wire::{JobRules, TraceContext};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The dependencies of a scheduler.
#[derive(Clone)]
pub struct SchedulerPorts {
    /// Where jobs go.
    pub queue: Arc<dyn Queue>,
    /// Where progress is.
    pub board: Arc<dyn Board>,
    /// Blocks, roster, weights.
    pub chain: Arc<dyn Chain>,
    /// Evidence and decisions.
    pub archive: Arc<dyn Archive>,
    /// The record-info bucket.
    pub bucket: Arc<dyn Bucket>,
}

/// How much of the global overlap index is read.
#[derive(Debug, Clone, Copy)]
pub struct IndexLimits {
    /// Largest object that is read.
    pub max_bytes: u64,
    /// Time for reading it. The lease is renewed meanwhile.
    pub budget: Duration,
}

impl Default for IndexLimits {
    /// 256 MiB hold some twelve million clip starts.
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            budget: Duration::from_secs(300),
        }
    }
}

/// Settings of a scheduler.
#[derive(Clone)]
pub struct SchedulerOptions {
    /// Name in the campaign for leadership; unique per process.
    pub name: String,
    /// Rules that go into every job.
    pub rules: JobRules,
    /// Where the global overlap index is, and its key; `None`: an empty index.
    pub record_info: Option<(BucketAccess, String)>,
    /// How much of it is read.
    pub index: IndexLimits,
    /// Hotkeys that the operator leaves out.
    pub exclude: BTreeSet<String>,
    /// Blocks after opening at which the miner stage closes whoever is missing.
    pub miners_deadline_blocks: u64,
    /// The same for the clip stage.
    pub clips_deadline_blocks: u64,
    /// How long leadership lasts without renewal.
    pub lease: Duration,
    /// Jobs without a result are published again when their stage made no progress for this long.
    pub republish_after: Duration,
    /// Longest pause between two looks.
    pub poll: Duration,
    /// Whether this validator writes weights at all.
    pub submit: bool,
    /// Rounds open at one time while catching up.
    pub max_open_rounds: usize,
    /// The second in which waits after a fault and between two attempts at a submission are counted: shorter than a real
    /// one only on a chain with a faster clock.
    pub retry_unit: Duration,
    /// Seconds since the epoch, for the time stamp of decisions.
    pub clock: fn() -> f64,
    /// What counts for weights, and what is kept.
    pub keeping: Keeping,
}

/// What counts for weights, and what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Lowest share of a window's intervals that must be decided before its weights are sent, percent.
    pub least_window_percent: u64,
    /// Decided rounds are removed when they are this many blocks old; `None`: never.
    pub retention_blocks: Option<u64>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            least_window_percent: 50,
            retention_blocks: None,
        }
    }
}

/// The scheduler of one process.
pub struct Scheduler {
    pub(crate) ports: SchedulerPorts,
    pub(crate) options: SchedulerOptions,
    pub(crate) observe: Observer,
}

impl Scheduler {
    /// Makes a scheduler; nothing starts yet.
    pub fn new(ports: SchedulerPorts, options: SchedulerOptions, observe: Observer) -> Self {
        Self {
            ports,
            options,
            observe,
        }
    }

    pub(crate) fn emit(&self, event: &Event) {
        (self.observe)(event);
    }

    /// Reports what needs an operator's hand.
    pub(crate) fn alert(&self, what: &str) {
        tracing::error!("alert: {what}");
        self.emit(&Event::Alert {
            what: what.to_owned(),
        });
    }

    pub(crate) fn netuid(&self) -> Netuid {
        self.options.rules.netuid
    }

    /// The root of an interval's trace: the same for every replica and after every restart.
    pub(crate) fn trace(&self, interval: IntervalId) -> TraceContext {
        let validator = self.ports.chain.own_hotkey();
        TraceContext::of_interval(self.netuid(), validator.as_ref(), interval)
    }

    /// The interval's span. Errors carry it too, hence its level.
    pub(crate) fn span(&self, interval: IntervalId) -> tracing::Span {
        let trace = self.trace(interval);
        tracing::error_span!("interval", interval.id = %interval, trace_id = trace.trace_id(),
            span_id = trace.span_id())
    }
}
