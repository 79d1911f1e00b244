"""Data sets of every make: good ones, odd ones and damaged ones, each decided by its seed alone."""

import decimal
import io
import math
import random
import struct

import pyarrow as pa
import pyarrow.parquet as pq

CAPTIONS = (
    "a calm lake under drifting clouds",
    "slow drone flight over a wide green valley with a winding river",
    "ein stiller See \u2014 Nebel \u00fcber dem Wasser",
    "\u96ea\u5c71 \u306e \u671d",
    "x",
)
CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
WORDS = ("abcdefghijk", "video_v1", "train", " test ", "\u00e4", "\u2003q\u2003", "a" * 300)


def good_rows(rng, count):
    source = [f"vid{rng.randrange(5):08d}" for _ in range(count)]
    sha = lambda: "".join(rng.choice("0123456789abcdef") for _ in range(64))
    return {
        "clip_id": [f"{rng.getrandbits(96):024x}" for _ in range(count)],
        "clip_uri": [f"clips/{at:03d}.mp4" for at in range(count)],
        "clip_sha256": [sha() for _ in range(count)],
        "first_frame_uri": [f"frames/{at:03d}.jpg" for at in range(count)],
        "first_frame_sha256": [sha() for _ in range(count)],
        "source_video_id": source,
        "split_group_id": [f"{id}:100" for id in source],
        "split": ["train"] * count,
        "clip_start_sec": [at * 5.0 for at in range(count)],
        "duration_sec": [rng.choice((5.0, 4.875, 5.125)) for _ in range(count)],
        "width": [1280] * count,
        "height": [720] * count,
        "fps": [rng.choice((25.0, 30.0, 59.5)) for _ in range(count)],
        "num_frames": [rng.choice((125, 150)) for _ in range(count)],
        "has_audio": [rng.random() < 0.5 for _ in range(count)],
        "caption": [rng.choice(CAPTIONS) for _ in range(count)],
        "source_video_url": [f"https://www.youtube.com/watch?v={id}" for id in source],
    }


TEXT_TYPES = (pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()),
              pa.dictionary(pa.int8(), pa.large_string()), pa.large_binary(), pa.binary_view(), pa.json_())
FLOAT_TYPES = (pa.float64(), pa.float32(), pa.float16(), pa.int64(), pa.int32(), pa.string(), pa.decimal128(12, 3),
               pa.decimal256(50, 4), pa.binary(), pa.uint8(), pa.decimal128(5, 3), pa.decimal32(7, 3), pa.decimal64(15, 3), pa.decimal256(76, 30))
INT_TYPES = (pa.int64(), pa.int32(), pa.uint16(), pa.uint64(), pa.int16(), pa.float64(), pa.string(), pa.decimal128(20, 2),
             pa.float32(), pa.decimal256(45, 0), pa.uint32(), pa.decimal128(9, 0))
BOOL_TYPES = (pa.bool_(), pa.int64(), pa.string(), pa.uint8(), pa.float64(), pa.decimal128(3, 1), pa.binary(), pa.int8())
WRONG_TYPES = (pa.duration("ms"), pa.timestamp("us"), pa.date32(), pa.time32("ms"), pa.list_(pa.int8()), pa.null(), pa.uuid(), pa.bool8())


def odd_value(rng, name, value):
    """A value that some rule may not let pass."""
    if isinstance(value, bool):
        return rng.choice((value, None))
    if isinstance(value, str):
        return rng.choice((None, "", " ", "\u2003", "\x1c", value + " ", " " + value, "a\x00b", value.upper(), "\u00e9" * 64, "\u200b", value[:63], "0" * 64))
    if isinstance(value, int):
        return rng.choice((None, 0, -1, 1, 2**31 - 1, 2**62))
    return rng.choice((None, math.nan, math.inf, -math.inf, -0.0, -1e-300, 0.0, 4.85, 5.15, 5.15000001, 4.8499, 1e308, 5e-324))


def convert(values, kind, rng):
    """The values as an array of that type, as far as it can hold them."""
    if pa.types.is_dictionary(kind):
        return convert(values, kind.value_type, rng).dictionary_encode().cast(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, convert(values, kind.storage_type, rng))
    def one(value):
        if value is None:
            return None
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            if isinstance(value, bool):
                return rng.choice(("true", "Yes", "on", "1", "T", "Y")) if value else rng.choice(("false", "No", "off", "0", "f"))
            if isinstance(value, str):
                return value
            return rng.choice((str(value), f" {value} ", f"+{value}", f"{value}" if isinstance(value, float) else f"{value}.0"))
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            return (value if isinstance(value, str) else str(value)).encode()
        if pa.types.is_decimal(kind):
            return decimal.Decimal(str(int(value) if isinstance(value, bool) else value)).quantize(decimal.Decimal(1).scaleb(-kind.scale), context=decimal.Context(prec=80))
        if pa.types.is_integer(kind):
            return int(value)
        if pa.types.is_floating(kind):
            return float(value)
        if pa.types.is_fixed_size_binary(kind):
            return (str(value).encode() + bytes(kind.byte_width))[: kind.byte_width]
        return value
    return pa.array([one(value) for value in values], kind)


