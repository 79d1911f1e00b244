//! subxt, as the validator uses it, against the dev chain under every bundled spec.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail by it, helpers included"
)]

use nexis_devchain::{DevChain, DevChainConfig, DevChainHandle, Fault, GenesisNeuron, Mode, Spec};
use std::sync::Arc;
use std::time::Duration;
use subxt::backend::LegacyBackend;
use subxt::config::{DefaultExtrinsicParamsBuilder, RpcConfigFor};
use subxt::dynamic;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_value::{Composite, Value};
use subxt::utils::AccountId32;
use subxt::{OnlineClient, SubstrateConfig};
use subxt_rpcs::client::RpcClient;
use subxt_rpcs::methods::legacy::LegacyRpcMethods;
use subxt_signer::sr25519::{Keypair, dev};

const NETUID: u16 = 70;
const STAKE: u64 = 5_000_000_000_000;

type Legacy = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

struct Client {
    api: OnlineClient<SubstrateConfig>,
    legacy: Legacy,
}

fn keys() -> [Keypair; 3] {
    [dev::alice(), dev::bob(), dev::charlie()]
}

fn config(spec: Spec) -> DevChainConfig {
    let neurons = keys()
        .iter()
        .enumerate()
        .map(|(uid, key)| GenesisNeuron {
            hotkey: key.public_key().0,
            stake_rao: STAKE >> uid,
            permit: uid == 0,
        })
        .collect();
    DevChainConfig {
        spec,
        neurons,
        start_block: 1_000,
        mode: Mode::Manual,
        weights_rate_limit: 5,
        ..DevChainConfig::default()
    }
}

async fn connect(chain: &DevChainHandle) -> Client {
    let rpc = RpcClient::from_url(chain.url())
        .await
        .expect("the chain listens");
    let legacy = Legacy::new(rpc.clone());
    let backend = LegacyBackend::<SubstrateConfig>::builder()
        .storage_page_size(512)
        .build(rpc);
    let api = OnlineClient::from_backend(Arc::new(backend))
        .await
        .expect("the chain answers");
    Client { api, legacy }
}

impl Client {
    async fn best(&self) -> subxt::client::OnlineClientAtBlock<SubstrateConfig> {
        let hash = self
            .legacy
            .chain_get_block_hash(None)
            .await
            .unwrap()
            .unwrap();
        self.api
            .at_block(hash)
            .await
            .expect("the best block has a state")
    }

    /// Signs, submits and waits until the chain has taken it into a block; the error by its name otherwise.
    async fn send(&self, chain: &DevChainHandle, key: &Keypair, call: Call) -> Result<(), String> {
        let at = self.best().await;
        let who = AccountId32(key.public_key().0);
        let nonce = self.legacy.system_account_next_index(&who).await.unwrap();
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .nonce(nonce)
            .mortal(16)
            .build();
        let call = dynamic::transaction("SubtensorModule", call.0, call.1);
        let tx = at
            .transactions()
            .create_signed(&call, key, params)
            .await
            .unwrap();
        let progress = tx.submit_and_watch().await.map_err(|e| format!("{e:?}"))?;
        chain.new_blocks(3);
        let done = progress
            .wait_for_finalized()
            .await
            .map_err(|e| format!("{e:?}"))?;
        done.wait_for_success()
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    }
}

