//! A board whose calls are seen, for tests and benches that hold them up or time them.

use crate::{Board, BoardError, Leadership, Posted, Stage, Tally, Write};
use async_trait::async_trait;
use nexis_protocol::{Hotkey, IntervalId, JobId, LeaderEpoch};
use std::sync::Arc;
use std::time::Duration;

/// A call, by the method's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a method of [`Board`]")]
pub enum BoardCall {
    Campaign,
    Resign,
    Open,
    Advance,
    Retire,
    Discard,
    Forget,
    Rounds,
    Tally,
    Plan,
    Post,
    Wanted,
    Missing,
    Results,
    ResultsOf,
    Late,
    Fact,
    SetFact,
    Changed,
}

/// Looks on.
#[async_trait]
pub trait Onlooker: Send + Sync {
    /// Before a call reaches the board. The call waits for this.
    async fn begins(&self, call: BoardCall);
    /// After the board answered.
    fn ended(&self, call: BoardCall) {
        let _ = call;
    }
}

#[async_trait]
impl<O: Onlooker> Onlooker for Arc<O> {
    async fn begins(&self, call: BoardCall) {
        (**self).begins(call).await;
    }

    fn ended(&self, call: BoardCall) {
        (**self).ended(call);
    }
}

/// A board and who looks on.
pub struct LookedOn<B, O> {
    inner: B,
    onlooker: O,
}

impl<B: Board, O: Onlooker> LookedOn<B, O> {
    /// Every call of `inner`, with `onlooker` before and after it.
    pub fn new(inner: B, onlooker: O) -> Self {
        Self { inner, onlooker }
    }

    async fn seen<T>(&self, call: BoardCall, answer: impl Future<Output = T> + Send) -> T {
        self.onlooker.begins(call).await;
        let answer = answer.await;
        self.onlooker.ended(call);
        answer
    }
}

#[async_trait]
impl<B: Board, O: Onlooker> Board for LookedOn<B, O> {
    async fn campaign(&self, who: &str, ttl: Duration) -> Result<Leadership, BoardError> {
        let answer = self.inner.campaign(who, ttl);
        self.seen(BoardCall::Campaign, answer).await
    }

    async fn resign(&self, epoch: LeaderEpoch) -> Result<(), BoardError> {
        let answer = self.inner.resign(epoch);
        self.seen(BoardCall::Resign, answer).await
    }

    async fn open(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let answer = self.inner.open(epoch, interval, plan, expected);
        self.seen(BoardCall::Open, answer).await
    }

    async fn advance_from(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        seen: Option<u64>,
        to: Stage,
        plan: Vec<u8>,
        expected: &[JobId],
    ) -> Result<Write, BoardError> {
        let inner = &self.inner;
        let answer = inner.advance_from(epoch, interval, seen, to, plan, expected);
        self.seen(BoardCall::Advance, answer).await
    }

    async fn retire(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        let answer = self.inner.retire(epoch, interval);
        self.seen(BoardCall::Retire, answer).await
    }

    async fn discard(&self, epoch: LeaderEpoch, interval: IntervalId) -> Result<Write, BoardError> {
        let answer = self.inner.discard(epoch, interval);
        self.seen(BoardCall::Discard, answer).await
    }

    async fn forget(
        &self,
        epoch: LeaderEpoch,
        interval: IntervalId,
        jobs: &[JobId],
    ) -> Result<Write, BoardError> {
        let answer = self.inner.forget(epoch, interval, jobs);
        self.seen(BoardCall::Forget, answer).await
    }

    async fn rounds(&self) -> Result<Vec<IntervalId>, BoardError> {
        self.seen(BoardCall::Rounds, self.inner.rounds()).await
    }

    async fn tally(&self, interval: IntervalId) -> Result<Option<Tally>, BoardError> {
        let answer = self.inner.tally(interval);
        self.seen(BoardCall::Tally, answer).await
    }

    async fn plan(&self, interval: IntervalId, of: Stage) -> Result<Option<Vec<u8>>, BoardError> {
        let answer = self.inner.plan(interval, of);
        self.seen(BoardCall::Plan, answer).await
    }

    async fn post(&self, job: &JobId, result: Vec<u8>) -> Result<Posted, BoardError> {
        let answer = self.inner.post(job, result);
        self.seen(BoardCall::Post, answer).await
    }

    async fn wanted(&self, job: &JobId) -> Result<bool, BoardError> {
        self.seen(BoardCall::Wanted, self.inner.wanted(job)).await
    }

    async fn missing(&self, interval: IntervalId, of: Stage) -> Result<Vec<JobId>, BoardError> {
        let answer = self.inner.missing(interval, of);
        self.seen(BoardCall::Missing, answer).await
    }

    async fn results(
        &self,
        interval: IntervalId,
        of: Stage,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        let answer = self.inner.results(interval, of);
        self.seen(BoardCall::Results, answer).await
    }

    async fn results_of(
        &self,
        interval: IntervalId,
        of: Stage,
        hotkey: &Hotkey,
    ) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        let answer = self.inner.results_of(interval, of, hotkey);
        self.seen(BoardCall::ResultsOf, answer).await
    }

    async fn late(&self, interval: IntervalId) -> Result<Vec<(JobId, Vec<u8>)>, BoardError> {
        self.seen(BoardCall::Late, self.inner.late(interval)).await
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, BoardError> {
        self.seen(BoardCall::Fact, self.inner.fact(name)).await
    }

    async fn set_fact(
        &self,
        epoch: LeaderEpoch,
        name: &str,
        value: Vec<u8>,
    ) -> Result<(), BoardError> {
        let answer = self.inner.set_fact(epoch, name, value);
        self.seen(BoardCall::SetFact, answer).await
    }

    async fn changed(&self, at_most: Duration) {
        let answer = self.inner.changed(at_most);
        self.seen(BoardCall::Changed, answer).await;
    }
}
