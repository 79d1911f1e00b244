//! Folders as buckets: what names may and may not reach.

use bytes::Bytes;
use nexis_bucket::{
    Bucket, BucketAccess, DirBucket, FetchLimits, Fetched, ObjectStore, StoreError,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

const LIMITS: FetchLimits = FetchLimits::new(100, Duration::from_secs(5));

async fn read(dir: &DirBucket, bucket: &str, key: &str) -> Fetched {
    let access = BucketAccess {
        bucket: bucket.into(),
        account_id: String::new(),
        access_key: String::new(),
        secret_key: String::new(),
    };
    dir.fetch(&access, key, LIMITS).await.unwrap()
}

#[tokio::test]
async fn names_that_would_leave_the_folder_are_missing() {
    let above = tempfile::tempdir().unwrap();
    fs::write(above.path().join("secret"), "s").unwrap();
    let root = above.path().join("root");
    fs::create_dir_all(root.join("b/50")).unwrap();
    fs::write(root.join("b/50/a"), "inside").unwrap();
    fs::write(root.join("top"), "t").unwrap();
    symlink(above.path().join("secret"), root.join("b/50/link")).unwrap();
    symlink(above.path(), root.join("b/out")).unwrap();
    symlink(above.path(), root.join("linked")).unwrap();
    let dir = DirBucket::new(&root).unwrap();
    assert!(
        matches!(read(&dir, "b", "50/a").await, Fetched::Found(o) if &o.bytes[..] == b"inside")
    );
    let long = "x".repeat(300);
    for (bucket, key) in [
        ("b", "../../secret"),
        ("b", "50/../../../secret"),
        ("b", "/50/a"),
        ("b", "50//a"),
        ("b", "50/./a"),
        ("b", "50/link"),
        ("b", "out/secret"),
        ("linked", "secret"),
        ("..", "secret"),
        (".", "top"),
        ("", "top"),
        ("b/50", "a"),
        ("b", "50"),
        ("b", "50/a/x"),
        ("b", ""),
        ("b", "50/a\0"),
        ("b", &long),
        ("nobody", "50/a"),
    ] {
        let fetched = read(&dir, bucket, key).await;
        assert!(
            matches!(fetched, Fetched::Missing { .. }),
            "{bucket:?} {key:?}: {fetched:?}"
        );
    }
}

#[tokio::test]
async fn pipes_and_folders_are_no_objects_and_do_not_block() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("b")).unwrap();
    let pipe = root.path().join("b/pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let dir = DirBucket::new(root.path()).unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), read(&dir, "b", "pipe")).await;
    assert!(matches!(read.unwrap(), Fetched::Missing { .. }));
}

#[tokio::test]
async fn what_is_written_is_read_listed_and_told_of() {
    let root = tempfile::tempdir().unwrap();
    let own = DirBucket::new(root.path()).unwrap().objects("mine");
    assert!(matches!(
        own.list("").await,
        Err(StoreError::Refused { .. })
    ));
    for (key, body) in [
        ("50/b", "two"),
        ("50/a", "one"),
        ("6/c", "three"),
        ("50/a", "four"),
    ] {
        own.put(key, Bytes::from(body), "text/plain").await.unwrap();
    }
    let keys: Vec<_> = own
        .list("50/")
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.key)
        .collect();
    assert_eq!(keys, ["50/a", "50/b"]);
    assert!(
        matches!(own.get("50/a", LIMITS).await.unwrap(), Fetched::Found(o) if &o.bytes[..] == b"four")
    );
    assert_eq!(own.head("50/a").await.unwrap().unwrap().bytes, 4);
    assert_eq!(own.head("50/z").await.unwrap(), None);
    assert!(matches!(
        own.put("../x", Bytes::new(), "").await,
        Err(StoreError::Unusable { .. })
    ));
    let big = Bytes::from(vec![0; 101]);
    own.put("big", big, "").await.unwrap();
    assert!(matches!(
        own.get("big", LIMITS).await.unwrap(),
        Fetched::TooLarge { bytes: 101 }
    ));
}
