"""Rows of Parquet parts and of `BatchPredictor`, one per image."""

from typing import Any

import pyarrow as pa

from blitznet.classes import palette_image
from blitznet.files.save_image import encode_png
from blitznet.scene import Scene

_EDGES = ("x1", "y1", "x2", "y2")
_NUMBERS = [(name, pa.float64()) for name in ("score", *_EDGES)]
_DETECTION = pa.struct([("label", pa.string()), ("label_id", pa.int64()), *_NUMBERS])

# docs/batch.md describes the columns.
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("uri", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("detections", pa.list_(pa.field("element", _DETECTION))),
        ("pixels", pa.map_(pa.string(), pa.float64())),
        ("seg_map", pa.binary()),
        ("error", pa.string()),
        ("model", pa.string()),
        ("ms", pa.struct([(stage, pa.float64()) for stage in ("read", "network", "post")])),
    ]
)

Row = dict[str, Any]
Columns = dict[str, pa.Array]


def row_of(scene: Scene, save_masks: bool) -> Row:
    """Make a row from a flattened `scene.to_dict()`, except for `id`, `uri` and `model`.

    Args:
        scene: a prediction.
        save_masks: whether `seg_map` holds the same PNG as `blitznet predict --save-masks`.
    """
    record = scene.to_dict()
    for one in record["detections"]:
        one |= dict(zip(_EDGES, one.pop("box"), strict=True))
    return {
        "width": record["width"],
        "height": record["height"],
        "detections": record["detections"],
        "pixels": None if record["pixels"] is None else list(record["pixels"].items()),
        "seg_map": encode_png(palette_image(scene.seg_map))
        if save_masks and scene.seg_map is not None
        else None,
        "error": None,
        "ms": {stage: round(time, 2) for stage, time in scene.milliseconds.items()},
    }


def error_row(problem: object) -> Row:
    """Make the row of an image that could not be predicted; see `row_of`."""
    return dict.fromkeys(SCHEMA.names) | {"error": as_text(str(problem))}


def error_kind(name: str, error: str) -> str:
    """Reduce an error to its kind: `a.jpg: no such file` -> `no such file`."""
    return error.removeprefix(f"{name}: ").partition(" (")[0].partition(";")[0]


def as_text(name: str) -> str:
    r"""Convert a name that may be invalid text, with escapes as in JSON: `caf\udce9.jpg`."""
    return name.encode(errors="backslashreplace").decode()


def to_columns(rows: list[Row]) -> Columns:
    """Convert N rows to arrays with the names and types of SCHEMA."""
    return {field.name: pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA}
