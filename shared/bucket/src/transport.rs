//! The connections to stores, and what of an answer goes on to the SDK.
//!
//! The SDK reads every header of an answer strictly: one that is not UTF-8, comes twice or does not parse fails the whole
//! read, and one of its interceptors panics. What decides is the body, its length and Last-Modified (PROTOCOL §6), so
//! nothing else is handed on.

use crate::answer::error_code;
use crate::last_modified;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// An error answer is a few hundred bytes of XML. The SDK reads all of it into memory, so an endless one must be cut.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Connecting to a healthy store takes milliseconds; a black hole must not eat the budget.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A miner sets headers on its objects (metadata), as many as its store lets it: 8 KiB at R2, two bytes and up each.
const MAX_HEADERS: usize = 8192;
/// Stands for the body of a refusal that is no S3 error document.
const NO_DOCUMENT: &str = "no S3 error document";
/// Largest head of an answer, bytes.
const MAX_HEAD_BYTES: u32 = 1 << 20;

/// One pool of connections for all stores.
#[derive(Clone, Debug)]
struct Transport(Client<HttpsConnector<TcpConnector>, SdkBody>);

pub(crate) fn http_client() -> SharedHttpClient {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls())
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http1_max_headers(MAX_HEADERS)
        .http1_max_buf_size(MAX_HEAD_BYTES as usize)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_max_header_list_size(MAX_HEAD_BYTES)
        .build(connector);
    SharedHttpClient::new(Transport(client))
}

/// The system's certificate roots, read once. A machine without any can still read stores over plain http.
fn tls() -> ClientConfig {
    static READ: OnceLock<ClientConfig> = OnceLock::new();
    READ.get_or_init(read_roots).clone()
}

fn read_roots() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves the default protocol versions");
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        tracing::warn!(
            errors = ?loaded.errors,
            "no certificate roots were found on this system: stores cannot be read over https"
        );
    }
    builder.with_root_certificates(roots).with_no_client_auth()
}

impl HttpClient for Transport {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        // Not signed: some stores and proxies rewrite it. Bytes are compared with digests, so they must come as stored.
        request.headers_mut().insert("accept-encoding", "identity");
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer
                .await
                .map_err(|error| ConnectorError::io(error.into()))?
                .map(SdkBody::from_body_1_x);
            let mut answer = HttpResponse::try_from(answer)
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            let kept = kept_headers(answer.headers());
            *answer.headers_mut() = kept;
            if !answer.status().is_success() {
                shorten(&mut answer).await;
            }
            Ok(answer)
        })
    }
}

/// What is left of the body of an answer that is not a success: its S3 error code, nothing when there was nothing, or a
/// text that is no error document.
async fn shorten(answer: &mut HttpResponse) {
    let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
    let short = match Limited::new(body, MAX_ERROR_BODY).collect().await {
        Ok(read) => {
            let bytes = read.to_bytes();
            match error_code(&bytes) {
                Some(code) => format!("<Error><Code>{code}</Code></Error>"),
                None if bytes.trim_ascii().is_empty() => String::new(),
                None => NO_DOCUMENT.to_owned(),
            }
        }
        Err(error) => {
            tracing::debug!(%error, "the body of a refusal could not be read");
            NO_DOCUMENT.to_owned()
        }
    };
    answer.headers_mut().remove("content-length");
    *answer.body_mut() = SdkBody::from(short);
}

/// Length and time of an object, and the store's clock (with which the SDK corrects the time that it signs).
fn kept_headers(told: &Headers) -> Headers {
    let mut kept = Headers::new();
    let mut keep = |name: &'static str, value: Option<String>| {
        let fits = value.map(|value| kept.try_insert(name, value).is_ok());
        if fits == Some(false) {
            tracing::debug!(name, "a header of a store's answer could not be kept");
        }
    };
    keep("content-length", content_length(told));
    keep(
        "last-modified",
        one(told, "last-modified").and_then(last_modified::canonical),
    );
    keep("date", one(told, "date").map(str::to_owned));
    kept
}

/// The value of a header that comes once, when it is text.
fn one<'a>(told: &'a Headers, name: &str) -> Option<&'a str> {
    let mut values = told.get_all_bytes(name);
    let first = values.next()?;
    if values.next().is_some() {
        return None;
    }
    std::str::from_utf8(first).ok().map(str::trim)
}

/// The announced length, when every copy of the header says the same.
fn content_length(told: &Headers) -> Option<String> {
    let mut lengths = told
        .get_all_bytes("content-length")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|length| std::str::from_utf8(length).ok()?.trim().parse::<u64>().ok());
    let first = lengths.next()??;
    lengths
        .all(|other| other == Some(first))
        .then(|| first.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static [u8])]) -> Headers {
        let mut map = http::HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        Headers::try_from(map).unwrap()
    }

    #[test]
    fn only_length_time_and_date_are_handed_on() {
        let kept = kept_headers(&headers(&[
            ("content-length", b"5"),
            ("content-length", b"5"),
            ("content-type", b"a"),
            ("content-type", b"b"),
            ("x-amz-meta-note", b"JULI\xc1N"),
            ("expires", b"M\xe4rz"),
            ("x-amz-mp-parts-count", b"many"),
            ("last-modified", b" 2020-06-09T14:35:33.892Z "),
            ("date", b"Wed, 21 Oct 2015 07:28:00 GMT"),
        ]));
        let kept: Vec<(&str, &str)> = kept.iter().collect();
        assert_eq!(
            kept,
            [
                ("content-length", "5"),
                ("last-modified", "Tue, 09 Jun 2020 14:35:33.892 GMT"),
                ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ]
        );
    }

    #[test]
    fn a_header_that_cannot_be_read_counts_as_absent() {
        let kept = kept_headers(&headers(&[
            ("content-length", b"5"),
            ("content-length", b"6"),
            ("last-modified", b"Wed, 21 Oct 2015 07:28:00 GMT"),
            ("last-modified", b"Wed, 21 Oct 2015 07:28:00 GMT"),
            ("date", b"\xff"),
        ]));
        assert!(kept.is_empty(), "{kept:?}");
    }
}
