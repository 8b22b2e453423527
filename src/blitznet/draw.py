"""Draw boxes, labels and a translucent segmentation map, readable at any image size."""

from collections.abc import Iterator, Sequence
from colorsys import hls_to_rgb
from functools import cache
from math import ceil, sqrt

import numpy as np
from PIL import Image, ImageDraw

from blitznet.classes import IGNORE_INDEX
from blitznet.lettering import lettering

# Opacity of the class colour: translucent inside a region, nearly opaque on its edge.
REGION_OPACITY = 0.45
EDGE_OPACITY = 0.85
# Minimum share of the image for a class region to get a tag.
MIN_NAMED_SHARE = 0.01
# Share of its own area by which a tag may cover others; in a crowd, the lowest scores get no tag.
MAX_HIDDEN = 0.3

_STRIP_PIXELS = 1 << 18
Color = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]


def draw_scene(
    image: Image.Image,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    seg_map: np.ndarray | None,
    names: Sequence[str],
    ids: np.ndarray | None = None,
    in_place: bool = False,
) -> Image.Image:
    """Draw predictions or labels: segmentation map at the bottom, then boxes, then tags.

    Args:
        image: RGB.
        boxes: (K, 4) float32 xyxy in pixels of `image`, best score first; K may be 0.
        labels: (K,) int64 class ids.
        scores: (K,) float32, or None to show names only.
        seg_map: (H, W) uint8 class ids, same size as `image`, or None.
        names: name of every class id that occurs, including 255 if the map has void pixels.
        ids: (K,) int64 track ids, 0 = none; None = objects are not tracked.
        in_place: draw on `image` itself, to save the memory of a copy.

    Returns:
        An RGB image of the same size, a new one unless `in_place`. Background pixels outside boxes
        and tags are unchanged.
    """
    side = sqrt(image.width * image.height)
    line, edge = max(2, round(0.0045 * side)), max(1, round(0.0018 * side))
    palette = vivid_palette()
    canvas = image if in_place else image.copy()
    if seg_map is not None:
        _paint_map(canvas, seg_map, palette, edge)
    pen = ImageDraw.Draw(canvas)
    colors: list[Color] = [tuple(palette[label].tolist()) for label in labels]
    by_area = sorted(range(len(boxes)), key=lambda index: -_area(boxes[index].tolist()))
    for index in by_area:  # small boxes stay visible on large ones
        _outline(pen, boxes[index], colors[index], line, edge)
    tags = Tags(pen, image.size)
    for index, (box, label, color) in enumerate(zip(boxes, labels, colors, strict=False)):
        name = names[label] if ids is None or not ids[index] else f"#{ids[index]} {names[label]}"
        scored = () if scores is None else (f"{name} {scores[index]:.2f}",)
        tags.attach((*scored, name), box, color)
    if seg_map is not None:
        for class_id, (x, y) in _region_middles(seg_map, without=set(labels[: len(boxes)])):
            tags.centre(names[class_id], x, y, tuple(palette[class_id].tolist()))
    return canvas


@cache
def vivid_palette() -> np.ndarray:
    """Colours of the class ids in drawings: saturated and easy to tell apart.

    Returns:
        (256, 3) uint8 RGB; void is light grey. `vivid` in page.js computes the same colours.
    """
    # Steps of the golden angle spread the hues evenly for any number of ids.
    colors = [
        hls_to_rgb((class_id * 137.508 + 310) % 360 / 360, (0.57, 0.42, 0.68)[class_id % 3], 0.84)
        for class_id in range(256)
    ]
    palette: np.ndarray = np.rint(255 * np.array(colors)).astype(np.uint8)
    palette[IGNORE_INDEX] = 220
    return palette


