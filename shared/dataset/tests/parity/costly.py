"""Writes data sets that cost as much as a small file can make them cost: costly.py FOLDER."""

import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

import generate


def rows(count, **columns):
    """Rows of which only the given columns differ from one another."""
    one = generate.good_rows(random.Random(1), 1)
    table = {name: pa.repeat(pa.scalar(values[0]), count) for name, values in one.items()}
    table["clip_start_sec"] = pa.array([at * 5.0 for at in range(count)])
    return pa.table(table | columns)


def main():
    folder = sys.argv[1]
    many = 200_000
    struct = lambda columns, count: pa.StructArray.from_arrays([pa.repeat(pa.scalar(1), count)] * columns, [f"p{at}" for at in range(columns)])
    lists = pa.ListArray.from_arrays(pa.array([0, 30_000_000]), pa.repeat(pa.scalar(1, pa.int8()), 30_000_000))
    proof = lambda array: pa.StructArray.from_arrays([array], ["p"])
    blank = " " * 200_000 + "x"
    files = {
        "same200k": (rows(many), {"compression": "zstd"}),
        "same1M": (rows(1_000_000), {"compression": "zstd"}),
        "proof40x200k": (rows(many, source_proof=struct(40, many)), {"compression": "zstd"}),
        "proof30M": (rows(1, source_proof=proof(lists)), {"compression": "zstd"}),
        "extras100x200k": (rows(many, **{f"e{at}": pa.repeat(pa.scalar("x"), many) for at in range(100)}), {"compression": "zstd"}),
        "dates60x200k": (rows(many, **{f"e{at}": pa.repeat(pa.scalar(1, pa.int32()), many).view(pa.date32()) for at in range(60)}), {"compression": "brotli", "use_dictionary": False}),
        "blanks300": (rows(300, caption=pa.repeat(pa.scalar(blank), 300)), {"compression": "zstd"}),
        "delta200k": (rows(many), {"compression": "brotli", "use_dictionary": False, "column_encoding": {"caption": "DELTA_BYTE_ARRAY", "clip_id": "DELTA_BYTE_ARRAY"}}),
        "groups500brotli": (rows(500), {"compression": "brotli", "row_group_size": 1, "write_statistics": False, "store_schema": False}),
    }
    for name, (table, options) in files.items():
        pq.write_table(table, f"{folder}/{name}.parquet", **options)


main()
