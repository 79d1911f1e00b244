use crate::FaultClass;
use async_trait::async_trait;
use bytes::Bytes;
use nexis_protocol::Digest;
use std::time::Duration;

/// Whose bucket, and the credentials to read it. `Debug` hides the keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BucketAccess {
    /// Bucket name (a miner's is its hotkey in lower case).
    pub bucket: String,
    /// Account id that the endpoint pattern takes.
    pub account_id: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
}

impl std::fmt::Debug for BucketAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketAccess")
            .field("bucket", &self.bucket)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

/// What one read may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Largest object, bytes; checked against the announced length and again while reading.
    pub max_bytes: u64,
    /// Time for all attempts together.
    pub budget: Duration,
    /// Slowest transfer that is waited for: average over its whole length, after a grace period. 0: any.
    pub min_bytes_per_second: u64,
}

impl FetchLimits {
    /// Limits without a floor on throughput.
    pub const fn new(max_bytes: u64, budget: Duration) -> Self {
        Self {
            max_bytes,
            budget,
            min_bytes_per_second: 0,
        }
    }
}

/// An object that was read in full.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// SHA-256, made while the bytes streamed in.
    pub digest: Digest,
    /// The store's last-modified time, seconds since the epoch, when it tells.
    pub last_modified: Option<f64>,
}

/// How a read ended, as far as the protocol is concerned.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// Read.
    Found(Object),
    /// The store said that there is none, or that we may not see it.
    Missing {
        /// What it answered, for the operator: `404 NoSuchKey`.
        answer: String,
    },
    /// Larger than the limit.
    TooLarge {
        /// Size announced or read so far, bytes.
        bytes: u64,
    },
    /// The store stayed unreachable until the budget was used up (counts as missing while other stores can be reached,
    /// PROTOCOL §6).
    Unreachable {
        /// The last fault, for the operator.
        last: String,
    },
    /// The store sends the object more slowly than [`FetchLimits::min_bytes_per_second`] (counts as missing, too).
    TooSlow {
        /// How slow, for the operator.
        last: String,
    },
}

/// We could not even try.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The endpoint or the credentials cannot be used to form a request.
    #[error("preparing a request to bucket '{bucket}': {reason}")]
    Unusable {
        /// The bucket.
        bucket: String,
        /// Why.
        reason: String,
    },
    /// The store refuses us because of our own clock: says nothing about the object.
    #[error("reading from bucket '{bucket}': {reason}")]
    WrongClock {
        /// The bucket.
        bucket: String,
        /// What the store said.
        reason: String,
    },
    /// We are stopping.
    #[error("reading from a bucket was cancelled")]
    Cancelled,
}

impl FetchError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unusable { .. } => FaultClass::Permanent,
            Self::WrongClock { .. } => FaultClass::Transient,
            Self::Cancelled => FaultClass::Cancelled,
        }
    }
}

/// Hostile object stores: every byte that comes out was chosen by a miner.
#[async_trait]
pub trait Bucket: Send + Sync {
    /// Reads one object with retries on passing faults.
    async fn fetch(
        &self,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError>;
}
