"""Result of one image or video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blitznet.errors import InputError
from blitznet.inference.sources import Source, file_of
from blitznet.scene import Scene


@dataclass(frozen=True, eq=False)
class Result:
    """Result of one image or video.

    Attributes:
        source: source of the run; for a watched folder, the path of one of its images.
        record: an image's line of `predictions.jsonl`, or a video's entry of `videos.json`; None
            if it could not be read or written.
        drawn: path of the image or video with boxes and segmentation map, or None.
        scene: prediction for an image; `scene.image` is the drawn image if one was written.
        error: why it failed, or None.
        is_old: whether an earlier run has done it, see `resume`; other fields are then empty.
    """

    source: Source
    record: dict[str, Any] | None = None
    drawn: Path | None = None
    scene: Scene | None = None
    error: InputError | None = None
    is_old: bool = False

    def __str__(self) -> str:
        """A line such as `a.jpg: 2 x person, 1 x dog; pixels 31% person`, or the error."""
        if self.is_old:
            return f"{file_of(self.source)}: done before"
        if self.record is None:
            return str(self.error)
        found = _describe_video(self.record) if self.scene is None else self.scene.summary()
        return f"{self.record['source']}: {found}"

    @property
    def note(self) -> str | None:
        """A hint for the user, such as `a.gif: the first of 12 frames or pages was read`."""
        frames = 1 if self.scene is None else self.scene.image.info.get("frames", 1)
        if self.record is None or frames == 1:
            return None
        return f"{self.record['source']}: the first of {frames} frames or pages was read"


def _describe_video(record: dict[str, Any]) -> str:
    """One line: `250 frames, 2 broken ones skipped; 31.2 frames per second`."""
    parts = [f"{record['frames']} frames"]
    if record["skipped"]:
        parts.append(f"{record['skipped']} broken ones skipped")
    if record["live"]:
        parts.append(f"{record['dropped']} dropped")
        parts.append(f"{record['reconnects']} reconnects")
    text = f"{', '.join(parts)}; {record['frames_per_second']:.1f} frames per second"
    return text if record["ended"] == "end" else f"{text}; {record['ended']}"
