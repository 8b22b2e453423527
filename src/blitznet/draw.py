"""Images with boxes, labels and the translucent segmentation map, readable at any size."""

from collections.abc import Iterator, Sequence
from math import ceil, sqrt

import numpy as np
from PIL import Image, ImageDraw

from blitznet.classes import IGNORE_INDEX
from blitznet.lettering import lettering

# How much of the class colour covers a pixel: translucent inside, nearly opaque on the edge.
REGION_OPACITY = 0.45
EDGE_OPACITY = 0.85
# Class regions smaller than this share of the image get no name of their own.
MIN_NAMED_SHARE = 0.01
# A tag may cover other tags by this share of its own area; in a crowd the weakest go without one.
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
    """Draw predictions or labels: segmentation map below, boxes above it, tags on top.

    Args:
        image: RGB.
        boxes: (K, 4) float32 xyxy in pixels of `image`, best score first; K may be 0.
        labels: (K,) int64 class ids.
        scores: (K,) float32, or None: the tags are names alone.
        seg_map: (H, W) uint8 class ids of the size of `image`, or None.
        names: name of every class id that occurs; 255 where the map has void.
        ids: (K,) int64 identities, 0 = none; None = none at all.
        in_place: draw on `image` itself: the copy of a huge image is huge, too.

    Returns:
        An RGB image of the same size, a new one unless drawn in place. Background pixels outside
        boxes and tags are untouched.
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


def vivid_palette() -> np.ndarray:
    """The colour of every class id in drawings: saturated, and easy to tell apart.

    Returns:
        (256, 3) uint8 RGB; void is light grey. `vivid` of the service's page gives the same.
    """
    ids = np.arange(256)[:, None]
    # The golden angle: however many ids there are, their hues are spread evenly.
    hues = (ids * 137.508 + 310) % 360
    lightness = np.array((0.57, 0.42, 0.68))[ids % 3]
    places = (np.array((0, 8, 4)) + hues / 30) % 12  # from HSL, of saturation 0.84, to RGB
    ramps = np.minimum(np.minimum(places - 3, 9 - places), 1).clip(min=-1)
    chroma = 0.84 * np.minimum(lightness, 1 - lightness)
    palette: np.ndarray = np.rint(255 * (lightness - chroma * ramps)).astype(np.uint8)
    palette[IGNORE_INDEX] = 220
    return palette


class Tags:
    """Writes names on coloured plates that stay inside the image and out of each other's way.

    Attributes:
        placed: plates so far, xyxy in pixels.
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

        Above the box, inside it, or below it: the first of these that is in the image and hides
        no other tag, else the one that hides the least, up to a limit.
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
        """Write `text` around a point, unless it does not fit or would hide another tag."""
        half_width, half_height = self._plate_width(text) / 2, self._tag_height / 2
        place = self._place(text, x - half_width, y - half_height)
        if place and not self._hidden(place):
            self._write(text, place, color)

    def _plate_width(self, text: str) -> int:
        font, shown = lettering(text, self._font_size)
        return ceil(font.getlength(shown)) + 2 * self._padding

    def _place(self, text: str, left: float, top: float) -> Rectangle | None:
        """A plate moved sideways into the image; None where it does not fit."""
        width = self._plate_width(text)
        if width > self._width or top < 0 or top + self._tag_height > self._height:
            return None
        left, top = round(min(max(left, 0), self._width - width)), round(top)
        return left, top, left + width, top + self._tag_height

    def _hidden(self, place: Rectangle) -> float:
        """Pixels of other tags that a tag at `place` would cover."""
        return sum(_overlap(place, other) for other in self.placed)

    def _write(self, text: str, place: Rectangle, color: Color) -> None:
        """Black or white on the plate, whichever stands out more (ITU-R BT.601 luma)."""
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
    """Lay the class colours over everything but background, in strips: the image may be huge."""
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
    """For every class with a large region and not in `without`: a point deep inside it.

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
    """A rounded frame just inside the box, cased so that it shows on any ground."""
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
