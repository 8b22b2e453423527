"""Start a folder of predictions, or resume it after an interrupted run."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from blitznet.errors import InputError, file_errors
from blitznet.files.atomic_write import unfinished_files
from blitznet.files.text_files import read_json, write_json
from blitznet.inference.line_file import Record, keep_lines
from blitznet.model_files import CheckpointInfo

PREDICTIONS_FILE = "predictions.jsonl"
VIDEOS_FILE = "videos.json"
SETTINGS_FILE = "settings.json"

# Settings on which the label files of all images must agree.
_OF_LABELS = frozenset({"formats", "common_folder"})


@dataclass(eq=False)
class Finished:
    """Results that a folder already has.

    Attributes:
        images: names of the result files by source; empty if an image has no files.
        videos: records of videos, see `VIDEOS_FILE`.
    """

    images: dict[str, str] = field(default_factory=dict)
    videos: list[Record] = field(default_factory=list)

    @property
    def recordings(self) -> set[str]:
        """Sources of finished videos, except live ones, which can be continued."""
        return {video["source"] for video in self.videos if not video["live"]}

    @property
    def names(self) -> Iterable[str]:
        """Names of existing result files."""
        drawn = (_stem(video["drawn"]) for video in self.videos if video["drawn"])
        return [*filter(None, self.images.values()), *drawn]


def open_results(
    folder: Path, info: CheckpointInfo, settings: Mapping[str, Any], resume: bool, mixed: bool
) -> Finished:
    """Start a run, or find the results of an earlier one.

    Args:
        folder: an existing folder.
        info: metadata of the network's file.
        settings: other settings that affect the results.
        resume: whether to keep existing results, except frames of unfinished videos; otherwise they
            are replaced.
        mixed: whether to keep them even if the network or a setting has changed, except those of
            label files.

    Raises:
        InputError: if the network or a setting has changed, or if the folder has files, but no
            results to resume.
    """
    # Convert tuples to lists, as in the JSON file.
    asked: Record = json.loads(json.dumps({"model": _identity(info), **settings}))
    predictions, videos = folder / PREDICTIONS_FILE, folder / VIDEOS_FILE
    recorded = folder / SETTINGS_FILE
    finished = Finished()
    has_results = any(path.is_file() and path.stat().st_size for path in (predictions, videos))
    if resume and recorded.is_file():
        if has_results:
            _require_same(folder, read_json(recorded), asked, mixed)
        if videos.is_file():
            finished.videos = read_json(videos)
        whole = {video["source"] for video in finished.videos}
        if predictions.is_file():
            for line in keep_lines(predictions, lambda r: "frame" not in r or r["source"] in whole):
                if "frame" not in line:
                    finished.images[line["source"]] = _name_of(line)
    elif resume and any(folder.iterdir()):
        raise InputError(
            f"{folder}: holds files, but no prediction to resume; name another --out, or use "
            "--overwrite instead"
        )
    else:
        _remove(predictions, videos)
    if resume:
        for inner in (folder, *filter(Path.is_dir, folder.rglob("*"))):
            _remove(*unfinished_files(inner))
    write_json(recorded, asked)
    return finished


def _remove(*paths: Path) -> None:
    for path in paths:
        with file_errors(path, "removed"):
            path.unlink(missing_ok=True)


def _identity(info: CheckpointInfo) -> str:
    """Name of a network, and a hash of its metadata, including metrics."""
    content = info.model_dump_json(include={"model", "names", "metrics", "training"})
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    return f"{info.model.name}@{digest}"


def _require_same(folder: Path, before: Record, now: Record, mixed: bool) -> None:
    for key, value in now.items():
        if before.get(key) == value or (mixed and key not in _OF_LABELS):
            continue
        hint = "" if key in _OF_LABELS else ", or add --mixed to keep both"
        raise InputError(
            f"{folder}: its results were made with {key} {_shown(before.get(key))}, "
            f"this run has {_shown(value)}; name another --out{hint}"
        )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _name_of(record: Record) -> str:
    if record["drawn"]:
        return _stem(record["drawn"])
    return _stem(record["seg_map"]).partition("/")[2] if record["seg_map"] else ""


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
