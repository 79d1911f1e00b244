//! Object stores behind the `Bucket` port.
//!
//! Owns: talking to S3 ([`BucketStore`]) and to folders laid out like buckets ([`DirBucket`]), with size caps,
//! time budgets, retries and a digest made on the way; [`ObjectStore`] to read and write buckets of our own.
//! Never does: follow a redirect, list a miner's bucket, judge what was read.
//! Start reading at [`BucketStore`].
//!
//! ```
//! use nexis_bucket::{BucketStore, EndpointPattern};
//!
//! let r2 = EndpointPattern::default();
//! assert_eq!(
//!     r2.endpoint("0123456789abcdef0123456789abcdef")?,
//!     "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
//! );
//! let store = BucketStore::new(r2);
//! # let _store = store;
//! # Ok::<(), nexis_bucket::EndpointError>(())
//! ```

mod answer;
mod clients;
mod dir;
mod endpoint;
mod last_modified;
mod own;
mod s3_own;
mod store;
mod transport;

pub use dir::{DirBucket, DirObjects};
pub use endpoint::{EndpointError, EndpointPattern};
pub use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
pub use own::{Entry, ObjectStore, StoreError};
pub use s3_own::S3Objects;
pub use store::BucketStore;
