use nexis_runtime::label;
use nexis_runtime::metrics::{Counters, Histogram, Histograms, Metrics, SECONDS};

label! {
    /// What was asked of the board.
    pub(crate) enum Call as "call" {
        /// The lease.
        Lease => "lease",
        /// A leader's write.
        Lead => "lead",
        /// Results.
        Post => "post",
        /// Whether jobs are still wanted.
        Wanted => "wanted",
        /// Whether the board takes a write.
        Write => "write",
        /// Where a round stands, its plan and results.
        Read => "read",
    }
}

/// Sizes of batches, in powers of four.
const SIZES: [f64; 6] = [1.0, 4.0, 16.0, 64.0, 256.0, 512.0];

/// The board's instruments.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) seconds: Histograms<Call>,
    pub(crate) failures: Counters<Call>,
    batches: Histogram,
}

impl Meter {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            seconds: metrics.histograms(
                "nexis_board_call_seconds",
                "Time of a call to the board, retry included",
                &SECONDS,
            ),
            failures: metrics.counters("nexis_board_failures", "Calls to the board that failed"),
            batches: metrics.histogram(
                "nexis_board_verdicts_per_call",
                "Clip verdicts posted in one call",
                &SIZES,
            ),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a batch has at most some hundreds"
    )]
    pub(crate) fn batch(&self, size: usize) {
        self.batches.observe(f64::from(size as u32));
    }
}
