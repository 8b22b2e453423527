"""The files that a command has written."""

import json
from pathlib import Path
from typing import Any


def files_in(folder: str | Path) -> list[str]:
    """Relative paths of all files in a folder, sorted."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def read_records(folder: str | Path) -> list[dict[str, Any]]:
    """The records in predictions.jsonl."""
    lines = (Path(folder) / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
