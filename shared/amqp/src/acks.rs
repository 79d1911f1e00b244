//! Acknowledgements of one consumer's channel, as few frames as they allow.
//!
//! A quorum queue writes every settlement into its log, so that one frame for fifty messages costs it little more
//! than one for a single message. Acknowledgements that come while a frame is being written share the next one;
//! nothing waits for company.

use crate::connection::Link;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use nexis_ports::QueueError;
use nexis_runtime::batch::Batcher;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Acknowledgements that share a frame, at most.
const MOST: usize = 1_000;

/// Back to the queue.
const BACK: BasicNackOptions = BasicNackOptions {
    multiple: false,
    requeue: true,
};

pub(crate) struct Acks {
    link: Arc<Link>,
    channel: Channel,
    /// Tags in our hands that the broker has not been told about.
    open: Mutex<BTreeSet<u64>>,
    batcher: Batcher<u64, Result<(), QueueError>>,
}

impl Acks {
    pub(crate) fn new(link: Arc<Link>, channel: Channel) -> Self {
        Self {
            link,
            channel,
            open: Mutex::default(),
            batcher: Batcher::new(1, MOST),
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message was handed out.
    pub(crate) fn taken(&self, tag: u64) {
        self.open().insert(tag);
    }

    /// Acknowledges; when the channel has gone, the broker has taken the message back.
    pub(crate) async fn ack(&self, tag: u64) -> Result<(), QueueError> {
        let told = self.batcher.call(tag, |tags| self.flush(tags)).await;
        told.unwrap_or(Err(QueueError::Closed))
    }

    /// Hands back, so that it is delivered again.
    pub(crate) async fn back(&self, tag: u64) -> Result<(), QueueError> {
        let call = self.channel.basic_nack(tag, BACK);
        self.link.within("handing back", call).await?;
        // Only now: until the broker knows, a frame for everything below must not reach over this one.
        self.open().remove(&tag);
        Ok(())
    }

    async fn flush(&self, tags: Vec<u64>) -> Vec<Result<(), QueueError>> {
        let (upto, single) = frames(&tags, &self.open());
        let all_upto = upto.map(|tag| self.send(tag, true));
        let each = single.into_iter().map(|tag| self.send(tag, false));
        let frames = futures::future::try_join_all(all_upto.into_iter().chain(each));
        let sent = self.link.within("acknowledging", frames).await.map(|_| ());
        if sent.is_ok() {
            let mut open = self.open();
            for tag in &tags {
                open.remove(tag);
            }
        }
        vec![sent; tags.len()]
    }

    async fn send(&self, tag: u64, multiple: bool) -> lapin::Result<()> {
        let options = BasicAckOptions { multiple };
        self.channel.basic_ack(tag, options).await
    }

    /// Hands back without waiting, from where nobody can wait.
    pub(crate) fn back_later(self: Arc<Self>, tag: u64) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(fault) = self.back(tag).await {
                    tracing::debug!(error = %fault, "the broker takes the message back by itself");
                }
            });
        }
    }
}

/// The tag up to which everything is acknowledged, and the tags beyond it that need a frame of their own.
fn frames(tags: &[u64], open: &BTreeSet<u64>) -> (Option<u64>, Vec<u64>) {
    let tags: BTreeSet<u64> = tags.iter().copied().collect();
    let held = open.iter().find(|tag| !tags.contains(tag));
    let (below, beyond): (Vec<u64>, Vec<u64>) = tags
        .into_iter()
        .partition(|tag| held.is_none_or(|held| tag < held));
    (below.last().copied(), beyond)
}

#[cfg(test)]
mod tests {
    use super::frames;
    use std::collections::BTreeSet;

    #[test]
    fn one_frame_reaches_up_to_the_first_message_that_is_still_in_hand() {
        let open: BTreeSet<u64> = (3..=9).collect();
        let cases: [(&[u64], Option<u64>, &[u64]); 5] = [
            (&[3, 4, 5, 6, 7, 8, 9], Some(9), &[]),
            (&[5, 3, 4], Some(5), &[]),
            (&[3, 9, 5], Some(3), &[5, 9]),
            (&[4, 5], None, &[4, 5]),
            (&[3], Some(3), &[]),
        ];
        for (tags, upto, single) in cases {
            assert_eq!(frames(tags, &open), (upto, single.to_vec()), "{tags:?}");
        }
    }
}
