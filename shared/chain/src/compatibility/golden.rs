//! The same bytes as the Python SDK's: `tests/golden/chain/make.py` made the vectors with it.

use super::{NETUID, call_hex, runtimes};
use crate::calls::Call;
use crate::timelock;
use crate::wallet::Wallet;
use scale_value::Value;
use serde_json::Value as Json;
use subxt::client::OfflineClientAtBlock;
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::utils::{AccountId32, H256};
use subxt::{SubstrateConfig, dynamic};

/// Signature of quicknet's round 1000, which the vectors' ciphertext is sealed for.
const ROUND_1000: &str = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

fn vectors() -> Json {
    let text = include_str!("../../../../tests/golden/chain/vectors.json");
    serde_json::from_str(text).unwrap()
}

fn text<'a>(json: &'a Json, path: &str) -> &'a str {
    json.pointer(path).and_then(Json::as_str).expect(path)
}

fn calls() -> [(&'static str, Call); 5] {
    let set = |mechanism| Call::SetWeights {
        netuid: NETUID,
        mechanism,
        uids: vec![1, 258],
        values: vec![65535, 3],
        version_key: 9,
    };
    let commit = |mechanism| Call::CommitWeights {
        netuid: NETUID,
        mechanism,
        sealed: vec![0xaa, 0xbb],
        reveal_round: 1000,
        version: 4,
    };
    let published = Call::SetCommitment {
        netuid: NETUID,
        data: vec![b'a'; 128],
    };
    [
        ("set_weights", set(None)),
        ("set_mechanism_weights", set(Some(1))),
        ("commit_timelocked_weights", commit(None)),
        ("commit_timelocked_mechanism_weights", commit(Some(1))),
        ("set_commitment", published),
    ]
}

/// Each runtime that the SDK reads, with its part of the vectors.
fn each(look: impl Fn(u32, &OfflineClientAtBlock<SubstrateConfig>, &Json, &Json)) {
    let all = vectors();
    let mut compared = 0;
    for (spec, view) in runtimes() {
        if let Some(of_runtime) = all.pointer(&format!("/runtimes/{spec}")) {
            look(spec, &view, &all, of_runtime);
            compared += 1;
        }
    }
    assert_eq!(compared, 3);
}

#[test]
fn calls_are_the_sdks_bytes() {
    each(|spec, view, _, golden| {
        for (name, call) in calls() {
            let theirs = text(golden, &format!("/calls/{name}/call"));
            assert_eq!(call_hex(view, &call), theirs, "{name} at spec {spec}");
        }
    });
}

#[test]
fn signature_payloads_and_signed_extrinsics_are_the_sdks_bytes() {
    let alice = Wallet::from_uri("//Alice").unwrap();
    each(|spec, view, all, golden| {
        for (name, call) in calls() {
            let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
                .mortal_from_unchecked(16, 1000, H256::repeat_byte(8))
                .nonce(5)
                .build();
            let payload = call.payload().unwrap();
            let transactions = view.transactions();
            let mut signable = transactions
                .create_signable_offline(&payload, params)
                .unwrap();
            let message = signable.signer_payload().unwrap();
            let theirs = text(golden, &format!("/calls/{name}/payload"));
            assert_eq!(hex::encode(&message), theirs, "{name} at spec {spec}");

            let signed = signable.sign(&alice).unwrap().encoded().to_vec();
            let theirs = hex::decode(text(golden, &format!("/calls/{name}/signed"))).unwrap();
            // Signatures are randomised: ours is verified, theirs put in its place.
            let fixed = hex::decode(text(all, "/signature")).unwrap();
            let at = theirs.windows(64).position(|part| part == fixed).unwrap();
            assert_eq!(signed.len(), theirs.len(), "{name} at spec {spec}");
            assert!(
                crate::verify(alice.hotkey(), &message, &signed[at..at + 64]),
                "{name} at spec {spec}"
            );
            let with_theirs = [&signed[..at], &fixed, &signed[at + 64..]].concat();
            assert_eq!(with_theirs, theirs, "{name} at spec {spec}");
        }
    });
}

#[test]
fn storage_keys_are_the_sdks_bytes() {
    let alice = AccountId32(Wallet::from_uri("//Alice").unwrap().hotkey().public_key());
    each(|spec, view, _, golden| {
        let storage = view.storage();
        let compare = |name: &str, key: Vec<u8>| {
            let theirs = text(golden, &format!("/keys/{name}"));
            assert_eq!(hex::encode(key), theirs, "{name} at spec {spec}");
        };
        let key = |name: &str, parts: Vec<Value>| {
            let (pallet, entry) = name.split_once('.').unwrap();
            let address = dynamic::storage::<Vec<Value>, Value>(pallet, entry);
            compare(
                name,
                storage.entry(address).unwrap().fetch_key(parts).unwrap(),
            );
        };
        let number = Value::u128;
        let account = || Value::from_bytes(alice.0);
        key("SubtensorModule.Keys", vec![number(70), number(258)]);
        key("SubtensorModule.Uids", vec![number(70), account()]);
        key("SubtensorModule.LastUpdate", vec![number(70)]);
        key("SubtensorModule.Weights", vec![number(70), number(258)]);
        key("SubtensorModule.RevealPeriodEpochs", vec![number(70)]);
        key(
            "SubtensorModule.TotalHotkeyAlpha",
            vec![account(), number(70)],
        );
        key(
            "SubtensorModule.TimelockedWeightCommits",
            vec![number(70), number(5)],
        );
        key("Commitments.CommitmentOf", vec![number(70), account()]);
        key("Drand.BeaconConfig", vec![]);
        key("Timestamp.Now", vec![]);
    });
}

#[test]
fn what_the_sdk_sealed_opens_and_what_it_signed_verifies() {
    let all = vectors();
    let user_data = hex::decode(text(&all, "/sealed/user_data")).unwrap();
    // The SDK's envelope: the ciphertext's compact length (two bytes here), the ciphertext, the round.
    let sealed = &user_data[2..user_data.len() - 8];
    let signature = hex::decode(ROUND_1000).unwrap();
    let plain = timelock::open(sealed, &signature).unwrap();
    assert_eq!(plain, text(&all, "/sealed/plain").as_bytes());

    let alice = Wallet::from_uri("//Alice").unwrap();
    assert_eq!(
        hex::encode(alice.hotkey().public_key()),
        text(&all, "/alice")
    );
    let signed = hex::decode(text(&all, "/message_signed")).unwrap();
    let message = text(&all, "/message").as_bytes();
    assert!(crate::verify(alice.hotkey(), message, &signed));
}
