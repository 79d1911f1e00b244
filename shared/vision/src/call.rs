//! One call of `/chat/completions`.

use crate::settings::{SettingsError, VisionSettings};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nexis_protocol::vision::is_transient_fault;
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// An answer is some hundred bytes of text in an envelope; more is not an answer to our question.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A call that brought no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// May go through later; the row passes.
    Transient(String),
    /// Refused or unreadable.
    Failed(String),
}

pub(crate) struct Caller {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    authorization: HeaderValue,
    timeout: Duration,
}

impl Caller {
    pub fn new(settings: &VisionSettings) -> Result<Self, SettingsError> {
        let bad_url = || SettingsError::BaseUrl(settings.base_url.clone());
        let url: Uri = format!("{}/chat/completions", settings.base_url)
            .parse()
            .map_err(|_| bad_url())?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(bad_url());
        }
        let key = settings.api_key.trim();
        if key.is_empty() {
            return Err(SettingsError::Key);
        }
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| SettingsError::Key)?;
        authorization.set_sensitive(true);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| SettingsError::Certificates(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .build();
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            http,
            url,
            authorization,
            timeout: settings.timeout,
        })
    }

    /// Sends one request and gives the text of the model's answer.
    pub async fn ask(&self, body: &Value) -> Result<String, Fault> {
        match tokio::time::timeout(self.timeout, self.exchange(body)).await {
            Ok(ended) => ended,
            Err(_) => Err(Fault::Transient(format!(
                "timed out after {} s",
                self.timeout.as_secs_f64()
            ))),
        }
    }

    async fn exchange(&self, body: &Value) -> Result<String, Fault> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, self.authorization.clone())
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("all parts were checked when the caller was made");
        // Not reached, or cut off: a fault of the connection whatever its text says.
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| Fault::Transient(format!("connection: {}", chain(&error))))?;
        let status = answer.status();
        let collected = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let body = match collected {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Fault::Failed(
                    "the answer is longer than 256 KiB".to_owned(),
                ));
            }
            Err(error) => return Err(Fault::Transient(format!("connection: {error}"))),
        };
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            let what = format!("status {}: {text}", status.as_u16());
            return Err(if is_transient_fault(Some(status.as_u16()), &text) {
                Fault::Transient(what)
            } else {
                Fault::Failed(what)
            });
        }
        let envelope: Value = serde_json::from_slice(&body)
            .map_err(|error| Fault::Failed(format!("the answer is not JSON: {error}")))?;
        text_of(&envelope).ok_or_else(|| Fault::Failed("the answer holds no text".to_owned()))
    }
}

/// `choices[0].message.content`, a text or a list of text parts.
fn text_of(envelope: &Value) -> Option<String> {
    match envelope.pointer("/choices/0/message/content")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(
            parts
                .iter()
                .filter_map(|part| part.get("text")?.as_str())
                .collect(),
        ),
        _ => None,
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
