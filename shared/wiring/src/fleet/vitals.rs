use super::{Broker, FleetError};
use crate::WrongSetting;
use nexis_board::RedisBoard;
use nexis_ports::{Chain, FaultClass, Queue, QueueError, Route};
use nexis_runtime::health::{Condition, Health};
use nexis_runtime::label;
use nexis_runtime::lifecycle::Spawner;
use nexis_runtime::metrics::Metrics;
use nexis_runtime::{Address, Settings};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at broker and board; a probe sees a change within this and [`ANSWER`].
const LOOK: Duration = Duration::from_secs(2);
/// A broker or board that takes longer is as good as away.
const ANSWER: Duration = Duration::from_secs(6);
/// Between two looks at what many processes share and no packet should be wasted on.
const SLOW_LOOK: Duration = Duration::from_secs(10);
/// Stands for a miner's account in the store's host name.
const ANY_ACCOUNT: &str = "00000000000000000000000000000000";
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
        Self::of(Health::new())
    }

    fn of(health: Health) -> Self {
        Self {
            broker: health.condition("broker"),
            board: health.condition("board"),
            metrics: Metrics::new(),
            health,
        }
    }
}

/// Serves the health page when NEXIS_HEALTH_LISTEN says where. Ready is the process once it has started and as long
/// as what it needs next is there; live it is in any case.
pub async fn vitals(settings: &Settings, spawner: &Spawner) -> Result<Vitals, FleetError> {
    let vitals = Vitals::of(Health::new().hiding(settings.redactor().clone()));
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

/// Whether a process may declare the topology again when a part of it is deleted under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declares {
    /// A scheduler: it would have to publish into what is missing.
    Yes,
    /// A worker: it waits until the scheduler or the operator did.
    No,
}

/// What a look found, for the page and the log.
struct Fault {
    why: String,
    /// Whether it passes by itself.
    passes: bool,
}

impl Fault {
    fn new(why: impl Display, class: FaultClass) -> Self {
        Self {
            why: why.to_string(),
            passes: class != FaultClass::Permanent,
        }
    }
}

/// Keeps looking whether the broker takes messages and has its queues, and the board takes writes.
pub fn watch(
    vitals: &Vitals,
    spawner: &Spawner,
    (broker, declares): (&Broker, Declares),
    board: &RedisBoard,
) {
    let (at_broker, at_board) = (vitals.broker.clone(), vitals.board.clone());
    let (broker, board) = (broker.clone(), board.clone());
    again(spawner, "readiness of the broker", LOOK, move || {
        let (condition, broker) = (at_broker.clone(), broker.clone());
        async move {
            let look = async {
                let looked = look_at_broker(&broker, declares).await;
                looked.map_err(|fault| Fault::new(&fault, fault.class()))
            };
            note(&condition, look).await;
        }
    });
    again(spawner, "readiness of the board", LOOK, move || {
        let (condition, board) = (at_board.clone(), board.clone());
        async move {
            let look = async {
                let looked = board.look().await;
                looked.map_err(|fault| Fault::new(&fault, fault.class()))
            };
            note(&condition, look).await;
        }
    });
}

/// A publishing that is confirmed, and the queues.
async fn look_at_broker(broker: &Broker, declares: Declares) -> Result<(), QueueError> {
    let looked = look_at_parts(broker).await;
    let Err(QueueError::Refused(said)) = looked else {
        return looked;
    };
    // The broker's own word for what is gone; a missing right is not mended by declaring.
    if !said.starts_with("NOT_FOUND") {
        return Err(QueueError::Refused(said));
    }
    if declares == Declares::Yes && broker.apply().await.is_ok() {
        tracing::warn!(
            said,
            "the topology was incomplete and is declared again; jobs follow by themselves"
        );
        return look_at_parts(broker).await;
    }
    Err(QueueError::Refused(format!(
        "{said}: run `nexis-scheduler topology apply` as a user that may declare"
    )))
}

