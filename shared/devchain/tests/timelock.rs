//! Timelocked commits: real encryption to the chain's own beacon, real reveal.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail by it, helpers included"
)]

use ark_bls12_381::G2Projective;
use ark_serialize::{CanonicalDeserialize as _, CanonicalSerialize as _};
use nexis_devchain::{DevChain, DevChainConfig, DevChainHandle, Fault, GenesisNeuron, Mode, Spec};
use parity_scale_codec::{Decode, Encode as _};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use subxt::backend::LegacyBackend;
use subxt::config::{DefaultExtrinsicParamsBuilder, RpcConfigFor};
use subxt::utils::AccountId32;
use subxt::{OnlineClient, SubstrateConfig, dynamic};
use subxt_rpcs::client::RpcClient;
use subxt_rpcs::methods::legacy::LegacyRpcMethods;
use subxt_signer::sr25519::{Keypair, dev};
use timelock::block_ciphers::AESGCMBlockCipherProvider;
use timelock::engines::drand::TinyBLS381;
use timelock::ibe::fullident::Identity;
use timelock::tlock::tle;

const NETUID: u16 = 70;

type Client = (
    OnlineClient<SubstrateConfig>,
    LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>,
);

async fn start(spec: Spec) -> (DevChainHandle, Client) {
    let neurons = [dev::alice(), dev::bob()].map(|key| GenesisNeuron {
        hotkey: key.public_key().0,
        stake_rao: 9,
        permit: true,
    });
    let config = DevChainConfig {
        spec,
        neurons: neurons.to_vec(),
        commit_reveal: true,
        tempo: 10,
        weights_rate_limit: 0,
        block_time: Duration::from_secs(12),
        start_block: 1_000,
        mode: Mode::Manual,
        ..DevChainConfig::default()
    };
    let chain = DevChain::start(config).await.unwrap();
    let rpc = RpcClient::from_url(chain.url()).await.unwrap();
    let legacy = LegacyRpcMethods::new(rpc.clone());
    let backend = LegacyBackend::<SubstrateConfig>::builder().build(rpc);
    let api = OnlineClient::from_backend(Arc::new(backend)).await.unwrap();
    (chain, (api, legacy))
}

/// The ciphertext in the layout of the chain, for a round of the beacon that the chain publishes.
async fn sealed(client: &Client, round: u64, plain: &[u8]) -> Vec<u8> {
    let key = [
        sp_crypto_hashing::twox_128(b"Drand"),
        sp_crypto_hashing::twox_128(b"BeaconConfig"),
    ];
    let stored = client
        .1
        .state_get_storage(&key.concat(), None)
        .await
        .unwrap()
        .unwrap();
    let public_key = Vec::<u8>::decode(&mut stored.as_slice()).unwrap();
    let public_key = G2Projective::deserialize_compressed(public_key.as_slice()).unwrap();
    let identity = Identity::new(b"", &Sha256::digest(round.to_be_bytes()));
    let rng = rand_core::OsRng;
    let sealed =
        tle::<TinyBLS381, AESGCMBlockCipherProvider, _>(public_key, [7; 32], plain, identity, rng)
            .map_err(|_| "encrypting")
            .unwrap();
    let mut bytes = Vec::new();
    sealed.serialize_compressed(&mut bytes).unwrap();
    let length = 32_u64.to_le_bytes();
    bytes.splice(128..128, length);
    bytes.splice(96..96, length);
    bytes
}

fn payload(key: &Keypair) -> Vec<u8> {
    (
        key.public_key().0.to_vec(),
        vec![0_u16, 1],
        vec![100_u16, 200],
        0_u64,
    )
        .encode()
}

async fn commit(
    chain: &DevChainHandle,
    client: &Client,
    key: &Keypair,
    sealed: Vec<u8>,
    round: u64,
) -> Result<(), String> {
    let best = client.1.chain_get_block_hash(None).await.unwrap().unwrap();
    let at = client.0.at_block(best).await.unwrap();
    let who = AccountId32(key.public_key().0);
    let nonce = client.1.system_account_next_index(&who).await.unwrap();
    let call = dynamic::transaction(
        "SubtensorModule",
        "commit_timelocked_weights",
        (NETUID, sealed, round, 4_u16),
    );
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .build();
    let tx = at
        .transactions()
        .create_signed(&call, key, params)
        .await
        .unwrap();
    let progress = tx.submit_and_watch().await.map_err(|e| format!("{e:?}"))?;
    chain.new_blocks(3);
    progress
        .wait_for_finalized_success()
        .await
        .map(|_| ())
        .map_err(|e| e.to_string())
}

