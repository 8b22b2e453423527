"""What an exported file says of itself: JSON under the key "blitznet" in the file's metadata."""

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from blitznet.errors import CheckpointError, first_problem
from blitznet.model.checkpoint import CheckpointInfo

METADATA_KEY = "blitznet"
EXPORT_FORMAT_VERSION = 1

Precision = Literal["fp32", "fp16", "int8"]


class ExportInfo(CheckpointInfo):
    """A checkpoint's description, and what was fixed when the file was made.

    Normalisation is in the file: what it takes are pixels. `model.mean` and `model.std` tell which.

    Attributes:
        format_version: of exported files.
        score: least score of the objects that the file gives out, inclusive.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        top: rows of the outputs.
        precision: of the weights.
        outputs: names, in order.
    """

    format_version: int = EXPORT_FORMAT_VERSION
    score: float
    iou: float
    top: int
    precision: Precision
    outputs: tuple[str, ...]


def parse_export_info(path: Path, text: str | None) -> ExportInfo:
    """What `path` has under METADATA_KEY.

    Raises:
        CheckpointError: if it has nothing there, or nothing that this version understands.
    """
    if not text:
        raise CheckpointError(
            f"{path} was not made by blitznet export (its metadata has no {METADATA_KEY!r}); "
            "give a file that was, or a checkpoint"
        )
    try:
        content = json.loads(text)
        version = content["format_version"]
        if version > EXPORT_FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format {version}, this version of blitznet reads up to "
                f"{EXPORT_FORMAT_VERSION}; upgrade with pip install -U blitznet"
            )
        return ExportInfo.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path}: damaged description: {first_problem(error)}") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged description: {error!r}") from None
