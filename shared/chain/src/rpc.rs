//! One JSON-RPC connection at a time, out of several endpoints: health, fail-over, deadlines.
//!
//! A request goes to the active endpoint. When that one is away, silent, behind or limits us, the
//! next one is tried, best first; each keeps a back-off of its own. Only requests that are safe to
//! repeat are repeated: a submission is sent once, and an unclear ending is the caller's to resolve.
//! When a better endpoint is well again, requests return to it after a while.

mod fault;
mod preferred;

pub use fault::Backoffs;

use crate::clock::Clock;
use crate::endpoint::{Endpoint, FINNEY_GENESIS, GenesisRule};
use crate::error::POOL_MARK;
use fault::Fault;
use futures::StreamExt as _;
use jsonrpsee::core::client::{Client, ClientT as _};
use jsonrpsee::ws_client::{PingConfig, WsClientBuilder};
use serde_json::value::RawValue;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subxt_rpcs::client::{RawRpcFuture, RawRpcSubscription, RpcClientT};
use subxt_rpcs::{Error as RpcError, UserError};
use tokio::time::{Instant, sleep, timeout};

/// Storage key of `Timestamp.Now`: twox128 of both names.
const TIMESTAMP_NOW: &str = "0xf0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb";
/// Largest answer taken: metadata is 0.4 MB and a full metagraph below 2 MB, in hex.
const MAX_ANSWER_BYTES: u32 = 32 * 1024 * 1024;

/// How the pool treats its endpoints.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Deadline of one request at one endpoint.
    pub request_timeout: Duration,
    /// Deadline of connecting to one endpoint, with the checks made then.
    pub connect_timeout: Duration,
    /// How often a WebSocket ping is sent.
    pub ping_interval: Duration,
    /// Silence (not even a pong) after which a connection counts as dead.
    pub inactive_limit: Duration,
    /// Age of the best block from which an endpoint counts as behind, when there is another one.
    pub max_block_age: Duration,
    /// How long the newest final block may stay the same before the endpoint in use is left for another one: a node can
    /// answer every call and have stopped following the chain.
    pub head_silence: Duration,
    /// How long an endpoint is left alone after a fault.
    pub backoffs: Backoffs,
    /// How long we stay with an endpoint that is not the first in the order of preference before we look whether a
    /// better one is well again; longer, up to ten times, when returning to it did not last.
    pub return_after: Duration,
    /// Tells how old a block is.
    pub clock: Clock,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(10),
            inactive_limit: Duration::from_secs(30),
            max_block_age: Duration::from_secs(120),
            head_silence: Duration::from_secs(60),
            backoffs: Backoffs::default(),
            return_after: Duration::from_secs(60),
            clock: Clock::default(),
        }
    }
}

/// What is known about one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointHealth {
    /// Its address, without keys.
    pub endpoint: String,
    /// Whether requests go to it now.
    pub active: bool,
    /// Faults since its last good answer.
    pub failures: u32,
    /// How long it is left alone, when it is.
    pub retry_in: Option<Duration>,
    /// Its last fault, in words.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Slot {
    failures: u32,
    retry_at: Option<Instant>,
    last_error: Option<String>,
    limited: bool,
}

struct Active {
    index: usize,
    generation: u64,
    client: Arc<Client>,
}

impl Clone for Active {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            generation: self.generation,
            client: Arc::clone(&self.client),
        }
    }
}

/// Several endpoints behind one client.
pub struct EndpointPool {
    endpoints: Vec<Endpoint>,
    rule: GenesisRule,
    options: PoolOptions,
    slots: Mutex<Vec<Slot>>,
    active: tokio::sync::Mutex<(u64, Option<Active>)>,
    genesis: Mutex<Option<String>>,
    wish: Mutex<preferred::Wish>,
    /// The highest final block that was seen, and when it was new.
    highest: Mutex<Option<(u64, Instant)>>,
}