async fn look_at_parts(broker: &Broker) -> Result<(), QueueError> {
    broker.health().await?;
    for route in Route::ALL {
        broker.depth(route).await?;
    }
    Ok(())
}

/// Keeps looking whether a chain endpoint answers.
pub fn watch_chain(vitals: &Vitals, spawner: &Spawner, chain: Arc<dyn Chain>) {
    let condition = vitals.health.condition("chain");
    again(spawner, "readiness of the chain", SLOW_LOOK, move || {
        let (condition, chain) = (condition.clone(), Arc::clone(&chain));
        async move {
            let look = async {
                let head = chain.head().await;
                head.map_err(|fault| Fault::new(&fault, fault.class()))
            };
            note(&condition, look).await;
        }
    });
}

/// Keeps looking whether the object store takes connections. The buckets are the miners' and many: what is known before
/// a job comes is the store's host.
pub fn watch_store(vitals: &Vitals, spawner: &Spawner, settings: &Settings) {
    let account = settings.store.account_id.as_deref().unwrap_or(ANY_ACCOUNT);
    let endpoint = settings.store.endpoint.replace("{account_id}", account);
    let Ok(address) = Address::parse(&endpoint, &["http", "https"]) else {
        return;
    };
    let usual = if address.scheme() == "https" { 443 } else { 80 };
    let condition = vitals.health.condition("store");
    again(spawner, "readiness of the store", SLOW_LOOK, move || {
        let (condition, address) = (condition.clone(), address.clone());
        async move {
            let look = async {
                let port = address.port().unwrap_or(usual);
                let dialled = nexis_runtime::tls::dial(address.host(), port, None).await;
                dialled.map_err(|fault| {
                    Fault::new(
                        format!("connecting to {address}: {fault}"),
                        FaultClass::Transient,
                    )
                })
            };
            note(&condition, look).await;
        }
    });
}

async fn note<T>(condition: &Condition, look: impl Future<Output = Result<T, Fault>>) {
    let name = condition.name();
    let fault = match tokio::time::timeout(ANSWER, look).await {
        Ok(Ok(_)) => {
            if condition.holds() {
                tracing::info!("ready: {name}");
            }
            return;
        }
        Ok(Err(fault)) => fault,
        Err(_) => Fault {
            why: format!("no answer within {ANSWER:?}"),
            passes: true,
        },
    };
    if !condition.fails(&fault.why) {
        return;
    }
    if fault.passes {
        tracing::warn!(why = fault.why, "not ready: {name}");
    } else {
        tracing::error!(
            why = fault.why,
            "alert: not ready until somebody mends it: {name}"
        );
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

#[cfg(test)]
mod tests {
    use super::{Declares, look_at_broker};
    use nexis_amqp::topology::Topology;
    use nexis_amqp::{AmqpOptions, AmqpQueue};
    use nexis_ports::{Queue, Route};
    use nexis_protocol::Netuid;
    use nexis_testkit::RabbitMq;

    #[tokio::test]
    async fn what_is_deleted_is_named_by_a_worker_and_declared_again_by_a_scheduler() {
        let rabbit = RabbitMq::start();
        let options = AmqpOptions::new(rabbit.url(), Topology::new(Netuid::new(70)));
        let broker = AmqpQueue::connect(options).await.expect("the broker is up");
        broker.apply().await.expect("it takes the topology");
        look_at_broker(&broker, Declares::No)
            .await
            .expect("all is there");
        let listed = rabbit.ctl(&["list_queues", "name"]);
        // The listing has a heading of its own.
        for name in listed.lines().filter(|line| line.starts_with("nexis.")) {
            rabbit.ctl(&["delete_queue", name]);
        }
        let missing = look_at_broker(&broker, Declares::No).await;
        let said = missing.expect_err("they are gone").to_string();
        assert!(
            said.contains("topology apply") && said.contains("nexis.70.miner"),
            "{said}"
        );
        look_at_broker(&broker, Declares::Yes)
            .await
            .expect("they are back");
        for route in Route::ALL {
            broker.depth(route).await.expect("it is back");
        }
    }
}
