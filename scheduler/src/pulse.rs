//! Whether workers take jobs: asked of the queue once a block, and seen from the results that arrive.

use crate::stage_clock::Supply;
use nexis_ports::{Queue, Route, Stage};
use nexis_protocol::BlockNumber;
use std::time::Duration;

/// The queues as last seen. A new leader starts without it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    lanes: [Lane; Route::ALL.len()],
}

#[derive(Debug, Default)]
struct Lane {
    probed: Option<u64>,
    depth: Option<Result<u64, String>>,
    /// Whether anybody takes messages, when last asked.
    consumers: Option<u64>,
    /// Head since which jobs wait and no result has arrived.
    waiting_since: Option<u64>,
}

/// The route that a stage's jobs take.
pub(crate) fn route_of(stage: Stage) -> Option<Route> {
    match stage {
        Stage::Miners => Some(Route::Miner),
        Stage::Clips => Some(Route::Clip),
        Stage::Closed => None,
    }
}

impl Pulse {
    fn lane(&mut self, route: Route) -> &mut Lane {
        let place = match route {
            Route::Miner => 0,
            Route::Clip => 1,
        };
        &mut self.lanes[place]
    }

    /// A result of this route arrived.
    pub(crate) fn progressed(&mut self, route: Route) {
        self.lane(route).waiting_since = None;
    }

    /// Asks how many jobs wait, once a block. A queue that does not answer in time is unavailable.
    pub(crate) async fn probe(
        &mut self,
        queue: &dyn Queue,
        route: Route,
        head: BlockNumber,
        at_most: Duration,
    ) {
        let lane = self.lane(route);
        if lane.probed == Some(head.get()) && matches!(lane.depth, Some(Ok(_))) {
            return;
        }
        lane.probed = Some(head.get());
        let ask = async {
            queue.health().await?;
            let depth = queue.depth(route).await?;
            // Only said to an operator.
            let consumers = match depth {
                0 => None,
                _ => queue.consumers(route).await.ok(),
            };
            Ok::<_, nexis_ports::QueueError>((depth, consumers))
        };
        let depth = match tokio::time::timeout(at_most, ask).await {
            Ok(Ok((depth, consumers))) => {
                lane.consumers = consumers;
                Ok(depth)
            }
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_elapsed) => Err(format!("the queue gave no answer within {at_most:?}")),
        };
        lane.waiting_since = match depth {
            Ok(0) => None,
            Ok(_) => lane.waiting_since.or(Some(head.get())),
            Err(_) => lane.waiting_since,
        };
        lane.depth = Some(depth);
    }

    /// What that means for a stage. `overtaken`: jobs that were published after all of the stage's have results, so
    /// that those were taken, whatever waits now.
    pub(crate) fn supply(&mut self, route: Route, head: BlockNumber, overtaken: bool) -> Supply {
        let lane = self.lane(route);
        match &lane.depth {
            Some(Err(fault)) => Supply::Unavailable(fault.clone()),
            Some(Ok(0)) => Supply::Taken,
            _ if overtaken => Supply::Taken,
            // One look may see what was published a moment ago.
            Some(Ok(depth)) if lane.waiting_since.is_some_and(|since| since < head.get()) => {
                Supply::Starved(starved(route, *depth, lane.consumers))
            }
            Some(Ok(_)) | None => Supply::Waiting,
        }
    }
}

/// For an operator.
pub(crate) fn starved(route: Route, depth: u64, consumers: Option<u64>) -> String {
    let name = route.name();
    let who = match consumers {
        Some(0) => "no worker is connected: start one",
        _ => "look at the workers and their log: none takes them, or none can finish one",
    };
    format!("{depth} jobs wait in the queue of {name} jobs and no result arrives; {who}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexis_local::{LocalQueue, LocalQueueOptions};
    use nexis_ports::Message;

    #[tokio::test]
    async fn jobs_that_wait_for_a_block_without_any_result_are_starved_and_one_look_is_not_enough()
    {
        let queue = LocalQueue::new(LocalQueueOptions::default());
        let mut pulse = Pulse::default();
        let at = BlockNumber::new;
        let second = Duration::from_secs(1);
        assert_eq!(pulse.supply(Route::Miner, at(7), false), Supply::Waiting);
        pulse.probe(&queue, Route::Miner, at(7), second).await;
        assert_eq!(pulse.supply(Route::Miner, at(7), false), Supply::Taken);
        let message = Message {
            id: "miner/100/x".to_owned(),
            body: Vec::new(),
            trace: None,
        };
        queue.publish(Route::Miner, vec![message]).await.unwrap();
        pulse.probe(&queue, Route::Miner, at(8), second).await;
        assert_eq!(pulse.supply(Route::Miner, at(8), false), Supply::Waiting);
        pulse.probe(&queue, Route::Miner, at(9), second).await;
        let starved = pulse.supply(Route::Miner, at(9), false);
        assert!(matches!(starved, Supply::Starved(why) if why.starts_with("1 jobs wait")));
        assert_eq!(pulse.supply(Route::Miner, at(9), true), Supply::Taken);
        assert_eq!(pulse.supply(Route::Clip, at(9), false), Supply::Waiting);
        pulse.progressed(Route::Miner);
        assert_eq!(pulse.supply(Route::Miner, at(9), false), Supply::Waiting);
    }
}
