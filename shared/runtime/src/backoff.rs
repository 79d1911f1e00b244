//! Pauses between attempts: doubling, jittered, bounded by a deadline.

use rand::Rng;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How pauses grow. Both ends are chosen by the caller, who knows whom the attempts hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// First pause, before jitter.
    pub first: Duration,
    /// Longest pause, before jitter.
    pub longest: Duration,
}

impl Backoff {
    /// Pauses that double from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// A fresh series of pauses without an end.
    pub const fn start(self) -> Pauses {
        Pauses {
            policy: self,
            attempt: 0,
            deadline: None,
        }
    }

    /// A fresh series that ends when the next pause would outlive `deadline`.
    pub const fn until(self, deadline: Instant) -> Pauses {
        Pauses {
            policy: self,
            attempt: 0,
            deadline: Some(deadline),
        }
    }

    /// The pause after `attempt` failures (0 = after the first one), before jitter.
    fn nominal(self, attempt: u32) -> Duration {
        // 2^31 × 1 ns is above 2 s already; `saturating_mul` and `min` do the rest.
        self.first
            .saturating_mul(1_u32 << attempt.min(31))
            .min(self.longest)
    }
}

/// A running series of pauses.
#[derive(Debug, Clone)]
pub struct Pauses {
    policy: Backoff,
    attempt: u32,
    deadline: Option<Instant>,
}

impl Pauses {
    /// The next pause: between half and the whole of the nominal one, so that many processes which failed together
    /// do not come back together. `None`: the deadline would pass first.
    pub fn next_pause(&mut self) -> Option<Duration> {
        let nominal = self.policy.nominal(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        let pause = nominal.mul_f64(rand::rng().random_range(0.5..=1.0));
        match self.deadline {
            Some(deadline) if Instant::now() + pause >= deadline => None,
            _ => Some(pause),
        }
    }

    /// A success: the next failure starts from the shortest pause again.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Pauses asked for since the start or the last reset.
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Waits for the next pause; `false` when the deadline would pass first (then it does not wait).
    pub async fn wait(&mut self) -> bool {
        let Some(pause) = self.next_pause() else {
            return false;
        };
        tokio::time::sleep(pause).await;
        true
    }
}

/// Repeats `attempt` while it fails with an error that `transient` accepts and the series has pauses left.
/// Gives the last error otherwise.
pub async fn retry<T, E, F>(
    mut pauses: Pauses,
    transient: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if !transient(&error) => return Err(error),
            Err(error) => {
                if !pauses.wait().await {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, retry};
    use std::time::Duration;
    use tokio::time::Instant;

    const QUICK: Backoff = Backoff::new(Duration::from_millis(4), Duration::from_millis(20));
    const POLICY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_within_the_jitter() {
        let mut pauses = POLICY.start();
        for nominal in [100_u64, 200, 400, 800, 1600, 2000, 2000] {
            let pause = pauses.next_pause().expect("no deadline").as_millis();
            assert!(
                pause >= u128::from(nominal / 2) && pause <= u128::from(nominal),
                "{pause}"
            );
        }
        pauses.reset();
        assert!(pauses.next_pause().expect("no deadline") <= POLICY.first);
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut pauses = POLICY.start();
        for _ in 0..1000 {
            assert!(pauses.next_pause().expect("no deadline") <= POLICY.longest);
        }
    }

    #[tokio::test]
    async fn retrying_ends_with_the_last_error_before_the_deadline_passes() {
        let deadline = Instant::now() + Duration::from_millis(800);
        let mut calls = 0_u32;
        let ended: Result<(), u32> = retry(
            POLICY.until(deadline),
            |_| true,
            || {
                calls += 1;
                let error = calls;
                async move { Err(error) }
            },
        )
        .await;
        assert_eq!(ended, Err(calls));
        assert!(calls > 1, "only {calls} attempts before the deadline");
        assert_eq!(QUICK.until(Instant::now()).next_pause(), None);
    }

    #[tokio::test]
    async fn a_permanent_error_is_not_repeated() {
        let mut calls = 0;
        let ended: Result<(), &str> = retry(
            POLICY.start(),
            |error| *error != "never",
            || {
                calls += 1;
                async { Err("never") }
            },
        )
        .await;
        assert_eq!((ended, calls), (Err("never"), 1));
    }
}
