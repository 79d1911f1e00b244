"""What a generation of the Bittensor SDK makes of a subnet. Called by tests/generations.rs, in one environment for each.

    generation.py URL PATH   reads the subnet, then sets weights {1: 0.75, 2: 0.25} with the wallet in PATH

Prints JSON: for each question the answer, or what the SDK complained about.
"""

import json
import sys

import bittensor

NETUID = 70


def older(url: str, path: str) -> dict:
    """Versions 9 and 10."""
    node = bittensor.Subtensor(network=url)

    def set_weights():
        from bittensor_wallet import Wallet

        result = node.set_weights(
            wallet=Wallet(name="made", hotkey="default", path=path),
            netuid=NETUID,
            uids=[1, 2],
            weights=[0.75, 0.25],
            version_key=0,
            wait_for_inclusion=True,
            wait_for_finalization=False,
        )
        return result[0] if isinstance(result, tuple) else result.success

    return {
        "metagraph": lambda: [str(key) for key in node.metagraph(NETUID).hotkeys],
        "info": lambda: [str(key) for key in node.get_metagraph_info(NETUID).hotkeys],
        "neurons": lambda: [str(neuron.hotkey) for neuron in node.neurons_lite(NETUID)],
        "commitments": lambda: {str(key): str(value) for key, value in node.get_all_commitments(NETUID).items()},
        "next_epoch": lambda: int(node.get_next_epoch_start_block(NETUID)),
        "weights": set_weights,
    }


def newer(url: str, path: str) -> dict:
    """Version 11."""
    node = bittensor.Subtensor(url)

    def set_weights():
        wallet = bittensor.Wallet(name="made", hotkey="default", path=path)
        return bittensor.set_weights(NETUID, {1: 0.75, 2: 0.25}, wallet=wallet, network=url).success

    graph = lambda: [str(neuron.hotkey) for neuron in node.subnets.metagraph(NETUID).neurons]
    return {
        "metagraph": graph,
        "info": graph,
        "neurons": graph,
        "commitments": lambda: repr(node.subnets.metagraph(NETUID)),
        "next_epoch": lambda: node.read("epoch_status", netuid=NETUID)["next_epoch_start_block"],
        "weights": set_weights,
    }


if __name__ == "__main__":
    ask = older if int(bittensor.__version__.split(".")[0]) < 11 else newer
    answers = {}
    for question, answer in ask(*sys.argv[1:]).items():
        try:
            answers[question] = {"said": answer()}
        except Exception as fault:  # noqa: BLE001: whatever it is, the test reports it
            answers[question] = {"fault": f"{type(fault).__name__}: {fault}"}
    print(json.dumps(answers))
