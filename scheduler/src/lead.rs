//! Leadership: at most one scheduler writes. The board gives out a growing epoch and refuses older ones, so a
//! leader that slept through its lease cannot change anything when it wakes.
//!
//! The lease is renewed beside whatever the leader does ([`Lead::while_leading`]), so that a call that takes long
//! costs nothing; and every turn of that work asks our own clock first, so that a process that was stopped in
//! the middle of something does not even try to finish it.

use crate::error::SchedulerError;
use nexis_ports::{Board, BoardError, FaultClass, Leadership};
use nexis_protocol::LeaderEpoch;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Lead {
    name: String,
    lease: Duration,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    held: Option<Held>,
    holder: String,
    news: bool,
}

#[derive(Clone, Copy)]
struct Held {
    epoch: LeaderEpoch,
    /// When we asked for what we hold: the board counts the lease from a moment after this one.
    renewed: Instant,
}

impl Lead {
    pub(crate) fn new(name: &str, lease: Duration) -> Self {
        Self {
            name: name.to_owned(),
            lease,
            standing: Mutex::default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Option<Held> {
        self.standing().held
    }

    pub(crate) fn holder(&self) -> String {
        self.standing().holder.clone()
    }

    /// True once after another holder was seen.
    pub(crate) fn news(&self) -> bool {
        std::mem::take(&mut self.standing().news)
    }

    pub(crate) fn lost(&self) {
        self.standing().held = None;
    }

    /// Asks for or renews the lease; asks the board only when half of the lease has passed.
    pub(crate) async fn campaign(
        &self,
        board: &dyn Board,
    ) -> Result<Option<LeaderEpoch>, BoardError> {
        if let Some(held) = self.held()
            && held.renewed.elapsed() < self.lease / 2
        {
            return Ok(Some(held.epoch));
        }
        self.ask(board).await
    }

    async fn ask(&self, board: &dyn Board) -> Result<Option<LeaderEpoch>, BoardError> {
        let renewed = Instant::now();
        let answer = board.campaign(&self.name, self.lease).await?;
        let mut standing = self.standing();
        match answer {
            Leadership::Leader(epoch) => {
                standing.held = Some(Held { epoch, renewed });
                standing.holder.clear();
            }
            Leadership::Follower { holder } => {
                standing.held = None;
                standing.news = standing.holder != holder;
                standing.holder = holder;
            }
        }
        Ok(standing.held.map(|held| held.epoch))
    }

    /// Does a step, with the lease kept meanwhile. Ends it where it stands when the lease is lost.
    pub(crate) async fn while_leading<T>(
        &self,
        board: &dyn Board,
        step: impl Future<Output = Result<T, SchedulerError>>,
    ) -> Result<T, SchedulerError> {
        let mut step = pin!(step);
        let mut keep = pin!(self.keep(board));
        poll_fn(|context| {
            if self.has_run_out() {
                return Poll::Ready(Err(SchedulerError::Lost("the lease ran out")));
            }
            if let Poll::Ready(lost) = keep.as_mut().poll(context) {
                return Poll::Ready(Err(lost));
            }
            step.as_mut().poll(context)
        })
        .await
    }

    fn has_run_out(&self) -> bool {
        self.held()
            .is_some_and(|held| held.renewed.elapsed() >= self.lease)
    }

    /// Renews for as long as we lead; its end is the end of our leadership.
    async fn keep(&self, board: &dyn Board) -> SchedulerError {
        // A board that is away is asked some times before the lease is over.
        let (due, again) = (self.lease / 3, self.lease / 12);
        let mut next = Instant::now();
        loop {
            tokio::time::sleep_until(next).await;
            let Some(held) = self.held() else {
                next = Instant::now() + due;
                continue;
            };
            if held.renewed.elapsed() < due {
                next = held.renewed + due;
                continue;
            }
            let end = held.renewed + self.lease;
            match tokio::time::timeout_at(end, self.ask(board)).await {
                Ok(Ok(Some(epoch))) if epoch == held.epoch => next = Instant::now() + due,
                Ok(Ok(Some(_))) => return SchedulerError::Lost("the board forgot our lease"),
                Ok(Ok(None)) => return SchedulerError::Lost("another scheduler leads"),
                Ok(Err(fault)) if fault.class() == FaultClass::Transient => {
                    tracing::warn!(error = %fault, "could not renew the lease, trying again");
                    next = end.min(Instant::now() + again);
                }
                Ok(Err(fault)) => return fault.into(),
                Err(_elapsed) => return SchedulerError::Lost("the lease ran out"),
            }
        }
    }

    pub(crate) async fn resign(&self, board: &dyn Board) {
        let held = self.standing().held.take();
        if let Some(held) = held
            && let Err(fault) = board.resign(held.epoch).await
        {
            tracing::debug!(error = %fault, "could not resign; the lease runs out by itself");
        }
    }
}
