"""What became of one image or video of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blitznet.errors import InputError
from blitznet.inference.sources import Source, file_of
from blitznet.scene import Scene


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one image or video.

    Attributes:
        source: as given; of a watched folder the path of one of its images.
        record: of an image its line of `predictions.jsonl`, of a video its entry of
            `videos.json`; None if it could not be read or written.
        drawn: the image or video with boxes and segmentation map; None if there is none.
        scene: of an image its prediction; `scene.image` is the drawn one if one was asked for.
        error: what was wrong with it.
        is_old: whether an earlier run has done it, see `resume`; then there is nothing else here.
    """

    source: Source
    record: dict[str, Any] | None = None
    drawn: Path | None = None
    scene: Scene | None = None
    error: InputError | None = None
    is_old: bool = False

    def __str__(self) -> str:
        """One line: `a.jpg: 2 x person, 1 x dog; pixels 31% person, 12% dog`, or the error."""
        if self.is_old:
            return f"{file_of(self.source)}: done before"
        if self.record is None:
            return str(self.error)
        found = _describe_video(self.record) if self.scene is None else self.scene.summary()
        return f"{self.record['source']}: {found}"

    @property
    def note(self) -> str | None:
        """What the user would not expect: `a.gif: the first of 12 frames was read`."""
        frames = 1 if self.scene is None else self.scene.image.info.get("frames", 1)
        if self.record is None or frames == 1:
            return None
        return f"{self.record['source']}: the first of {frames} frames or pages was read"


def _describe_video(record: dict[str, Any]) -> str:
    """One line: `250 frames, 2 broken ones skipped; 31.2 frames a second`."""
    parts = [f"{record['frames']} frames"]
    if record["skipped"]:
        parts.append(f"{record['skipped']} broken ones skipped")
    if record["live"]:
        parts.append(f"{record['dropped']} dropped")
        parts.append(f"{record['reconnects']} times reconnected")
    text = f"{', '.join(parts)}; {record['frames_per_second']:.1f} frames a second"
    return text if record["ended"] == "end" else f"{text}; {record['ended']}"