class Tags:
    """Writes names on coloured tags that stay inside the image and do not cover each other.

    Attributes:
        placed: tags written so far, xyxy in pixels.
    """

    def __init__(self, pen: ImageDraw.ImageDraw, size: tuple[int, int]):
        self._pen = pen
        self._width, self._height = size
        self._font_size = max(11, round(0.024 * sqrt(self._width * self._height)))
        self._padding = max(2, self._font_size // 4)
        self._tag_height = round(1.35 * self._font_size)
        self.placed: list[Rectangle] = []

    def attach(self, texts: Sequence[str], box: np.ndarray, color: Color) -> None:
        """Write the first of `texts` that fits at a corner of `box`, or nothing.

        Tries above, inside and below the box, and takes the first place in the image that covers
        no other tag, else the one that covers least, up to MAX_HIDDEN.
        """
        x1, y1, _, y2 = box.tolist()
        for text in texts:
            tops = (y1 - self._tag_height, y1, y2, y2 - self._tag_height)
            places = [place for top in tops if (place := self._place(text, x1, top))]
            best = min(places, key=self._hidden, default=None)
            if best and self._hidden(best) <= MAX_HIDDEN * _area(best):
                self._write(text, best, color)
                return

    def centre(self, text: str, x: float, y: float, color: Color) -> None:
        """Centre `text` on a point, unless it does not fit or would cover another tag."""
        half_width, half_height = self._plate_width(text) / 2, self._tag_height / 2
        place = self._place(text, x - half_width, y - half_height)
        if place and not self._hidden(place):
            self._write(text, place, color)

    def _plate_width(self, text: str) -> int:
        font, shown = lettering(text, self._font_size)
        return ceil(font.getlength(shown)) + 2 * self._padding

    def _place(self, text: str, left: float, top: float) -> Rectangle | None:
        """A tag's rectangle, shifted sideways into the image; None if it does not fit."""
        width = self._plate_width(text)
        if width > self._width or top < 0 or top + self._tag_height > self._height:
            return None
        left, top = round(min(max(left, 0), self._width - width)), round(top)
        return left, top, left + width, top + self._tag_height

    def _hidden(self, place: Rectangle) -> float:
        """Pixels of other tags that a tag at `place` would cover."""
        return sum(_overlap(place, other) for other in self.placed)

    def _write(self, text: str, place: Rectangle, color: Color) -> None:
        """Write in black or white, whichever contrasts more with the tag (ITU-R BT.601 luma)."""
        left, top, right, bottom = place
        luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
        self.placed.append(place)
        self._pen.rounded_rectangle(
            (left, top, right - 1, bottom - 1), radius=self._padding, fill=color
        )
        middle = (left + self._padding, (top + bottom) / 2)
        font, shown = lettering(text, self._font_size)
        fill = "black" if luma > 140 else "white"
        self._pen.text(middle, shown, fill=fill, font=font, anchor="lm")


def _paint_map(canvas: Image.Image, seg_map: np.ndarray, palette: np.ndarray, edge: int) -> None:
    """Blend class colours over all but background, in strips to save memory on huge images."""
    height, width = seg_map.shape
    light = (palette // 2 + 128).astype(np.uint8)
    strip = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, strip):
        rows = np.arange(top - edge, min(top + strip, height) + edge).clip(0, height - 1)
        around = np.pad(seg_map[rows], ((0, 0), (edge, edge)), mode="edge")
        classes = seg_map[top : top + strip]
        before, at, after = slice(0, -2 * edge), slice(edge, -edge), slice(2 * edge, None)
        is_edge = np.zeros(classes.shape, dtype=bool)
        for neighbour in ((before, at), (after, at), (at, before), (at, after)):
            is_edge |= classes != around[neighbour]
        is_object = classes != 0
        for colors, covered, opacity in (
            (palette, is_object & ~is_edge, REGION_OPACITY),
            (light, is_object & is_edge, EDGE_OPACITY),
        ):
            paint = Image.fromarray(classes)
            paint.putpalette(colors.tobytes())
            mask = Image.fromarray(covered * np.uint8(opacity * 255))
            canvas.paste(paint.convert("RGB"), (0, top), mask)


def _region_middles(
    seg_map: np.ndarray, without: set[int]
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Find a point deep inside the region of every class that is large and not in `without`.

    Yields:
        The class id and x, y in pixels.
    """
    step = max(1, round(sqrt(seg_map.size) / 64))
    coarse = seg_map[step // 2 :: step, step // 2 :: step]
    for class_id in np.flatnonzero(np.bincount(coarse.ravel()) >= MIN_NAMED_SHARE * coarse.size):
        if class_id == 0 or class_id in without:
            continue
        shrinking = np.pad(coarse == class_id, 1)
        while shrinking.any():
            rows, columns = np.nonzero(shrinking)
            inner = shrinking[1:-1, 1:-1].copy()
            inner &= shrinking[:-2, 1:-1] & shrinking[2:, 1:-1]
            inner &= shrinking[1:-1, :-2] & shrinking[1:-1, 2:]
            shrinking = np.pad(inner, 1)
        middle = len(rows) // 2
        x, y = columns[middle] - 1, rows[middle] - 1
        yield int(class_id), ((x + 0.5) * step, (y + 0.5) * step)


def _outline(pen: ImageDraw.ImageDraw, box: np.ndarray, color: Color, line: int, edge: int) -> None:
    """Draw a rounded frame just inside the box, with a white edge to show on any background."""
    x1, y1, x2, y2 = (round(edge) for edge in box.tolist())
    frame = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
    radius = min(3 * line, (frame[2] - x1) // 4, (frame[3] - y1) // 4)
    pen.rounded_rectangle(frame, radius, outline="white", width=line + edge)
    pen.rounded_rectangle(frame, radius, outline=color, width=line)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: Rectangle, b: Rectangle) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
