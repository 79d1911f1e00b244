//! The same bytes on every runtime whose metadata is bundled, and the names that each has.

mod golden;

use crate::calls::Call;
use crate::selfcheck::{Need, SelfCheck};
use crate::wallet::Wallet;
use nexis_protocol::Netuid;
use parity_scale_codec::Encode as _;
use std::io::Read as _;
use subxt::client::{OfflineClient, OfflineClientAtBlock};
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{SpecVersionForRange, SubstrateConfigBuilder};
use subxt::utils::{AccountId32, H256};
use subxt::{Metadata, SubstrateConfig, dynamic};

const RUNTIMES: [(&str, u32); 4] = [
    ("finney_365_v16", 365),
    ("subtensor_419_v15_fastblocks", 419),
    ("subtensor_439_v15", 439),
    ("subtensor_461_v15_fastblocks", 461),
];
const NETUID: Netuid = Netuid::new(70);

fn runtimes() -> Vec<(u32, OfflineClientAtBlock<SubstrateConfig>)> {
    RUNTIMES
        .into_iter()
        .map(|(name, spec)| {
            let path = format!("{}/metadata/{name}.scale.zst", env!("CARGO_MANIFEST_DIR"));
            let file = std::fs::File::open(path).unwrap();
            let mut bytes = Vec::new();
            zstd::Decoder::new(file)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            let metadata = Metadata::decode_from(&bytes).unwrap();
            let config = SubstrateConfigBuilder::new()
                .set_metadata_for_spec_versions([(spec, metadata.arc())])
                .set_genesis_hash(H256::repeat_byte(7))
                .set_spec_version_for_block_ranges([SpecVersionForRange {
                    block_range: 0..u64::MAX,
                    spec_version: spec,
                    transaction_version: 1,
                }])
                .build();
            (
                spec,
                OfflineClient::new_with_config(config)
                    .at_block(0u64)
                    .unwrap(),
            )
        })
        .collect()
}

fn call_hex(view: &OfflineClientAtBlock<SubstrateConfig>, call: &Call) -> String {
    hex::encode(
        view.transactions()
            .call_data(&call.payload().unwrap())
            .unwrap(),
    )
}

#[test]
fn every_bundled_runtime_has_all_the_names_we_use() {
    for (spec, view) in runtimes() {
        let check = SelfCheck::of(spec, view.metadata_ref());
        assert_eq!(check.missing, [], "spec {spec}");
    }
}

#[test]
fn a_runtime_without_our_names_allows_nothing_and_says_which_are_missing() {
    let (_, view) = runtimes().remove(0);
    let mut check = SelfCheck::of(1, view.metadata_ref());
    check.missing.push(crate::selfcheck::Missing {
        need: Need::CommitWeights,
        name: "Drand.BeaconConfig".into(),
    });
    assert!(check.allows(Need::SetWeights) && !check.allows(Need::CommitWeights));
    assert_eq!(
        check.missing_for(Need::CommitWeights),
        ["Drand.BeaconConfig"]
    );
    check.missing.push(crate::selfcheck::Missing {
        need: Need::Read,
        name: "x".into(),
    });
    assert!(
        !check.allows(Need::SetWeights),
        "nothing is submitted on what cannot be read"
    );
}

#[test]
fn a_commitment_is_the_published_bytes_on_every_runtime() {
    let call = Call::SetCommitment {
        netuid: NETUID,
        data: vec![b'a'; 128],
    };
    let golden = format!("1200{}0481{}", "4600", "61".repeat(128));
    let short = Call::SetCommitment {
        netuid: NETUID,
        data: b"abc".to_vec(),
    };
    for (spec, view) in runtimes() {
        assert_eq!(call_hex(&view, &call), golden, "spec {spec}");
        assert_eq!(call_hex(&view, &short), "120046000404616263", "spec {spec}");
    }
    let long = Call::SetCommitment {
        netuid: NETUID,
        data: vec![0; 129],
    };
    assert!(long.payload().is_err());
}

