//! Reading S3, within limits, from stores that may be away and miners that may be hostile.

use crate::answer::{Answer, sort, words};
use crate::clients::Clients;
use crate::endpoint::EndpointPattern;
use crate::s3_own::S3Objects;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::{Bytes, BytesMut};
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
use nexis_protocol::Digest;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// First pause after a fault; doubles up to [`LONGEST_PAUSE`], each drawn from 50–100 % of it so that a
/// fleet does not knock in step.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A store that comes back is found again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that gives nothing for this long is dropped and tried anew: a healthy store answers in
/// well under a second, a dead one must not eat the whole budget.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);
/// A transfer may take this long before its average speed counts.
const SLOW_START: Duration = Duration::from_secs(10);
/// Room set aside before the first byte, whatever length was announced.
const FIRST_ROOM: usize = 1 << 20;

/// S3 buckets of any account, read with each account's own credentials.
///
/// Cheap to clone; clones share clients and connections. Redirects are not followed: an answer with
/// one is a fault like any other.
#[derive(Clone)]
pub struct BucketStore {
    clients: Arc<Clients>,
    silence: Duration,
    slow_start: Duration,
}

impl std::fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketStore").finish_non_exhaustive()
    }
}

impl BucketStore {
    /// Stores found by that pattern.
    pub fn new(pattern: EndpointPattern) -> Self {
        Self {
            clients: Arc::new(Clients::new(pattern)),
            silence: LONGEST_SILENCE,
            slow_start: SLOW_START,
        }
    }

    /// Drops a connection that gives nothing for `silence` (default 15 s).
    pub fn with_longest_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Begins to hold transfers to [`FetchLimits::min_bytes_per_second`] after `slow_start` (default 10 s).
    pub fn with_slow_start(mut self, slow_start: Duration) -> Self {
        self.slow_start = slow_start;
        self
    }

    /// A bucket of our own, to write and list as well (record info, a miner's upload).
    /// `access` must hold credentials that may write.
    pub fn objects(&self, access: BucketAccess) -> Result<S3Objects, FetchError> {
        let client = self.clients.client(&access)?;
        Ok(S3Objects::new(self.clone(), client, access))
    }

    async fn attempt(
        &self,
        client: &Client,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
        deadline: Instant,
    ) -> Result<Fetched, Answer> {
        let max_bytes = limits.max_bytes;
        let begun = Instant::now();
        let request = client.get_object().bucket(&access.bucket).key(key).send();
        let mut answer = match tokio::time::timeout(self.silence, request).await {
            Err(_) => return Err(self.silent()),
            Ok(Err(error)) => return Err(sort(&error)),
            Ok(Ok(answer)) => answer,
        };
        let announced = answer
            .content_length()
            .and_then(|length| u64::try_from(length).ok());
        if let Some(bytes) = announced.filter(|bytes| *bytes > max_bytes) {
            return Ok(Fetched::TooLarge { bytes });
        }
        let last_modified = answer
            .last_modified()
            .map(aws_sdk_s3::primitives::DateTime::as_secs_f64);
        let room = announced
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(0);
        let mut read = BytesMut::with_capacity(room.min(FIRST_ROOM));
        let mut hasher = Sha256::new();
        loop {
            let too_slow = self.below_the_floor(begun, read.len() as u64, limits);
            let silent = Instant::now() + self.silence;
            // A store that answered and does not finish within the budget was reached, and is slow.
            let until = too_slow.map_or(deadline, |at| at.min(deadline)).min(silent);
            let piece = match timeout_at(until, answer.body.next()).await {
                Err(_) if until == silent => return Err(self.silent()),
                Err(_) => return Ok(slow(begun, read.len() as u64, limits)),
                Ok(None) => break,
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => {
                    return Err(Answer::Fault(format!(
                        "reading the body: {}",
                        words(&error)
                    )));
                }
            };
            let bytes = (read.len() + piece.len()) as u64;
            if bytes > max_bytes {
                return Ok(Fetched::TooLarge { bytes });
            }
            hasher.update(&piece);
            read.extend_from_slice(&piece);
        }
        let bytes = read.len() as u64;
        if let Some(announced) = announced.filter(|announced| *announced != bytes) {
            return Err(Answer::Fault(format!(
                "{bytes} of {announced} announced bytes came"
            )));
        }
        let digest = Digest::new(hasher.finalize().into());
        Ok(Fetched::Found(Object {
            bytes: Bytes::from(read),
            digest,
            last_modified,
        }))
    }

