//! Many small calls made into few.
//!
//! Whoever finds no call on its way makes one for everybody who waits; the others wait for their answer. So a
//! single caller waits for nobody, and a thousand callers share round trips: the busier, the larger the batches.
//! There is no task and no timer behind it.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Calls that wait for somebody to make them.
type Waiting<I, O> = Vec<(I, oneshot::Sender<O>)>;

/// Joins calls with an item `I` and an answer `O` into batches.
pub struct Batcher<I, O> {
    waiting: Mutex<Waiting<I, O>>,
    turns: Semaphore,
    most: usize,
}

impl<I, O> Batcher<I, O> {
    /// At most `turns` calls on their way at one time, with at most `most` items each.
    pub fn new(turns: usize, most: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            turns: Semaphore::new(turns.max(1)),
            most: most.max(1),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<I, O>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer for `item`. `perform` is given items in the order in which they came, this one or others', and
    /// gives an answer for each.
    ///
    /// `None`: whoever made the call was dropped meanwhile, or gave too few answers; the item may or may not have
    /// been dealt with.
    pub async fn call<F, P>(&self, item: I, perform: F) -> Option<O>
    where
        F: Fn(Vec<I>) -> P,
        P: Future<Output = Vec<O>>,
    {
        let (tell, mut told) = oneshot::channel();
        self.waiting().push((item, tell));
        loop {
            let turn = tokio::select! {
                biased;
                answer = &mut told => return answer.ok(),
                turn = self.turns.acquire() => turn.ok()?,
            };
            // Those who were woken together with us come along.
            tokio::task::yield_now().await;
            let (items, tellers): (Vec<I>, Vec<_>) = {
                let mut waiting = self.waiting();
                let most = self.most.min(waiting.len());
                waiting.drain(..most).unzip()
            };
            if items.is_empty() {
                // Ours is on its way with somebody else.
                drop(turn);
                return told.await.ok();
            }
            // On the heap: only one of those who wait makes the call, and the others should not carry room for it.
            let answers = Box::pin(perform(items)).await;
            for (tell, answer) in tellers.into_iter().zip(answers) {
                // Whoever does not listen any more has gone.
                tell.send(answer).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Batcher;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_single_call_is_made_at_once() {
        let batcher = Batcher::new(1, 10);
        let double = |items: Vec<u32>| async move { items.iter().map(|n| n * 2).collect() };
        assert_eq!(batcher.call(21, double).await, Some(42));
        assert_eq!(batcher.call(4, double).await, Some(8));
    }

    #[tokio::test]
    async fn calls_made_meanwhile_share_the_next_batches_and_each_gets_its_own_answer() {
        let batcher = Batcher::new(1, 40);
        let (calls, largest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let perform = |items: Vec<usize>| {
            calls.fetch_add(1, Ordering::Relaxed);
            largest.fetch_max(items.len(), Ordering::Relaxed);
            async move {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                items.into_iter().map(|n| n + 1).collect()
            }
        };
        let all = (0..100).map(|n| batcher.call(n, perform));
        let answers = futures::future::join_all(all).await;
        assert!(answers.into_iter().eq((1..=100).map(Some)));
        assert!(calls.load(Ordering::Relaxed) <= 4, "{calls:?} calls");
        assert_eq!(largest.load(Ordering::Relaxed), 40);
    }

    #[tokio::test]
    async fn a_caller_that_is_dropped_in_the_middle_leaves_nobody_waiting() {
        let batcher = Arc::new(Batcher::<u32, u32>::new(1, 10));
        let begun = Arc::new(Notify::new());
        let (shared, signal) = (Arc::clone(&batcher), Arc::clone(&begun));
        let stuck = tokio::spawn(async move {
            let forever = |_: Vec<u32>| async {
                signal.notify_one();
                std::future::pending().await
            };
            shared.call(1, forever).await
        });
        begun.notified().await;
        let echo = |items: Vec<u32>| async move { items };
        let (answer, ()) = tokio::join!(batcher.call(2, echo), async { stuck.abort() });
        assert_eq!(answer, Some(2));
    }
}