impl EndpointPool {
    /// Over these endpoints, best first. Nothing is connected yet.
    pub fn new(endpoints: Vec<Endpoint>, rule: GenesisRule, options: PoolOptions) -> Self {
        for endpoint in endpoints.iter().filter(|e| e.is_exposed()) {
            tracing::warn!(%endpoint, "clear text to another machine: answers can be forged on the way");
        }
        let slots = endpoints.iter().map(|_| Slot::default()).collect();
        Self {
            endpoints,
            rule,
            options,
            slots: Mutex::new(slots),
            active: tokio::sync::Mutex::new((0, None)),
            genesis: Mutex::new(None),
            wish: Mutex::default(),
            highest: Mutex::default(),
        }
    }

    /// Genesis hash of the chain, once an endpoint was reached.
    pub fn genesis(&self) -> Option<String> {
        self.genesis
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What is known about the endpoints, best first.
    pub async fn health(&self) -> Vec<EndpointHealth> {
        let active = self.active.lock().await.1.as_ref().map(|a| a.index);
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        self.endpoints
            .iter()
            .zip(slots.iter())
            .enumerate()
            .map(|(index, (endpoint, slot))| EndpointHealth {
                endpoint: endpoint.to_string(),
                active: active == Some(index),
                failures: slot.failures,
                retry_in: slot.retry_at.and_then(|at| at.checked_duration_since(now)),
                last_error: slot.last_error.clone(),
            })
            .collect()
    }

    /// Why every endpoint was refused for serving another chain, when that is so:
    /// (endpoint, expected, found) of the first. Waiting does not help then.
    pub fn refused_chain(&self) -> Option<String> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let all = slots.iter().all(|s| {
            s.last_error
                .as_deref()
                .is_some_and(|e| e.starts_with("wrong chain"))
        });
        all.then(|| {
            slots
                .first()
                .and_then(|s| s.last_error.clone())
                .unwrap_or_default()
        })
    }

    /// Leaves the active endpoint because it brings nothing new, for example no blocks.
    pub async fn abandon_active(&self, why: &str) {
        let mut guard = self.active.lock().await;
        if let Some(active) = guard.1.take() {
            self.note_fault(active.index, &Fault::Away(why.to_owned()));
        }
    }

    /// Notes a final block that the endpoint in use reports as its newest, and leaves the endpoint when that has
    /// been the same for too long.
    pub(crate) async fn saw_final(&self, number: u64) {
        let silent = {
            let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
            let (known, since) = highest.get_or_insert_with(|| (number, Instant::now()));
            let silent = since.elapsed();
            if number <= *known && silent < self.options.head_silence {
                return;
            }
            *since = Instant::now();
            if number > *known {
                *known = number;
                return;
            }
            silent
        };
        self.abandon_active(&format!("no new final block for {silent:?}"))
            .await;
    }

    fn note_good(&self, index: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(index)
            && slot.failures > 0
        {
            *slot = Slot::default();
        }
    }

