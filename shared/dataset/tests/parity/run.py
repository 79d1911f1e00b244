"""Makes files, judges them as other validators do, and writes both to standard output.

run.py KIND SEED FIRST COUNT, KIND one of good, special and damaged. Each case is its length and bytes, then the length and JSON of
its verdict; lengths are little endian, four bytes. A case depends on its seed and number alone, so that a run can go
on behind a file that ended the process.
"""

import json
import os
import random
import resource
import struct
import sys
import tempfile

import pyarrow as pa

import generate
import oracle


def main():
    kind, seed, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (32 << 30, 32 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    out = sys.stdout.buffer
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = f"{folder}/dataset.parquet"
        for number in range(first, first + count):
            rng = random.Random(f"{kind} {seed} {number}")
            file = generate.special(number) if kind == "special" else generate.good(rng, folder)
            if kind == "damaged":
                file = generate.damaged(rng, file)
            with open(path, "wb") as target:
                target.write(file)
            out.write(struct.pack("<I", len(file)) + file)
            out.flush()
            verdict = json.dumps(oracle.judge(path)).encode()
            out.write(struct.pack("<I", len(verdict)) + verdict)
            out.flush()


main()
