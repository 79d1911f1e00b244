#!/usr/bin/env bash
# Builds scheduler and worker of the release before this one, for the test that upgrades a fleet while it works
# (tests/fleet/upgrade.rs). Needs the history of this repository. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=bef77da
root=$PWD/target/previous
out=$root/$commit
[ -x "$out/nexis-scheduler" ] && [ -x "$out/nexis-worker" ] && exit 0

git cat-file -e "$commit^{commit}" 2>/dev/null || {
  echo "previous: commit $commit is not in this clone, and the test of a rolling upgrade builds its programs;" \
    "fetch the whole history: git fetch --unshallow" >&2
  exit 1
}
echo "previous: building scheduler and worker of commit $commit (some minutes, once)" >&2
src=$root/src
build=$root/build
rm -rf "$src" "$build"
mkdir -p "$src" "$build/debug/deps" "$out"
git archive "$commit" | tar -x -C "$src"

# A target folder of its own: cargo tells crates of two checkouts apart by their path inside the workspace, which is the
# same. Crates of others that the tests have built already are linked into it and not compiled again.
if [ -d target/debug/.fingerprint ] && [ -d target/debug/build ]; then
  cp -a target/debug/.fingerprint target/debug/build "$build/debug/"
  rm -rf "$build"/debug/.fingerprint/nexis* "$build"/debug/build/nexis*
  find target/debug/deps -maxdepth 1 -type f \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.d' -o -name '*.so' \) \
    ! -name '*nexis*' -print0 | xargs -0 -r cp -al -t "$build/debug/deps/"
fi

# With the features of the tests: the tests named `start` need both programs.
CARGO_TARGET_DIR=$build cargo test --quiet --locked --manifest-path "$src/Cargo.toml" \
  --workspace --test start --no-run >&2
cp "$build/debug/nexis-scheduler" "$build/debug/nexis-worker" "$out/"
rm -rf "$src" "$build"