struct Call(&'static str, Composite<()>);

fn list(numbers: &[u16]) -> Value<()> {
    Value::unnamed_composite(numbers.iter().map(|n| Value::u128(u128::from(*n))))
}

fn set_weights(uids: &[u16], values: &[u16], version: u64) -> Call {
    let fields = [
        ("netuid", Value::u128(u128::from(NETUID))),
        ("dests", list(uids)),
        ("weights", list(values)),
        ("version_key", Value::u128(u128::from(version))),
    ];
    Call("set_weights", Composite::named(fields))
}

#[derive(DecodeAsType)]
struct Selected {
    hotkeys: Option<Vec<AccountId32>>,
    validator_permit: Option<Vec<bool>>,
    last_update: Option<Vec<u64>>,
    total_stake: Option<Vec<u64>>,
    commitments: Option<Vec<(AccountId32, Vec<u8>)>>,
    num_uids: Option<u16>,
    tempo: Option<u16>,
}

#[tokio::test]
async fn each_spec_serves_the_metagraph_by_api_and_by_storage() {
    for spec in Spec::ALL {
        let started = std::time::Instant::now();
        let chain = DevChain::start(config(spec)).await.unwrap();
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "started in {:?}",
            started.elapsed()
        );
        let client = connect(&chain).await;
        let at = client.best().await;
        assert_eq!(at.spec_version(), spec.version());

        let query = dynamic::storage::<(u16, u16), AccountId32>("SubtensorModule", "Keys");
        let mut found = at.storage().iter(query, (NETUID,)).await.unwrap();
        let mut by_storage = Vec::new();
        while let Some(entry) = found.next().await {
            let entry = entry.unwrap();
            let (_, uid) = entry.key().unwrap().decode().unwrap();
            by_storage.push((uid, entry.value().decode().unwrap()));
        }
        let expected: Vec<_> = (0_u16..)
            .zip(keys().map(|k| AccountId32(k.public_key().0)))
            .collect();
        assert_eq!(by_storage, expected);

        let wanted = vec![8_u16, 30, 52, 57, 59, 69, 73];
        let call = dynamic::runtime_api_call::<_, Option<Selected>>(
            "SubnetInfoRuntimeApi",
            "get_selective_metagraph",
            (NETUID, wanted),
        );
        let selected = at
            .runtime_apis()
            .call(call)
            .await
            .unwrap()
            .expect("the subnet exists");
        let hotkeys: Vec<_> = expected.into_iter().map(|(_, key)| key).collect();
        assert_eq!(selected.hotkeys, Some(hotkeys));
        assert_eq!(selected.validator_permit, Some(vec![true, false, false]));
        assert_eq!(
            selected.total_stake,
            Some(vec![STAKE, STAKE / 2, STAKE / 4])
        );
        assert_eq!(selected.last_update, Some(vec![0, 0, 0]));
        assert_eq!(selected.commitments, Some(vec![]));
        assert_eq!((selected.num_uids, selected.tempo), (Some(3), Some(20)));
        chain.stop().await;
    }
}

#[tokio::test]
async fn weights_are_on_chain_after_a_signed_call_and_errors_have_names() {
    for spec in Spec::ALL {
        let chain = DevChain::start(DevChainConfig {
            pool_checks: false,
            ..config(spec)
        })
        .await
        .unwrap();
        let client = connect(&chain).await;
        let [alice, bob, _] = keys();
        client
            .send(&chain, &alice, set_weights(&[1, 2], &[20, 10], 0))
            .await
            .unwrap();
        assert_eq!(chain.weights(0), [(1, 65_535), (2, 32_767)], "{spec:?}");
        let who = AccountId32(alice.public_key().0);
        assert_eq!(
            client.legacy.system_account_next_index(&who).await.unwrap(),
            1
        );

        let named = |outcome: Result<(), String>| outcome.expect_err("the chain refuses");
        let again = named(
            client
                .send(&chain, &alice, set_weights(&[1], &[1], 0))
                .await,
        );
        assert!(again.contains("SettingWeightsTooFast"), "{spec:?}: {again}");
        let bobs = named(client.send(&chain, &bob, set_weights(&[0], &[1], 0)).await);
        assert!(bobs.contains("NeuronNoValidatorPermit"), "{spec:?}: {bobs}");
        chain.new_blocks(5);
        let far = named(
            client
                .send(&chain, &alice, set_weights(&[9], &[1], 0))
                .await,
        );
        assert!(far.contains("UidVecContainInvalidOne"), "{spec:?}: {far}");
        let twice = named(
            client
                .send(&chain, &alice, set_weights(&[1, 1], &[1, 1], 0))
                .await,
        );
        assert!(twice.contains("DuplicateUids"), "{spec:?}: {twice}");
        let stranger = named(
            client
                .send(&chain, &dev::eve(), set_weights(&[1], &[1], 0))
                .await,
        );
        assert!(
            stranger.contains("HotKeyNotRegisteredInSubNet"),
            "{spec:?}: {stranger}"
        );
        chain.set_parameter("CommitRevealWeightsEnabled", &true);
        let hidden = named(
            client
                .send(&chain, &alice, set_weights(&[1], &[1], 0))
                .await,
        );
        assert!(hidden.contains("CommitRevealEnabled"), "{spec:?}: {hidden}");
        chain.stop().await;
    }
}

