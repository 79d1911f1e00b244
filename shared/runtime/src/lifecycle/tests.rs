use super::{Failure, Lifecycle};
use crate::Exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Never over within a test.
const GRACE: Duration = Duration::from_secs(60);
/// Over soon.
const SHORT: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
#[error("store is away")]
struct Away;

#[tokio::test]
async fn first_signal_lets_tasks_finish_what_they_hold() {
    let lifecycle = Lifecycle::new(GRACE);
    let finished = Arc::new(AtomicBool::new(false));
    let (stop, seen) = (lifecycle.stop(), finished.clone());
    lifecycle.spawner().essential("holder", async move {
        stop.soft.cancelled().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen.store(true, Ordering::SeqCst);
        Ok(())
    });
    let (signal, signals) = mpsc::channel(4);
    signal.send(()).await.expect("open");
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::Asked);
    assert!(finished.load(Ordering::SeqCst));
}

#[tokio::test]
async fn second_signal_drops_what_is_held() {
    let lifecycle = Lifecycle::new(GRACE);
    lifecycle
        .spawner()
        .essential("stubborn", std::future::pending());
    let (signal, signals) = mpsc::channel(4);
    signal.send(()).await.expect("open");
    signal.send(()).await.expect("open");
    let start = Instant::now();
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::Asked);
    assert!(start.elapsed() < GRACE);
}

#[tokio::test]
async fn the_end_of_the_grace_period_drops_what_is_held() {
    let lifecycle = Lifecycle::new(SHORT);
    lifecycle
        .spawner()
        .essential("stubborn", std::future::pending());
    let (signal, signals) = mpsc::channel(4);
    signal.send(()).await.expect("open");
    let start = Instant::now();
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::Asked);
    let waited = start.elapsed();
    assert!(waited >= SHORT && waited < GRACE, "{waited:?}");
}

#[tokio::test]
async fn an_essential_task_that_ends_by_itself_ends_the_process() {
    for (failure, code) in [
        (None, Exit::TaskDied),
        (Some(Failure::from(Away)), Exit::TaskDied),
        (
            Some(Failure::with_exit(Exit::TryAgain, Away)),
            Exit::TryAgain,
        ),
    ] {
        let lifecycle = Lifecycle::new(GRACE);
        let stop = lifecycle.stop();
        lifecycle.spawner().essential("other", async move {
            stop.soft.cancelled().await;
            Ok(())
        });
        lifecycle
            .spawner()
            .essential("dying", async move { failure.map_or(Ok(()), Err) });
        let (_signal, signals) = mpsc::channel(1);
        assert_eq!(lifecycle.run_until(signals, 0).await, code);
    }
}

#[tokio::test]
async fn a_panic_of_an_essential_task_is_its_death_and_of_a_background_task_is_not() {
    let lifecycle = Lifecycle::new(GRACE);
    lifecycle
        .spawner()
        .essential("panicking", async { panic!("made up by the test") });
    let (_signal, signals) = mpsc::channel(1);
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::TaskDied);

    let lifecycle = Lifecycle::new(GRACE);
    lifecycle
        .spawner()
        .background("panicking", async { panic!("made up by the test") });
    lifecycle
        .spawner()
        .background("failing", async { Err(Away.into()) });
    lifecycle.spawner().goal("work", async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    });
    let (_signal, signals) = mpsc::channel(1);
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::Asked);
}

#[tokio::test]
async fn a_reached_goal_stops_the_others_and_is_a_good_end() {
    let lifecycle = Lifecycle::new(GRACE);
    let spawner = lifecycle.spawner();
    let stop = spawner.stop();
    spawner.essential("server", async move {
        stop.soft.cancelled().await;
        Ok(())
    });
    let inner = spawner.clone();
    spawner.goal("once", async move {
        inner.background("started from within", async { Ok(()) });
        Ok(())
    });
    let (_signal, signals) = mpsc::channel(1);
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::Asked);
}

#[tokio::test]
async fn an_attendant_keeps_no_process_alive_and_stays_until_the_last_task_ends() {
    let lifecycle = Lifecycle::new(GRACE);
    let stop = lifecycle.stop();
    let (there, seen) = (Arc::new(AtomicBool::new(false)), stop.clone());
    let attends = there.clone();
    lifecycle.spawner().attendant("page", async move {
        attends.store(true, Ordering::SeqCst);
        seen.hard.cancelled().await;
        attends.store(false, Ordering::SeqCst);
        Ok(())
    });
    let still = there.clone();
    lifecycle.spawner().essential("work", async move {
        stop.soft.cancelled().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(still.load(Ordering::SeqCst));
        Ok(())
    });
    let (signal, signals) = mpsc::channel(4);
    signal.send(()).await.expect("open");
    let start = Instant::now();
    assert_eq!(lifecycle.run_until(signals, 0).await, Exit::Asked);
    assert!(start.elapsed() < GRACE);
}
