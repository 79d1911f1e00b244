//! Answers of stores with odd headers, statuses and bodies, made by a seeded generator: only an answer's body, length
//! and Last-Modified decide (PROTOCOL §6).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use nexis_bucket::{Bucket, BucketAccess, BucketStore, FetchLimits, Fetched};
use nexis_protocol::cpython_random::CpythonRandom;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Answers every request with the same bytes; keeps what it was asked.
async fn store(answer: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                let mut piece = [0; 1024];
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => head.extend_from_slice(&piece[..n]),
                }
            }
            kept.lock()
                .unwrap()
                .push(String::from_utf8_lossy(&head).into_owned());
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
    });
    (url, heads)
}

async fn fetch(answer: Vec<u8>, budget: Duration) -> (Fetched, Vec<String>) {
    let (url, heads) = store(answer).await;
    let access = BucketAccess {
        bucket: "bucket".into(),
        account_id: "account".into(),
        access_key: "key".into(),
        secret_key: "secret".into(),
    };
    let fetched = BucketStore::new(url.parse().unwrap())
        .fetch(&access, "50/clips/a.mp4", FetchLimits::new(1000, budget))
        .await
        .unwrap();
    let heads = heads.lock().unwrap().clone();
    (fetched, heads)
}

/// Header lines of which none may matter.
const ODD: [&[u8]; 26] = [
    b"x-amz-meta-note: JULI\xc1N",
    b"Content-Disposition: attachment; filename=\"\xe4.mp4\"",
    b"Cache-Control: \xe4",
    b"Content-Language: \xff",
    b"Content-Type: video/mp4\r\nContent-Type: video/mp4",
    b"Cache-Control: a\r\nCache-Control: b",
    b"Expires: M\xe4rz",
    b"Expires: 0",
    b"Expires: Wed, 21 Oct 2015 07:28:00 GMT\r\nExpires: never",
    b"x-amz-mp-parts-count: many",
    b"x-amz-missing-meta: -",
    b"x-amz-delete-marker: False",
    b"x-amz-object-lock-retain-until-date: tomorrow",
    b"x-amz-object-lock-mode: \xff",
    b"x-amz-restore:",
    b"x-amz-server-side-encryption-bucket-key-enabled: perhaps",
    b"x-amz-checksum-sha256: no digest",
    b"x-amz-checksum-crc32: AAAAAA==",
    b"ETag: \xfe\r\nETag: b",
    b"Content-Encoding: aws-chunked",
    b"Content-Range: bytes of something",
    b"Date: yesterday",
    b"Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nDate: \xff",
    b"Server: \xf0\x9f\x98\x80",
    b"Not A Header: x",
    b"x-amz-meta-long: \t  folded\r\n  over two lines",
];

/// Last-Modified as stores send it, and the seconds that it stands for.
const TIMES: [(&[u8], Option<f64>); 7] = [
    (b"", None),
    (b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT", Some(1_445_412_480.0)),
    (b"Last-Modified: 2020-06-09T14:35:33.892Z", Some(1_591_713_333.892)),
    (b"Last-Modified: 2015-10-21 07:28:00", Some(1_445_412_480.0)),
    (b"Last-Modified: M\xe4rz", None),
    (b"Last-Modified:", None),
    (
        b"Last-Modified: Thu, 21 Jun 2018 11:44:44 GMT\r\nLast-Modified: Thu, 21 Jun 2018 11:44:44 GMT",
        None,
    ),
];

#[tokio::test]
async fn no_header_but_length_and_time_decides_about_an_object() {
    let mut random = CpythonRandom::new(70);
    for case in 0..250 {
        let body: Vec<u8> = (0..random.below(500))
            .map(|_| (random.bits(8)) as u8)
            .collect();
        let (time, seconds) = TIMES[random.below(TIMES.len() as u32) as usize];
        let mut lines: Vec<Vec<u8>> = (0..random.below(6))
            .map(|_| ODD[random.below(ODD.len() as u32) as usize].to_vec())
            .collect();
        if !time.is_empty() {
            lines.push(time.to_vec());
        }
        lines.push(format!("Content-Length: {}", body.len()).into_bytes());
        if random.below(10) == 0 {
            lines.extend((0..1000).map(|nth| format!("x-amz-meta-{nth}: v").into_bytes()));
        }
        random.shuffle(&mut lines);
        // A folded line continues the one before it, so the first must not be one; none of ours begins with a blank.
        let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n".to_vec();
        for line in &lines {
            answer.extend_from_slice(line);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        let (fetched, heads) = fetch(answer.clone(), Duration::from_secs(2)).await;
        let Fetched::Found(object) = fetched else {
            panic!(
                "case {case}: {fetched:?} of {:?}",
                String::from_utf8_lossy(&answer)
            );
        };
        assert_eq!(&object.bytes[..], body, "case {case}");
        let close = match (object.last_modified, seconds) {
            (Some(told), Some(seconds)) => (told - seconds).abs() < 1e-6,
            (told, seconds) => told == seconds,
        };
        assert!(close, "case {case}: {:?} of {time:?}", object.last_modified);
        assert_eq!(heads.len(), 1, "case {case}: read at once");
        let head = heads[0].to_ascii_lowercase();
        assert!(head.contains("accept-encoding: identity"), "{head}");
    }
}

fn refusal(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nx-amz-meta-note: odd\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn only_an_s3_error_or_a_bare_404_says_that_an_object_is_missing() {
    let document =
        |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let bomb = "<!DOCTYPE a [<!ENTITY b \"x\">]><a>".to_owned() + &"&b;".repeat(1000);
    let bodies = [
        (document("NoSuchKey"), true),
        (document("AccessDenied"), true),
        (document("Unauthorized"), true),
        (String::new(), true),
        ("<html><body>404 Not Found</body></html>".to_owned(), false),
        ("<html><Code>NoSuchKey</Code></html>".to_owned(), false),
        ("Not Found".to_owned(), false),
        ("{\"code\":\"NoSuchKey\"}".to_owned(), false),
        ("<Error>".to_owned() + &"<a>".repeat(8000), false),
        (bomb, false),
    ];
    for status in [401, 403, 404, 429, 500, 502, 503] {
        let mut asked = tokio::task::JoinSet::new();
        for (body, is_answer) in bodies.clone() {
            let missing = match status {
                404 => is_answer,
                401 | 403 => is_answer && !body.is_empty(),
                _ => false,
            };
            asked.spawn(check(status, body, missing));
        }
        while let Some(ended) = asked.join_next().await {
            ended.unwrap();
        }
    }
}

async fn check(status: u16, body: String, missing: bool) {
    let (fetched, heads) = fetch(refusal(status, &body), Duration::from_secs(2)).await;
    let shown = &body[..body.len().min(60)];
    match &fetched {
        Fetched::Missing { answer } => {
            assert!(missing, "{status} {shown}: {fetched:?}");
            assert!(answer.contains(&status.to_string()), "{answer}");
            assert_eq!(heads.len(), 1, "an answer is believed at once");
        }
        Fetched::Unreachable { last } => {
            assert!(!missing, "{status} {shown}: {fetched:?}");
            assert!(last.contains(&status.to_string()), "{last}");
            assert!(heads.len() > 1, "{status} {shown}: tried again");
        }
        other => panic!("{status} {shown}: {other:?}"),
    }
}
