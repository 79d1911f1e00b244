//! The same behaviour on two S3 servers: the embedded one, and SeaweedFS as a child process.

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nexis_bucket::{
    Bucket, BucketAccess, BucketStore, FetchLimits, Fetched, ObjectStore, StoreError,
};
use nexis_testkit::Weed;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::time::Duration;

const LIMITS: FetchLimits = FetchLimits::new(8 << 20, Duration::from_secs(20));

async fn embedded(root: &std::path::Path, access_key: &str, secret_key: &str) -> String {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    url
}

/// Everything that both servers must do for us.
async fn behaves(url: &str, access_key: &str, secret_key: &str) {
    let store = BucketStore::new(url.parse().unwrap());
    let access = BucketAccess {
        bucket: "5grwvaef5zxb26fz9rcqpdws57cterhpnehxcpcnohgkutqy".into(),
        account_id: "0123456789abcdef0123456789abcdef".into(),
        access_key: access_key.into(),
        secret_key: secret_key.into(),
    };
    let own = store
        .objects(access.clone())
        .unwrap()
        .with_budget(Duration::from_secs(20));
    own.create_bucket().await.unwrap();
    own.create_bucket().await.unwrap();

    let big = Bytes::from(
        (0..3_000_000_u32)
            .map(|n| (n % 251) as u8)
            .collect::<Vec<_>>(),
    );
    for (key, body) in [
        ("50/manifest.json", Bytes::from_static(b"{}")),
        ("50/clips/a b+é%.mp4", big.clone()),
        ("100/manifest.json", Bytes::from_static(b"[]")),
    ] {
        own.put(key, body, "application/octet-stream")
            .await
            .unwrap();
    }
    let Fetched::Found(read) = store
        .fetch(&access, "50/clips/a b+é%.mp4", LIMITS)
        .await
        .unwrap()
    else {
        panic!("a written object was not found")
    };
    assert_eq!(read.bytes, big);
    assert_eq!(read.digest, nexis_protocol::Digest::of(&big));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age = now.as_secs_f64() - read.last_modified.unwrap();
    assert!((-2.0..120.0).contains(&age), "{age}");

    let small = FetchLimits {
        max_bytes: 2_999_999,
        ..LIMITS
    };
    let fetched = store
        .fetch(&access, "50/clips/a b+é%.mp4", small)
        .await
        .unwrap();
    assert!(
        matches!(fetched, Fetched::TooLarge { bytes: 3_000_000 }),
        "{fetched:?}"
    );

    for (bucket, key, secret) in [
        (access.bucket.as_str(), "50/nothing", secret_key),
        ("5nobodyhere", "50/manifest.json", secret_key),
        (access.bucket.as_str(), "50/manifest.json", "a wrong secret"),
    ] {
        let access = BucketAccess {
            bucket: bucket.into(),
            secret_key: secret.into(),
            ..access.clone()
        };
        let fetched = store.fetch(&access, key, LIMITS).await.unwrap();
        assert!(
            matches!(fetched, Fetched::Missing { .. }),
            "{bucket}/{key}: {fetched:?}"
        );
    }

    let keys: Vec<_> = own
        .list("50/")
        .await
        .unwrap()
        .into_iter()
        .map(|e| (e.key, e.bytes))
        .collect();
    assert_eq!(
        keys,
        [
            ("50/clips/a b+é%.mp4".into(), 3_000_000),
            ("50/manifest.json".into(), 2)
        ]
    );
    assert_eq!(
        own.head("100/manifest.json").await.unwrap().unwrap().bytes,
        2
    );
    assert_eq!(own.head("100/nothing").await.unwrap(), None);

    let stranger = BucketAccess {
        secret_key: "a wrong secret".into(),
        ..access
    };
    let stranger = store
        .objects(stranger)
        .unwrap()
        .with_budget(Duration::from_secs(5));
    assert!(matches!(
        stranger.list("").await,
        Err(StoreError::Refused { .. })
    ));
    assert!(matches!(
        stranger.head("50/manifest.json").await,
        Err(StoreError::Refused { .. })
    ));
    let refused = stranger.put("50/x", Bytes::new(), "text/plain").await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn the_embedded_server_serves_us() {
    let root = tempfile::tempdir().unwrap();
    let url = embedded(root.path(), "key", "secret").await;
    behaves(&url, "key", "secret").await;
}

#[tokio::test]
async fn seaweedfs_serves_us() {
    let weed = tokio::task::spawn_blocking(Weed::start).await.unwrap();
    behaves(&weed.endpoint(), Weed::ACCESS_KEY, Weed::SECRET_KEY).await;
}
