//! The laws of the ports over the embedded implementations.

use nexis_local::{DirArchive, HandClock, LocalBoard, LocalQueue, LocalQueueOptions, TokioClock};
use nexis_ports::conformance::queue::{HandBack, QueueBench};
use nexis_ports::conformance::{archive, board, queue};
use nexis_ports::{Board, Leadership, Message, Queue, Route, Settlement};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_queue_keeps_the_laws() {
    queue::run_all(|| async {
        let options = LocalQueueOptions {
            delivery_limit: 3,
            dead_kept: 100,
        };
        QueueBench {
            queue: LocalQueue::new(options),
            delivery_limit: options.delivery_limit,
            hand_back: HandBack::Free,
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_that_failed_waits_behind_the_others() {
    for settlement in [Settlement::Retry, Settlement::HandBack] {
        let queue = LocalQueue::new(LocalQueueOptions::default());
        let messages = ["slow", "next"].map(|id| Message {
            id: id.to_owned(),
            body: Vec::new(),
            trace: None,
        });
        queue
            .publish(Route::Miner, messages.to_vec())
            .await
            .unwrap();
        let mut deliveries = queue.consume(Route::Miner, 1).await.unwrap();
        let slow = deliveries.next().await.unwrap();
        slow.settle(settlement.clone()).await.unwrap();
        let next = deliveries.next().await.unwrap();
        assert_eq!(next.message.id, "next", "{settlement:?}");
        next.settle(Settlement::Ack).await.unwrap();
        let again = deliveries.next().await.unwrap();
        let failures = u32::from(settlement == Settlement::Retry);
        assert_eq!(
            (again.message.id.as_str(), again.attempt),
            ("slow", 1 + failures)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_board_on_disk_keeps_the_laws() {
    let folders = Mutex::new(Vec::new());
    board::run_all(|| async {
        let folder = tempfile::tempdir().unwrap();
        let board = LocalBoard::open(folder.path(), TokioClock::new()).unwrap();
        folders.lock().unwrap().push(folder);
        board
    })
    .await;
}

#[tokio::test]
async fn the_board_in_memory_keeps_the_laws() {
    board::run_all(|| async { LocalBoard::in_memory(TokioClock::new()) }).await;
}

#[tokio::test]
async fn the_archive_in_a_folder_keeps_the_laws() {
    let folders = Mutex::new(Vec::new());
    archive::run_all(|| async {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        folders.lock().unwrap().push(folder);
        archive
    })
    .await;
}

#[tokio::test]
async fn a_lease_ends_exactly_when_the_hand_turned_clock_says_so() {
    let clock = Arc::new(HandClock::new());
    let board = LocalBoard::in_memory(Arc::clone(&clock));
    let ttl = Duration::from_secs(15);
    let Leadership::Leader(first) = board.campaign("a", ttl).await.unwrap() else {
        panic!()
    };
    clock.advance(ttl.checked_sub(Duration::from_nanos(1)).unwrap());
    let answer = board.campaign("b", ttl).await.unwrap();
    assert_eq!(
        answer,
        Leadership::Follower {
            holder: "a".to_owned()
        }
    );
    clock.advance(Duration::from_nanos(1));
    let Leadership::Leader(second) = board.campaign("b", ttl).await.unwrap() else {
        panic!()
    };
    assert!(second > first);
}
