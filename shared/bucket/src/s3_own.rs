//! Our own buckets on S3.

use crate::answer::{Answer, sort};
use crate::own::{Entry, ObjectStore, StoreError};
use crate::store::{BucketStore, pause_before};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use nexis_ports::{Bucket as _, BucketAccess, FetchError, FetchLimits, Fetched};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// Time for one write, question or page of a listing, all attempts together.
const BUDGET: Duration = Duration::from_secs(120);
/// Time for one attempt: enough for a clip of tens of MB over a slow line.
const ATTEMPT: Duration = Duration::from_secs(60);

/// One bucket of our own on S3.
#[derive(Clone)]
pub struct S3Objects {
    store: BucketStore,
    client: Client,
    access: BucketAccess,
    budget: Duration,
}

impl std::fmt::Debug for S3Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Objects")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

enum Ended<T> {
    Did(T),
    Missing,
}

impl S3Objects {
    pub(crate) const fn new(store: BucketStore, client: Client, access: BucketAccess) -> Self {
        Self {
            store,
            client,
            access,
            budget: BUDGET,
        }
    }

    /// Gives up a write, question or listing page after `budget` (default 120 s).
    pub const fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Creates the bucket; one that we already own is fine.
    pub async fn create_bucket(&self) -> Result<(), StoreError> {
        let made = self
            .attempts("creating", "", || async {
                let made = self
                    .client
                    .create_bucket()
                    .bucket(&self.access.bucket)
                    .send()
                    .await;
                match made {
                    Err(error)
                        if matches!(
                            error.code(),
                            Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")
                        ) =>
                    {
                        Ok(())
                    }
                    other => other.map(|_| ()),
                }
            })
            .await?;
        self.refused("creating", "", made)
    }

    async fn attempts<T, E, F, Fut>(
        &self,
        doing: &'static str,
        key: &str,
        request: F,
    ) -> Result<Ended<T>, StoreError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let deadline = Instant::now() + self.budget;
        let bucket = || self.access.bucket.clone();
        let mut attempt = 0;
        loop {
            let until = deadline.min(Instant::now() + ATTEMPT);
            let last = match tokio::time::timeout_at(until, request()).await {
                Ok(Ok(value)) => return Ok(Ended::Did(value)),
                Ok(Err(error)) => match sort(&error) {
                    Answer::Missing(_) => return Ok(Ended::Missing),
                    Answer::Unusable(reason) => {
                        let key = key.to_owned();
                        return Err(StoreError::Unusable {
                            doing,
                            bucket: bucket(),
                            key,
                            reason,
                        });
                    }
                    Answer::Clock(what) => {
                        format!("the store says that this machine's clock is wrong ({what})")
                    }
                    Answer::Fault(what) => what,
                },
                Err(_) => "no answer in time".to_owned(),
            };
            attempt += 1;
            let wake = Instant::now() + pause_before(attempt);
            if wake >= deadline {
                let key = key.to_owned();
                return Err(StoreError::Unreachable {
                    doing,
                    bucket: bucket(),
                    key,
                    last,
                });
            }
            tracing::debug!(
                bucket = self.access.bucket,
                key,
                doing,
                attempt,
                last,
                "trying again"
            );
            tokio::time::sleep_until(wake).await;
        }
    }

    fn refused<T>(&self, doing: &'static str, key: &str, ended: Ended<T>) -> Result<T, StoreError> {
        match ended {
            Ended::Did(value) => Ok(value),
            Ended::Missing => Err(StoreError::Refused {
                doing,
                bucket: self.access.bucket.clone(),
                key: key.to_owned(),
            }),
        }
    }
}

fn size(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

fn seconds(time: Option<&DateTime>) -> Option<f64> {
    time.map(DateTime::as_secs_f64)
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn get(&self, key: &str, limits: FetchLimits) -> Result<Fetched, FetchError> {
        self.store.fetch(&self.access, key, limits).await
    }

    async fn put(&self, key: &str, body: Bytes, content_type: &str) -> Result<(), StoreError> {
        let written = self
            .attempts("writing", key, || {
                self.client
                    .put_object()
                    .bucket(&self.access.bucket)
                    .key(key)
                    .content_type(content_type)
                    .body(ByteStream::from(body.clone()))
                    .send()
            })
            .await?;
        self.refused("writing", key, written).map(|_| ())
    }

    async fn head(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let asked = self
            .attempts("asking about", key, || async {
                match self
                    .client
                    .head_object()
                    .bucket(&self.access.bucket)
                    .key(key)
                    .send()
                    .await
                {
                    // A head answer has no body: its status alone tells an absence from a refusal.
                    Err(error) => match error.raw_response().map(|raw| raw.status().as_u16()) {
                        Some(404) => Ok(Ended::Did(None)),
                        Some(401 | 403) => Ok(Ended::Missing),
                        _ => Err(error),
                    },
                    Ok(answer) => Ok(Ended::Did(Some(answer))),
                }
            })
            .await?;
        let answered = match asked {
            Ended::Did(answered) => answered,
            Ended::Missing => Ended::Missing,
        };
        let answer = self.refused("asking about", key, answered)?;
        Ok(answer.map(|answer| Entry {
            key: key.to_owned(),
            bytes: size(answer.content_length()),
            last_modified: seconds(answer.last_modified()),
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self
                .attempts("listing", prefix, || {
                    self.client
                        .list_objects_v2()
                        .bucket(&self.access.bucket)
                        .prefix(prefix)
                        .set_continuation_token(next.clone())
                        .send()
                })
                .await?;
            let page = self.refused("listing", prefix, page)?;
            entries.extend(page.contents().iter().filter_map(|object| {
                Some(Entry {
                    key: object.key()?.to_owned(),
                    bytes: size(object.size()),
                    last_modified: seconds(object.last_modified()),
                })
            }));
            let following = page.next_continuation_token().map(str::to_owned);
            // A store that repeats its token would otherwise be listed for ever.
            if following.is_none() || following == next {
                break;
            }
            next = following;
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }
}
