"""The prediction for one image: objects, segmentation map and instance masks."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from blitznet.draw import draw_scene
from blitznet.extras import require
from blitznet.files.save_image import encode_png

if TYPE_CHECKING:
    import supervision

NO_OBJECT = -1
NO_ID = 0
# Minimum share of the image for a class to appear in `summary`.
_MIN_SHARE = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Scene:
    """The prediction for one image, in pixels of the upright image.

    Attributes:
        boxes: (K, 4) float32 xyxy, best score first; K = 0 if the network does not detect.
        labels: (K,) int64 class ids from 1 on, as 0 is background; see `label_names`.
        scores: (K,) float32 in 0..1.
        seg_map: (H, W) uint8 class ids, 0 = background; None if the network does not segment.
        names: name of every class id, background included.
        image: upright RGB; boxes and segmentation map refer to its pixels.
        source: the image's file, or None.
        milliseconds: duration of each stage: read, network, post.
        ids: (K,) int64 track ids across the frames of a video, from 1 on, NO_ID for an object
            without one; None if objects are not tracked.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    seg_map: np.ndarray | None
    names: tuple[str, ...]
    image: Image.Image
    source: str | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    ids: np.ndarray | None = None

    def __repr__(self) -> str:
        """One line: `Scene(street.jpg 500x375: 2 x person, 1 x dog; map)`."""
        name = f"{Path(self.source).name} " if self.source else ""
        seg_map = "" if self.seg_map is None else "; map"
        return f"Scene({name}{self.size[0]}x{self.size[1]}: {self._objects()}{seg_map})"

    def _repr_png_(self) -> bytes:
        """The drawn image, for notebooks."""
        return encode_png(self.draw())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @property
    def label_names(self) -> list[str]:
        """The class name of each of the K objects."""
        return [self.names[label] for label in self.labels]

    def filter(self, mask: np.ndarray) -> "Scene":
        """Keep some of the objects, in their order; the segmentation map stays as it is.

        Args:
            mask: (K,) bool, such as `scene.scores > 0.8`.

        Raises:
            ValueError: if it is something else.
        """
        mask = np.asarray(mask)
        if mask.shape != self.labels.shape or mask.dtype != bool:
            raise ValueError(
                f"filter() takes {len(self.labels)} booleans, one per object; "
                f"got {mask.dtype} of shape {mask.shape}"
            )
        ids = None if self.ids is None else self.ids[mask]
        boxes, labels, scores = self.boxes[mask], self.labels[mask], self.scores[mask]
        return replace(self, boxes=boxes, labels=labels, scores=scores, ids=ids)

    def instances(self) -> np.ndarray:
        """Instance masks: the pixels of an object's class inside its box, see `instance_map`.

        Returns:
            (K, H, W) bool; a pixel is in at most one mask. This takes K bytes per pixel of the
            image; `instance_map` takes two.

        Raises:
            ValueError: if the network does not segment.
        """
        masks: np.ndarray = self.instance_map() == np.arange(len(self.boxes))[:, None, None]
        return masks

    def instance_map(self) -> np.ndarray:
        """Assign every pixel to an object.

        A pixel belongs to a box of its own class that contains its centre. If several do, the box
        with the nearest centre wins, with distances in widths and heights of the box, so that two
        overlapping boxes share their pixels about half-way. In a tie, the better score wins.

        Returns:
            (H, W) int16, row of `boxes` or NO_OBJECT.

        Raises:
            ValueError: if the network does not segment.
        """
        if self.seg_map is None:
            raise ValueError("instance masks need a segmentation map, and this network has none")
        height, width = self.seg_map.shape
        owners = np.full(self.seg_map.shape, NO_OBJECT, dtype=np.int16)
        nearest = np.full(self.seg_map.shape, np.inf, dtype=np.float32)
        for index, (box, label) in enumerate(zip(self.boxes, self.labels, strict=True)):
            x1, y1, x2, y2 = box.tolist()
            columns = _pixels_between(x1, x2, width)
            rows = _pixels_between(y1, y2, height)
            across = (np.arange(columns.start, columns.stop) + 0.5 - (x1 + x2) / 2) / (x2 - x1)
            down = (np.arange(rows.start, rows.stop) + 0.5 - (y1 + y2) / 2) / (y2 - y1)
            distance = np.hypot(across[None], down[:, None]).astype(np.float32)
            is_ours = self.seg_map[rows, columns] == label
            is_ours &= distance < nearest[rows, columns]
            owners[rows, columns][is_ours] = index
            nearest[rows, columns][is_ours] = distance[is_ours]
        return owners

    def draw(self, boxes: bool = True, seg_map: bool = True, in_place: bool = False) -> Image.Image:
        """Draw boxes, labels, scores and the translucent segmentation map.

        Args:
            boxes: whether to draw the objects.
            seg_map: whether to draw the segmentation map.
            in_place: draw on `image` itself, to save the memory of a copy.

        Returns:
            An RGB image of the same size, a new one unless `in_place`.
        """
        return draw_scene(
            self.image,
            boxes=self.boxes if boxes else self.boxes[:0],
            labels=self.labels,
            scores=self.scores,
            seg_map=self.seg_map if seg_map else None,
            names=self.names,
            ids=self.ids,
            in_place=in_place,
        )

    def to_dict(self) -> dict[str, Any]:
        """The record for `predictions.jsonl`, without timings and file names.

        Returns:
            Plain Python values. `box` is in pixels; `label_id` counts from 1; `id` exists only if
            objects are tracked; `pixels` is the share of every class that occurs, largest first,
            or None if the network does not segment. `seg_map` and `drawn` are for file names.
        """
        width, height = self.size
        detections: list[dict[str, Any]] = [
            {
                "label": self.names[label],
                "label_id": int(label),
                "score": round(float(score), 4),
                "box": [round(float(edge), 2) for edge in box],
            }
            for box, label, score in zip(self.boxes, self.labels, self.scores, strict=True)
        ]
        if self.ids is not None:
            for detection, identity in zip(detections, self.ids.tolist(), strict=True):
                detection["id"] = None if identity == NO_ID else identity
        return {
            "source": self.source,
            "width": width,
            "height": height,
            "detections": detections,
            "pixels": self.pixel_shares(),
            "seg_map": None,
            "drawn": None,
        }

    def to_supervision(self) -> "supervision.Detections":
        """Convert the objects for Roboflow's `supervision`, to annotate, count or track them.

        Returns:
            `supervision.Detections` with `xyxy`, `confidence`, `class_id`, `data["class_name"]`;
            `mask` (see `instances`) if the network segments; `tracker_id` (see `ids`) if objects
            are tracked.

        Raises:
            InputError: if supervision is not installed.
        """
        require("supervision", "track", "to_supervision()")
        from supervision import Detections

        return Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            mask=None if self.seg_map is None else self.instances(),
            tracker_id=self.ids,
            data={"class_name": np.array(self.label_names, dtype=str)},
        )

    def summary(self) -> str:
        """Summarise in one line: `2 x person, 1 x dog; pixels 31% person, 12% dog`."""
        regions = [
            f"{share:.0%} {name}"
            for name, share in (self.pixel_shares() or {}).items()
            if name != self.names[0] and share >= _MIN_SHARE
        ]
        parts = [self._objects()] if len(self.boxes) or not regions else []
        return "; ".join([*parts, *([f"pixels {', '.join(regions)}"] if regions else [])])

    def _objects(self) -> str:
        counts = Counter(self.label_names)
        return ", ".join(f"{count} x {name}" for name, count in counts.items()) or "no objects"

    def pixel_shares(self) -> dict[str, float] | None:
        """Share of the pixels, 0..1, of every class that occurs, largest first."""
        if self.seg_map is None:
            return None
        counts = Image.fromarray(self.seg_map).histogram()
        shares = {
            name: round(count / self.seg_map.size, 6)
            for name, count in zip(self.names, counts, strict=False)
            if count
        }
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _pixels_between(start: float, stop: float, size: int) -> slice:
    """Slice of the pixels, out of `size`, whose centres lie in start..stop."""
    first, last = np.ceil(np.array((start, stop)) - 0.5).clip(0, size).astype(int)
    return slice(first, last)
