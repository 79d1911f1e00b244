//! Leadership: at most one scheduler writes. The board gives out a growing epoch and refuses older ones, so a
//! leader that slept through its lease cannot change anything when it wakes.

use nexis_ports::{Board, BoardError, Leadership};
use nexis_protocol::LeaderEpoch;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Lead {
    name: String,
    lease: Duration,
    held: Option<(LeaderEpoch, Instant)>,
    holder: String,
    news: bool,
}

impl Lead {
    pub(crate) fn new(name: &str, lease: Duration) -> Self {
        Self {
            name: name.to_owned(),
            lease,
            held: None,
            holder: String::new(),
            news: false,
        }
    }

    pub(crate) fn epoch(&self) -> Option<LeaderEpoch> {
        self.held.map(|(epoch, _)| epoch)
    }

    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// True once after another holder was seen.
    pub(crate) fn news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    pub(crate) fn lost(&mut self) {
        self.held = None;
    }

    /// Asks for or renews the lease; asks the board only when a third of the lease has passed.
    pub(crate) async fn campaign(
        &mut self,
        board: &dyn Board,
    ) -> Result<Option<LeaderEpoch>, BoardError> {
        if let Some((epoch, renewed)) = self.held
            && renewed.elapsed() < self.lease / 3
        {
            return Ok(Some(epoch));
        }
        let asked = Instant::now();
        match board.campaign(&self.name, self.lease).await? {
            Leadership::Leader(epoch) => {
                self.held = Some((epoch, asked));
                self.holder.clear();
            }
            Leadership::Follower { holder } => {
                self.held = None;
                self.news = self.holder != holder;
                self.holder = holder;
            }
        }
        Ok(self.epoch())
    }

    pub(crate) async fn resign(&mut self, board: &dyn Board) {
        if let Some((epoch, _)) = self.held.take()
            && let Err(fault) = board.resign(epoch).await
        {
            tracing::debug!(error = %fault, "could not resign; the lease runs out by itself");
        }
    }
}
