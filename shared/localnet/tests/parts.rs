//! The store's accounts, the vision stub, and what miners publish.

use bytes::Bytes;
use nexis_bucket::{
    Bucket, BucketAccess, BucketStore, FetchLimits, Fetched, ObjectStore, StoreError,
};
use nexis_localnet::{
    Clip, Clips, Expectation, Grant, MinerKind, S3Server, Upload, VisionStub, miners, package,
};
use nexis_protocol::{Digest, IntervalId};
use nexis_vision::{CaptionAnswer, CategoryAnswer, VisionClient, VisionSettings};
use std::collections::BTreeSet;
use std::time::Duration;

const LIMITS: FetchLimits = FetchLimits::new(1 << 20, Duration::from_secs(10));

fn account(bucket: &str, key: &str) -> BucketAccess {
    BucketAccess {
        bucket: bucket.into(),
        account_id: "0123456789abcdef0123456789abcdef".into(),
        access_key: key.into(),
        secret_key: format!("secret of {key}"),
    }
}

#[tokio::test]
async fn an_account_reads_or_writes_its_own_bucket_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), 0).await.unwrap();
    let (writer, reader) = (account("one", "writer"), account("one", "reader"));
    server.grant(&writer, Grant::Write);
    server.grant(&reader, Grant::Read);
    server.grant(&account("two", "other"), Grant::Write);
    let store = BucketStore::new(server.endpoint().parse().unwrap());
    let own = store.objects(writer).unwrap();
    own.create_bucket().await.unwrap();
    own.put("50/a", Bytes::from_static(b"bytes"), "text/plain")
        .await
        .unwrap();
    let read = store.fetch(&reader, "50/a", LIMITS).await.unwrap();
    assert!(matches!(read, Fetched::Found(object) if &object.bytes[..] == b"bytes"));
    let refused = store
        .objects(reader)
        .unwrap()
        .put("50/a", Bytes::new(), "text/plain")
        .await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
    for stranger in [account("one", "other"), account("one", "nobody")] {
        let read = store.fetch(&stranger, "50/a", LIMITS).await.unwrap();
        assert!(matches!(read, Fetched::Missing { .. }), "{read:?}");
    }
}

#[tokio::test]
async fn the_vision_stub_speaks_to_our_client() {
    let stub = VisionStub::start(0).await.unwrap();
    let settings = VisionSettings::at(&stub.base_url(), "stub", "key".into());
    let client = VisionClient::new(&settings).unwrap();
    let frame = Bytes::from_static(b"frame");
    assert_eq!(
        client.caption("A lake", std::slice::from_ref(&frame)).await,
        CaptionAnswer::Match
    );
    let wrong = "A crowded shopping street at night with neon signs and slow traffic, seen from a balcony high above \
                 the wet and shining pavement";
    let answer = client.caption(wrong, std::slice::from_ref(&frame)).await;
    assert!(
        matches!(answer, CaptionAnswer::Mismatch { .. }),
        "{answer:?}"
    );
    let frames = [frame.clone(), frame.clone(), frame];
    assert!(matches!(
        client.category(&frames).await,
        CategoryAnswer::Scores(_)
    ));
    assert_eq!(stub.calls(), 3);
}

fn clips() -> Clips {
    let clip = |width, height| Clip {
        mp4: Bytes::from_static(b"an mp4"),
        frame: Bytes::from_static(b"\xff\xd8 a jpeg"),
        width,
        height,
    };
    Clips {
        good: vec![clip(1280, 720)],
        small: clip(640, 360),
        odd: clip(1280, 720),
        frozen: clip(1280, 720),
        black: clip(1280, 720),
    }
}

fn published(kind: MinerKind) -> Vec<Upload> {
    let all = miners(9, &[MinerKind::Honest, kind]);
    package(9, &all[1], IntervalId::new(100), Some(&all[0]), &clips())
}

fn body<'a>(uploads: &'a [Upload], key: &str) -> Option<&'a Bytes> {
    uploads
        .iter()
        .find(|upload| upload.key == key)
        .map(|upload| &upload.body)
}

#[test]
fn the_manifest_is_uploaded_last_and_after_the_data_set() {
    for kind in MinerKind::ALL
        .into_iter()
        .filter(|kind| *kind != MinerKind::NoFiles)
    {
        let uploads = published(kind);
        assert_eq!(uploads.last().unwrap().key, "100/manifest.json", "{kind}");
        if kind != MinerKind::NoDataset {
            assert_eq!(
                uploads[uploads.len() - 2].key,
                "100/dataset.parquet",
                "{kind}"
            );
        }
    }
}

#[test]
fn an_honest_manifest_tells_the_data_sets_digest_and_a_spoiled_one_does_not() {
    for (kind, same) in [(MinerKind::Honest, true), (MinerKind::DatasetHash, false)] {
        let uploads = published(kind);
        let manifest = body(&uploads, "100/manifest.json").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let digest = Digest::of(body(&uploads, "100/dataset.parquet").unwrap()).to_string();
        assert_eq!(
            manifest["dataset_sha256"] == digest.as_str(),
            same,
            "{kind}"
        );
    }
}

#[test]
fn the_same_seed_publishes_the_same_bytes_and_another_interval_others() {
    let all = miners(3, &[MinerKind::Honest]);
    let make = |interval| package(3, &all[0], IntervalId::new(interval), None, &clips());
    let bytes = |uploads: Vec<Upload>| -> Vec<_> { uploads.into_iter().map(|u| u.body).collect() };
    assert_eq!(bytes(make(50)), bytes(make(50)));
    let (one, two): (BTreeSet<_>, BTreeSet<_>) = (
        bytes(make(50)).into_iter().collect(),
        bytes(make(100)).into_iter().collect(),
    );
    assert!(one.is_disjoint(&two));
}

#[test]
fn only_the_harmless_kinds_are_accepted() {
    let accepted: Vec<_> = MinerKind::ALL
        .into_iter()
        .filter(|kind| {
            matches!(
                kind.expectation(),
                Expectation::Accepted | Expectation::Pruned
            )
        })
        .collect();
    use MinerKind::*;
    assert_eq!(
        accepted,
        [
            Honest,
            Copycat,
            IndexDuplicate,
            JunkClip,
            WrongFrameCount,
            WrongFirstFrame,
            BlackClip,
            FrozenClip,
            Rewrapped
        ]
    );
}
