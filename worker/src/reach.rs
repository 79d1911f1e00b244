//! Whether this worker reaches object stores at all. A read that fails while other stores answer says something about the
//! miner's store; one that fails while none answers says something about this machine, and nothing about the miner.

use async_trait::async_trait;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched};
use nexis_runtime::health::Condition;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Jobs in a row that reached no store, after which this worker takes no more.
const FAILED_JOBS: usize = 3;
/// Accounts that those jobs must belong to: a single account may be gone for reasons of its own.
const FAILED_ACCOUNTS: usize = 2;
/// Objects that were read lately, kept to find out whether any store answers; of as many accounts.
const CONTROLS: usize = 4;
/// What a read that only asks whether a store answers may cost.
/// An object that is larger is an answer, too.
const CONTROL: FetchLimits = FetchLimits::new(1, Duration::from_secs(5));

/// What is known about the stores. Shared by all jobs of a worker.
pub(crate) struct Reach {
    bucket: Arc<dyn Bucket>,
    state: Mutex<State>,
    /// One control at a time; those who wait use its result.
    control: tokio::sync::Mutex<Option<(Instant, bool)>>,
    blind: watch::Sender<bool>,
    page: Option<Condition>,
}

#[derive(Default)]
struct State {
    /// When a store answered last.
    answered: Option<Instant>,
    /// Newest object read of each account, newest first.
    known: VecDeque<(BucketAccess, String)>,
    /// Accounts of the jobs that failed since then while no store answered.
    failed: Vec<String>,
}

impl Reach {
    pub(crate) fn new(bucket: Arc<dyn Bucket>, page: Option<Condition>) -> Arc<Self> {
        if let Some(page) = &page {
            page.holds();
        }
        Arc::new(Self {
            bucket,
            state: Mutex::default(),
            control: tokio::sync::Mutex::default(),
            blind: watch::Sender::new(false),
            page,
        })
    }

    /// Whether this worker reaches no store, as it changes.
    pub(crate) fn blind(&self) -> watch::Receiver<bool> {
        self.blind.subscribe()
    }

    pub(crate) fn is_blind(&self) -> bool {
        *self.blind.borrow()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self, access: &BucketAccess, key: &str) {
        {
            let mut state = self.state();
            state.answered = Some(Instant::now());
            state.failed.clear();
            state
                .known
                .retain(|(known, _)| known.account_id != access.account_id);
            state.known.push_front((access.clone(), key.to_owned()));
            state.known.truncate(CONTROLS);
        }
        if self.blind.send_replace(false) {
            tracing::info!("a store answers again: taking jobs");
            if let Some(page) = &self.page {
                page.holds();
            }
        }
    }

    fn answered_since(&self, moment: Instant) -> bool {
        self.state()
            .answered
            .is_some_and(|answered| answered >= moment)
    }

    /// Whether other stores answered since `started`, or answer now. When none does, the job of that account counts
    /// towards this worker's blindness.
    pub(crate) async fn others_answer(&self, started: Instant, account: &str, last: &str) -> bool {
        if self.answered_since(started) || self.control().await {
            return true;
        }
        self.fails(account, last);
        false
    }

    fn fails(&self, account: &str, last: &str) {
        let (jobs, accounts) = {
            let mut state = self.state();
            state.failed.push(account.to_owned());
            let accounts: BTreeSet<&String> = state.failed.iter().collect();
            (state.failed.len(), accounts.len())
        };
        if jobs < FAILED_JOBS || accounts < FAILED_ACCOUNTS || self.blind.send_replace(true) {
            return;
        }
        tracing::error!(
            jobs,
            accounts,
            last,
            "alert: no object store answers this worker, which takes no jobs until one does: check its DNS, its route and NEXIS_R2_ENDPOINT"
        );
        if let Some(page) = &self.page {
            page.fails(format!(
                "no store answered the last {jobs} jobs of {accounts} accounts: {last}"
            ));
        }
    }

    /// Asks for objects that were read before; `true` as soon as one store answers.
    pub(crate) async fn control(&self) -> bool {
        let asked = Instant::now();
        let mut latest = self.control.lock().await;
        if let Some((at, answered)) = *latest
            && at >= asked
        {
            return answered;
        }
        let at = Instant::now();
        let known: Vec<_> = self.state().known.iter().cloned().collect();
        let mut answered = false;
        for (access, key) in known {
            if self.ask(&access, &key).await {
                answered = true;
                break;
            }
        }
        *latest = Some((at, answered));
        answered
    }

