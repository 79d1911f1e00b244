//! Dead letters: looking at them, publishing them again, throwing them away.

use crate::consumer::{message_of, reason_of};
use crate::line::Line;
use crate::queue::AmqpQueue;
use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use nexis_ports::{Message, QueueError, Route};
use std::time::Duration;

/// Longest wait for dead letters that were looked at to be back; somebody may have taken some away meanwhile.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at that.
const BACK_LOOK: Duration = Duration::from_millis(20);

impl AmqpQueue {
    /// Messages and consumers of a queue, by its name.
    pub(crate) async fn look_at(&self, name: String) -> Result<lapin::Queue, QueueError> {
        let channel = self.link.channel().await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let look = channel.queue_declare(name.into(), passive, FieldTable::default());
        let queue = self.link.within("looking at a queue", look).await?;
        self.link.done_with(&channel).await;
        Ok(queue)
    }

    /// How many dead letters a route has.
    pub async fn dead_depth(&self, route: Route) -> Result<u64, QueueError> {
        let mut count = 0;
        for line in Line::readable(route) {
            count += self.dead_of(line).await?;
        }
        Ok(count)
    }

    async fn dead_of(&self, line: Line) -> Result<u64, QueueError> {
        let queue = self.look_at(self.topology().dead_queue(line)).await?;
        Ok(u64::from(queue.message_count()))
    }

    /// Publishes up to `limit` dead letters again, oldest first; gives how many. Each is on its queue before it is
    /// gone from the dead letters: a crash in between leaves it in both, which does no harm.
    pub async fn replay(&self, route: Route, limit: u64) -> Result<u64, QueueError> {
        let mut replayed = 0;
        for line in Line::readable(route) {
            replayed += self.replay_line(line, limit - replayed).await?;
        }
        Ok(replayed)
    }

    async fn replay_line(&self, line: Line, limit: u64) -> Result<u64, QueueError> {
        // Not more than there are now, or one that dies again at once would go round for ever.
        let limit = limit.min(self.dead_of(line).await?);
        let channel = self.link.channel().await?;
        let mut replayed = 0;
        while replayed < limit {
            let Some(got) = self.next_dead(&channel, line).await? else {
                break;
            };
            let got = got.delivery;
            let message = message_of(&got.properties, got.data);
            self.publisher.jobs(line, &[message]).await?;
            let ack = got.acker.ack(BasicAckOptions::default());
            self.link.within("taking a dead letter away", ack).await?;
            replayed += 1;
        }
        self.link.done_with(&channel).await;
        Ok(replayed)
    }

    /// Throws all dead letters of a route away; gives how many there were.
    pub async fn purge(&self, route: Route) -> Result<u64, QueueError> {
        let channel = self.link.channel().await?;
        let mut count = 0;
        for line in Line::readable(route) {
            let name = self.topology().dead_queue(line).into();
            let purge = channel.queue_purge(name, QueuePurgeOptions::default());
            count += u64::from(self.link.within("purging dead letters", purge).await?);
        }
        self.link.done_with(&channel).await;
        Ok(count)
    }

    async fn next_dead(
        &self,
        channel: &Channel,
        line: Line,
    ) -> Result<Option<BasicGetMessage>, QueueError> {
        let name = self.topology().dead_queue(line).into();
        let get = channel.basic_get(name, BasicGetOptions::default());
        self.link.within("looking at dead letters", get).await
    }

    /// See [`nexis_ports::Queue::dead`].
    pub(crate) async fn dead_letters(
        &self,
        route: Route,
        limit: usize,
    ) -> Result<Vec<(Message, String)>, QueueError> {
        let before = self.dead_depth(route).await?;
        let channel = self.link.channel().await?;
        let mut dead = Vec::new();
        let mut last = None;
        for line in Line::readable(route) {
            while dead.len() < limit
                && let Some(got) = self.next_dead(&channel, line).await?
            {
                let got = got.delivery;
                last = Some(got.acker.clone());
                let reason = reason_of(&got.properties);
                dead.push((message_of(&got.properties, got.data), reason));
            }
        }
        if let Some(last) = last {
            // All of them back to where they were, of whichever queue.
            let all = BasicNackOptions {
                multiple: true,
                requeue: true,
            };
            let back = last.nack(all);
            self.link.within("putting dead letters back", back).await?;
        }
        self.link.done_with(&channel).await;
        self.until_back(route, before).await?;
        Ok(dead)
    }

    /// Waits until there are as many dead letters as before: the broker puts back what was only looked at after it has
    /// said so, and who replays at once would find nothing.
    async fn until_back(&self, route: Route, before: u64) -> Result<(), QueueError> {
        let end = tokio::time::Instant::now() + BACK_WITHIN;
        while self.dead_depth(route).await? < before && tokio::time::Instant::now() < end {
            tokio::time::sleep(BACK_LOOK).await;
        }
        Ok(())
    }
}
