//! Calls against a small server that answers as told.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nexis_vision::{CaptionAnswer, CategoryAnswer, VisionClient, VisionSettings};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Model {
    client: VisionClient,
    seen: Arc<Mutex<Vec<(String, String, Value)>>>,
}

async fn model(status: u16, body: String) -> Model {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<_>>> = Arc::default();
    let log = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (log, body) = (log.clone(), body.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (log, body) = (log.clone(), body.clone());
                    async move {
                        let path = request.uri().path().to_owned();
                        let key = request.headers()["authorization"]
                            .to_str()
                            .unwrap()
                            .to_owned();
                        let sent = request.into_body().collect().await.unwrap().to_bytes();
                        log.lock().unwrap().push((
                            path,
                            key,
                            serde_json::from_slice(&sent).unwrap(),
                        ));
                        if status == 0 {
                            std::future::pending::<()>().await;
                        }
                        let answer = Response::builder().status(status);
                        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                let server = hyper::server::conn::http1::Builder::new();
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    let mut settings = VisionSettings::at(
        &format!("http://{address}/v1/"),
        "some-model",
        "key".to_owned(),
    );
    settings.timeout = Duration::from_secs(3);
    Model {
        client: VisionClient::new(&settings).unwrap(),
        seen,
    }
}

fn says(text: &str) -> String {
    json!({"choices": [{"message": {"role": "assistant", "content": text}}]}).to_string()
}

fn frames(count: usize) -> Vec<Bytes> {
    vec![Bytes::from_static(b"\xff\xd8jpeg"); count]
}

#[tokio::test]
async fn a_call_carries_the_key_the_model_and_at_most_twelve_frames() {
    let model = model(200, says("{\"match\": true}")).await;
    assert_eq!(
        model.client.caption("a lake", &frames(20)).await,
        CaptionAnswer::Match
    );
    let seen = model.seen.lock().unwrap();
    let (path, key, body) = &seen[0];
    assert_eq!(
        (path.as_str(), key.as_str()),
        ("/v1/chat/completions", "Bearer key")
    );
    assert_eq!(body["model"], "some-model");
    assert_eq!(body["messages"][1]["content"].as_array().unwrap().len(), 13);
}

#[tokio::test]
async fn a_no_and_an_unusable_answer_are_mismatches() {
    for text in ["{\"match\": false}", "hello", ""] {
        let model = model(200, says(text)).await;
        let answer = model.client.caption("a lake", &frames(1)).await;
        assert!(
            matches!(answer, CaptionAnswer::Mismatch { .. }),
            "{text}: {answer:?}"
        );
    }
    for body in ["not json".to_owned(), "{}".to_owned(), "x".repeat(300_000)] {
        let model = model(200, body).await;
        let answer = model.client.caption("a lake", &frames(1)).await;
        assert!(
            matches!(answer, CaptionAnswer::Mismatch { .. }),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn passing_faults_let_the_row_pass_and_refusals_do_not() {
    for status in [408, 409, 425, 429, 500, 502, 503, 504, 0] {
        let model = model(status, "busy".to_owned()).await;
        let answer = model.client.caption("a lake", &frames(1)).await;
        assert!(
            matches!(answer, CaptionAnswer::Unasked { .. }),
            "{status}: {answer:?}"
        );
    }
    for status in [400, 401, 403, 404, 422] {
        let model = model(status, "no".to_owned()).await;
        let answer = model.client.caption("a lake", &frames(1)).await;
        assert!(
            matches!(answer, CaptionAnswer::Mismatch { .. }),
            "{status}: {answer:?}"
        );
        let three = [const { Bytes::from_static(b"x") }; 3];
        let answer = model.client.category(&three).await;
        assert!(
            matches!(answer, CategoryAnswer::Invalid { .. }),
            "{status}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_a_passing_fault() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let settings = VisionSettings::at(
        &format!("http://127.0.0.1:{port}/v1"),
        "m",
        "key".to_owned(),
    );
    let answer = VisionClient::new(&settings)
        .unwrap()
        .category_gate("a lake")
        .await;
    assert!(
        matches!(answer, CaptionAnswer::Unasked { .. }),
        "{answer:?}"
    );
}

#[tokio::test]
async fn category_scores_come_back_as_numbers() {
    let frame =
        json!({"frame_index": 0, "winner": "Nature", "nature_score": 0.9, "urban_score": 0.1});
    let text = json!({"frames": [frame, frame, frame]}).to_string();
    let model = model(200, says(&text)).await;
    let three = [const { Bytes::from_static(b"x") }; 3];
    let CategoryAnswer::Scores(scores) = model.client.category(&three).await else {
        panic!()
    };
    assert!((scores[2].nature - 0.9).abs() < 1e-12);
}

#[test]
fn unusable_settings_are_refused_and_the_key_is_never_shown() {
    let with = |base: &str, key: &str| VisionSettings::at(base, "m", key.to_owned());
    for base in ["", "ftp://x/v1", "127.0.0.1:80/v1", "https://"] {
        assert!(VisionClient::new(&with(base, "k")).is_err(), "{base}");
    }
    for key in ["", "  ", "a\nb"] {
        assert!(
            VisionClient::new(&with("http://x/v1", key)).is_err(),
            "{key:?}"
        );
    }
    assert!(!format!("{:?}", with("http://x", "secretkey")).contains("secretkey"));
}
