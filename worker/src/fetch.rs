//! Reading the two objects of a job: first as far as the job's allotment reaches, then what is larger.

use crate::intake::JobError;
use crate::room::{Reserved, Room};
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
use nexis_wire::JobRules;
use std::time::Duration;

/// How long a job tries to reach a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A quarter of the time budget: a first attempt leaves its place to others before it tries in earnest.
    Short,
    /// The whole time budget.
    Whole,
}

/// Part of the time budget that a first attempt takes.
const SHORT: u32 = 4;

/// What a job works with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The miners' buckets.
    pub bucket: &'a dyn Bucket,
    /// Memory and places to compute, which all jobs share.
    pub room: &'a Room,
    /// How long stores are tried.
    pub patience: Patience,
}

/// Why a store gave no answer about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be reached, or answered with errors of its own, to the end of the time budget.
    Unreachable(String),
    /// It sent the object more slowly than the least that is accepted.
    TooSlow(String),
}

impl Trouble {
    /// The last fault, for the operator.
    pub fn last(&self) -> &str {
        match self {
            Self::Unreachable(last) | Self::TooSlow(last) => last,
        }
    }
}

/// A report, and the trouble with the store when the report rests on that alone.
#[derive(Debug, Clone)]
pub struct Looked<R> {
    /// What the protocol says of it.
    pub report: R,
    /// Why nobody can say whether the objects are there.
    pub trouble: Option<Trouble>,
}

impl<R> Looked<R> {
    /// A report that rests on what stores answered.
    pub(crate) const fn found(report: R) -> Self {
        Self {
            report,
            trouble: None,
        }
    }
}

/// A read as the protocol sees it.
#[derive(Debug)]
pub(crate) enum Read {
    /// It was not asked for.
    Unasked,
    /// There.
    Found(Object),
    /// The store says that it is not there; why, in words.
    Missing(String),
    /// The store says nothing about it, which counts as missing when nobody else gets an answer either.
    Silent(Trouble),
    /// Beyond the limit.
    TooLarge,
    /// Beyond the allotment and within the limit.
    Larger(u64),
}

impl Read {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Found(object) => object.bytes.len() as u64,
            _ => 0,
        }
    }

    pub(crate) const fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Silent(trouble) => Some(trouble),
            _ => None,
        }
    }
}

/// An object to read.
pub(crate) struct Wanted {
    /// Its key; `None`: not at all.
    pub key: Option<String>,
    /// Largest size, bytes.
    pub most: u64,
    /// Part of the allotment that it may take, bytes.
    pub share: u64,
    /// When it is not there, the other object says nothing any more.
    pub decides: bool,
}

/// Reads the objects of one job.
pub(crate) struct Reader<'a> {
    means: Means<'a>,
    access: &'a BucketAccess,
    budget: Duration,
    floor: u64,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(means: Means<'a>, access: &'a BucketAccess, rules: &JobRules) -> Self {
        Self {
            means,
            access,
            budget: Duration::from_millis(rules.fetch_budget_ms),
            floor: rules.min_bytes_per_second,
        }
    }

    /// Reads both; large objects hold their room until it is dropped.
    pub(crate) async fn both(
        &self,
        wanted: [Wanted; 2],
    ) -> Result<([Read; 2], Option<Reserved>), JobError> {
        let first = match self.means.patience {
            Patience::Short => self.budget / SHORT,
            Patience::Whole => self.budget,
        };
        let small = |wanted: &Wanted| wanted.share.min(wanted.most);
        let (left, right) = tokio::join!(
            self.one(&wanted[0], small(&wanted[0]), first, self.floor),
            self.one(&wanted[1], small(&wanted[1]), first, self.floor)
        );
        let mut reads = [left?, right?];
        if wanted[0].decides && matches!(reads[0], Read::Missing(_) | Read::TooLarge) {
            return Ok((reads, None));
        }
        let mut held = None;
        // Twice at most: a store that does not announce the length is asked with the largest limit the second time.
        for known in [true, false] {
            let limit = |place: usize| match reads[place] {
                Read::Larger(bytes) if known => Some(bytes),
                Read::Larger(_) => Some(wanted[place].most),
                _ => None,
            };
            let limits = [limit(0), limit(1)];
            let sum = limits.iter().flatten().sum();
            if sum == 0 {
                break;
            }
            // Given back first: a job that waits for room while it holds some may wait for itself.
            drop(held.take());
            held = Some(self.means.room.large(sum).await);
            let (left, right) = tokio::join!(
                self.again(&wanted[0], limits[0], known),
                self.again(&wanted[1], limits[1], known)
            );
            for (read, again) in reads.iter_mut().zip([left?, right?]) {
                if let Some(again) = again {
                    *read = again;
                }
            }
        }
        Ok((reads, held))
    }

    /// Large objects get the whole budget at once: fetched in vain, they cost the most. They hold room that others wait
    /// for, so one that will not be there within the budget is given up as soon as that shows.
    async fn again(
        &self,
        wanted: &Wanted,
        limit: Option<u64>,
        known: bool,
    ) -> Result<Option<Read>, JobError> {
        let Some(limit) = limit else {
            return Ok(None);
        };
        let floor = if known {
            self.floor.max(limit / self.budget.as_secs().max(1))
        } else {
            self.floor
        };
        self.one(wanted, limit, self.budget, floor).await.map(Some)
    }

    async fn one(
        &self,
        wanted: &Wanted,
        limit: u64,
        budget: Duration,
        floor: u64,
    ) -> Result<Read, JobError> {
        let Some(key) = &wanted.key else {
            return Ok(Read::Unasked);
        };
        let limits = FetchLimits {
            max_bytes: limit,
            budget,
            min_bytes_per_second: floor,
        };
        let bucket = self.means.bucket;
        Ok(match bucket.fetch(self.access, key, limits).await {
            Ok(Fetched::Found(object)) => Read::Found(object),
            Ok(Fetched::Missing { answer }) => Read::Missing(format!(
                "the store has no such object, or denies access ({answer})"
            )),
            Ok(Fetched::TooLarge { bytes }) if limit < wanted.most && bytes <= wanted.most => {
                Read::Larger(bytes)
            }
            Ok(Fetched::TooLarge { .. }) => Read::TooLarge,
            Ok(Fetched::Unreachable { last }) => Read::Silent(Trouble::Unreachable(last)),
            Ok(Fetched::TooSlow { last }) => Read::Silent(Trouble::TooSlow(last)),
            // Credentials with which no request can be formed are as good as none.
            Err(FetchError::Unusable { reason, .. }) => Read::Missing(reason),
            Err(FetchError::WrongClock { reason, .. }) => {
                tracing::error!(
                    reason,
                    "alert: a store refuses this machine's clock: set it"
                );
                return Err(JobError::Clock);
            }
            Err(FetchError::Cancelled) => {
                return Err(JobError::Interrupted("reading was cancelled"));
            }
        })
    }
}
