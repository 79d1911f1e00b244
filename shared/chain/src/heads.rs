//! Heads without gaps.

use crate::client::{ChainClient, Head, head_of};
use futures::stream::{self, Stream, StreamExt as _};
use nexis_protocol::BlockNumber;
use std::collections::VecDeque;
use std::time::Duration;
use subxt::config::substrate::SubstrateHeader;
use subxt::utils::H256;
use subxt_rpcs::client::RpcSubscription;
use tokio::time::{Instant, sleep, timeout};

/// Most blocks that are filled in after an outage (one day). What is older is skipped, with a word
/// in the log: whoever needs it walks the numbers itself.
const MAX_FILL: u64 = 7_200;
/// Missing blocks fetched per step.
const FILL_STEP: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Finalized,
    Best,
}

/// An endless sequence of heads. Missing numbers are filled in; faults are outlived: it subscribes
/// again, fails over to another endpoint when no block comes, and never ends by itself.
///
/// Dropping the future of [`HeadStream::next`] loses nothing.
pub struct HeadStream {
    client: ChainClient,
    kind: Kind,
    subscription: Option<RpcSubscription<SubstrateHeader<H256>>>,
    /// The last head handed out or queued.
    last: Option<Head>,
    queue: VecDeque<Head>,
    /// A head from the node that is ahead of what is filled in.
    target: Option<Head>,
    silence: Duration,
    heard: Instant,
    faults: u32,
    pause_until: Option<Instant>,
}

impl ChainClient {
    /// Final blocks in order, each number once, starting after `after` (or with the newest).
    pub fn stream_finalized(&self, after: Option<BlockNumber>) -> HeadStream {
        HeadStream::new(self.clone(), Kind::Finalized, after)
    }

    /// Best blocks as they come; after a reorganisation numbers are seen again with other hashes.
    pub fn stream_best(&self) -> HeadStream {
        HeadStream::new(self.clone(), Kind::Best, None)
    }
}

impl HeadStream {
    fn new(client: ChainClient, kind: Kind, after: Option<BlockNumber>) -> Self {
        let last = after.map(|number| Head {
            number,
            hash: String::new(),
        });
        // Ten blocks of finney; set shorter by `silence_limit` on a fast chain.
        Self {
            client,
            kind,
            subscription: None,
            last,
            queue: VecDeque::new(),
            target: None,
            silence: Duration::from_secs(120),
            heard: Instant::now(),
            faults: 0,
            pause_until: None,
        }
    }

    /// How long without a new block before the endpoint is left for another (default 120 s, ten
    /// blocks).
    #[must_use]
    pub fn silence_limit(mut self, limit: Duration) -> Self {
        self.silence = limit;
        self
    }

    /// As a stream.
    pub fn into_stream(self) -> impl Stream<Item = Head> + Send {
        stream::unfold(self, |mut heads| async move {
            let head = heads.next().await;
            Some((head, heads))
        })
    }

    /// The next head. Waits as long as it takes.
    pub async fn next(&mut self) -> Head {
        loop {
            if let Some(head) = self.queue.pop_front() {
                return head;
            }
            if let Some(until) = self.pause_until {
                tokio::time::sleep_until(until).await;
                self.pause_until = None;
            }
            if self.target.is_some() {
                self.fill().await;
            } else if self.subscription.is_none() {
                self.subscribe().await;
            } else {
                self.listen().await;
            }
        }
    }

    async fn subscribe(&mut self) {
        let legacy = self.client.legacy();
        let answer = match self.kind {
            Kind::Finalized => legacy.chain_subscribe_finalized_heads().await,
            Kind::Best => legacy.chain_subscribe_new_heads().await,
        };
        match answer {
            Ok(subscription) => {
                self.subscription = Some(subscription);
                // What came while we were away is not repeated by every node.
                self.ask().await;
            }
            Err(error) => self.fault(&error.to_string()),
        }
    }

