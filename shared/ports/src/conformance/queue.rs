//! Laws of [`crate::Queue`].

use super::{QUIET, eventually, soon};
use crate::{Deliveries, Delivery, Message, Queue, QueueError, Route, Settlement};
use std::collections::BTreeSet;

/// Dead-letter reason of a message that was redelivered up to the limit.
pub const DELIVERY_LIMIT: &str = "delivery-limit";

/// Whether the queue can tell a message handed back from one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandBack {
    /// Handing back costs nothing.
    Free,
    /// The broker counts it against the delivery limit.
    Counted,
}

/// A fresh queue and what the laws must know about its settings.
pub struct QueueBench<Q> {
    /// The queue, empty.
    pub queue: Q,
    /// How many failures a message survives; the next one makes it a dead letter.
    pub delivery_limit: u32,
    /// What handing back costs.
    pub hand_back: HandBack,
}

/// Runs every law, each on a fresh queue.
pub async fn run_all<Q, F, Fut>(make: F)
where
    Q: Queue,
    F: Fn() -> Fut,
    Fut: Future<Output = QueueBench<Q>>,
{
    published_messages_arrive_whole_and_in_order(make().await).await;
    a_consumer_that_waits_is_woken(make().await).await;
    routes_do_not_mix(make().await).await;
    at_most_prefetch_messages_are_out(make().await).await;
    two_consumers_share_the_work(make().await).await;
    an_acknowledged_message_is_gone(make().await).await;
    a_retried_message_comes_again_and_says_so(make().await).await;
    a_delivery_dropped_unsettled_comes_again(make().await).await;
    a_dropped_consumer_returns_what_it_held(make().await).await;
    too_many_failures_make_a_dead_letter(make().await).await;
    deliveries_that_nobody_settles_reach_the_limit(make().await).await;
    a_dead_message_keeps_its_reason_and_stays(make().await).await;
    handing_back_loses_nothing(make().await).await;
    after_stop_what_is_held_can_be_settled(make().await).await;
    many_messages_arrive_once_each(make().await).await;
    a_queue_knows_its_consumers_and_that_it_takes_messages(make().await).await;
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: format!("body of {id}\0\u{ff}").into_bytes(),
        trace: None,
    }
}

async fn publish<Q: Queue>(bench: &QueueBench<Q>, ids: &[&str]) {
    let messages = ids.iter().map(|id| message(id)).collect();
    bench.queue.publish(Route::Miner, messages).await.unwrap();
}

async fn consume<Q: Queue>(bench: &QueueBench<Q>, prefetch: u16) -> Box<dyn Deliveries> {
    bench.queue.consume(Route::Miner, prefetch).await.unwrap()
}

async fn take(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    soon("a delivery", deliveries.next()).await.unwrap()
}

async fn assert_quiet(deliveries: &mut Box<dyn Deliveries>) {
    if let Ok(got) = tokio::time::timeout(QUIET, deliveries.next()).await {
        panic!(
            "nothing should have come, got {:?}",
            got.map(|d| d.message.id)
        );
    }
}

async fn assert_depth<Q: Queue>(bench: &QueueBench<Q>, depth: u64) {
    eventually(&format!("a depth of {depth}"), || async {
        (bench.queue.depth(Route::Miner).await.unwrap() == depth).then_some(())
    })
    .await;
}

async fn dead_letters<Q: Queue>(bench: &QueueBench<Q>, count: usize) -> Vec<(Message, String)> {
    eventually(&format!("{count} dead letters"), || async {
        let dead = bench.queue.dead(Route::Miner, 100).await.unwrap();
        (dead.len() == count).then_some(dead)
    })
    .await
}

