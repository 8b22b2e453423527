"""What the device is told of a batch: which pixels, where they go, what becomes of their colours.

All of it is numbers that were drawn on the processor, as for `blitznet.data.loader`, and is small:
a few kilobytes a picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from blitznet.data.collate import pad_objects, stack_known_classes
from blitznet.data.geometry import Objects, view_objects, visible_span
from blitznet.data.mosaic import join_objects
from blitznet.data.pieces import Piece
from blitznet.data.resident.layout import Layout
from blitznet.data.resident.stored_labels import StoredPicture
from blitznet.data.ssd_policy import MIN_BOX_SIDE

StoredPiece = Piece[StoredPicture]
Planned = TypeVar("Planned")

# Centre of a pixel of the result that shows nothing of the picture: far from all of its pixels.
BESIDE = -1e9


@dataclass(frozen=True)
class Axis:
    """One axis of T tiles. A tile's window is the part of its picture that it is averaged from.

    Attributes:
        starts: (T,) int64, first row or column of the window, in stored pixels.
        lengths: (T,) int64, of the window.
        most: the largest of these.
        centres: (T, s) float32, where in the window, in stored pixels, each pixel of the tile has
            its centre; BESIDE where that is not on the picture.
        reaches: (T,) float32, how far pixels are averaged to both sides, in stored pixels.
        map_indices: (T, s) int32, row or column of the map under that centre; -1 beside it.
    """

    starts: Tensor
    lengths: Tensor
    most: int
    centres: Tensor
    reaches: Tensor
    map_indices: Tensor


@dataclass(frozen=True)
class Tiles:
    """T tiles of one size, side s, of n pictures.

    Attributes:
        rows: (n,) int64, which pictures of the batch they are.
        grid: tiles along a side of a picture: 1, or 2 in mosaics; T = n * grid^2, reading order.
        size: s.
        pixel_starts: (T,) int64, index of the first pixel of the stored picture.
        strides: (T,) int64, its width.
        map_starts: (T,) int64, index of the first pixel of the map; NO_MAP = there is none.
        map_strides: (T,) int64, its width.
        x: columns.
        y: rows.
        matrices: (T, 3, 3) float32, of the colour map; None = colours stay.
        offsets: (T, 3) float32, of the same for a picture whose mean is black.
        mean_shares: (T,) float32, how many times its mean colour is added before that.
    """

    rows: Tensor
    grid: int
    size: int
    pixel_starts: Tensor
    strides: Tensor
    map_starts: Tensor
    map_strides: Tensor
    x: Axis
    y: Axis
    matrices: Tensor | None
    offsets: Tensor | None
    mean_shares: Tensor | None


@dataclass(frozen=True)
class Plan:
    """A batch without its pixels.

    Attributes:
        size: S.
        tiles: one entry a size of tiles.
        boxes: as all that follow, see `Batch`.
        labels: of the boxes.
        has_boxes: whether they are known.
        sources: B names.
        known_classes: of the labels.
    """

    size: int
    tiles: tuple[Tiles, ...]
    boxes: Tensor
    labels: Tensor
    has_boxes: Tensor
    sources: tuple[str, ...]
    known_classes: Tensor | None

    def to(self, device: torch.device) -> "Plan":
        """On another device; from pinned memory without waiting."""
        return _map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Plan":
        """In page-locked memory; torch's data loader calls this."""
        return _map_tensors(self, torch.Tensor.pin_memory)


def plan_batch(layout: Layout, samples: list[list[StoredPiece]]) -> Plan:
    """Put drawn samples of one size together.

    Args:
        layout: of the store that their pictures are in.
        samples: the pieces of each, as `draw_pieces` gives them.
    """
    size = samples[0][0].size * _grid(samples[0])
    by_grid = {
        grid: [row for row, pieces in enumerate(samples) if _grid(pieces) == grid]
        for grid in (1, 2)
    }
    boxes, labels, has_boxes = pad_objects([_objects(pieces) for pieces in samples])
    first = [pieces[0].picture for pieces in samples]
    return Plan(
        size=size,
        tiles=tuple(
            _plan_tiles(layout, rows, grid, [piece for row in rows for piece in samples[row]])
            for grid, rows in by_grid.items()
            if rows
        ),
        boxes=boxes,
        labels=labels,
        has_boxes=has_boxes,
        sources=tuple(picture.source for picture in first),
        known_classes=stack_known_classes([picture.known_classes for picture in first]),
    )


def _grid(pieces: list[StoredPiece]) -> int:
    return 1 if len(pieces) == 1 else 2


def _objects(pieces: list[StoredPiece]) -> Objects:
    shown = [
        view_objects(piece.picture, piece.change.view, piece.size, MIN_BOX_SIDE) for piece in pieces
    ]
    return shown[0] if len(shown) == 1 else join_objects(shown, pieces[0].size)


