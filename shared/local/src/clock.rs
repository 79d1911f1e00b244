use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Where lease time comes from. Only differences count, so no clock of the wall is asked.
pub trait Clock: Send + Sync + 'static {
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
}

/// Tokio's clock: monotonic, and stands still under `tokio::time::pause`.
#[derive(Debug)]
pub struct TokioClock {
    start: Instant,
}

impl TokioClock {
    /// Starts at zero now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that a simulation turns by hand.
#[derive(Debug, Default)]
pub struct HandClock {
    now: Mutex<Duration>,
}

impl HandClock {
    /// Starts at zero and stays there.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns it forwards.
    pub fn advance(&self, by: Duration) {
        let mut now = self
            .now
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = now.saturating_add(by);
    }
}

impl Clock for HandClock {
    fn elapsed(&self) -> Duration {
        *self
            .now
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<C: Clock> Clock for std::sync::Arc<C> {
    fn elapsed(&self) -> Duration {
        C::elapsed(self)
    }
}
