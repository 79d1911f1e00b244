//! Weights committed by their hash and revealed by whoever committed.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail by it, helpers included"
)]

use nexis_devchain::{DevChain, DevChainConfig, DevChainHandle, GenesisNeuron, Mode, Spec};
use parity_scale_codec::Encode as _;
use std::sync::Arc;
use std::time::Duration;
use subxt::backend::LegacyBackend;
use subxt::config::{DefaultExtrinsicParamsBuilder, RpcConfigFor};
use subxt::ext::scale_encode::EncodeAsFields;
use subxt::utils::{AccountId32, H256};
use subxt::{OnlineClient, SubstrateConfig, dynamic};
use subxt_rpcs::client::RpcClient;
use subxt_rpcs::methods::legacy::LegacyRpcMethods;
use subxt_signer::sr25519::dev;

const NETUID: u16 = 70;
const UIDS: [u16; 2] = [0, 1];
const VALUES: [u16; 2] = [100, 200];
const SALT: [u16; 3] = [7, 8, 9];
/// What the chain makes of the values.
const STORED: [(u16, u16); 2] = [(0, 32_767), (1, 65_535)];

struct Setup {
    chain: DevChainHandle,
    api: OnlineClient<SubstrateConfig>,
    legacy: LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>,
}

async fn start(spec: Spec, tempo: u16, pool_checks: bool) -> Setup {
    let alice = GenesisNeuron {
        hotkey: dev::alice().public_key().0,
        stake_rao: 9,
        permit: true,
    };
    let bob = GenesisNeuron {
        hotkey: dev::bob().public_key().0,
        ..alice.clone()
    };
    let config = DevChainConfig {
        spec,
        neurons: vec![alice, bob],
        commit_reveal: true,
        tempo,
        weights_rate_limit: 0,
        start_block: 1_000,
        mode: Mode::Manual,
        block_time: Duration::from_secs(12),
        pool_checks,
        ..DevChainConfig::default()
    };
    let chain = DevChain::start(config).await.unwrap();
    let rpc = RpcClient::from_url(chain.url()).await.unwrap();
    let legacy = LegacyRpcMethods::new(rpc.clone());
    let backend = LegacyBackend::<SubstrateConfig>::builder().build(rpc);
    let api = OnlineClient::from_backend(Arc::new(backend)).await.unwrap();
    Setup { chain, api, legacy }
}

impl Setup {
    /// Has a call of Alice's in the next block; the refusal in words.
    async fn send<F: EncodeAsFields>(&self, name: &str, fields: F) -> Result<(), String> {
        let best = self.legacy.chain_get_block_hash(None).await.unwrap();
        let at = self.api.at_block(best.unwrap()).await.unwrap();
        let who = AccountId32(dev::alice().public_key().0);
        let nonce = self.legacy.system_account_next_index(&who).await.unwrap();
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .nonce(nonce)
            .build();
        let call = dynamic::transaction("SubtensorModule", name, fields);
        let (mut transactions, alice) = (at.transactions(), dev::alice());
        let signed = transactions.create_signed(&call, &alice, params);
        let sent = signed.await.unwrap().submit_and_watch().await;
        let progress = sent.map_err(|refused| format!("{refused:?}"))?;
        self.chain.new_blocks(3);
        let ended = progress.wait_for_finalized_success().await;
        ended.map(|_| ()).map_err(|failed| failed.to_string())
    }

    async fn commit(&self, salt: [u16; 3]) -> Result<(), String> {
        let hash = H256(hash(NETUID, salt));
        self.send("commit_weights", (NETUID, hash)).await
    }

    async fn reveal(&self, salt: [u16; 3]) -> Result<(), String> {
        let (uids, values) = (UIDS.to_vec(), VALUES.to_vec());
        let fields = (NETUID, uids, values, salt.to_vec(), 0_u64);
        self.send("reveal_weights", fields).await
    }
}

/// By the recipe of the chain: blake2-256 over hotkey, storage index, slots, values, salt and version key.
fn hash(index: u16, salt: [u16; 3]) -> [u8; 32] {
    let covered = (
        dev::alice().public_key().0,
        index,
        UIDS.to_vec(),
        VALUES.to_vec(),
        salt.to_vec(),
        0_u64,
    );
    sp_crypto_hashing::blake2_256(&covered.encode())
}

