//! What makes us turn to another endpoint, and for how long.

use crate::endpoint::Endpoint;
use crate::error::TIMEOUT_MARK;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{CONNECTION, RETRY_AFTER, UPGRADE};
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait after a fault that only waiting mends; the unit of the longer ones below.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Longest wait that a gateway's Retry-After is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// First and longest waits after a fault; they double in between, each shortened or lengthened at random by up to
/// half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoffs {
    /// First wait for an endpoint that is merely away.
    pub away_first: Duration,
    /// Longest wait for it: one block, so that an outage costs little more than itself.
    pub away_most: Duration,
    /// First wait after "too many requests" of a gateway that does not say how long: longer than what the public
    /// ones ask.
    pub limited_first: Duration,
}

impl Default for Backoffs {
    fn default() -> Self {
        Self {
            away_first: Duration::from_millis(500),
            away_most: Duration::from_secs(12),
            limited_first: Duration::from_secs(30),
        }
    }
}

/// A fault that makes us turn to another endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Away(String),
    Limited {
        words: String,
        retry_after: Option<Duration>,
    },
    WrongChain {
        found: String,
        expected: String,
    },
}

impl Fault {
    pub(super) fn limited(words: &str) -> Self {
        Self::Limited {
            words: words.to_owned(),
            retry_after: None,
        }
    }

    pub(super) fn timed_out(doing: &str, after: Duration) -> Self {
        Self::Away(format!("{doing}{TIMEOUT_MARK} {after:?}"))
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Away(text) => text.clone(),
            Self::Limited { words, retry_after } => {
                let asked = retry_after.map_or(String::new(), |wait| {
                    format!(" (it asks to wait {} s)", wait.as_secs())
                });
                format!("limits our requests: {words}{asked}")
            }
            Self::WrongChain { found, expected } => {
                format!("wrong chain: genesis {found}, expected {expected}")
            }
        }
    }

    /// How long to leave the endpoint alone after so many faults in a row. `jitter` is drawn from 0.5 to 1.5.
    pub(super) fn wait(&self, backoffs: &Backoffs, failures: u32, jitter: f64) -> Duration {
        match self {
            // Never earlier than asked, and not all clients at the same moment.
            Self::Limited {
                retry_after: Some(asked),
                ..
            } => asked
                .min(&RETRY_AFTER_MAX)
                .mul_f64(f64::midpoint(jitter, 1.5)),
            Self::Limited { .. } => {
                doubled(backoffs.limited_first, BACKOFF_MAX * 5, failures, jitter)
            }
            Self::WrongChain { .. } => doubled(BACKOFF_MAX, BACKOFF_MAX * 10, failures, jitter),
            Self::Away(_) => doubled(backoffs.away_first, backoffs.away_most, failures, jitter),
        }
    }
}

/// Waiting time after the n-th fault in a row: doubling, with jitter (a factor around 1).
fn doubled(first: Duration, most: Duration, failures: u32, jitter: f64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(most).mul_f64(jitter.clamp(0.5, 1.5))
}

/// Sorts an error of a request made while connecting.
pub(super) fn of_request(error: &jsonrpsee::core::client::Error) -> Fault {
    match error {
        jsonrpsee::core::client::Error::Call(call) if matches!(call.code(), -32004 | -32005) => {
            Fault::limited(call.message())
        }
        other => Fault::Away(other.to_string()),
    }
}

/// Sorts a refused handshake. The WebSocket library does not hand on the headers of the refusal: the gateway is
/// asked once more, in plain HTTP, how long it wants us to wait.
pub(super) async fn of_handshake(endpoint: &Endpoint, text: &str, at_most: Duration) -> Fault {
    let limited = ["status code: 429", "status code: 403", "status code: 503"];
    if !limited.iter().any(|code| text.contains(code)) {
        return Fault::Away(text.to_owned());
    }
    let asked = timeout(at_most, ask_retry_after(endpoint)).await;
    Fault::Limited {
        words: text.to_owned(),
        retry_after: asked.ok().flatten(),
    }
}

/// What the endpoint's answer to a handshake says in Retry-After, in seconds; the form with a date is not used by
/// gateways and counts as none.
async fn ask_retry_after(endpoint: &Endpoint) -> Option<Duration> {
    let url = endpoint.as_str().replacen("ws", "http", 1);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider)
        .ok()?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get(url)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "bmV4aXMgYXNrcyBhZ2Fpbg==")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = client.request(request).await.ok()?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Some(Duration::ZERO);
    }
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let away = Fault::Away(String::new());
        let backoffs = Backoffs::default();
        assert_eq!(away.wait(&backoffs, 1, 1.0), Duration::from_millis(500));
        assert_eq!(away.wait(&backoffs, 2, 1.0), Duration::from_secs(1));
        assert_eq!(away.wait(&backoffs, 5, 1.0), Duration::from_secs(8));
        assert_eq!(away.wait(&backoffs, 100, 1.0), Duration::from_secs(12));
        assert_eq!(away.wait(&backoffs, 1, 9.0), Duration::from_millis(750));
        let limited = Fault::limited("slow down");
        assert_eq!(limited.wait(&backoffs, 1, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn a_gateway_is_left_alone_for_as_long_as_it_asks_and_little_longer() {
        let backoffs = Backoffs::default();
        let limited = |seconds| Fault::Limited {
            words: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        for jitter in [0.5, 1.0, 1.5] {
            let wait = limited(8).wait(&backoffs, 3, jitter);
            assert!((8..=12).contains(&wait.as_secs()), "{wait:?}");
        }
        let forever = limited(u64::from(u32::MAX)).wait(&backoffs, 1, 0.5);
        assert_eq!(forever, RETRY_AFTER_MAX);
    }

    #[tokio::test]
    async fn an_unreachable_endpoint_is_away_and_not_limiting() {
        let endpoint: Endpoint = "ws://127.0.0.1:1".parse().unwrap();
        let second = Duration::from_secs(1);
        let away = of_handshake(&endpoint, "Connection refused", second).await;
        assert_eq!(away, Fault::Away("Connection refused".to_owned()));
        let text = "Connection rejected with status code: 429";
        let limited = of_handshake(&endpoint, text, second).await;
        assert_eq!(limited, Fault::limited(text));
    }
}