    fn note_fault(&self, index: usize, fault: &Fault) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get_mut(index) else {
            return;
        };
        slot.failures = slot.failures.saturating_add(1);
        slot.limited = matches!(fault, Fault::Limited { .. });
        let jitter = rand::random_range(0.5..1.5);
        let wait = fault.wait(&self.options.backoffs, slot.failures, jitter);
        slot.retry_at = Some(Instant::now() + wait);
        slot.last_error = Some(fault.words());
        let endpoint = self
            .endpoints
            .get(index)
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::warn!(endpoint, error = %fault.words(), failures = slot.failures, ?wait, "chain endpoint fails");
    }

    async fn drop_active(&self, generation: u64, fault: &Fault) {
        let mut guard = self.active.lock().await;
        if guard.1.as_ref().is_some_and(|a| a.generation == generation)
            && let Some(active) = guard.1.take()
        {
            self.note_fault(active.index, fault);
        }
    }

    /// The connection in use, made when there is none. Waits for an endpoint's back-off to end, but
    /// not past `deadline`.
    async fn connection(&self, deadline: Instant) -> Result<Active, RpcError> {
        let mut guard = self.active.lock().await;
        if let Some(active) = &guard.1 {
            if active.client.is_connected() {
                return Ok(active.clone());
            }
            let index = active.index;
            guard.1 = None;
            self.note_fault(index, &Fault::Away("the connection was lost".into()));
        }
        loop {
            if let Some(found) = self.best_candidate().await {
                guard.0 += 1;
                let active = Active {
                    generation: guard.0,
                    ..found
                };
                let endpoint = &self.endpoints[active.index];
                tracing::info!(%endpoint, "connected to the chain");
                guard.1 = Some(active.clone());
                self.settle_with(active.index);
                return Ok(active);
            }
            let Some(next) = self.soonest_retry() else {
                return Err(self.all_away());
            };
            if next >= deadline || self.refused_chain().is_some() {
                return Err(self.all_away());
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Connects to the first endpoint that is reachable, on our chain and not behind; when all are
    /// behind, to the one that is least so.
    async fn best_candidate(&self) -> Option<Active> {
        let mut behind: Option<(Duration, Active)> = None;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let waiting = {
                let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
                slots[index].retry_at.is_some_and(|at| at > Instant::now())
            };
            if waiting {
                continue;
            }
            match timeout(self.options.connect_timeout, self.open(endpoint)).await {
                Ok(Ok((client, age))) => {
                    let active = Active {
                        index,
                        generation: 0,
                        client: Arc::new(client),
                    };
                    if age <= self.options.max_block_age || self.endpoints.len() == 1 {
                        return Some(active);
                    }
                    tracing::warn!(%endpoint, ?age, "endpoint is behind, looking for a better one");
                    if behind.as_ref().is_none_or(|(other, _)| age < *other) {
                        behind = Some((age, active));
                    }
                }
                Ok(Err(fault)) => self.note_fault(index, &fault),
                Err(_) => self.note_fault(
                    index,
                    &Fault::timed_out("connecting: ", self.options.connect_timeout),
                ),
            }
        }
        behind.map(|(_, active)| active)
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<(Client, Duration), Fault> {
        let ping = PingConfig::new()
            .ping_interval(self.options.ping_interval)
            .inactive_limit(self.options.inactive_limit)
            .max_failures(1);
        let built = WsClientBuilder::default()
            .request_timeout(self.options.request_timeout)
            .connection_timeout(self.options.connect_timeout)
            .max_response_size(MAX_ANSWER_BYTES)
            .max_buffer_capacity_per_subscription(4096)
            .enable_ws_ping(ping)
            .build(endpoint.as_str())
            .await;
        let client = match built {
            Ok(client) => client,
            Err(refused) => {
                let at_most = self.options.connect_timeout / 2;
                return Err(fault::of_handshake(endpoint, &refused.to_string(), at_most).await);
            }
        };
        self.check_genesis(&client).await?;
        let age = block_age(&client, &self.options.clock).await;
        Ok((client, age))
    }

    async fn check_genesis(&self, client: &Client) -> Result<(), Fault> {
        let found: String = client
            .request("chain_getBlockHash", jsonrpsee::rpc_params![0u32])
            .await
            .map_err(|e| fault::of_request(&e))?;
        let mut known = self.genesis.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = match (&self.rule, known.as_ref()) {
            (GenesisRule::Finney, _) => Some(FINNEY_GENESIS.to_owned()),
            (GenesisRule::Exactly(hash), _) => Some(hash.to_lowercase()),
            (GenesisRule::Any, known) => known.cloned(),
        };
        match expected {
            Some(expected) if expected != found.to_lowercase() => {
                Err(Fault::WrongChain { found, expected })
            }
            _ => {
                *known = Some(found.to_lowercase());
                Ok(())
            }
        }
    }

    fn soonest_retry(&self) -> Option<Instant> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().filter_map(|s| s.retry_at).min()
    }

    fn all_away(&self) -> RpcError {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = !slots.is_empty() && slots.iter().all(|s| s.limited);
        let each: Vec<String> = self
            .endpoints
            .iter()
            .zip(slots.iter())
            .map(|(e, s)| format!("{e}: {}", s.last_error.as_deref().unwrap_or("not tried")))
            .collect();
        let code = if limited { " (-32004)" } else { "" };
        RpcError::Client(format!("{POOL_MARK}: {}{code}", each.join("; ")).into())
    }

    /// Sorts what a request brought. `Err(Some)`: turn to another endpoint.
    async fn settle<T>(
        &self,
        active: &Active,
        answer: Result<Result<T, RpcError>, tokio::time::error::Elapsed>,
    ) -> Result<T, (RpcError, bool)> {
        match answer {
            Ok(Ok(value)) => {
                self.note_good(active.index);
                Ok(value)
            }
            Ok(Err(RpcError::User(user))) => {
                let user = with_data(user);
                if matches!(user.code, -32004 | -32005) {
                    let fault = Fault::limited(&user.message);
                    self.drop_active(active.generation, &fault).await;
                    return Err((RpcError::User(user), true));
                }
                self.note_good(active.index);
                Err((RpcError::User(user), false))
            }
            Ok(Err(other)) => {
                self.drop_active(active.generation, &Fault::Away(other.to_string()))
                    .await;
                Err((other, true))
            }
            Err(_) => {
                let fault = Fault::timed_out("", self.options.request_timeout);
                self.drop_active(active.generation, &fault).await;
                Err((RpcError::Client(fault.words().into()), true))
            }
        }
    }

    /// Total time for one request over all the endpoints.
    fn budget(&self) -> Duration {
        self.options.request_timeout + self.options.connect_timeout
    }
}

impl RpcClientT for EndpointPool {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.budget();
            let once = method.starts_with("author_submit");
            let mut tries = 0;
            if !once {
                self.return_to_preferred().await;
            }
            loop {
                tries += 1;
                let active = self.connection(deadline).await?;
                let answer = timeout(
                    self.options.request_timeout,
                    RpcClientT::request_raw(&*active.client, method, params.clone()),
                )
                .await;
                match self.settle(&active, answer).await {
                    Ok(value) => return Ok(value),
                    Err((error, another)) => {
                        let last = once || !another || tries > self.endpoints.len();
                        if last || Instant::now() >= deadline {
                            return Err(error);
                        }
                        sleep(Duration::from_millis(rand::random_range(10..60))).await;
                    }
                }
            }
        })
    }

    fn subscribe_raw<'a>(
        &'a self,
        sub: &'a str,
        params: Option<Box<RawValue>>,
        unsub: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move {
            let active = self.connection(Instant::now() + self.budget()).await?;
            let answer = timeout(
                self.options.request_timeout,
                RpcClientT::subscribe_raw(&*active.client, sub, params, unsub),
            )
            .await;
            let subscription = self
                .settle(&active, answer)
                .await
                .map_err(|(error, _)| error)?;
            // What follows comes over this connection, also when requests go to another endpoint meanwhile.
            let kept = active.client;
            Ok(RawRpcSubscription {
                stream: Box::pin(subscription.stream.inspect(move |_| {
                    let _open = &kept;
                })),
                id: subscription.id,
            })
        })
    }
}

