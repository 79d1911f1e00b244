#!/usr/bin/env bash
# Builds `nexis` and runs its demo: a subnet on this machine and a validator that judges it. Under two minutes after the
# build; exit 0 when every miner got what it deserves and the weights are on the chain.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "demo: building nexis (a first build takes some minutes)" >&2
cargo build --locked --package nexis
# Made clips are kept in target/demo, so that a second run starts at once; what the validator stored is not.
rm -rf target/demo/validator
exec target/debug/nexis demo --workdir target/demo "$@"