#[tokio::test]
async fn what_was_committed_by_hash_is_revealed_in_its_epoch_and_not_before() {
    for spec in Spec::ALL {
        let setup = start(spec, 10, true).await;
        setup.commit(SALT).await.unwrap();
        let early = setup.reveal(SALT).await.unwrap_err();
        assert!(early.contains("Custom error: 17"), "{spec:?}: {early}");
        let other = setup.reveal([1, 1, 1]).await.unwrap_err();
        assert!(other.contains("Custom error: 16"), "{spec:?}: {other}");
        setup.chain.new_blocks(8);
        setup.reveal(SALT).await.unwrap();
        assert_eq!(setup.chain.weights(0), STORED, "{spec:?}");
        let again = setup.reveal(SALT).await.unwrap_err();
        assert!(again.contains("Custom error: 16"), "{spec:?}: {again}");
        setup.chain.stop().await;
    }
}

#[tokio::test]
async fn each_refusal_in_a_block_has_the_name_that_the_runtime_gives_it() {
    for spec in [Spec::S365, Spec::S461] {
        let setup = start(spec, 100, false).await;
        let refused = |words: Result<(), String>, name: &str| {
            let words = words.unwrap_err();
            assert!(words.contains(name), "{spec:?}: {words} instead of {name}");
        };
        refused(setup.reveal(SALT).await, "NoWeightsCommitFound");
        setup.commit(SALT).await.unwrap();
        refused(setup.reveal(SALT).await, "RevealTooEarly");
        refused(
            setup.reveal([1, 1, 1]).await,
            "InvalidRevealCommitHashNotMatch",
        );
        setup.chain.new_blocks(250);
        refused(setup.reveal(SALT).await, "ExpiredWeightCommit");
        assert!(setup.chain.weights(0).is_empty());
        for salt in 0..10 {
            setup.commit([salt, 0, 0]).await.unwrap();
        }
        refused(setup.commit(SALT).await, "TooManyUnrevealedCommits");
        setup.chain.set_parameter("WeightsSetRateLimit", &50_u64);
        refused(setup.commit(SALT).await, "CommittingWeightsTooFast");
        setup
            .chain
            .set_parameter("CommitRevealWeightsEnabled", &false);
        refused(setup.commit(SALT).await, "CommitRevealDisabled");
        refused(setup.reveal(SALT).await, "CommitRevealDisabled");
        setup.chain.stop().await;
    }
}

#[tokio::test]
async fn a_mechanisms_commit_is_hashed_with_its_own_storage_index() {
    let setup = start(Spec::S461, 10, true).await;
    setup.chain.set_parameter("MechanismCountCurrent", &2_u8);
    let fields = (NETUID, 1_u8, H256(hash(4_096 + NETUID, SALT)));
    setup
        .send("commit_mechanism_weights", fields)
        .await
        .unwrap();
    setup.chain.new_blocks(8);
    let (uids, values) = (UIDS.to_vec(), VALUES.to_vec());
    let fields = (NETUID, 1_u8, uids, values, SALT.to_vec(), 0_u64);
    setup
        .send("reveal_mechanism_weights", fields)
        .await
        .unwrap();
    assert!(
        setup.chain.weights(0).is_empty(),
        "the first one's are its own"
    );
    setup.chain.stop().await;
}

#[tokio::test]
async fn a_hash_commit_outlives_the_upgrade_that_changed_how_epochs_are_counted() {
    let setup = start(Spec::S419, 10, true).await;
    setup.commit(SALT).await.unwrap();
    setup.chain.set_spec(Spec::S439).unwrap();
    let early = setup.reveal(SALT).await.unwrap_err();
    assert!(early.contains("Custom error: 17"), "{early}");
    setup.chain.new_blocks(5);
    setup.reveal(SALT).await.unwrap();
    assert_eq!(setup.chain.weights(0), STORED);
    setup.chain.stop().await;
}