def kinds(rng, depth=0):
    """Any type at all."""
    unit = rng.choice(("s", "ms", "us", "ns"))
    simple = (
        lambda: pa.bool_(), lambda: pa.int8(), lambda: pa.uint8(), lambda: pa.int16(), lambda: pa.uint16(), lambda: pa.int32(),
        lambda: pa.uint32(), lambda: pa.int64(), lambda: pa.uint64(), lambda: pa.float16(), lambda: pa.float32(), lambda: pa.float64(),
        lambda: pa.string(), lambda: pa.large_string(), lambda: pa.binary(), lambda: pa.binary(rng.choice((1, 3, 12, 16))), lambda: pa.date32(), lambda: pa.date64(),
        lambda: pa.time32(rng.choice(("s", "ms"))), lambda: pa.time64(rng.choice(("us", "ns"))), lambda: pa.timestamp(unit),
        lambda: pa.timestamp(unit, rng.choice(("UTC", "Europe/Paris", "+05:30", "-11:00", "Mars/Phobos", "utc"))), lambda: pa.duration(unit),
        lambda: pa.decimal128(rng.choice((3, 9, 18, 38)), 2), lambda: pa.decimal256(rng.choice((20, 50, 76)), 5), lambda: pa.null(),
        lambda: pa.dictionary(rng.choice((pa.int8(), pa.int32())), pa.string()), lambda: pa.uuid(), lambda: pa.json_(), lambda: pa.bool8(),
        lambda: pa.string_view(), lambda: pa.decimal32(7, 2), lambda: pa.decimal64(12, 2),
    )
    if depth < 3 and rng.random() < 0.35:
        inner = lambda: kinds(rng, depth + 1)
        return rng.choice((
            lambda: pa.struct([pa.field(f"f{at}", inner(), rng.random() < 0.7) for at in range(rng.randrange(1, 4))]),
            lambda: pa.list_(pa.field("item", inner(), rng.random() < 0.7)),
            lambda: pa.list_(inner()),
            lambda: pa.large_list(inner()),
            lambda: pa.list_(inner(), rng.choice((1, 2))),
            lambda: pa.map_(pa.string(), inner()),
            lambda: pa.struct([("a", inner()), (rng.choice("ab"), inner())]),
            lambda: pa.list_view(inner()),
        ))()
    return rng.choice(simple)()


