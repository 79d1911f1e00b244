//! A vision model that always answers the same way: an OpenAI-compatible server on loopback.

use crate::accept;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The caption that the stub calls wrong; every other one fits. Long enough for every profile.
pub(crate) const WRONG_CAPTION: &str = "A crowded shopping street at night with neon signs and slow traffic, seen from \
     a balcony high above the wet and shining pavement";
/// A dozen frames as base64 are a few MB.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// The running stub; it stops when this is dropped.
pub struct VisionStub {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    _running: DropGuard,
}

impl VisionStub {
    /// Answers on a free loopback port, or on `port` when it is not 0.
    pub async fn start(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        tokio::spawn(accept::serve(listener, stop.clone(), move |stream| {
            converse(stream, counted.clone())
        }));
        Ok(Self {
            address,
            calls,
            _running: stop.drop_guard(),
        })
    }

    /// Where it is: a base URL as the OpenAI libraries want it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Questions answered so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn converse(stream: TcpStream, calls: Arc<AtomicU64>) {
    let service = service_fn(move |request| {
        let calls = calls.clone();
        async move { Ok::<_, Infallible>(answer(request, &calls).await) }
    });
    let server = hyper::server::conn::http1::Builder::new();
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the vision stub ended");
    }
}

async fn answer(request: Request<Incoming>, calls: &AtomicU64) -> Response<Full<Bytes>> {
    let reply = |status, body: Value| {
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response
    };
    let refuse = |status, message: &str| reply(status, json!({"error": {"message": message}}));
    if request.method() != Method::POST || !request.uri().path().ends_with("/chat/completions") {
        return refuse(
            StatusCode::NOT_FOUND,
            "only POST /v1/chat/completions is here",
        );
    }
    if !request.headers().contains_key("authorization") {
        return refuse(StatusCode::UNAUTHORIZED, "no API key");
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_REQUEST_BYTES)
        .collect()
        .await
    else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too large");
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return refuse(StatusCode::BAD_REQUEST, "not JSON");
    };
    calls.fetch_add(1, Ordering::Relaxed);
    let content = json!({"role": "assistant", "content": opinion(&body)});
    reply(
        StatusCode::OK,
        json!({
            "id": "chatcmpl-stub", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": content}],
        }),
    )
}

fn opinion(body: &Value) -> String {
    let parts = body
        .pointer("/messages/1/content")
        .and_then(Value::as_array);
    let text = parts.and_then(|parts| parts.iter().find_map(|part| part["text"].as_str()));
    match text {
        Some(text) => json!({"match": !text.contains(WRONG_CAPTION)}).to_string(),
        None => {
            let frame = |index| {
                json!({"frame_index": index, "winner": "nature", "nature_score": 0.95, "people_score": 0.0,
                       "animal_score": 0.0, "vehicle_score": 0.0, "urban_score": 0.05, "indoor_score": 0.0})
            };
            json!({"frames": [frame(0), frame(1), frame(2)]}).to_string()
        }
    }
}
