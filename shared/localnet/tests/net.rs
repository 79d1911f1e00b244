//! The whole subnet, looked at from outside: over the chain's JSON-RPC and the store's S3.

use nexis_bucket::{Bucket, BucketAccess, BucketStore, FetchLimits, Fetched};
use nexis_chain::{At, ChainClient, ConnectOptions};
use nexis_localnet::{Localnet, LocalnetConfig, MinerKind};
use nexis_protocol::credentials::ReadCredentials;
use nexis_protocol::{BlockNumber, Digest, IntervalId, Netuid};
use nexis_testkit::eventually;
use std::time::Duration;

const LIMITS: FetchLimits = FetchLimits::new(8 << 20, Duration::from_secs(10));

async fn manifest(
    store: &BucketStore,
    access: &BucketAccess,
    interval: IntervalId,
) -> Option<(serde_json::Value, f64)> {
    let key = format!("{interval}/manifest.json");
    match store.fetch(access, &key, LIMITS).await.unwrap() {
        Fetched::Found(object) => {
            let json = serde_json::from_slice(&object.bytes).ok()?;
            Some((json, object.last_modified.unwrap()))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_localnet_is_ready_for_a_validator_when_it_has_started_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = LocalnetConfig::new(folder.path());
    config.miners = vec![
        MinerKind::Honest,
        MinerKind::NoCredentials,
        MinerKind::BrokenCredentials,
        MinerKind::NoFiles,
        MinerKind::Copycat,
        MinerKind::IndexDuplicate,
    ];
    config.profile.interval_length_blocks = 20;
    config.profile.weight_period_blocks = 100;
    let net = Localnet::start(config).await.unwrap();
    let first = net.first_interval();
    let mut options = ConnectOptions::new(net.chain_url().parse().unwrap());
    options.allow_other_genesis = true;
    let chain = ChainClient::new(options);

    // The roster at the close of the first interval, as a validator reads it.
    let close = BlockNumber::new(first.get() + 20);
    let snapshot = chain
        .snapshot(Netuid::new(70), &At::Number(close))
        .await
        .unwrap();
    assert!(snapshot.neuron(&net.validator()).is_some());
    let store = BucketStore::new(net.store_endpoint().parse().unwrap());
    let mut found = Vec::new();
    for miner in net.miners() {
        let hotkey = miner.key.hotkey();
        assert!(snapshot.neuron(&hotkey).is_some());
        let text = snapshot
            .commitments
            .get(&hotkey)
            .and_then(|c| c.text().map(str::to_owned));
        let read = text.and_then(|text| ReadCredentials::decode(&text).ok());
        let access = read.map(|read| BucketAccess {
            bucket: hotkey.bucket_name(),
            account_id: read.account_id().to_owned(),
            access_key: read.access_key().to_owned(),
            secret_key: read.secret_key().to_owned(),
        });
        found.push(access);
    }
    let usable: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(usable, [true, false, false, true, true, true]);

    let honest = found[0].as_ref().unwrap();
    let (json, honest_time) = manifest(&store, honest, first).await.unwrap();
    let key = format!("{first}/dataset.parquet");
    let Fetched::Found(dataset) = store.fetch(honest, &key, LIMITS).await.unwrap() else {
        panic!("the honest data set is not there")
    };
    assert_eq!(
        json["dataset_sha256"],
        Digest::of(&dataset.bytes).to_string()
    );
    let copycat = found[4].as_ref().unwrap();
    let (_, copy_time) = manifest(&store, copycat, first).await.unwrap();
    assert!(copy_time > honest_time, "{copy_time} {honest_time}");
    assert!(
        manifest(&store, found[3].as_ref().unwrap(), first)
            .await
            .is_none()
    );

    // Blocks go on, and every following interval is published while it runs.
    for intervals in 1..=2 {
        let next = IntervalId::new(first.get() + 20 * intervals);
        let published = || async { manifest(&store, copycat, next).await.is_some() };
        eventually(Duration::from_secs(30), published).await;
        assert!(
            net.chain().head().number < next.get() + 40,
            "published too late"
        );
    }
    let env = net.env();
    assert!(
        env.iter()
            .any(|(name, value)| name == "BT_NETWORK" && *value == net.chain_url())
    );
    assert!(
        folder
            .path()
            .join("wallets/localnet/hotkeys/validator")
            .is_file()
    );
}
