//! Broker and board of a fleet's process.
//!
//! A wrong address, wrong credentials or a missing topology end the start with one sentence and exit 78. A broker or
//! board that does not answer may be starting like we are: we wait for it, say so every time, and a stop signal
//! ends the waiting.

use crate::WrongSetting;
use nexis_amqp::topology::Topology;
use nexis_amqp::{AmqpOptions, AmqpQueue};
use nexis_board::{RedisBoard, RedisOptions};
use nexis_ports::{BoardError, QueueError};
use nexis_protocol::Netuid;
use nexis_runtime::health::Health;
use nexis_runtime::lifecycle::{Failure, Spawner};
use nexis_runtime::metrics::Metrics;
use nexis_runtime::{Exit, Secret, Settings};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The broker's connection; clones share it.
pub type Broker = AmqpQueue;

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

/// Serves the health page when NEXIS_HEALTH_LISTEN says where; what it says is kept by the caller.
pub async fn health(settings: &Settings, spawner: &Spawner) -> Result<Health, FleetError> {
    let health = Health::new();
    if let Some(address) = &settings.fleet.health_listen {
        let listener = tokio::net::TcpListener::bind(address.as_str())
            .await
            .map_err(|fault| {
                WrongSetting::one(format!(
                    "NEXIS_HEALTH_LISTEN: cannot listen on {address}: {fault}"
                ))
            })?;
        let (page, stop) = (health.clone(), spawner.stop().hard);
        spawner.background("health", async move {
            nexis_runtime::health::serve(listener, page, Metrics::new(), stop).await;
            Ok(())
        });
    }
    Ok(health)
}

/// Host and port of an address, without user and password.
fn host(url: &Secret) -> &str {
    let url = url.expose();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

fn needed<'a>(name: &str, url: Option<&'a Secret>) -> Result<&'a Secret, WrongSetting> {
    url.ok_or_else(|| WrongSetting::one(format!("{name} is not set; a fleet needs it")))
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
) -> Result<AmqpQueue, FleetError> {
    let url = needed("NEXIS_AMQP_URL", settings.fleet.amqp_url.as_ref())?;
    let mut step = FIRST_PAUSE;
    loop {
        let options = AmqpOptions::new(url.expose(), topology(settings));
        let connected = tokio::select! {
            () = stop.cancelled() => return Err(FleetError::Stopped),
            connected = AmqpQueue::connect(options) => connected,
        };
        match connected {
            Ok(queue) => return Ok(queue),
            Err(QueueError::Unavailable(why)) => {
                tracing::warn!(
                    broker = host(url),
                    why,
                    "waiting for the broker (NEXIS_AMQP_URL)"
                );
            }
            Err(fault) => {
                let sentence = format!(
                    "the broker at {} refuses us, check NEXIS_AMQP_URL: {fault}",
                    host(url)
                );
                return Err(FleetError::Refused(sentence));
            }
        }
        pause(&mut step, stop).await?;
    }
}

/// Connects to the broker and makes sure that the topology is there.
pub async fn queue(settings: &Settings, stop: &CancellationToken) -> Result<AmqpQueue, FleetError> {
    let mut step = FIRST_PAUSE;
    loop {
        let queue = broker(settings, stop).await?;
        match queue.verify().await {
            Ok(()) => return Ok(queue),
            Err(QueueError::Unavailable(why)) => {
                tracing::warn!(why, "waiting for the broker to answer");
            }
            Err(fault) => {
                return Err(FleetError::Refused(format!(
                    "the topology is incomplete: {fault}"
                )));
            }
        }
        queue.close().await;
        pause(&mut step, stop).await?;
    }
}

/// Connects to the board; waits while nobody answers.
pub async fn board(
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<RedisBoard, FleetError> {
    let url = needed("NEXIS_REDIS_URL", settings.fleet.redis_url.as_ref())?;
    let mut step = FIRST_PAUSE;
    loop {
        let options = RedisOptions::new(url.expose(), Netuid::new(settings.chain.netuid));
        let connected = tokio::select! {
            () = stop.cancelled() => return Err(FleetError::Stopped),
            connected = RedisBoard::connect(options) => connected,
        };
        match connected {
            Ok(board) => return Ok(board),
            Err(BoardError::Unavailable(why)) => {
                tracing::warn!(
                    board = host(url),
                    why,
                    "waiting for the board (NEXIS_REDIS_URL)"
                );
            }
            Err(fault) => {
                let sentence = format!(
                    "the board at {} refuses us, check NEXIS_REDIS_URL: {fault}",
                    host(url)
                );
                return Err(FleetError::Refused(sentence));
            }
        }
        pause(&mut step, stop).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::host;
    use nexis_runtime::Secret;

    #[test]
    fn an_address_is_shown_without_its_credentials() {
        for (url, shown) in [
            ("amqp://u:p@ss@h:5672/v", "h:5672"),
            ("redis://h", "h"),
            ("rediss://:secret@h:1/0?x=y@z", "h:1"),
            ("", ""),
        ] {
            assert_eq!(host(&Secret::new(url.to_owned())), shown);
        }
    }
}
