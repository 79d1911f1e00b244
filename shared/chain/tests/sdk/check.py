"""What the Bittensor SDK, async-substrate-interface and bittensor-wallet make of ours. Called by tests/sdk.rs.

    check.py metagraph URL     reads the subnet with both libraries; prints JSON
    check.py set URL PATH      sets weights with the wallet in PATH, plain or committed as the subnet wants it
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
    commands = {"metagraph": metagraph, "set": set_weights, "load": load, "make": make}
    print(json.dumps(commands[command](*arguments)))