    /// Whether the store of that object answers, be it with a refusal.
    pub(crate) async fn ask(&self, access: &BucketAccess, key: &str) -> bool {
        let fetched = self.bucket.fetch(access, key, CONTROL).await;
        self.note(access, key, &fetched)
    }

    fn note(
        &self,
        access: &BucketAccess,
        key: &str,
        fetched: &Result<Fetched, FetchError>,
    ) -> bool {
        let answered = matches!(
            fetched,
            Ok(Fetched::Found(_) | Fetched::Missing { .. } | Fetched::TooLarge { .. })
        );
        if answered {
            self.answers(access, key);
        }
        answered
    }
}

/// The stores, with every answer noted.
pub(crate) struct Noted(pub(crate) Arc<Reach>);

#[async_trait]
impl Bucket for Noted {
    async fn fetch(
        &self,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let fetched = self.0.bucket.fetch(access, key, limits).await;
        self.0.note(access, key, &fetched);
        fetched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// Stores that answer, or do not.
    #[derive(Default)]
    struct Stores {
        answer: AtomicBool,
        asked: AtomicU32,
    }

    #[async_trait]
    impl Bucket for Stores {
        async fn fetch(
            &self,
            _access: &BucketAccess,
            _key: &str,
            _limits: FetchLimits,
        ) -> Result<Fetched, FetchError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.answer.load(Ordering::SeqCst) {
                return Ok(Fetched::Missing {
                    answer: "404 NoSuchKey".to_owned(),
                });
            }
            Ok(Fetched::Unreachable {
                last: "no route".to_owned(),
            })
        }
    }

    fn access(account: &str) -> BucketAccess {
        BucketAccess {
            bucket: "b".to_owned(),
            account_id: account.to_owned(),
            access_key: "k".to_owned(),
            secret_key: "s".to_owned(),
        }
    }

    fn reach() -> (Arc<Stores>, Arc<Reach>) {
        let stores = Arc::new(Stores::default());
        let bucket: Arc<dyn Bucket> = stores.clone();
        (stores, Reach::new(bucket, None))
    }

    #[tokio::test]
    async fn a_worker_that_reaches_no_store_is_blind_after_jobs_of_two_accounts_until_one_answers()
    {
        let (stores, reach) = reach();
        let now = Instant::now();
        for _ in 0..2 * FAILED_JOBS {
            assert!(!reach.others_answer(now, "one", "no route").await);
        }
        assert!(!reach.is_blind(), "one account may be gone");
        assert!(!reach.others_answer(now, "two", "no route").await);
        assert!(reach.is_blind());
        stores.answer.store(true, Ordering::SeqCst);
        assert!(reach.ask(&access("three"), "50/manifest.json").await);
        assert!(!reach.is_blind());
        // The run is broken: it takes as many failures again.
        stores.answer.store(false, Ordering::SeqCst);
        let later = Instant::now();
        assert!(!reach.others_answer(later, "one", "no route").await);
        assert!(!reach.others_answer(later, "two", "no route").await);
        assert!(!reach.is_blind());
    }

    #[tokio::test]
    async fn a_failure_while_other_stores_answer_is_not_the_workers() {
        let (stores, reach) = reach();
        let started = Instant::now();
        stores.answer.store(true, Ordering::SeqCst);
        let read = Noted(Arc::clone(&reach));
        read.fetch(&access("good"), "key", CONTROL).await.unwrap();
        stores.answer.store(false, Ordering::SeqCst);
        let asked = stores.asked.load(Ordering::SeqCst);
        for account in ["a", "b", "c", "d"] {
            assert!(reach.others_answer(started, account, "x").await);
        }
        assert_eq!(
            stores.asked.load(Ordering::SeqCst),
            asked,
            "no control is needed"
        );
        assert!(!reach.is_blind());
    }

    #[tokio::test]
    async fn a_failure_after_the_others_were_read_is_checked_against_one_of_them() {
        let (stores, reach) = reach();
        stores.answer.store(true, Ordering::SeqCst);
        assert!(reach.ask(&access("good"), "key").await);
        let started = Instant::now() + Duration::from_nanos(1);
        for account in ["a", "b", "c", "d"] {
            assert!(reach.others_answer(started, account, "x").await);
        }
        assert!(!reach.is_blind());
        stores.answer.store(false, Ordering::SeqCst);
        let started = Instant::now() + Duration::from_nanos(1);
        for account in ["a", "b", "c"] {
            assert!(!reach.others_answer(started, account, "x").await);
        }
        assert!(reach.is_blind());
    }
}
