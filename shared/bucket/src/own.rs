//! Buckets of our own: written, listed, asked about.

use async_trait::async_trait;
use bytes::Bytes;
use nexis_ports::{FaultClass, FetchError, FetchLimits, Fetched};

/// An object as a listing or a head request tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// The store's last-modified time, seconds since the epoch, when it tells.
    pub last_modified: Option<f64>,
}

/// Writing, listing or asking about an object of our own failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store says that the bucket does not exist or that these credentials may not do this.
    #[error(
        "{doing} '{key}' in bucket '{bucket}': the store refuses; check the bucket's name and that the credentials may do this"
    )]
    Refused {
        /// What we were doing: writing, listing, asking about.
        doing: &'static str,
        /// Bucket.
        bucket: String,
        /// Key or prefix.
        key: String,
    },
    /// The store was away or broken for as long as we tried.
    #[error("{doing} '{key}' in bucket '{bucket}': {last}")]
    Unreachable {
        /// What we were doing.
        doing: &'static str,
        /// Bucket.
        bucket: String,
        /// Key or prefix.
        key: String,
        /// The last fault.
        last: String,
    },
    /// No request can be formed from this key, bucket or endpoint.
    #[error("{doing} '{key}' in bucket '{bucket}': no request can be formed: {reason}")]
    Unusable {
        /// What we were doing.
        doing: &'static str,
        /// Bucket.
        bucket: String,
        /// Key or prefix.
        key: String,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// What a caller may do about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unreachable { .. } => FaultClass::Transient,
            Self::Refused { .. } | Self::Unusable { .. } => FaultClass::Permanent,
        }
    }
}

/// One bucket that belongs to us.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Reads an object, as the `Bucket` port does.
    async fn get(&self, key: &str, limits: FetchLimits) -> Result<Fetched, FetchError>;

    /// Writes an object, replacing what was there; readers see the old or the new bytes, never a mixture.
    async fn put(&self, key: &str, body: Bytes, content_type: &str) -> Result<(), StoreError>;

    /// Asks about an object; `None` when there is none. A refused request is an error, not an absence.
    async fn head(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All objects whose keys start with `prefix`, ascending by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;
}
