#!/usr/bin/env python3
"""Licences, banned crates and sources of every dependency, from `cargo metadata`. Needs no network."""

import json
import re
import subprocess
import sys

ALLOWED = {
    "MIT", "MIT-0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib",
    "Unicode-3.0", "Unicode-DFS-2016", "CC0-1.0", "BSL-1.0", "0BSD", "Unlicense", "MPL-2.0", "CDLA-Permissive-2.0",
    "OpenSSL", "WTFPL",
}
# A second TLS or crypto stack: large to build, and one more thing to update in a hurry (ADR 0006).
BANNED = {"openssl-sys", "aws-lc-sys", "native-tls"}
# Heavy crates of which two versions would double the build.
SINGLE = {"tokio", "hyper", "rustls", "ring", "polars-parquet", "subxt", "gstreamer", "aws-sdk-s3", "lapin"}


def satisfied(expression):
    """Whether some choice of an SPDX expression is allowed: OR of ANDs, `/` as OR, one level of brackets."""
    text = expression.replace("/", " OR ")
    while "(" in text:
        inner = re.search(r"\(([^()]*)\)", text)
        if inner is None:
            return False
        text = text.replace(inner.group(0), "MIT" if satisfied(inner.group(1)) else "REFUSED", 1)
    return any(all(part.strip() in ALLOWED for part in choice.split(" AND ")) for choice in text.split(" OR "))


def faults(packages):
    versions = {}
    for package in packages:
        name, source, licence = package["name"], package["source"], package["license"]
        label = f"{name} {package['version']}"
        if source is None:
            continue
        versions.setdefault(name, []).append(package["version"])
        if not source.startswith(("registry+", "sparse+")):
            yield f"{label}: comes from {source}, not from a registry"
        if name in BANNED:
            yield f"{label}: is banned"
        if not licence:
            if not package["license_file"]:
                yield f"{label}: states no licence"
        elif not satisfied(licence):
            yield f"{label}: licence {licence} is not on the list"
    for name in sorted(SINGLE):
        if len(versions.get(name, [])) > 1:
            yield f"{name}: two versions, {' and '.join(versions[name])}"


def shipped(metadata):
    """The packages that are really built: `cargo metadata` also names optional ones that no feature turns on."""
    command = ["cargo", "tree", "--workspace", "--locked", "-e", "normal,build,dev", "--prefix", "none", "-f", "{p}"]
    tree = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    packages = [p for p in metadata["packages"] if (p["name"], "v" + p["version"]) in built]
    assert len(packages) >= len(metadata["workspace_members"]), "cargo tree and cargo metadata do not fit"
    return packages


def self_check():
    package = {"name": "x", "version": "1", "source": "registry+https://r", "license": "MIT", "license_file": None}
    assert not list(faults([package]))
    for change in ({"license": "GPL-3.0"}, {"license": "MIT AND GPL-3.0"}, {"license": None}, {"source": "git+https://g"},
                   {"name": "openssl-sys"}, {"license": "(GPL-3.0 OR LGPL-2.1) AND MIT"}):
        assert list(faults([package | change])), change
    assert not list(faults([package | {"license": "(GPL-3.0 OR MIT) AND ISC"}]))
    assert list(faults([package | {"name": "tokio"}, package | {"name": "tokio", "version": "2"}]))


def main():
    self_check()
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = shipped(metadata)
    found = list(faults(packages))
    print("\n".join(found) or f"{len(packages)} packages: licences, sources and bans in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