#[test]
fn weight_calls_are_the_same_bytes_on_every_runtime() {
    let order = |mechanism| Call::SetWeights {
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
    // Pallet 7; calls 0, 119, 113 and 118 (CHAIN.md §1); little-endian, compact lengths.
    let vectors = "080100020108ffff03000900000000000000";
    let sealed = "08aabbe8030000000000000400";
    for (spec, view) in runtimes() {
        assert_eq!(
            call_hex(&view, &order(None)),
            format!("07004600{vectors}"),
            "spec {spec}"
        );
        assert_eq!(
            call_hex(&view, &order(Some(0))),
            format!("0777460000{vectors}"),
            "spec {spec}"
        );
        assert_eq!(
            call_hex(&view, &commit(None)),
            format!("07714600{sealed}"),
            "spec {spec}"
        );
        assert_eq!(
            call_hex(&view, &commit(Some(1))),
            format!("0776460001{sealed}"),
            "spec {spec}"
        );
    }
}

#[test]
fn storage_keys_are_the_same_bytes_on_every_runtime() {
    let alice = AccountId32(Wallet::from_uri("//Alice").unwrap().hotkey().public_key());
    let mut first: Option<Vec<Vec<u8>>> = None;
    for (spec, view) in runtimes() {
        let storage = view.storage();
        let weights = dynamic::storage::<(u16, u16), Vec<(u16, u16)>>("SubtensorModule", "Weights");
        let uids = dynamic::storage::<(u16, AccountId32), u16>("SubtensorModule", "Uids");
        let commitment = dynamic::storage::<(u16, AccountId32), scale_value::Value>(
            "Commitments",
            "CommitmentOf",
        );
        let keys = vec![
            storage.entry(weights).unwrap().fetch_key((70, 3)).unwrap(),
            storage.entry(uids).unwrap().fetch_key((70, alice)).unwrap(),
            storage
                .entry(commitment)
                .unwrap()
                .fetch_key((70, alice))
                .unwrap(),
        ];
        // Identity hashers put the plain numbers at the end.
        assert!(keys[0].ends_with(&[70, 0, 3, 0]), "spec {spec}");
        assert!(
            keys[1].ends_with(&alice.0) && keys[2].ends_with(&alice.0),
            "spec {spec}"
        );
        assert_eq!(
            keys[1].len(),
            32 + 2 + 16 + 32,
            "spec {spec}: Blake2_128Concat"
        );
        assert_eq!(keys[2].len(), 32 + 2 + 8 + 32, "spec {spec}: Twox64Concat");
        match &first {
            None => first = Some(keys),
            Some(golden) => assert_eq!(*golden, keys, "spec {spec}"),
        }
    }
}

#[test]
fn signed_extrinsics_carry_our_extensions_and_verify_on_every_runtime() {
    let alice = Wallet::from_uri("//Alice").unwrap();
    let call = Call::SetWeights {
        netuid: NETUID,
        mechanism: None,
        uids: vec![1],
        values: vec![65535],
        version_key: 0,
    };
    let payload = call.payload().unwrap();
    for (spec, view) in runtimes() {
        let birth = H256::repeat_byte(9);
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .mortal_from_unchecked(16, 1003, birth)
            .nonce(5)
            .build();
        let transactions = view.transactions();
        let mut signable = transactions
            .create_signable_offline(&payload, params)
            .unwrap();
        let signed = signable.sign(&alice).unwrap();
        let bytes = signed.encoded();
        let call_bytes = transactions.call_data(&payload).unwrap();
        assert!(bytes.ends_with(&call_bytes), "spec {spec}");
        // Era of period 16 and phase 1003 % 16 = 11, nonce 5 (compact), tip 0, no metadata hash.
        let extra = [0xb3, 0x00, 0x14, 0x00, 0x00];
        let head = &bytes[..bytes.len() - call_bytes.len()];
        assert!(head.ends_with(&extra), "spec {spec}: {}", hex::encode(head));
        let signature = &head[head.len() - extra.len() - 64..head.len() - extra.len()];
        // What is signed: call, extra, spec, transaction version, genesis, birth block, no hash.
        let implied = (spec, 1u32, [7u8; 32], [9u8; 32], 0u8).encode();
        let message = [call_bytes.as_slice(), &extra, &implied].concat();
        assert!(
            message.len() <= 256,
            "longer ones are hashed before signing"
        );
        assert!(
            crate::verify(alice.hotkey(), &message, signature),
            "spec {spec}"
        );
    }
}
