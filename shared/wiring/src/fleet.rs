//! Broker and board of a fleet's process.
//!
//! A wrong address, wrong credentials or a missing topology end the start with one sentence and exit 78. A broker or
//! board that does not answer may be starting like we are: we wait for it, say so every time, and a stop signal
//! ends the waiting.

mod vitals;

use crate::WrongSetting;
use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::{BoardError, Queue, QueueError};
use nexis_protocol::Netuid;
use nexis_runtime::lifecycle::Failure;
use nexis_runtime::{Address, Exit, Settings};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use nexis_amqp::Verified;
pub use vitals::{Declares, Vitals, vitals, watch, watch_chain, watch_depths, watch_store};

/// The broker's connection; clones share it.
pub type Broker = AmqpQueue;

/// Longest that saying goodbye to the broker may take; without it the broker notices by itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// First pause between two attempts to reach the outside; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a process of the fleet does not start.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] WrongSetting),
    /// Broker or board will not have us, or lacks what we need; says what to do.
    #[error("{0}")]
    Refused(String),
    /// We were asked to stop while waiting.
    #[error("asked to stop while waiting for broker and board")]
    Stopped,
}

impl FleetError {
    /// What it means to the process: being asked to stop is no failure, all else is for the operator (78).
    pub fn ending(self) -> Result<(), Failure> {
        match self {
            Self::Stopped => Ok(()),
            other => Err(Failure::with_exit(Exit::Config, other)),
        }
    }
}

fn needed<'a, T>(name: &str, given: Option<&'a T>) -> Result<&'a T, WrongSetting> {
    given.ok_or_else(|| WrongSetting::one(format!("{name} is not set; a fleet needs it")))
}

/// Addresses as they may be shown.
fn shown(addresses: &[Address]) -> String {
    let shown: Vec<String> = addresses.iter().map(Address::to_string).collect();
    shown.join(",")
}

async fn pause(step: &mut Duration, stop: &CancellationToken) -> Result<(), FleetError> {
    tokio::select! {
        () = stop.cancelled() => Err(FleetError::Stopped),
        () = tokio::time::sleep(*step) => {
            *step = (*step * 2).min(LONGEST_PAUSE);
            Ok(())
        }
    }
}

/// Names and limits of this subnet's queues.
pub fn topology(settings: &Settings) -> Topology {
    Topology {
        netuid: Netuid::new(settings.chain.netuid),
        delivery_limit: settings.fleet.delivery_limit,
    }
}

/// Connects to the broker without looking at the topology; waits while nobody answers.
pub async fn broker(
    settings: &Settings,
    stop: &CancellationToken,
    vitals: &Vitals,
) -> Result<AmqpQueue, FleetError> {
    let address = needed("NEXIS_AMQP_URL", settings.fleet.amqp_url.as_ref())?;
    let mut step = FIRST_PAUSE;
    loop {
        let options = AmqpOptions {
            tls: settings.fleet.amqp_tls.clone(),
            metrics: vitals.metrics.clone(),
            ..AmqpOptions::at(Ok(address.clone()), topology(settings))
        };
        let connected = tokio::select! {
            () = stop.cancelled() => return Err(FleetError::Stopped),
            connected = AmqpQueue::connect(options) => connected,
        };
        match connected {
            Ok(queue) => return Ok(queue),
            Err(QueueError::Unavailable(why) | QueueError::Blocked(why)) => {
                vitals.broker.fails(&why);
                tracing::warn!(
                    broker = %address,
                    why,
                    "waiting for the broker (NEXIS_AMQP_URL)"
                );
            }
            Err(fault) => {
                let sentence =
                    format!("the broker at {address} refuses us, check NEXIS_AMQP_URL: {fault}");
                return Err(FleetError::Refused(sentence));
            }
        }
        pause(&mut step, stop).await?;
    }
}

/// What a process does with the broker, and so which rights it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Looks after it for the operator.
    Looks,
    /// Publishes jobs.
    Publishes,
    /// Consumes jobs, hands them back and publishes dead letters.
    Consumes,
}

/// Whether the topology is there and this user may do what the process will do. What it may not is found now and not
/// with the first job.
async fn check(queue: &AmqpQueue, role: Role) -> Result<(), (&'static str, QueueError)> {
    let verified = queue.verify().await;
    let verified = verified.map_err(|fault| ("the topology is incomplete", fault))?;
    if verified == Verified::NamesOnly && role != Role::Looks {
        tracing::info!(
            "the topology's names exist; this user may not declare, so that the rest could not be compared"
        );
    }
    let lacks = |fault| {
        (
            "the broker's user lacks a right, check NEXIS_AMQP_URL",
            fault,
        )
    };
    if role != Role::Looks {
        queue.health().await.map_err(lacks)?;
    }
    if role == Role::Consumes {
        queue.may_bury().await.map_err(lacks)?;
    }
    Ok(())
}

/// Connects to the broker and makes sure that the topology is there, and every right that the role needs.
pub async fn queue(
    settings: &Settings,
    stop: &CancellationToken,
    vitals: &Vitals,
    role: Role,
) -> Result<AmqpQueue, FleetError> {
    let queue = broker(settings, stop, vitals).await?;
    let mut step = FIRST_PAUSE;
    loop {
        match check(&queue, role).await {
            Ok(()) => {
                vitals.broker.holds();
                return Ok(queue);
            }
            Err((_, QueueError::Unavailable(why) | QueueError::Blocked(why))) => {
                vitals.broker.fails(&why);
                tracing::warn!(why, "waiting for the broker to answer");
            }
            Err((what, fault)) => {
                goodbye(&queue).await;
                return Err(FleetError::Refused(format!("{what}: {fault}")));
            }
        }
        pause(&mut step, stop).await?;
    }
}

/// Closes the broker's connection in good order, if it can be done soon.
pub async fn goodbye(broker: &Broker) {
    tokio::time::timeout(GOODBYE, broker.close()).await.ok();
}

/// Connects to the board; waits while nobody answers.
pub async fn board(
    settings: &Settings,
    stop: &CancellationToken,
    vitals: &Vitals,
) -> Result<RedisBoard, FleetError> {
    let addresses = &settings.fleet.redis_urls;
    needed("NEXIS_REDIS_URL", addresses.first())?;
    let mut step = FIRST_PAUSE;
    loop {
        let options = RedisOptions {
            tls: settings.fleet.redis_tls.clone(),
            metrics: vitals.metrics.clone(),
            ..RedisOptions::at(Ok(addresses.clone()), Netuid::new(settings.chain.netuid))
        };
        let connected = tokio::select! {
            () = stop.cancelled() => return Err(FleetError::Stopped),
            connected = RedisBoard::connect(options) => connected,
        };
        match connected {
            Ok(board) => {
                vitals.board.holds();
                return Ok(board);
            }
            Err(BoardError::Unavailable(why)) => {
                vitals.board.fails(&why);
                tracing::warn!(
                    board = shown(addresses),
                    why,
                    "waiting for the board (NEXIS_REDIS_URL)"
                );
            }
            Err(fault) => {
                let sentence = format!(
                    "the board at {} refuses us, check NEXIS_REDIS_URL: {fault}",
                    shown(addresses)
                );
                return Err(FleetError::Refused(sentence));
            }
        }
        pause(&mut step, stop).await?;
    }
}
