"""What the Bittensor SDK, async-substrate-interface and bittensor-wallet make of ours. Called by tests/sdk.rs.

    check.py metagraph URL     reads the subnet with both libraries; prints JSON
    check.py set URL PATH      sets weights with the wallet in PATH, plain or committed as the subnet wants it
    check.py hyperparameters URL  reads the subnet's hyperparameters (the runtime's third form of them); prints JSON
    check.py seal BLOCK EPOCH_BLOCK TEMPO ROUND KEY
                               seals weights {1: 0.75, 2: 0.25} for a hotkey (hex) with quicknet's key, for that round
    check.py commit URL PATH SALT...  commits weights {1: 0.75, 2: 0.25} by hash, with async-substrate-interface
    check.py reveal URL PATH SALT...  reveals the weights {1: 0.75, 2: 0.25} that were committed by hash
    check.py load PATH [PW]    loads the hotkey file of wallet "made" in PATH; prints its address
    check.py make PATH [PW]    makes a hotkey file in PATH; prints its address
"""

import json
import sys

NETUID = 70


def metagraph(url: str) -> dict:
    import bittensor
    from async_substrate_interface.sync_substrate import SubstrateInterface

    with SubstrateInterface(url=url) as node:
        slots = {
            int(uid): getattr(key, "value", key)
            for uid, key in node.query_map("SubtensorModule", "Keys", [NETUID])
        }
        held = node.query("Commitments", "CommitmentOf", [NETUID, slots[1]])
        held = getattr(held, "value", held)
    client = bittensor.Subtensor(url)
    graph = client.subnets.metagraph(NETUID)
    client.close()
    return {
        "substrate_interface": {"keys": [slots[uid] for uid in sorted(slots)], "commitment": repr(held)},
        "bittensor": {
            "hotkeys": [str(neuron.hotkey) for neuron in graph.neurons],
            "commitments": repr(graph),
        },
    }


def set_weights(url: str, path: str) -> dict:
    import bittensor

    wallet = bittensor.Wallet(name="made", hotkey="default", path=path)
    result = bittensor.set_weights(NETUID, {1: 0.75, 2: 0.25}, wallet=wallet, network=url)
    return {"result": repr(result)}


def hyperparameters(url: str) -> dict:
    import bittensor

    client = bittensor.Subtensor(url)
    found = client.read("subnet_hyperparameters", netuid=NETUID)
    client.close()
    return found


def seal(block: str, epoch_block: str, tempo: str, round_: str, key: str) -> dict:
    """The SDK seals for the round that will be out when the commit's epoch comes, by this machine's clock. No signature
    of such a round is known in advance; with blocks of a suitable negative length it is one of the past."""
    import time

    import bittensor_core

    blocks = int(epoch_block) + int(tempo) + 3 - int(block)
    moment = 1_692_803_367 + 3 * int(round_) + 1.5
    sealed, found = bittensor_core.get_encrypted_commit_v2(
        uids=[1, 2],
        weights=[65535, 21845],
        version_key=0,
        last_epoch_block=int(epoch_block),
        pending_epoch_at=0,
        subnet_epoch_index=5,
        tempo=int(tempo),
        blocks_since_last_step=int(block) - int(epoch_block),
        current_block=int(block),
        subnet_reveal_period_epochs=1,
        block_time=(moment - time.time()) / blocks,
        hotkey=bytes.fromhex(key),
    )
    return {"sealed": bytes(sealed).hex(), "round": found}


def commit(url: str, path: str, *salt: str) -> dict:
    import hashlib

    from async_substrate_interface.sync_substrate import SubstrateInterface
    from bittensor_wallet import Keyfile

    keypair = Keyfile(f"{path}/made/hotkeys/default", "default").get_keypair(None)

    def numbers(values) -> bytes:
        return bytes([len(values) << 2]) + b"".join(int(value).to_bytes(2, "little") for value in values)

    covered = bytes(keypair.public_key) + NETUID.to_bytes(2, "little")
    covered += numbers([1, 2]) + numbers([65535, 21845]) + numbers(salt) + bytes(8)
    digest = hashlib.blake2b(covered, digest_size=32).hexdigest()
    with SubstrateInterface(url=url) as node:
        call = node.compose_call("SubtensorModule", "commit_weights", {"netuid": NETUID, "commit_hash": "0x" + digest})
        extrinsic = node.create_signed_extrinsic(call=call, keypair=keypair)
        receipt = node.submit_extrinsic(extrinsic, wait_for_inclusion=True)
        return {"success": receipt.is_success, "error": repr(receipt.error_message)}


def reveal(url: str, path: str, *salt: str) -> dict:
    import bittensor
    from bittensor.intents import RevealWeights

    wallet = bittensor.Wallet(name="made", hotkey="default", path=path)
    client = bittensor.Subtensor(url)
    intent = RevealWeights(NETUID, uids=[1, 2], weights=[0.75, 0.25], salt=[int(part) for part in salt])
    result = client.execute(intent, wallet)
    client.close()
    return {"success": result.success, "result": repr(result)}


def load(path: str, password: str | None = None) -> dict:
    from bittensor_wallet import Keyfile

    keypair = Keyfile(f"{path}/made/hotkeys/default", "default").get_keypair(password)
    message = b"a message"
    assert keypair.verify(message, keypair.sign(message))
    return {"address": keypair.ss58_address}


def make(path: str, password: str | None = None) -> dict:
    from bittensor_wallet import Keyfile, Keypair

    keypair = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())
    file = Keyfile(f"{path}/made/hotkeys/default", "default")
    file.set_keypair(keypair, encrypt=password is not None, overwrite=True, password=password)
    return {"address": keypair.ss58_address}


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    commands = {
        "metagraph": metagraph,
        "set": set_weights,
        "hyperparameters": hyperparameters,
        "seal": seal,
        "commit": commit,
        "reveal": reveal,
        "load": load,
        "make": make,
    }
    print(json.dumps(commands[command](*arguments)))
