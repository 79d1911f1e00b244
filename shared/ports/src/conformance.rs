//! The behaviour that every implementation of a port shows, embedded or real.
//!
//! Each law is a function of its own, so that a failure names the law; `run_all` runs them one after
//! another, each on a fresh instance.
#![expect(
    clippy::unwrap_used,
    reason = "the laws are tests that adapters call: a failure is a panic"
)]

pub mod archive;
pub mod board;
pub mod looked_on;
pub mod queue;
pub mod still;

use std::time::Duration;

/// How long a law waits for something that must happen. Generous: a loaded machine must not fail a law.
const SOON: Duration = Duration::from_secs(20);
/// How long a law watches that something does not happen.
const QUIET: Duration = Duration::from_millis(300);

/// The future's value, or a panic that names what was waited for.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(SOON, future).await;
    answer.unwrap_or_else(|_elapsed| panic!("waited {SOON:?} in vain for {what}"))
}

/// Asks again until the answer is there.
async fn eventually<T, F, Fut>(what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    soon(what, async {
        loop {
            if let Some(value) = ask().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
