"""Rows of `blitznet batch` as records of `blitznet predict`."""

from typing import Any


def record_of(row: dict[str, Any]) -> dict[str, Any]:
    """The part of a `predictions.jsonl` record that a row contains.

    Args:
        row: of SCHEMA, as `to_pylist` gives it; it has no error.
    """
    detections = [
        {key: one[key] for key in ("label", "label_id", "score")}
        | {"box": [one[edge] for edge in ("x1", "y1", "x2", "y2")]}
        for one in row["detections"]
    ]
    return {
        "source": row["uri"],
        "width": row["width"],
        "height": row["height"],
        "detections": detections,
        "pixels": row["pixels"] if row["pixels"] is None else dict(row["pixels"]),
    }