def _plan_tiles(layout: Layout, rows: list[int], grid: int, pieces: Sequence[StoredPiece]) -> Tiles:
    numbers = np.array([piece.picture.number for piece in pieces])
    views, size = [piece.change.view for piece in pieces], pieces[0].size
    flips = np.array([view.flip for view in views])
    reductions = layout.reductions[numbers]
    across = [(view.x1, view.x2) for view in views]
    down = [(view.y1, view.y2) for view in views]
    matrices, offsets, mean_shares = _plan_colours(pieces)
    return Tiles(
        rows=torch.tensor(rows),
        grid=grid,
        size=size,
        pixel_starts=torch.from_numpy(layout.picture_starts[numbers]),
        strides=torch.from_numpy(layout.stored_widths[numbers]),
        map_starts=torch.from_numpy(layout.map_starts[numbers]),
        map_strides=torch.from_numpy(layout.widths[numbers]),
        x=plan_axis(across, flips, layout.widths[numbers], reductions, size),
        y=plan_axis(down, np.zeros_like(flips), layout.heights[numbers], reductions, size),
        matrices=matrices,
        offsets=offsets,
        mean_shares=mean_shares,
    )


def plan_axis(
    views: Sequence[tuple[float, float]],
    flips: np.ndarray,
    lengths: np.ndarray,
    reductions: np.ndarray,
    size: int,
) -> Axis:
    """Which pixels of the pictures each pixel of some tiles is averaged from, along one axis.

    Args:
        views: T starts and ends in pixels of the whole pictures.
        flips: (T,) bool, mirrored.
        lengths: (T,) int64, of the whole pictures.
        reductions: (T,) int64, what the stored ones are shrunk by.
        size: s of the tiles.
    """
    spans = [
        visible_span(start, end, length, size)
        for (start, end), length in zip(views, lengths.tolist(), strict=True)
    ]
    first, last, start, end = np.array(spans).T
    shown = np.maximum(last - first, 0)
    # In Pillow's precision and order, so that the nearest pixel is the same at every border.
    step = (end.astype(np.float32) - start.astype(np.float32)) / np.maximum(shown, 1)
    running = np.repeat(step.astype(np.float64)[:, None], size, axis=1)
    running[:, 0] = start.astype(np.float32) + running[:, 0] * 0.5
    running = np.cumsum(running, axis=1)
    columns = np.where(flips[:, None], np.arange(size)[::-1], np.arange(size)) - first[:, None]
    is_shown = (columns >= 0) & (columns < shown[:, None])
    whole = np.take_along_axis(running, columns.clip(0, size - 1).astype(np.int64), axis=1)
    stored_lengths = -(-lengths // reductions)
    centres = whole / reductions[:, None]
    reaches = np.maximum(step / reductions, 1.0)
    low = np.where(is_shown, centres, np.inf).min(axis=1) - reaches
    high = np.where(is_shown, centres, -np.inf).max(axis=1) + reaches
    nothing = shown == 0
    starts = np.floor(np.where(nothing, 0, low)).clip(0, stored_lengths - 1).astype(np.int64)
    ends = np.ceil(np.where(nothing, 1, high)).clip(starts + 1, stored_lengths).astype(np.int64)
    inside = np.where(is_shown, centres - starts[:, None], BESIDE)
    map_indices = np.where(is_shown, np.minimum(whole, lengths[:, None] - 1), -1)
    return Axis(
        starts=torch.from_numpy(starts),
        lengths=torch.from_numpy(ends - starts),
        most=int((ends - starts).max()),
        centres=torch.from_numpy(inside.astype(np.float32)),
        reaches=torch.from_numpy(reaches.astype(np.float32)),
        map_indices=torch.from_numpy(map_indices.astype(np.int32)),
    )


def _plan_colours(
    pieces: Sequence[StoredPiece],
) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
    """Colour maps before the pictures' means are known.

    Saturation and hue move the mean as they move every colour. So contrast about the mean may be
    done first: colour c goes to matrix (c + share * mean) + offset, with a matrix that has the
    contrast in it, and share = (1 - contrast) / contrast.
    """
    distortions = [p.change.distortion for p in pieces if p.change.distortion is not None]
    if not distortions:
        return None, None, None
    maps = [distortion.colour_map(np.zeros(3)) for distortion in distortions]
    shares = [(1 - one.contrast_factor) / one.contrast_factor for one in distortions]
    return (
        torch.from_numpy(np.stack([matrix for matrix, _ in maps]).astype(np.float32)),
        torch.from_numpy(np.stack([offset for _, offset in maps]).astype(np.float32)),
        torch.tensor(shares, dtype=torch.float32),
    )


def _map_tensors(value: Planned, function: Callable[[Tensor], Tensor]) -> Planned:
    """The same with every tensor in it put through `function`, however deep it lies."""
    mapped: Any = value
    if isinstance(value, Tensor):
        mapped = function(value)
    elif isinstance(value, tuple):
        mapped = tuple(_map_tensors(item, function) for item in value)
    elif isinstance(value, Plan | Tiles | Axis):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        mapped = replace(value, **{k: _map_tensors(v, function) for k, v in parts.items()})
    return cast(Planned, mapped)
