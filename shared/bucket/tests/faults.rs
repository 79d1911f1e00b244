//! A store that misbehaves on purpose, and what a read makes of it.

use nexis_bucket::{Bucket, BucketAccess, BucketStore, FetchError, FetchLimits, Fetched};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
enum Behave {
    /// Sends these bytes and closes.
    Say(Vec<u8>),
    /// Sends the head, then filler for ever.
    Endless(Vec<u8>),
    /// Sends the head, then one byte a pause.
    Drip(Vec<u8>, Duration),
    /// Takes the request and never answers.
    Silent,
    /// Closes without a word.
    HangUp,
}

fn ok(body: &[u8]) -> Behave {
    ok_announcing(body, body.len())
}

fn ok_announcing(body: &[u8], length: usize) -> Behave {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(body);
    Behave::Say(answer)
}

fn refuse(status: &str, code: &str) -> Behave {
    let xml =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
    let length = xml.len();
    Behave::Say(
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{xml}"
        )
        .into_bytes(),
    )
}

struct Faulty {
    url: String,
    requests: Arc<AtomicUsize>,
    /// What each request began with.
    heads: Arc<Mutex<Vec<String>>>,
}

/// Behaves by the list, one entry a request; the last one is repeated.
async fn faulty(script: Vec<Behave>) -> Faulty {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let heads = Arc::new(Mutex::default());
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = seen.fetch_add(1, Ordering::SeqCst);
            let behave = script[number.min(script.len() - 1)].clone();
            tokio::spawn(serve(stream, behave, Arc::clone(&kept)));
        }
    });
    Faulty {
        url,
        requests,
        heads,
    }
}

async fn serve(mut stream: TcpStream, behave: Behave, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&piece[..n]),
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    heads.lock().unwrap().push(text);
    match behave {
        Behave::Say(answer) => {
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
        Behave::Endless(head) => {
            stream.write_all(&head).await.ok();
            while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
        }
        Behave::Drip(head, pause) => {
            stream.write_all(&head).await.ok();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
        Behave::Silent => {
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        Behave::HangUp => {}
    }
}

impl Faulty {
    async fn fetch(&self, max_bytes: u64, budget: Duration) -> Fetched {
        let access = access();
        let store = BucketStore::new(self.url.parse().unwrap())
            .with_longest_silence(Duration::from_millis(400));
        store
            .fetch(
                &access,
                "50/manifest.json",
                FetchLimits::new(max_bytes, budget),
            )
            .await
            .unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn access() -> BucketAccess {
    BucketAccess {
        bucket: "bucket".into(),
        account_id: "account".into(),
        access_key: "key".into(),
        secret_key: "secret".into(),
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(1200);

fn found(fetched: Fetched) -> nexis_bucket::Object {
    match fetched {
        Fetched::Found(object) => object,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn passing_faults_of_every_kind_are_tried_again_until_the_object_comes() {
    let server = faulty(vec![
        refuse("503 Service Unavailable", "SlowDown"),
        refuse("429 Too Many Requests", "TooManyRequests"),
        Behave::HangUp,
        Behave::Silent,
        ok_announcing(b"cut", 100),
        Behave::Say(b"this is not HTTP\r\n\r\n".to_vec()),
        ok(b"whole"),
    ])
    .await;
    let object = found(server.fetch(1000, LONG).await);
    assert_eq!(&object.bytes[..], b"whole");
    assert_eq!(object.digest, nexis_protocol::Digest::of(b"whole"));
    assert_eq!(object.last_modified, Some(1_445_412_480.0));
    assert_eq!(server.requests(), 7);
}

#[tokio::test]
async fn a_refusal_is_believed_at_once() {
    for (status, code) in [
        ("404 Not Found", "NoSuchKey"),
        ("404 Not Found", "NoSuchBucket"),
        ("403 Forbidden", "AccessDenied"),
        ("403 Forbidden", "InvalidAccessKeyId"),
        ("401 Unauthorized", "Unauthorized"),
    ] {
        let server = faulty(vec![refuse(status, code)]).await;
        let fetched = server.fetch(1000, LONG).await;
        assert!(
            matches!(&fetched, Fetched::Missing { answer } if answer.contains(code)),
            "{code}: {fetched:?}"
        );
        assert_eq!(server.requests(), 1, "{code}");
    }
    let empty =
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Say(empty)]).await;
    assert!(matches!(
        server.fetch(1000, LONG).await,
        Fetched::Missing { .. }
    ));
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let secret = faulty(vec![ok(b"metadata of the cloud")]).await;
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!(
            "HTTP/1.1 {status}\r\nLocation: {}/bucket/50/manifest.json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            secret.url
        );
        let server = faulty(vec![Behave::Say(location.into_bytes())]).await;
        let fetched = server.fetch(1000, SHORT).await;
        assert!(
            matches!(fetched, Fetched::Unreachable { .. }),
            "{status}: {fetched:?}"
        );
    }
    assert_eq!(secret.requests(), 0);
}

#[tokio::test]
async fn a_store_that_stays_away_is_told_apart_from_a_missing_object_and_keeps_to_the_budget() {
    for behave in [
        refuse("500 Internal Server Error", "InternalError"),
        Behave::HangUp,
        Behave::Silent,
        ok_announcing(b"cut", 100),
    ] {
        let server = faulty(vec![behave]).await;
        let begun = Instant::now();
        let fetched = server.fetch(1000, SHORT).await;
        assert!(
            matches!(&fetched, Fetched::Unreachable { last } if !last.is_empty()),
            "{fetched:?}"
        );
        assert!(
            begun.elapsed() < SHORT + Duration::from_millis(700),
            "{:?}",
            begun.elapsed()
        );
        assert!(server.requests() >= 2, "{} requests", server.requests());
    }
}

#[tokio::test]
async fn a_transfer_below_the_floor_is_dropped_after_the_grace_period() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Drip(head, Duration::from_millis(20))]).await;
    let store =
        BucketStore::new(server.url.parse().unwrap()).with_slow_start(Duration::from_millis(500));
    let mut limits = FetchLimits::new(2000, LONG);
    limits.min_bytes_per_second = 1000;
    let begun = Instant::now();
    let fetched = store
        .fetch(&access(), "50/clips/a.mp4", limits)
        .await
        .unwrap();
    assert!(
        matches!(&fetched, Fetched::TooSlow { last } if last.contains("fewer than 1000 a second")),
        "{fetched:?}"
    );
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(500) && took < LONG / 4,
        "{took:?}"
    );
    assert_eq!(server.requests(), 1, "a slow store is not asked twice");
}

#[tokio::test]
async fn a_store_that_answers_and_does_not_finish_within_the_budget_is_slow_and_not_unreachable() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Drip(head, Duration::from_millis(20))]).await;
    let store = BucketStore::new(server.url.parse().unwrap());
    let budget = Duration::from_millis(500);
    let limits = FetchLimits::new(2000, budget);
    let fetched = store
        .fetch(&access(), "50/clips/a.mp4", limits)
        .await
        .unwrap();
    assert!(
        matches!(&fetched, Fetched::TooSlow { last } if last.contains("the time budget was used up")),
        "{fetched:?}"
    );
}