/// Id, body and trace context come through; one consumer sees the order of publishing.
pub async fn published_messages_arrive_whole_and_in_order<Q: Queue>(bench: QueueBench<Q>) {
    let mut first = message("miner/50/a");
    first.trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let second = Message {
        body: Vec::new(),
        ..message("miner/50/b")
    };
    bench
        .queue
        .publish(Route::Miner, vec![first.clone(), second.clone()])
        .await
        .unwrap();
    assert_depth(&bench, 2).await;
    let mut deliveries = consume(&bench, 10).await;
    for expected in [first, second] {
        let delivery = take(&mut deliveries).await;
        assert_eq!(delivery.message, expected);
        assert_eq!(delivery.attempt, 1);
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

/// A message published later reaches a consumer that already waits.
pub async fn a_consumer_that_waits_is_woken<Q: Queue>(bench: QueueBench<Q>) {
    let mut deliveries = consume(&bench, 1).await;
    assert_quiet(&mut deliveries).await;
    let (delivery, ()) = tokio::join!(take(&mut deliveries), publish(&bench, &["late"]));
    assert_eq!(delivery.message.id, "late");
    delivery.settle(Settlement::Ack).await.unwrap();
}

/// A message of one route never comes out of another.
pub async fn routes_do_not_mix<Q: Queue>(bench: QueueBench<Q>) {
    bench
        .queue
        .publish(Route::Clip, vec![message("clip")])
        .await
        .unwrap();
    let mut miners = consume(&bench, 10).await;
    assert_quiet(&mut miners).await;
    let mut clips = bench.queue.consume(Route::Clip, 10).await.unwrap();
    let delivery = take(&mut clips).await;
    assert_eq!(delivery.message.id, "clip");
    delivery.settle(Settlement::Ack).await.unwrap();
}

/// No more than `prefetch` messages are unsettled; each settlement lets one more out.
pub async fn at_most_prefetch_messages_are_out<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["a", "b", "c", "d"]).await;
    let mut deliveries = consume(&bench, 2).await;
    let a = take(&mut deliveries).await;
    let b = take(&mut deliveries).await;
    assert_quiet(&mut deliveries).await;
    assert_depth(&bench, 2).await;
    a.settle(Settlement::Ack).await.unwrap();
    let c = take(&mut deliveries).await;
    assert_eq!(c.message.id, "c");
    assert_quiet(&mut deliveries).await;
    b.settle(Settlement::Ack).await.unwrap();
    c.settle(Settlement::Ack).await.unwrap();
    take(&mut deliveries)
        .await
        .settle(Settlement::Ack)
        .await
        .unwrap();
    assert_depth(&bench, 0).await;
}

/// Each message goes to one of several consumers.
pub async fn two_consumers_share_the_work<Q: Queue>(bench: QueueBench<Q>) {
    let mut left = consume(&bench, 1).await;
    let mut right = consume(&bench, 1).await;
    publish(&bench, &["a", "b"]).await;
    let first = take(&mut left).await;
    let second = take(&mut right).await;
    let ids: BTreeSet<_> = [&first, &second].map(|d| d.message.id.clone()).into();
    assert_eq!(ids.len(), 2, "one message went to both consumers");
    first.settle(Settlement::Ack).await.unwrap();
    second.settle(Settlement::Ack).await.unwrap();
}

/// Acknowledged means never again, not for a new consumer either.
pub async fn an_acknowledged_message_is_gone<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["a"]).await;
    let mut deliveries = consume(&bench, 1).await;
    take(&mut deliveries)
        .await
        .settle(Settlement::Ack)
        .await
        .unwrap();
    drop(deliveries);
    let mut again = consume(&bench, 1).await;
    assert_quiet(&mut again).await;
    assert_depth(&bench, 0).await;
    assert!(bench.queue.dead(Route::Miner, 10).await.unwrap().is_empty());
}

/// `Retry` delivers again with a higher attempt.
pub async fn a_retried_message_comes_again_and_says_so<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["a"]).await;
    let mut deliveries = consume(&bench, 1).await;
    let first = take(&mut deliveries).await;
    assert_eq!(first.attempt, 1);
    first.settle(Settlement::Retry).await.unwrap();
    let second = take(&mut deliveries).await;
    assert_eq!((second.message.clone(), second.attempt), (message("a"), 2));
    second.settle(Settlement::Ack).await.unwrap();
    assert_quiet(&mut deliveries).await;
}