    /// Asks for the newest head instead of waiting for it.
    async fn ask(&mut self) {
        let answer = match self.kind {
            Kind::Finalized => self.client.head_finalized().await,
            Kind::Best => self.client.head_best().await,
        };
        match answer {
            Ok(head) => self.offer(head),
            Err(error) => {
                self.subscription = None;
                self.fault(&error.to_string());
            }
        }
    }

    async fn listen(&mut self) {
        let Some(subscription) = self.subscription.as_mut() else {
            return;
        };
        let left = (self.heard + self.silence).saturating_duration_since(Instant::now());
        // A subscription can be silent while the node lives: look for ourselves now and then.
        let patience = left.min(self.silence / 4).max(Duration::from_millis(20));
        match timeout(patience, subscription.next()).await {
            Ok(Some(Ok(header))) => self.offer(head_of(&header)),
            Ok(Some(Err(error))) => {
                self.subscription = None;
                self.fault(&error.to_string());
            }
            Ok(None) => {
                self.subscription = None;
                self.fault("the subscription ended");
            }
            Err(_) => {
                let before = self.heard;
                self.ask().await;
                if self.heard > before {
                    // The node has blocks and does not tell us: the subscription is dead.
                    self.subscription = None;
                } else if self.heard.elapsed() >= self.silence {
                    self.subscription = None;
                    let why = format!("no new block for {:?}", self.heard.elapsed());
                    self.client.inner.pool.abandon_active(&why).await;
                    self.heard = Instant::now();
                }
            }
        }
    }

    /// Takes a head that the node reports.
    fn offer(&mut self, head: Head) {
        let known = match (&self.last, self.kind) {
            (None, _) => false,
            (Some(last), Kind::Finalized) => head.number <= last.number,
            (Some(last), Kind::Best) => head == *last,
        };
        if known {
            return;
        }
        self.heard = Instant::now();
        self.faults = 0;
        let next = self
            .last
            .as_ref()
            .map(|last| last.number.get().saturating_add(1));
        match next {
            Some(next) if next < head.number.get() => self.target = Some(head),
            _ => self.push(head),
        }
    }

    fn push(&mut self, head: Head) {
        self.last = Some(head.clone());
        self.queue.push_back(head);
    }

    /// Fetches some of the missing numbers up to the target.
    async fn fill(&mut self) {
        let (Some(target), Some(last)) = (self.target.clone(), self.last.clone()) else {
            return;
        };
        let end = target.number.get();
        let mut next = last.number.get().saturating_add(1);
        if end.saturating_sub(next) > MAX_FILL {
            tracing::warn!(
                from = next,
                to = end,
                "too many missed blocks, skipping the older ones"
            );
            next = end - MAX_FILL;
        }
        let stop = end.min(next + FILL_STEP);
        let client = self.client.clone();
        let missing: Vec<_> = stream::iter(next..stop)
            .map(|number| {
                let client = client.clone();
                async move { client.head_at(BlockNumber::new(number)).await }
            })
            .buffered(8)
            .collect()
            .await;
        for head in missing {
            match head {
                Ok(head) => self.push(head),
                Err(error) => return self.fault(&error.to_string()),
            }
        }
        if stop == end {
            self.target = None;
            self.push(target);
        }
    }

    fn fault(&mut self, what: &str) {
        self.faults = self.faults.saturating_add(1);
        let base = Duration::from_millis(100) * (1 << self.faults.min(7));
        let wait = base.mul_f64(rand::random_range(0.5..1.5));
        tracing::debug!(kind = ?self.kind, error = what, ?wait, "heads interrupted, going on");
        self.pause_until = Some(Instant::now() + wait);
    }
}

impl ChainClient {
    /// Returns when a block newer than `after` is final, or after `at_most` with the newest known.
    pub async fn next_finalized(
        &self,
        after: BlockNumber,
        at_most: Duration,
    ) -> Result<Head, crate::ChainError> {
        let deadline = Instant::now() + at_most;
        let poll = (at_most / 8).clamp(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let head = self.head_finalized().await?;
            let now = Instant::now();
            if head.number > after || now >= deadline {
                return Ok(head);
            }
            sleep(poll.min(deadline - now)).await;
        }
    }
}
