use super::{Broker, FleetError};
use crate::WrongSetting;
use nexis_board::RedisBoard;
use nexis_ports::{Queue, Route};
use nexis_runtime::Settings;
use nexis_runtime::health::{Condition, Health};
use nexis_runtime::label;
use nexis_runtime::lifecycle::Spawner;
use nexis_runtime::metrics::Metrics;
use std::fmt::Display;
use std::time::Duration;

/// Between two looks at broker and board; a probe sees a change within this and [`ANSWER`].
const LOOK: Duration = Duration::from_secs(2);
/// A broker or board that takes longer is as good as away.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two looks at the queues' depths.
const DEPTHS: Duration = Duration::from_secs(10);

/// What a process tells about itself.
pub struct Vitals {
    /// The health page.
    pub health: Health,
    /// What the page counts.
    pub metrics: Metrics,
    pub(super) broker: Condition,
    pub(super) board: Condition,
}

impl Vitals {
    /// For a command that nobody asks how it is.
    pub fn unseen() -> Self {
        let health = Health::new();
        Self {
            broker: health.condition("broker"),
            board: health.condition("board"),
            metrics: Metrics::new(),
            health,
        }
    }
}

/// Serves the health page when NEXIS_HEALTH_LISTEN says where. Ready is the process once it has started and as long
/// as broker and board answer; live it is in any case.
pub async fn vitals(settings: &Settings, spawner: &Spawner) -> Result<Vitals, FleetError> {
    let vitals = Vitals::unseen();
    if let Some(address) = &settings.fleet.health_listen {
        let listener = tokio::net::TcpListener::bind(address.as_str())
            .await
            .map_err(|fault| {
                WrongSetting::one(format!(
                    "NEXIS_HEALTH_LISTEN: cannot listen on {address}: {fault}"
                ))
            })?;
        let (page, metrics) = (vitals.health.clone(), vitals.metrics.clone());
        let stop = spawner.stop().hard;
        spawner.attendant("health", async move {
            nexis_runtime::health::serve(listener, page, metrics, stop).await;
            Ok(())
        });
    }
    Ok(vitals)
}

/// Keeps looking whether broker and board answer.
pub fn watch(vitals: &Vitals, spawner: &Spawner, broker: &Broker, board: &RedisBoard) {
    let (at_broker, at_board) = (vitals.broker.clone(), vitals.board.clone());
    let (broker, board) = (broker.clone(), board.clone());
    again(spawner, "readiness of the broker", LOOK, move || {
        let (condition, broker) = (at_broker.clone(), broker.clone());
        async move { note(&condition, broker.health()).await }
    });
    again(spawner, "readiness of the board", LOOK, move || {
        let (condition, board) = (at_board.clone(), board.clone());
        async move { note(&condition, board.look()).await }
    });
}

async fn note<T, E: Display>(condition: &Condition, look: impl Future<Output = Result<T, E>>) {
    match tokio::time::timeout(ANSWER, look).await {
        Ok(Ok(_)) => condition.holds(),
        Ok(Err(fault)) => condition.fails(fault.to_string()),
        Err(_) => condition.fails(format!("no answer within {ANSWER:?}")),
    }
}

label! {
    /// A queue.
    enum QueueOf as "queue" {
        Miner => "miner",
        Clip => "clip",
    }
}

/// Keeps counting what waits in the queues and how many dead letters there are.
pub fn watch_depths(vitals: &Vitals, spawner: &Spawner, broker: &Broker) {
    let ready = vitals
        .metrics
        .gauges::<QueueOf>("nexis_queue_ready", "Messages that wait for a worker");
    let dead = vitals
        .metrics
        .gauges::<QueueOf>("nexis_queue_dead_letters", "Dead letters there are");
    let broker = broker.clone();
    again(spawner, "queue depths", DEPTHS, move || {
        let (broker, ready, dead) = (broker.clone(), ready.clone(), dead.clone());
        async move {
            for (route, label) in [(Route::Miner, QueueOf::Miner), (Route::Clip, QueueOf::Clip)] {
                // A broker that is away keeps the last numbers; the health page tells.
                if let Ok(count) = broker.depth(route).await {
                    ready.set(label, i64::try_from(count).unwrap_or(i64::MAX));
                }
                if let Ok(count) = broker.dead_depth(route).await {
                    dead.set(label, i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
        }
    });
}

/// Does something again and again until the process stops.
fn again<F, W>(spawner: &Spawner, name: &'static str, pause: Duration, work: F)
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let stop = spawner.stop().soft;
    spawner.background(name, async move {
        let mut rounds = tokio::time::interval(pause);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = rounds.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = work() => {}
            }
        }
    });
}