/// Forgetting a delivery (a panic, an early return) hands it back.
pub async fn a_delivery_dropped_unsettled_comes_again<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["a"]).await;
    let mut deliveries = consume(&bench, 1).await;
    drop(take(&mut deliveries).await);
    let again = take(&mut deliveries).await;
    assert_eq!(again.message.id, "a");
    again.settle(Settlement::Ack).await.unwrap();
}

/// A consumer that goes away returns its unsettled messages, prefetched ones included; settling one
/// of them afterwards does not make it disappear.
pub async fn a_dropped_consumer_returns_what_it_held<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["a", "b", "c"]).await;
    let mut deliveries = consume(&bench, 2).await;
    let held = take(&mut deliveries).await;
    drop(deliveries);
    assert_depth(&bench, 3).await;
    let settled = held.settle(Settlement::Ack).await;
    assert!(
        settled.is_err(),
        "an ack after the consumer is gone cannot have counted"
    );
    let mut next = consume(&bench, 3).await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let delivery = take(&mut next).await;
        ids.insert(delivery.message.id.clone());
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    assert_eq!(ids, BTreeSet::from(["a", "b", "c"].map(str::to_owned)));
}

/// A message survives `delivery_limit` failures; the next one moves it to the dead letters.
pub async fn too_many_failures_make_a_dead_letter<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["poison", "fine"]).await;
    let mut deliveries = consume(&bench, 1).await;
    let mut tries = 0;
    loop {
        let delivery = take(&mut deliveries).await;
        if delivery.message.id == "fine" {
            delivery.settle(Settlement::Ack).await.unwrap();
            if tries > bench.delivery_limit {
                break;
            }
            continue;
        }
        tries += 1;
        assert_eq!(delivery.attempt, tries);
        assert!(
            tries <= bench.delivery_limit + 1,
            "delivered more often than the limit allows"
        );
        delivery.settle(Settlement::Retry).await.unwrap();
        if tries > bench.delivery_limit {
            break;
        }
    }
    let dead = dead_letters(&bench, 1).await;
    assert_eq!(dead, [(message("poison"), DELIVERY_LIMIT.to_owned())]);
    if let Ok(delivery) = tokio::time::timeout(QUIET, deliveries.next()).await {
        let delivery = delivery.unwrap();
        assert_eq!(delivery.message.id, "fine");
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    assert_quiet(&mut deliveries).await;
}

/// A delivery that is dropped unsettled (its job panicked) counts as a failure, so it does not come back for ever.
pub async fn deliveries_that_nobody_settles_reach_the_limit<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["panics"]).await;
    let mut deliveries = consume(&bench, 1).await;
    for attempt in 1..=bench.delivery_limit + 1 {
        let delivery = take(&mut deliveries).await;
        assert_eq!(delivery.attempt, attempt);
        drop(delivery);
    }
    let dead = dead_letters(&bench, 1).await;
    assert_eq!(dead, [(message("panics"), DELIVERY_LIMIT.to_owned())]);
    assert_quiet(&mut deliveries).await;
}

/// `Dead` moves a message to the dead letters at once, with its reason; looking leaves it there, in order.
pub async fn a_dead_message_keeps_its_reason_and_stays<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["x", "y"]).await;
    let mut deliveries = consume(&bench, 1).await;
    for reason in ["foreign", "wire-version-newer"] {
        let delivery = take(&mut deliveries).await;
        delivery
            .settle(Settlement::Dead {
                reason: reason.to_owned(),
            })
            .await
            .unwrap();
    }
    let expected = [
        (message("x"), "foreign".to_owned()),
        (message("y"), "wire-version-newer".to_owned()),
    ];
    assert_eq!(dead_letters(&bench, 2).await, expected);
    assert_eq!(
        dead_letters(&bench, 2).await,
        expected,
        "looking must not consume"
    );
    let first = eventually("one dead letter", || async {
        let dead = bench.queue.dead(Route::Miner, 1).await.unwrap();
        (!dead.is_empty()).then_some(dead)
    })
    .await;
    assert_eq!(first, expected[..1]);
    assert!(bench.queue.dead(Route::Clip, 10).await.unwrap().is_empty());
    assert_quiet(&mut deliveries).await;
}