def any_value(rng, kind, nullable, wild):
    """A value of that type; a wild one may be beyond what Python holds."""
    if nullable and rng.random() < 0.15:
        return None
    i = lambda bits, signed: rng.choice((0, 1, rng.getrandbits(bits - 1), -rng.getrandbits(bits - 1) if signed else 2**bits - 1))
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return any_value(rng, kind.storage_type, nullable, wild)
    if t.is_dictionary(kind):
        return any_value(rng, kind.value_type, nullable, wild)
    if t.is_boolean(kind):
        return rng.random() < 0.5
    if t.is_integer(kind):
        return i(kind.bit_width, t.is_signed_integer(kind))
    if t.is_floating(kind):
        return rng.choice((0.0, 1.5, -2.25, math.inf, math.nan, 1e4))
    if t.is_decimal(kind):
        return decimal.Decimal(rng.choice((0, 1, -1, 99, 10 ** (kind.precision - kind.scale) - 1))).quantize(decimal.Decimal(1).scaleb(-kind.scale), context=decimal.Context(prec=80))
    if t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return rng.choice(WORDS)
    if t.is_fixed_size_binary(kind):
        return rng.randbytes(kind.byte_width)
    if t.is_binary(kind):
        return rng.randbytes(rng.randrange(20))
    if t.is_date32(kind):
        return rng.choice((0, 20000, -719162, 2932896) + ((-719163, 2932897, 2**31 - 1, -(2**31)) if wild else ()))
    if t.is_date64(kind):
        return rng.choice((0, 20000)) * 86_400_000
    if t.is_time(kind):
        unit = kind.unit
        value = rng.randrange(86_400)
        return value * {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit] + (rng.randrange(2) if wild and unit == "ns" else 0)
    if t.is_timestamp(kind) or t.is_duration(kind):
        scale = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[kind.unit]
        value = rng.choice((0, 1_700_000_000, -5, 86400)) * scale
        edges = [edge * scale for edge in (-62135596800, 253402300799)] + [-62135596801 * scale, 253402300800 * scale]
        edges = [edge for edge in edges if abs(edge) < 2**63 // 1000]
        edges += [2**62, -(2**62), 999] if not (t.is_timestamp(kind) and kind.unit == "s") else [10**12]
        return rng.choice(edges + [value]) if wild and rng.random() < 0.3 else value
    if t.is_struct(kind):
        return [any_value(rng, kind.field(at).type, kind.field(at).nullable, wild) for at in range(kind.num_fields)]
    if t.is_map(kind):
        return [(rng.choice(WORDS), any_value(rng, kind.item_type, True, wild)) for _ in range(rng.randrange(3))]
    if t.is_fixed_size_list(kind):
        return [any_value(rng, kind.value_type, kind.value_field.nullable, wild) for _ in range(kind.list_size)]
    if t.is_list(kind) or t.is_large_list(kind) or t.is_list_view(kind):
        return [any_value(rng, kind.value_type, kind.value_field.nullable, wild) for _ in range(rng.randrange(4))]
    return None


def array_of(values, kind):
    """An array of that type from values as `any_value` makes them."""
    t = pa.types
    mask = pa.array([value is None for value in values], pa.bool_())
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, array_of(values, kind.storage_type))
    if t.is_dictionary(kind):
        return array_of(values, kind.value_type).dictionary_encode().cast(kind)
    if t.is_struct(kind):
        children = []
        for at in range(kind.num_fields):
            field = kind.field(at)
            filler = None if field.nullable else filler_of(field.type)
            children.append(array_of([filler if value is None else value[at] for value in values], field.type))
        return pa.StructArray.from_arrays(children, fields=[kind.field(at) for at in range(kind.num_fields)], mask=mask)
    if t.is_map(kind):
        flat = [pair for value in values for pair in value or ()]
        offsets = offsets_of(values)
        keys = pa.array([pair[0] for pair in flat], pa.string())
        return pa.MapArray.from_arrays(offsets, keys, array_of([pair[1] for pair in flat], kind.item_type))
    if t.is_fixed_size_list(kind):
        filler = [None if kind.value_field.nullable else filler_of(kind.value_type)] * kind.list_size
        flat = [element for value in values for element in (filler if value is None else value)]
        return pa.FixedSizeListArray.from_arrays(array_of(flat, kind.value_type), type=kind, mask=mask)
    if t.is_list(kind) or t.is_large_list(kind):
        flat = array_of([element for value in values for element in value or ()], kind.value_type)
        lists = pa.LargeListArray if t.is_large_list(kind) else pa.ListArray
        offsets = pa.array([0] + offsets_of(values).to_pylist()[1:], pa.int64() if t.is_large_list(kind) else pa.int32())
        return lists.from_arrays(offsets, flat, type=kind, mask=mask)
    if t.is_list_view(kind):
        return array_of(values, pa.list_(kind.value_field)).cast(kind)
    if t.is_temporal(kind):
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(values, width).view(kind)
    return pa.array(values, kind)


def filler_of(kind):
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return filler_of(kind.storage_type)
    if t.is_dictionary(kind):
        return filler_of(kind.value_type)
    if t.is_struct(kind):
        return [filler_of(kind.field(at).type) for at in range(kind.num_fields)]
    if t.is_fixed_size_list(kind):
        return [filler_of(kind.value_type)] * kind.list_size
    if t.is_nested(kind):
        return []
    if t.is_null(kind):
        return None
    if t.is_fixed_size_binary(kind):
        return bytes(kind.byte_width)
    if t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return "x"
    if t.is_binary(kind):
        return b"x"
    if t.is_decimal(kind):
        return decimal.Decimal(0).quantize(decimal.Decimal(1).scaleb(-kind.scale), context=decimal.Context(prec=80))
    if t.is_floating(kind):
        return 0.0
    return 0


def offsets_of(values):
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value or ()))
    return pa.array(offsets, pa.int32())


