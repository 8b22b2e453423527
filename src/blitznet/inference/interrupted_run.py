"""A folder of predictions that is begun, or continued where an earlier run ended."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from blitznet.errors import InputError
from blitznet.files.atomic_write import unfinished_files
from blitznet.files.text_files import read_json, write_json
from blitznet.inference.line_file import Record, keep_lines
from blitznet.model_files import CheckpointInfo

PREDICTIONS_FILE = "predictions.jsonl"
VIDEOS_FILE = "videos.json"
SETTINGS_FILE = "settings.json"


@dataclass(eq=False)
class Finished:
    """What a folder has results of.

    Attributes:
        images: sources, each with the name of its files, or an empty one if it has none.
        videos: records of videos, see `VIDEOS_FILE`.
    """

    images: dict[str, str] = field(default_factory=dict)
    videos: list[Record] = field(default_factory=list)

    @property
    def recordings(self) -> set[str]:
        """Sources of videos that came to their end; a live one may be continued."""
        return {video["source"] for video in self.videos if not video["live"]}

    @property
    def names(self) -> Iterable[str]:
        """Names of files that are there."""
        drawn = (_stem(video["drawn"]) for video in self.videos if video["drawn"])
        return [*filter(None, self.images.values()), *drawn]


def open_results(
    folder: Path, info: CheckpointInfo, settings: Mapping[str, Any], resume: bool, mixed: bool
) -> Finished:
    """Begin a run, or find what it has to leave out.

    Args:
        folder: exists.
        info: of the network.
        settings: what else decides on the results.
        resume: whether results that are there stay, except frames of a video that did not come to
            its end; otherwise they are replaced.
        mixed: whether they may stay although the network or a setting was another one.

    Raises:
        InputError: if the folder has results of another network or other settings, or no results
            but other files.
    """
    # As JSON has them: lists, no tuples.
    asked: Record = json.loads(json.dumps({"model": _identity(info), **settings}))
    predictions, recorded = folder / PREDICTIONS_FILE, folder / SETTINGS_FILE
    finished = Finished()
    if resume and recorded.is_file():
        _require_same(folder, read_json(recorded), asked, mixed)
        if (folder / VIDEOS_FILE).is_file():
            finished.videos = read_json(folder / VIDEOS_FILE)
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
        _remove(predictions, folder / VIDEOS_FILE)
    if resume:
        for inner in (folder, *filter(Path.is_dir, folder.rglob("*"))):
            _remove(*unfinished_files(inner))
    write_json(recorded, asked)
    return finished


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be removed ({error.strerror or error})") from error


def _identity(info: CheckpointInfo) -> str:
    """A network's name, and a hash of what its file says of itself, figures included."""
    content = info.model_dump_json(include={"model", "names", "metrics", "training"})
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    return f"{info.model.name}@{digest}"


def _require_same(folder: Path, before: Record, now: Record, mixed: bool) -> None:
    for key, value in now.items():
        if before.get(key) != value and not mixed:
            raise InputError(
                f"{folder}: its results were made with {key} {before.get(key)}, this run has "
                f"{value}; name another --out, or add --mixed to keep both"
            )


def _name_of(record: Record) -> str:
    if record["drawn"]:
        return _stem(record["drawn"])
    return _stem(record["seg_map"]).partition("/")[2] if record["seg_map"] else ""


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
