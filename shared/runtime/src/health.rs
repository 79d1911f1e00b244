//! The health page: `/livez`, `/readyz`, `/startupz` and `/metrics` over plain HTTP.
//!
//! *Live* only says that the process answers: it asks nobody, so one hiccup of the broker restarts no fleet.
//! *Ready* and *started* read conditions that the process keeps up to date itself.

use crate::Redactor;
use crate::metrics::Metrics;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Connections at one time: probes and one scraper need a handful. One more ends the oldest, so that clients which only
/// hold connections open keep no probe out.
const CONNECTIONS: usize = 32;
/// Longest life of a connection; probes come anew.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);
/// Time for a request's head: a probe sends it with its first packet.
const HEAD_WITHIN: Duration = Duration::from_secs(1);

/// What the page says. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Health {
    started: Arc<AtomicBool>,
    /// Condition → why it does not hold.
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
    redactor: Redactor,
}

/// One thing that has to hold for the process to be ready.
#[derive(Clone)]
pub struct Condition {
    health: Health,
    name: &'static str,
}

impl Condition {
    /// Its name, as the page shows it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// It holds; true when it did not before.
    pub fn holds(&self) -> bool {
        self.health.set(self.name, None)
    }

    /// It does not hold; the reason is shown on the page, without what [`Health::hiding`] hides.
    /// True when it did hold before, or failed for another reason.
    pub fn fails(&self, why: impl Into<String>) -> bool {
        self.health.set(self.name, Some(why.into()))
    }
}

impl Health {
    /// Not started, no conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with secrets taken out of all that the page says.
    #[must_use]
    pub fn hiding(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Start-up is over.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// A condition that does not hold yet.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.set(name, Some("not yet".to_owned()));
        Condition {
            health: self.clone(),
            name,
        }
    }

    /// Notes a condition; true when that is news.
    fn set(&self, name: &'static str, why: Option<String>) -> bool {
        let why = why.map(|why| self.redactor.apply(&why).into_owned());
        let mut conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        conditions.insert(name, why.clone()) != Some(why)
    }

    /// The conditions that do not hold, each with its reason.
    pub fn failing(&self) -> Vec<String> {
        let conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        conditions
            .iter()
            .filter_map(|(name, why)| why.as_ref().map(|why| format!("{name}: {why}")))
            .collect()
    }

    fn answer(&self, path: &str, metrics: &Metrics) -> (StatusCode, &'static str, String) {
        const PLAIN: &str = "text/plain; charset=utf-8";
        const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        match path {
            "/livez" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            "/startupz" if self.started.load(Ordering::Acquire) => {
                (StatusCode::OK, PLAIN, "ok\n".to_owned())
            }
            "/startupz" => (
                StatusCode::SERVICE_UNAVAILABLE,
                PLAIN,
                "starting\n".to_owned(),
            ),
            "/readyz" => {
                let mut failing = self.failing();
                if !self.started.load(Ordering::Acquire) {
                    failing.push("starting".to_owned());
                }
                if failing.is_empty() {
                    (StatusCode::OK, PLAIN, "ok\n".to_owned())
                } else {
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        PLAIN,
                        failing.join("\n") + "\n",
                    )
                }
            }
            "/metrics" => (StatusCode::OK, OPEN_METRICS, metrics.render()),
            _ => (StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned()),
        }
    }
}

/// Serves the page until `stop` is cancelled. Ends without an error then; a failing `accept` is waited out.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {
                oldest_first.retain(|connection| !connection.is_finished());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "health page cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        if oldest_first.len() >= CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let (health, metrics) = (health.clone(), metrics.clone());
        let connection = connections.spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let response = respond(&request, &health, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // How a prober's connection ends concerns nobody.
            tokio::time::timeout(CONNECTION_LIFE, connection).await.ok();
        });
        oldest_first.push_back(connection);
    }
}

fn respond<B>(request: &Request<B>, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, kind, body) = match *request.method() {
        Method::GET | Method::HEAD => health.answer(request.uri().path(), metrics),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::{Health, serve};
    use crate::metrics::Metrics;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    async fn get(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn the_page_tells_live_ready_and_started_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (health, metrics, stop) = (Health::new(), Metrics::new(), CancellationToken::new());
        metrics.counter("nexis_visits", "Visits").inc();
        let broker = health.condition("broker");
        let server = serve(listener, health.clone(), metrics, stop.clone());
        let visitor = async {
            assert!(get(address, "GET /livez").await.starts_with("HTTP/1.1 200"));
            assert!(
                get(address, "GET /startupz")
                    .await
                    .starts_with("HTTP/1.1 503")
            );
            health.started();
            assert!(
                get(address, "GET /startupz")
                    .await
                    .starts_with("HTTP/1.1 200")
            );
            let ready = get(address, "GET /readyz").await;
            assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("broker: not yet\n"));
            broker.holds();
            assert!(
                get(address, "GET /readyz")
                    .await
                    .starts_with("HTTP/1.1 200")
            );
            broker.fails("connection lost");
            assert!(
                get(address, "GET /readyz")
                    .await
                    .ends_with("broker: connection lost\n")
            );
            assert!(get(address, "GET /livez").await.starts_with("HTTP/1.1 200"));
            assert!(
                get(address, "GET /metrics")
                    .await
                    .contains("nexis_visits_total 1")
            );
            assert!(
                get(address, "POST /livez")
                    .await
                    .starts_with("HTTP/1.1 405")
            );
            assert!(
                get(address, "GET /etc/passwd")
                    .await
                    .starts_with("HTTP/1.1 404")
            );
            assert!(get(address, "nonsense").await.starts_with("HTTP/1.1 400"));
            stop.cancel();
        };
        tokio::join!(server, visitor);
    }

    #[tokio::test]
    async fn clients_that_only_hold_connections_open_keep_no_probe_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Health::new(), Metrics::new(), stop.clone()));
        let mut held = Vec::new();
        for _ in 0..super::CONNECTIONS * 5 {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            // One that was ended already refuses it; that is the point.
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n")
                .await
                .ok();
            held.push(stream);
        }
        for _ in 0..5 {
            let answer = tokio::time::timeout(super::HEAD_WITHIN, get(address, "GET /livez"));
            let answer = answer.await.expect("a probe does not wait for others");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        // Half a request is ended soon, also when nobody else comes.
        let last = held.last_mut().expect("many");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(super::HEAD_WITHIN * 4, last.read_to_end(&mut rest));
        ended.await.expect("half a request is not waited for").ok();
        stop.cancel();
        server.await.expect("it ends");
    }
}
