#!/usr/bin/env python3
"""Makes vectors.json with the Bittensor SDK: what it encodes for calls, storage keys, signature payloads and signed
extrinsics on each bundled runtime, a ciphertext sealed by its timelock, and hotkey files by its wallet code.

    target/venv/bin/python tests/golden/chain/make.py > tests/golden/chain/vectors.json
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import bittensor_core
from bittensor._transport.codec import RuntimeCodec

METADATA = Path(__file__).resolve().parents[3] / "shared" / "chain" / "metadata"
# finney_365 is of metadata version 16, which the SDK does not read.
RUNTIMES = {
    419: "subtensor_419_v15_fastblocks",
    439: "subtensor_439_v15",
    461: "subtensor_461_v15_fastblocks",
}
GENESIS = "0x" + "07" * 32
BIRTH = "0x" + "08" * 32
SIGNATURE = bytes(range(64))
ALICE = bittensor_core.Keypair.create_from_uri("//Alice")

CALLS = {
    "set_weights": (
        "SubtensorModule",
        "set_weights",
        {"netuid": 70, "dests": [1, 258], "weights": [65535, 3], "version_key": 9},
    ),
    "set_mechanism_weights": (
        "SubtensorModule",
        "set_mechanism_weights",
        {"netuid": 70, "mecid": 1, "dests": [1, 258], "weights": [65535, 3], "version_key": 9},
    ),
    "commit_timelocked_weights": (
        "SubtensorModule",
        "commit_timelocked_weights",
        {"netuid": 70, "commit": "0xaabb", "reveal_round": 1000, "commit_reveal_version": 4},
    ),
    "commit_timelocked_mechanism_weights": (
        "SubtensorModule",
        "commit_timelocked_mechanism_weights",
        {"netuid": 70, "mecid": 1, "commit": "0xaabb", "reveal_round": 1000, "commit_reveal_version": 4},
    ),
    "set_commitment": (
        "Commitments",
        "set_commitment",
        {"netuid": 70, "info": {"fields": [[{"Raw128": "0x" + "61" * 128}]]}},
    ),
}
KEYS = {
    "SubtensorModule.Keys": [70, 258],
    "SubtensorModule.Uids": [70, ALICE.ss58_address],
    "SubtensorModule.LastUpdate": [70],
    "SubtensorModule.Weights": [70, 258],
    "SubtensorModule.RevealPeriodEpochs": [70],
    "SubtensorModule.TotalHotkeyAlpha": [ALICE.ss58_address, 70],
    "SubtensorModule.TimelockedWeightCommits": [70, 5],
    "Commitments.CommitmentOf": [70, ALICE.ss58_address],
    "Drand.BeaconConfig": [],
    "Timestamp.Now": [],
}


def runtime(spec: int, name: str) -> dict:
    packed = METADATA / f"{name}.scale.zst"
    metadata = subprocess.run(["zstd", "-dc", packed], check=True, capture_output=True).stdout
    codec = RuntimeCodec(metadata, spec_version=spec, transaction_version=1)
    calls = {}
    for label, (pallet, function, arguments) in CALLS.items():
        call = codec.compose_call(pallet, function, arguments)
        era = {"period": 16, "current": 1000}
        shared = {"era": era, "nonce": 5, "tip": 0, "tip_asset_id": None}
        payload = codec.signature_payload(
            call, genesis_hash=GENESIS, era_block_hash=BIRTH, **shared
        )
        signed, _ = codec.encode_signed_extrinsic(
            call,
            public_key=ALICE.public_key,
            signature=SIGNATURE,
            signature_version=1,
            **shared,
        )
        calls[label] = {
            "call": codec.call_data(call).hex(),
            "payload": payload.hex(),
            "signed": signed.hex(),
        }
    keys = {}
    for label, arguments in KEYS.items():
        pallet, entry = label.split(".")
        keys[label] = codec.storage_key(codec.storage_entry(pallet, entry), arguments).hex()
    return {"calls": calls, "keys": keys}


def main() -> None:
    sealed, round_ = bittensor_core.encrypt_at_round(b"weights of the tests", 1000)
    message = b"a message of the tests"
    vectors = {
        "made_with": {"bittensor": version("bittensor"), "bittensor-core": version("bittensor-core")},
        "alice": ALICE.public_key.hex(),
        "block": 1000,
        "nonce": 5,
        "genesis": GENESIS,
        "birth": BIRTH,
        "signature": SIGNATURE.hex(),
        "message": message.decode(),
        "message_signed": bytes(ALICE.sign(message)).hex(),
        "sealed": {"plain": "weights of the tests", "round": round_, "user_data": bytes(sealed).hex()},
        "runtimes": {str(spec): runtime(spec, name) for spec, name in RUNTIMES.items()},
    }
    json.dump(vectors, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    # Nothing here asks a network; a proxy or an endpoint of the caller must not matter.
    os.environ.pop("BT_CHAIN_ENDPOINT", None)
    main()