/// A round so many blocks from now, by the chain's clock.
async fn round_in(client: &Client, blocks: u64) -> u64 {
    let key = [
        sp_crypto_hashing::twox_128(b"Drand"),
        sp_crypto_hashing::twox_128(b"LastStoredRound"),
    ];
    let stored = client
        .1
        .state_get_storage(&key.concat(), None)
        .await
        .unwrap()
        .unwrap();
    u64::decode(&mut stored.as_slice()).unwrap() + blocks * 4
}

#[tokio::test]
async fn a_commit_is_revealed_in_the_epoch_that_it_was_made_for() {
    for spec in [Spec::S419, Spec::S439, Spec::S461] {
        let (chain, client) = start(spec).await;
        let round = round_in(&client, 4).await;
        let alice = dev::alice();
        let bytes = sealed(&client, round, &payload(&alice)).await;
        assert_eq!(
            bytes.len(),
            244 + payload(&alice).len(),
            "the chain's layout has that size"
        );
        commit(&chain, &client, &alice, bytes, round).await.unwrap();
        assert!(
            chain.weights(0).is_empty(),
            "{spec:?}: nothing shows before the reveal"
        );
        let before = chain.head().number;
        while chain.weights(0).is_empty() && chain.head().number < before + 30 {
            chain.new_block();
        }
        assert_eq!(chain.weights(0), [(0, 32_767), (1, 65_535)], "{spec:?}");
        chain.stop().await;
    }
}

/// Commits are kept under the number of their epoch. An upgrade that began to count at zero left them there for good.
#[tokio::test]
async fn a_commit_outlives_the_upgrade_that_changed_how_epochs_are_counted() {
    for (waits, spec) in [(0, Spec::S439), (3, Spec::S439), (6, Spec::S461)] {
        let (chain, client) = start(Spec::S419).await;
        chain.new_blocks(waits);
        let round = round_in(&client, 4).await;
        let alice = dev::alice();
        let bytes = sealed(&client, round, &payload(&alice)).await;
        commit(&chain, &client, &alice, bytes, round).await.unwrap();
        let committed = chain.weight_changes(0, 1_000..chain.head().number + 1);
        // Tempo 10 and subnet 70: epoch numbers change where (block + 71) is a multiple of 11. The first epoch after
        // the upgrade runs where the old runtime would have run it, one block earlier, and is counted at once.
        let next = (committed[0].block + 71) / 11 * 11 + 11 - 71;
        chain.set_spec(spec).unwrap();
        let opens = chain.head().number.max(next - 1);
        while chain.weights(0).is_empty() && chain.head().number < opens + 30 {
            chain.new_block();
        }
        assert_eq!(chain.weights(0), [(0, 32_767), (1, 65_535)], "{spec:?}");
        assert_eq!(chain.head().number, opens, "{spec:?} after {waits} blocks");
        chain.stop().await;
    }
}

#[tokio::test]
async fn a_lost_reveal_leaves_neither_weights_nor_the_commit() {
    let (chain, client) = start(Spec::S439).await;
    chain.fault(&Fault::LoseReveals(1));
    let alice = dev::alice();
    let mut committed = Vec::new();
    for _ in 0..2 {
        let round = round_in(&client, 4).await;
        let bytes = sealed(&client, round, &payload(&alice)).await;
        commit(&chain, &client, &alice, bytes, round).await.unwrap();
        let shown = chain.weights(0);
        chain.new_blocks(20);
        committed.push((shown.is_empty(), chain.weights(0).is_empty()));
    }
    // The first one vanished, the second one was opened.
    assert_eq!(committed, [(true, true), (true, false)]);
    chain.stop().await;
}

#[tokio::test]
async fn a_commit_that_names_another_hotkey_or_is_no_ciphertext_vanishes_in_silence() {
    let (chain, client) = start(Spec::S439).await;
    let round = round_in(&client, 4).await;
    let (alice, bob) = (dev::alice(), dev::bob());
    let foreign = sealed(&client, round, &payload(&bob)).await;
    commit(&chain, &client, &alice, foreign, round)
        .await
        .unwrap();
    commit(&chain, &client, &bob, vec![0xff; 300], round)
        .await
        .unwrap();
    chain.new_blocks(40);
    assert!(chain.weights(0).is_empty());
    assert!(chain.weights(1).is_empty());
    chain.stop().await;
}

#[tokio::test]
async fn a_round_of_the_past_and_a_wrong_version_are_refused() {
    let (chain, client) = start(Spec::S439).await;
    let refused = commit(&chain, &client, &dev::alice(), vec![1; 300], 1)
        .await
        .unwrap_err();
    assert!(refused.contains("Custom error: 15"), "{refused}");
    chain.set_parameter("CommitRevealWeightsEnabled", &false);
    let round = round_in(&client, 4).await;
    let off = commit(&chain, &client, &dev::alice(), vec![1; 300], round)
        .await
        .unwrap_err();
    assert!(off.contains("CommitRevealDisabled"), "{off}");
    chain.stop().await;
}