/// The node's words, with the data beside them: errors travel as text through subxt.
fn with_data(user: UserError) -> UserError {
    let Some(data) = &user.data else { return user };
    let data_text =
        serde_json::from_str::<String>(data.get()).unwrap_or_else(|_| data.get().into());
    let short: String = data_text.chars().take(500).collect();
    UserError {
        message: format!("{}: {short}", user.message),
        ..user
    }
}

/// Age of the endpoint's best block by its own timestamp. Zero when it does not say: then only
/// silence counts against it.
async fn block_age(client: &Client, clock: &Clock) -> Duration {
    let answer: Result<Option<String>, _> = client
        .request("state_getStorage", jsonrpsee::rpc_params![TIMESTAMP_NOW])
        .await;
    let bytes = answer
        .ok()
        .flatten()
        .and_then(|text| hex::decode(text.trim_start_matches("0x")).ok());
    let Some(millis) = bytes
        .and_then(|b| <[u8; 8]>::try_from(b).ok())
        .map(u64::from_le_bytes)
    else {
        return Duration::ZERO;
    };
    clock.now().saturating_sub(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_refusal_survives_in_its_text() {
        let data = RawValue::from_string("\"Custom error: 6\"".to_owned()).unwrap();
        let user = UserError {
            code: 1010,
            message: "Invalid Transaction".into(),
            data: Some(data),
        };
        assert_eq!(
            with_data(user).to_string(),
            "Invalid Transaction: Custom error: 6 (1010)"
        );
    }
}
