#!/usr/bin/env bash
# Builds scheduler and worker of the release before this one, for the test that upgrades a fleet while it works
# (tests/fleet/upgrade.rs). Needs the history of this repository. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=bef77da
out=$PWD/target/previous/$commit
[ -x "$out/nexis-scheduler" ] && [ -x "$out/nexis-worker" ] && exit 0

git cat-file -e "$commit^{commit}" 2>/dev/null || {
  echo "previous: commit $commit is not in this clone, and the test of a rolling upgrade builds its programs;" \
    "fetch the whole history: git fetch --unshallow" >&2
  exit 1
}
src=$PWD/target/previous/src
mkdir -p "$src"
git archive "$commit" | tar -x -C "$src"
echo "previous: building scheduler and worker of commit $commit (some minutes, once)" >&2
# The same target folder: crates of others that did not change since are not compiled twice. What the old programs
# overwrite there, the next build puts back.
CARGO_TARGET_DIR=$PWD/target cargo build --quiet --locked --manifest-path "$src/Cargo.toml" \
  -p nexis-scheduler -p nexis-worker --bins >&2
mkdir -p "$out"
cp target/debug/nexis-scheduler target/debug/nexis-worker "$out/"
# Else cargo takes the old programs for the newest.
rm -rf "$src" target/debug/nexis-scheduler target/debug/nexis-worker