def table(rng):
    """A table with the required columns and whatever else."""
    count = rng.choice((0, 1, 2, 5, 17, 40, 130))
    rows = good_rows(rng, count)
    odd = rng.random() < 0.3
    wrong = rng.random() < 0.08
    names = list(rows)
    if odd and count:
        for _ in range(rng.randrange(1, 3)):
            name = rng.choice(names)
            at = rng.randrange(count)
            rows[name][at] = odd_value(rng, name, rows[name][at])
    fields, arrays = [], []
    for name in names:
        sample = next((value for value in rows[name] if value is not None), "")
        choices = TEXT_TYPES
        default = pa.string()
        if isinstance(sample, bool):
            choices, default = BOOL_TYPES, pa.bool_()
        elif isinstance(sample, int):
            choices, default = INT_TYPES, pa.int64()
        elif isinstance(sample, float):
            choices, default = FLOAT_TYPES, pa.float64()
        kind = rng.choice(choices) if rng.random() < 0.25 else default
        if wrong and rng.random() < 0.1:
            kind = rng.choice(WRONG_TYPES + choices)
        try:
            array = convert(rows[name], kind, rng)
        except (pa.ArrowException, ValueError, OverflowError, decimal.InvalidOperation, TypeError):
            kind = default
            array = pa.array(rows[name], default)
        if "sha256" in name and kind == default and rng.random() < 0.1 and not array.null_count and all(len(v) == 64 for v in rows[name]):
            kind = pa.binary(64)
            array = pa.array([value.encode() for value in rows[name]], kind)
        fields.append(pa.field(name, kind, rng.random() < 0.6 or array.null_count > 0))
        arrays.append(array)
    if rng.random() < 0.03:
        at = rng.randrange(len(fields))
        del fields[at], arrays[at]
    wild = rng.random() < 0.25
    for extra in range(rng.choice((0, 0, 1, 1, 2, 4))):
        name = "source_proof" if extra == 0 and rng.random() < 0.7 else f"extra{extra}"
        if name == "source_proof" and rng.random() < 0.9:
            kind = pa.struct([pa.field(f"p{at}", kinds(rng, 1), rng.random() < 0.7) for at in range(rng.randrange(1, 4))])
            nullable = rng.random() < 0.1
        else:
            kind, nullable = kinds(rng), rng.random() < 0.6
        try:
            nullable = nullable or pa.types.is_null(kind)
            values = [any_value(rng, kind, nullable, wild) for _ in range(count)]
            array = array_of(values, kind)
            array.validate(full=False)
        except (pa.ArrowException, ValueError, OverflowError, TypeError, decimal.InvalidOperation):
            continue
        fields.append(pa.field(name, kind, True if array.null_count else nullable))
        arrays.append(array)
    order = list(range(len(fields)))
    if rng.random() < 0.3:
        rng.shuffle(order)
    return pa.Table.from_arrays([arrays[at] for at in order], schema=pa.schema([fields[at] for at in order]))


def encodings(rng, schema):
    chosen = {}
    for field in schema:
        kind = field.type
        while isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        choices = ["PLAIN"]
        if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
            choices += ["DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"]
        elif pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_decimal(kind) or pa.types.is_float16(kind):
            choices += ["BYTE_STREAM_SPLIT"]
        elif pa.types.is_fixed_size_binary(kind):
            choices += ["BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY"]
        elif pa.types.is_boolean(kind):
            choices += ["RLE"]
        elif pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
            choices += ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"]
        elif pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or pa.types.is_null(kind):
            continue
        chosen[field.name] = rng.choice(choices)
    return chosen


def by_pyarrow(rng, data):
    options = {
        "compression": rng.choice(CODECS),
        "data_page_version": rng.choice(("1.0", "2.0")),
        "version": rng.choice(("1.0", "2.4", "2.6")),
        "write_statistics": rng.random() < 0.5,
        "store_schema": rng.random() < 0.8,
        "write_page_index": rng.random() < 0.2,
        "use_compliant_nested_type": rng.random() < 0.8,
        "write_page_checksum": rng.random() < 0.2,
        "store_decimal_as_integer": rng.random() < 0.3,
    }
    if rng.random() < 0.3:
        options["data_page_size"] = rng.choice((1, 100, 2000))
        options["write_batch_size"] = rng.choice((1, 3, 16))
    if rng.random() < 0.5:
        options["row_group_size"] = rng.choice((1, 3, 10, 50))
    if rng.random() < 0.4:
        options["use_dictionary"] = False
        options["column_encoding"] = encodings(rng, data.schema)
    elif rng.random() < 0.3:
        options["use_dictionary"] = False
    elif rng.random() < 0.2:
        options["dictionary_pagesize_limit"] = 50
    if rng.random() < 0.05:
        options["use_deprecated_int96_timestamps"] = True
    out = io.BytesIO()
    pq.write_table(data, out, **options)
    return out.getvalue()