#[tokio::test]
async fn the_pool_refuses_with_the_codes_of_the_real_one() {
    let chain = DevChain::start(config(Spec::S439)).await.unwrap();
    let client = connect(&chain).await;
    let [alice, ..] = keys();
    client
        .send(&chain, &alice, set_weights(&[1], &[1], 0))
        .await
        .unwrap();
    let soon = client
        .send(&chain, &alice, set_weights(&[1], &[1], 0))
        .await
        .unwrap_err();
    assert!(
        soon.contains("1010") && soon.contains("Custom error: 6"),
        "{soon}"
    );
    let eve = client
        .send(&chain, &dev::eve(), set_weights(&[1], &[1], 0))
        .await
        .unwrap_err();
    assert!(eve.contains("Custom error: 19"), "{eve}");

    chain.new_blocks(5);
    let at = client.best().await;
    let sign = |nonce: u64, weight: u16| {
        let (at, key) = (&at, &alice);
        async move {
            let call = set_weights(&[1], &[weight], 0);
            let call = dynamic::transaction("SubtensorModule", call.0, call.1);
            let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
                .nonce(nonce)
                .build();
            at.transactions()
                .create_signed(&call, key, params)
                .await
                .unwrap()
                .into_encoded()
        }
    };
    let stale = client
        .legacy
        .author_submit_extrinsic(&sign(0, 1).await)
        .await
        .unwrap_err();
    assert!(
        format!("{stale:?}").contains("Transaction is outdated"),
        "{stale:?}"
    );
    let first = sign(1, 1).await;
    client.legacy.author_submit_extrinsic(&first).await.unwrap();
    let same = client
        .legacy
        .author_submit_extrinsic(&first)
        .await
        .unwrap_err();
    assert!(format!("{same:?}").contains("1013"), "{same:?}");
    let rival = client
        .legacy
        .author_submit_extrinsic(&sign(1, 2).await)
        .await
        .unwrap_err();
    assert!(format!("{rival:?}").contains("1014"), "{rival:?}");
    let mut forged = sign(2, 3).await;
    *forged.last_mut().unwrap() ^= 1;
    let forged = client
        .legacy
        .author_submit_extrinsic(&forged)
        .await
        .unwrap_err();
    assert!(
        format!("{forged:?}").contains("bad signature"),
        "{forged:?}"
    );
    let who = AccountId32(alice.public_key().0);
    assert_eq!(
        client.legacy.system_account_next_index(&who).await.unwrap(),
        2
    );
    chain.stop().await;
}

#[tokio::test]
async fn a_commitment_is_read_back_byte_for_byte() {
    for spec in Spec::ALL {
        let chain = DevChain::start(config(spec)).await.unwrap();
        let client = connect(&chain).await;
        let [_, bob, _] = keys();
        let payload = [b'a'; 128];
        let raw = Value::unnamed_variant("Raw128", [Value::from_bytes(payload)]);
        let info = Value::named_composite([("fields", Value::unnamed_composite([raw]))]);
        let call = dynamic::transaction(
            "Commitments",
            "set_commitment",
            Composite::named([("netuid", Value::u128(u128::from(NETUID))), ("info", info)]),
        );
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .nonce(0)
            .build();
        let at = client.best().await;
        let tx = at
            .transactions()
            .create_signed(&call, &bob, params)
            .await
            .unwrap();
        let progress = tx.submit_and_watch().await.unwrap();
        chain.new_blocks(3);
        progress.wait_for_finalized_success().await.unwrap();

        let at = client.best().await;
        let query = dynamic::storage::<(u16, AccountId32), Value>("Commitments", "CommitmentOf");
        let key = (NETUID, AccountId32(bob.public_key().0));
        let stored = at
            .storage()
            .try_fetch(query, key)
            .await
            .unwrap()
            .expect("just committed");
        let mut expected = vec![0; 8];
        expected.extend(1_001_u32.to_le_bytes());
        expected.extend([4, 0x81]);
        expected.extend(payload);
        assert_eq!(stored.bytes(), expected, "{spec:?}");

        let call = dynamic::runtime_api_call::<_, Option<Selected>>(
            "SubnetInfoRuntimeApi",
            "get_selective_metagraph",
            (NETUID, vec![73_u16]),
        );
        let selected = at
            .runtime_apis()
            .call(call)
            .await
            .unwrap()
            .expect("the subnet exists");
        let listed = vec![(AccountId32(bob.public_key().0), expected)];
        assert_eq!(selected.commitments, Some(listed), "{spec:?}");
        assert_eq!(selected.hotkeys, None);
        chain.stop().await;
    }
}

