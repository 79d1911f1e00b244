//! Waiting for a hint that something changed.

use crate::board::RedisBoard;
use futures::StreamExt;
use nexis_ports::BoardError;
use redis::aio::PubSub;
use std::time::Duration;

/// Between two attempts to subscribe.
const RETRY: Duration = Duration::from_secs(1);

/// The subscription, and how often all connections had been dropped when it was made.
pub(crate) struct Hints {
    subscription: PubSub,
    drops: u64,
}

impl RedisBoard {
    pub(crate) async fn wait_for_change(&self, at_most: Duration) {
        let began = tokio::time::Instant::now();
        match tokio::time::timeout(at_most, self.wait_for_hint()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => {
                // No hints while Redis is away: a hint may be missed, so wait a little and look.
                tracing::debug!(%error, "waiting for changes without hints");
                let rest = at_most.saturating_sub(began.elapsed());
                tokio::time::sleep(rest.min(self.inner.answer_within).min(RETRY)).await;
            }
        }
    }

    async fn wait_for_hint(&self) -> Result<(), BoardError> {
        let mut hints = self.inner.hints.lock().await;
        let drops = self.inner.links.drops();
        // Connections that were dropped because another server leads: this one goes with them.
        if hints.as_ref().is_some_and(|hints| hints.drops != drops) {
            *hints = None;
        }
        let Some(Hints { subscription, .. }) = hints.as_mut() else {
            let channel = self.inner.keys.channel();
            let subscription = self.inner.links.subscribe(&channel).await?;
            // What happened before we listened was not heard: let the caller look.
            *hints = Some(Hints {
                subscription,
                drops,
            });
            return Ok(());
        };
        let mut messages = subscription.on_message();
        if messages.next().await.is_none() {
            drop(messages);
            *hints = None;
            return Err(BoardError::Unavailable("the subscription ended".to_owned()));
        }
        // Many hints are one.
        while let Some(Some(_)) = futures::FutureExt::now_or_never(messages.next()) {}
        Ok(())
    }
}