def by_polars(rng, data):
    import polars

    out = io.BytesIO()
    polars.from_arrow(data).write_parquet(
        out,
        compression=rng.choice(("uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4")),
        statistics=rng.random() < 0.5,
        row_group_size=rng.choice((None, 7)),
        data_page_size=rng.choice((None, 500)),
    )
    return out.getvalue()


def by_duckdb(rng, data, folder):
    import duckdb

    path = f"{folder}/duckdb.parquet"
    connection = duckdb.connect()
    connection.register("data", data)
    codec = rng.choice(("uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4_raw"))
    version = rng.choice(("v1", "v2"))
    connection.execute(f"copy data to '{path}' (format parquet, compression {codec}, parquet_version {version})")
    connection.close()
    with open(path, "rb") as file:
        return file.read()


def good(rng, folder):
    """A file as some writer makes it."""
    for _ in range(20):
        try:
            data = table(rng)
            writer = rng.random()
            if writer < 0.06:
                return by_polars(rng, data)
            if writer < 0.10:
                return by_duckdb(rng, data, folder)
            return by_pyarrow(rng, data)
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException:  # what a writer does not write is no case; polars' panics are no exceptions
            continue
    return by_pyarrow(rng, pa.table(good_rows(rng, 3)))


def written(data, **options):
    out = io.BytesIO()
    pq.write_table(data, out, **options)
    return out.getvalue()


def special(number):
    """Shapes that no generator makes by chance, by number."""
    rng = random.Random(number)
    few = lambda count=3: pa.table(good_rows(rng, count))
    nested = lambda depth: _nested(few(), depth)
    wide = lambda count: few().append_column("source_proof", pa.StructArray.from_arrays([pa.array([1, 2, 3])] * count, [f"p{at}" for at in range(count)]))
    captions = lambda count, size: few(count).set_column(15, "caption", pa.array([f"{at} " + "a wide calm mountain lake at dawn " * (size // 34) for at in range(count)]))
    makers = (
        lambda: written(captions(1500, 500), row_group_size=1),
        lambda: written(few(4000), row_group_size=1, compression="zstd"),
        lambda: written(nested(60)),
        lambda: written(nested(98)),
        lambda: written(nested(99)),
        lambda: written(wide(3000)),
        lambda: written(few(20000), compression="zstd", data_page_version="2.0"),
        lambda: written(captions(300, 20_000), compression="zstd"),
        lambda: written(few().append_column("caption", pa.array(["a"] * 3))),
        lambda: written(few().append_column("__filename", pa.array(["a"] * 3))),
        lambda: written(few(0)),
        lambda: written(pa.table({})),
        lambda: written(pa.table({"extra": pa.array([], pa.int8())})),
        lambda: written(few(2).append_column("extra", pa.array(["a", "b"]).dictionary_encode())),
        lambda: written(few(200).append_column("extra", pa.array([str(at) for at in range(200)]).dictionary_encode())),
        lambda: written(few().set_column(8, "clip_start_sec", pa.array([0, 5, 10], pa.duration("s")))),
        lambda: written(few().append_column("extra", pa.array([2**62] * 3, pa.int64()).view(pa.timestamp("us", "Mars/Phobos")))),
    )
    return makers[number % len(makers)]()


def _nested(data, depth):
    array = pa.array([1, 2, 3])
    for _ in range(depth):
        array = pa.StructArray.from_arrays([array], ["x"])
    return data.append_column("source_proof", array)


def damaged(rng, file):
    """The same file with some bytes changed, cut off or put in."""
    data = bytearray(file)
    footer = struct.unpack("<I", data[-8:-4])[0]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if len(data) < 20:
            break
        where = rng.random()
        if where < 0.45:
            at = rng.randrange(max(0, len(data) - 8 - footer), len(data) - 8) if footer else 0
        elif where < 0.95:
            at = rng.randrange(max(1, len(data) - 8 - footer))
        else:
            at = rng.randrange(len(data) - 8, len(data))
        how = rng.random()
        if how < 0.4:
            data[at] ^= 1 << rng.randrange(8)
        elif how < 0.6:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how < 0.7:
            data[at] = (data[at] + rng.choice((1, -1))) % 256
        elif how < 0.78:
            del data[at : at + rng.choice((1, 2, 8, 64))]
        elif how < 0.86:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))
        elif how < 0.92:
            length = rng.choice((2, 8, 32))
            data[at : at + length] = rng.randbytes(length)
        elif how < 0.96:
            other = rng.randrange(len(data))
            data[at : at + 16] = data[other : other + 16]
        else:
            del data[at:]
            if rng.random() < 0.7:
                data += file[-8 - footer :] if rng.random() < 0.5 else file[-8:]
    return bytes(data)