#[tokio::test]
async fn an_upgrade_in_mid_connection_makes_old_signatures_invalid() {
    let chain = DevChain::start(config(Spec::S419)).await.unwrap();
    let client = connect(&chain).await;
    let [alice, ..] = keys();
    let before = client.best().await;
    let call = set_weights(&[1], &[1], 0);
    let call = dynamic::transaction("SubtensorModule", call.0, call.1);
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(0)
        .build();
    let old = before
        .transactions()
        .create_signed(&call, &alice, params)
        .await
        .unwrap();
    chain.set_spec(Spec::S461).unwrap();
    assert_eq!(client.best().await.spec_version(), 461);
    let refused = old.submit_and_watch().await.map(|_| ()).unwrap_err();
    assert!(
        format!("{refused:?}").contains("bad signature"),
        "{refused:?}"
    );
    client
        .send(&chain, &alice, set_weights(&[1], &[1], 0))
        .await
        .unwrap();
    chain.stop().await;
}

#[tokio::test]
async fn old_states_are_discarded_with_the_words_of_the_real_node() {
    let chain = DevChain::start(DevChainConfig {
        state_blocks: 4,
        ..config(Spec::S439)
    })
    .await
    .unwrap();
    let client = connect(&chain).await;
    let first = chain.head();
    chain.new_blocks(10);
    let gone = client
        .legacy
        .state_get_storage(&[1], Some(first.hash.into()))
        .await
        .unwrap_err();
    assert!(
        format!("{gone:?}").contains("State already discarded"),
        "{gone:?}"
    );
    let genesis = client.legacy.genesis_hash().await.unwrap();
    assert_eq!(genesis.0, chain.genesis_hash());
    let lower = client
        .legacy
        .chain_get_block_hash(Some(999_u32.into()))
        .await
        .unwrap();
    assert!(lower.is_some());
    chain.stop().await;
}

#[tokio::test]
async fn a_reorganisation_retracts_and_includes_again() {
    let chain = DevChain::start(DevChainConfig {
        finality_lag: 5,
        ..config(Spec::S439)
    })
    .await
    .unwrap();
    let client = connect(&chain).await;
    let [alice, ..] = keys();
    let call = set_weights(&[1], &[1], 0);
    let call = dynamic::transaction("SubtensorModule", call.0, call.1);
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(0)
        .mortal(32)
        .build();
    let at = client.best().await;
    let tx = at
        .transactions()
        .create_signed(&call, &alice, params)
        .await
        .unwrap();
    let progress = tx.submit_and_watch().await.unwrap();
    let lost = chain.new_block();
    assert_eq!(chain.weights(0), [(1, 65_535)]);
    assert_eq!(chain.reorganise(1), 1);
    assert!(
        client
            .legacy
            .chain_get_header(Some(lost.hash.into()))
            .await
            .unwrap()
            .is_none()
    );
    chain.new_blocks(8);
    let done = progress.wait_for_finalized_success().await;
    assert!(done.is_ok(), "{done:?}");
    assert_eq!(chain.weights(0), [(1, 65_535)]);
    chain.stop().await;
}

#[tokio::test]
async fn faults_of_calls_and_transactions_come_when_ordered() {
    let chain = DevChain::start(config(Spec::S439)).await.unwrap();
    let client = connect(&chain).await;
    let [alice, ..] = keys();
    chain.fault(&Fault::RateLimit(1));
    let limited = client.legacy.chain_get_finalized_head().await.unwrap_err();
    assert!(format!("{limited:?}").contains("-32004"), "{limited:?}");
    client.legacy.chain_get_finalized_head().await.unwrap();
    for (fault, word) in [(Fault::Usurped, "usurped"), (Fault::Dropped, "dropped")] {
        chain.fault(&fault);
        let ended = client
            .send(&chain, &alice, set_weights(&[1], &[1], 0))
            .await
            .unwrap_err();
        assert!(ended.contains(word), "{ended}");
    }
    chain.fault(&Fault::SubmitError {
        code: 1_012,
        message: "temporarily banned".into(),
    });
    let failed = client
        .send(&chain, &alice, set_weights(&[1], &[1], 0))
        .await
        .unwrap_err();
    assert!(failed.contains("1012"), "{failed}");
    assert!(chain.weights(0).is_empty());
    chain.fault(&Fault::TurnAway {
        times: 1,
        retry_after: 7,
    });
    let away = RpcClient::from_url(chain.url())
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(format!("{away:?}").contains("429"), "{away:?}");
    RpcClient::from_url(chain.url())
        .await
        .expect("only one was turned away");
    chain.fault(&Fault::DropConnections);
    let cut = client.legacy.chain_get_finalized_head().await;
    assert!(cut.is_err(), "the connection was dropped");
    chain.stop().await;
}