/// A message handed back is delivered again; where the queue can tell, any number of times.
pub async fn handing_back_loses_nothing<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["a"]).await;
    let mut deliveries = consume(&bench, 1).await;
    let times = match bench.hand_back {
        HandBack::Free => bench.delivery_limit + 3,
        HandBack::Counted => bench.delivery_limit.min(1),
    };
    for _ in 0..times {
        take(&mut deliveries)
            .await
            .settle(Settlement::HandBack)
            .await
            .unwrap();
    }
    let delivery = take(&mut deliveries).await;
    assert_eq!(delivery.message, message("a"));
    delivery.settle(Settlement::Ack).await.unwrap();
    assert!(bench.queue.dead(Route::Miner, 10).await.unwrap().is_empty());
}

/// Stopping ends intake, not the work in hand; what was not yet handed out goes to others.
pub async fn after_stop_what_is_held_can_be_settled<Q: Queue>(bench: QueueBench<Q>) {
    publish(&bench, &["held", "other"]).await;
    let mut deliveries = consume(&bench, 2).await;
    let held = take(&mut deliveries).await;
    deliveries.stop().await.unwrap();
    let ended = soon("the end of a stopped consumer", async {
        loop {
            match deliveries.next().await {
                // One that was already on its way may still be handed out.
                Ok(extra) => extra.settle(Settlement::HandBack).await.unwrap(),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(matches!(ended, QueueError::Closed), "{ended}");
    deliveries.stop().await.unwrap();
    held.settle(Settlement::Ack).await.unwrap();
    let mut next = consume(&bench, 10).await;
    let delivery = take(&mut next).await;
    assert_eq!(delivery.message.id, "other");
    delivery.settle(Settlement::Ack).await.unwrap();
    drop(deliveries);
    assert_quiet(&mut next).await;
}

/// One call with many messages returns when all of them are held; none is lost, none comes twice.
pub async fn many_messages_arrive_once_each<Q: Queue>(bench: QueueBench<Q>) {
    const MANY: usize = 2_000;
    let ids: Vec<String> = (0..MANY).map(|n| format!("clip/50/x/{n}")).collect();
    let messages = ids.iter().map(|id| message(id)).collect();
    bench.queue.publish(Route::Miner, messages).await.unwrap();
    let mut deliveries = consume(&bench, 100).await;
    let mut seen = BTreeSet::new();
    for _ in 0..MANY {
        let delivery = take(&mut deliveries).await;
        assert!(
            seen.insert(delivery.message.id.clone()),
            "{} came twice",
            delivery.message.id
        );
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    assert_eq!(seen, ids.into_iter().collect());
    assert_quiet(&mut deliveries).await;
}

/// A queue that works is healthy, asking leaves no message behind, and consumers are counted per route while they live.
pub async fn a_queue_knows_its_consumers_and_that_it_takes_messages<Q: Queue>(
    bench: QueueBench<Q>,
) {
    bench.queue.health().await.unwrap();
    assert_consumers(&bench, 0).await;
    let first = consume(&bench, 1).await;
    let second = consume(&bench, 1).await;
    assert_consumers(&bench, 2).await;
    assert_eq!(bench.queue.consumers(Route::Clip).await.unwrap(), 0);
    drop(first);
    assert_consumers(&bench, 1).await;
    drop(second);
    assert_consumers(&bench, 0).await;
    bench.queue.health().await.unwrap();
    assert_depth(&bench, 0).await;
}

async fn assert_consumers<Q: Queue>(bench: &QueueBench<Q>, count: u64) {
    eventually(&format!("{count} consumers"), || async {
        (bench.queue.consumers(Route::Miner).await.unwrap() == count).then_some(())
    })
    .await;
}