#[tokio::test]
async fn a_transfer_above_the_floor_may_take_longer_than_the_grace_period() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\nConnection: close\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Drip(head, Duration::from_millis(20))]).await;
    let store =
        BucketStore::new(server.url.parse().unwrap()).with_slow_start(Duration::from_millis(200));
    let mut limits = FetchLimits::new(2000, LONG);
    limits.min_bytes_per_second = 5;
    let fetched = store
        .fetch(&access(), "50/clips/a.mp4", limits)
        .await
        .unwrap();
    assert_eq!(found(fetched).bytes.len(), 60);
}

#[tokio::test]
async fn an_announced_size_above_the_cap_is_not_read() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Endless(head)]).await;
    let fetched = server.fetch(1000, LONG).await;
    assert!(
        matches!(
            fetched,
            Fetched::TooLarge {
                bytes: 5_000_000_000
            }
        ),
        "{fetched:?}"
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn an_endless_body_without_a_size_is_cut_at_the_cap() {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Endless(head)]).await;
    let Fetched::TooLarge { bytes } = server.fetch(100_000, LONG).await else {
        panic!()
    };
    assert!(bytes > 100_000 && bytes < 2_000_000, "{bytes}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn an_endless_error_text_is_cut_and_neither_fills_memory_nor_the_budget() {
    let head = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n".to_vec();
    let server = faulty(vec![Behave::Endless(head), ok(b"whole")]).await;
    let begun = Instant::now();
    assert_eq!(&found(server.fetch(1000, LONG).await).bytes[..], b"whole");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_object_of_exactly_the_cap_passes_and_one_byte_more_does_not() {
    let server = faulty(vec![ok(&[7; 1000])]).await;
    assert_eq!(found(server.fetch(1000, LONG).await).bytes.len(), 1000);
    let server = faulty(vec![ok(&[7; 1001])]).await;
    assert!(matches!(
        server.fetch(1000, LONG).await,
        Fetched::TooLarge { bytes: 1001 }
    ));
}

#[tokio::test]
async fn a_store_that_blames_our_clock_leads_to_an_error_of_ours_not_to_a_missing_object() {
    let server = faulty(vec![refuse("403 Forbidden", "RequestTimeTooSkewed")]).await;
    let access = access();
    let store = BucketStore::new(server.url.parse().unwrap());
    let limits = FetchLimits::new(10, SHORT);
    let error = store.fetch(&access, "k", limits).await.unwrap_err();
    assert!(error.to_string().contains("clock"), "{error}");
    assert!(matches!(error, FetchError::WrongClock { .. }), "{error:?}");
}

#[tokio::test]
async fn after_a_refusal_by_the_clock_requests_are_signed_for_the_time_that_the_store_told() {
    let late = "HTTP/1.1 403 Forbidden\r\nDate: Sat, 02 Feb 2036 02:02:02 GMT\r\nContent-Length: 78\r\n\
                Connection: close\r\n\r\n\
                <?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed</Code></Error>         ";
    let server = faulty(vec![Behave::Say(late.into()), ok(b"whole")]).await;
    assert_eq!(&found(server.fetch(1000, LONG).await).bytes[..], b"whole");
    let heads = server.heads.lock().unwrap().clone();
    let dates: Vec<&str> = heads
        .iter()
        .filter_map(|head| {
            head.lines()
                .find_map(|line| line.strip_prefix("x-amz-date: "))
        })
        .collect();
    assert_eq!(dates.len(), 2, "{heads:?}");
    assert!(!dates[0].starts_with("2036"), "{dates:?}");
    assert!(dates[1].starts_with("20360202T0202"), "{dates:?}");
}
