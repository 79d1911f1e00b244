//! Going back to an endpoint that comes earlier in the order of preference, once it is well again.
//!
//! Nobody is disturbed by it: the better one is looked at by one request, for a short time and beside the connection in
//! use; subscriptions keep the connection that they came over; nothing changes while a submission is on its way.

use super::{Active, EndpointPool, Fault};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longest that one request is held up by looking.
const LOOK_AT_MOST: Duration = Duration::from_secs(3);
/// So many times the first wait is the longest.
const MOST_WAITS: u32 = 10;

/// The wish to be with a better endpoint.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// When to look next; `None` while with the best one.
    look_at: Option<Instant>,
    /// Waits until then, in units of the setting; doubles when a return does not last.
    waits: u32,
    /// When and to which endpoint we last returned.
    returned: Option<(Instant, usize)>,
    /// Submissions under way.
    stays: usize,
}

/// While it lives, requests stay with the endpoint in use as long as that one serves.
#[must_use]
pub(crate) struct Stay<'a>(&'a EndpointPool);

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.0.with_wish(|wish| wish.stays -= 1);
    }
}

impl EndpointPool {
    /// Keeps requests where they go now.
    pub(crate) fn stay(&self) -> Stay<'_> {
        self.with_wish(|wish| wish.stays += 1);
        Stay(self)
    }

    fn with_wish<T>(&self, change: impl FnOnce(&mut Wish) -> T) -> T {
        change(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes which endpoint is in use from now on.
    pub(super) fn settle_with(&self, index: usize) {
        let after = self.options.return_after;
        self.with_wish(|wish| {
            if index == 0 {
                wish.look_at = None;
                return;
            }
            let lasting = after.saturating_mul(wish.waits.max(1)) * 3;
            let short = wish
                .returned
                .take()
                .is_some_and(|(at, to)| to < index && at.elapsed() < lasting);
            wish.waits = if short {
                wish.waits.saturating_mul(2).min(MOST_WAITS)
            } else {
                1
            };
            wish.look_at = Some(Instant::now() + after * wish.waits);
        });
    }

    /// Whether it is time to look, and this call is the one that looks.
    fn takes_the_look(&self) -> bool {
        let after = self.options.return_after;
        self.with_wish(|wish| {
            let due = wish.stays == 0 && wish.look_at.is_some_and(|at| at <= Instant::now());
            if due {
                wish.look_at = Some(Instant::now() + after * wish.waits.max(1));
            }
            due
        })
    }

    /// When it is time: looks whether a better endpoint than the one in use is well, and if so uses that.
    pub(super) async fn return_to_preferred(&self) {
        if !self.takes_the_look() {
            return;
        }
        let (generation, in_use) = match &self.active.lock().await.1 {
            Some(active) => (active.generation, active.index),
            // The next request chooses anew anyway.
            None => return,
        };
        let Some(found) = self.better_than(in_use).await else {
            return;
        };
        let mut guard = self.active.lock().await;
        let unchanged = guard.1.as_ref().is_some_and(|a| a.generation == generation);
        if !unchanged || self.with_wish(|wish| wish.stays > 0) {
            return;
        }
        guard.0 += 1;
        let active = Active {
            generation: guard.0,
            ..found
        };
        let index = active.index;
        tracing::info!(endpoint = %self.endpoints[index], "the better endpoint is well again: back to it");
        guard.1 = Some(active);
        self.settle_with(index);
        self.with_wish(|wish| wish.returned = Some((Instant::now(), index)));
    }

    /// The first endpoint before this one that can be reached, is on our chain and not behind.
    async fn better_than(&self, in_use: usize) -> Option<Active> {
        let at_most = LOOK_AT_MOST.min(self.options.connect_timeout);
        for (index, endpoint) in self.endpoints.iter().enumerate().take(in_use) {
            let waiting = {
                let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
                slots[index].retry_at.is_some_and(|at| at > Instant::now())
            };
            if waiting {
                continue;
            }
            match timeout(at_most, self.open(endpoint)).await {
                Ok(Ok((client, age))) if age <= self.options.max_block_age => {
                    self.note_good(index);
                    return Some(Active {
                        index,
                        generation: 0,
                        client: Arc::new(client),
                    });
                }
                Ok(Ok((_, age))) => {
                    tracing::debug!(%endpoint, ?age, "the better endpoint is still behind");
                }
                Ok(Err(fault)) => self.note_fault(index, &fault),
                Err(_) => self.note_fault(index, &Fault::timed_out("connecting: ", at_most)),
            }
        }
        None
    }
}