    /// When the average of a transfer that has brought so many bytes falls below the floor, if nothing more comes.
    fn below_the_floor(&self, begun: Instant, bytes: u64, limits: FetchLimits) -> Option<Instant> {
        let floor = limits.min_bytes_per_second;
        let enough_for = Duration::from_secs(bytes.checked_div(floor)?);
        begun.checked_add(enough_for.max(self.slow_start))
    }

    fn silent(&self) -> Answer {
        Answer::Fault(format!(
            "nothing came for {:.1} s",
            self.silence.as_secs_f64()
        ))
    }
}

/// Another attempt would be as slow, and cost as much.
fn slow(begun: Instant, bytes: u64, limits: FetchLimits) -> Fetched {
    let seconds = begun.elapsed().as_secs_f64();
    let floor = limits.min_bytes_per_second;
    #[expect(clippy::cast_precision_loss, reason = "words for the operator")]
    let below = (bytes as f64) < floor as f64 * seconds;
    let last = if below {
        format!("{bytes} bytes came in {seconds:.1} s, fewer than {floor} a second")
    } else {
        format!("{bytes} bytes came in {seconds:.1} s, and then the time budget was used up")
    };
    Fetched::TooSlow { last }
}

/// The pause before attempt number `attempt` (from 1).
pub(crate) fn pause_before(attempt: u32) -> Duration {
    let full = FIRST_PAUSE
        .saturating_mul(1 << attempt.saturating_sub(1).min(10))
        .min(LONGEST_PAUSE);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[async_trait]
impl Bucket for BucketStore {
    async fn fetch(
        &self,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let client = self.clients.client(access)?;
        let unusable = |reason| FetchError::Unusable {
            bucket: access.bucket.clone(),
            reason,
        };
        let deadline = Instant::now() + limits.budget;
        let mut last = Answer::Fault("the time budget was zero".to_owned());
        for attempt in 0_u32.. {
            if attempt > 0 {
                let wake = Instant::now() + pause_before(attempt);
                if wake >= deadline {
                    break;
                }
                tokio::time::sleep_until(wake).await;
            }
            let tried = self.attempt(&client, access, key, limits, deadline);
            let Ok(ended) = timeout_at(deadline, tried).await else {
                if attempt == 0 {
                    last = Answer::Fault("no complete answer within the time budget".to_owned());
                }
                break;
            };
            match ended {
                Ok(fetched) => return Ok(fetched),
                Err(Answer::Missing(answer)) => return Ok(Fetched::Missing { answer }),
                Err(Answer::Unusable(reason)) => return Err(unusable(reason)),
                Err(fault) => {
                    tracing::debug!(bucket = access.bucket, key, attempt, ?fault, "read failed");
                    last = fault;
                }
            }
        }
        match last {
            Answer::Clock(what) => Err(FetchError::WrongClock {
                bucket: access.bucket.clone(),
                reason: format!(
                    "the store says that this machine's clock is wrong ({what}): set the clock"
                ),
            }),
            Answer::Fault(last) | Answer::Unusable(last) => Ok(Fetched::Unreachable { last }),
            Answer::Missing(answer) => Ok(Fetched::Missing { answer }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_never_zero() {
        for attempt in 1..40 {
            let pause = pause_before(attempt);
            assert!(
                pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE,
                "{attempt}: {pause:?}"
            );
        }
        assert!(pause_before(20) >= LONGEST_PAUSE / 2);
    }
}
