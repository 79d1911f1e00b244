"""What PROTOCOL.md §5 says of one dataset.parquet, said with the libraries that other validators use.

All columns are turned into Python values (pyarrow, without pandas), and every row into a pydantic model.
"""

import hashlib
import struct
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

TEXTS = (
    "clip_id",
    "clip_uri",
    "first_frame_uri",
    "source_video_id",
    "split_group_id",
    "split",
    "caption",
    "source_video_url",
)
DIGESTS = ("clip_sha256", "first_frame_sha256")
FLOATS = ("clip_start_sec", "duration_sec", "fps")
COUNTS = ("width", "height", "num_frames")
LARGEST_COUNT = 2**127 - 1


class Row(BaseModel):
    """One row, as the table of PROTOCOL.md §5 describes it."""

    model_config = ConfigDict(str_strip_whitespace=True, extra="ignore")

    clip_id: str = Field(min_length=1)
    clip_uri: str = Field(min_length=1)
    clip_sha256: str = Field(min_length=64, max_length=64)
    first_frame_uri: str = Field(min_length=1)
    first_frame_sha256: str = Field(min_length=64, max_length=64)
    source_video_id: str = Field(min_length=1)
    split_group_id: str = Field(min_length=1)
    split: str = Field(min_length=1)
    clip_start_sec: float = Field(ge=0)
    duration_sec: float = Field(ge=4.85, le=5.15)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fps: float = Field(gt=0)
    num_frames: int = Field(gt=0)
    has_audio: bool
    caption: str = Field(min_length=1)
    source_video_url: str = Field(min_length=1)
    source_proof: dict[str, Any] = Field(default_factory=dict)


def canonical(row, into):
    """Writes a row's values so that two readers can compare them by digest."""
    for name in TEXTS:
        text = getattr(row, name).encode("utf-8", "surrogatepass")
        into.update(struct.pack("<I", len(text)) + text)
    for name in DIGESTS:
        text = getattr(row, name)
        is_hex = all(letter in "0123456789abcdef" for letter in text)
        into.update(text.encode() if is_hex else b"-")
    for name in FLOATS:
        into.update(struct.pack("<d", getattr(row, name)))
    for name in COUNTS:
        into.update(str(min(getattr(row, name), LARGEST_COUNT)).encode() + b";")
    into.update(b"\x01" if row.has_audio else b"\x00")


def judge(path):
    """The rows' number and digest, or why there are none."""
    try:
        rows = [Row.model_validate(row) for row in pq.read_table(path).to_pylist()]
    except Exception as error:  # whatever it is: other validators refuse the data set for it
        first = " | ".join(str(error).split("\n")[:3])
        return {"error": f"{type(error).__name__}: {first[:300]}"}
    digest = hashlib.sha256()
    for row in rows:
        canonical(row, digest)
    return {"rows": len(rows), "digest": digest.hexdigest()}
