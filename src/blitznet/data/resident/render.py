"""From a plan to a batch, on the device: one resampling of pictures, one of maps, one of colours.

Nothing here waits for the device: sizes come from the plan, which the processor has made.
"""

import torch
from torch import Tensor

from blitznet.classes import IGNORE_INDEX
from blitznet.data.resident.plan import Axis, Plan, Tiles
from blitznet.data.resident.store import Store
from blitznet.structures import Batch

# Padded pixels that lie side by side in floating point while they are averaged; each takes about
# 20 bytes, and as much again on its way.
PIXELS_AT_ONCE = 16 * 2**20


def render(plan: Plan, store: Store) -> Batch:
    """The batch of a plan.

    Args:
        plan: on the store's device.
        store: of the pictures.
    """
    shape = (len(plan.sources), plan.size, plan.size)
    images = torch.empty((*shape, 3), dtype=torch.uint8, device=store.device)
    seg_maps = torch.empty(shape, dtype=torch.uint8, device=store.device)
    for tiles in plan.tiles:
        images[tiles.rows] = join_tiles(distort(resample_pictures(tiles, store), tiles), tiles.grid)
        seg_maps[tiles.rows] = join_tiles(resample_maps(tiles, store), tiles.grid)
    return Batch(
        images=images.permute(0, 3, 1, 2),  # channels_last in memory
        boxes=plan.boxes,
        labels=plan.labels,
        has_boxes=plan.has_boxes,
        seg_maps=seg_maps,
        sources=plan.sources,
        known_classes=plan.known_classes,
    )


def resample_pictures(tiles: Tiles, store: Store) -> Tensor:
    """Bilinear and anti-aliased, grey beside the picture: (T, s, s, 3) uint8.

    Two products of matrices, the rows' and the columns', do what Pillow does with the few pixels
    that each pixel needs: the same whatever the views, and what a GPU is best at. Windows are
    padded to the largest.
    """
    # Grey levels are exact in half precision, and weights to a twentieth of a level.
    dtype = torch.float16 if store.device.type == "cuda" else torch.float32
    at_once = max(1, PIXELS_AT_ONCE // (tiles.x.most * tiles.y.most))
    parts = range(0, len(tiles.strides), at_once)
    done = [resample_some(tiles, store, slice(p, p + at_once), dtype) for p in parts]
    return done[0] if len(done) == 1 else torch.cat(done)


def resample_some(tiles: Tiles, store: Store, part: slice, dtype: torch.dtype) -> Tensor:
    """(t, S, S, 3) uint8 of the tiles of `part`, by two products with weights in `dtype`."""
    windows = _gather_windows(tiles, store, part).to(dtype)  # (t, h, w, 3)
    weights_x, on_x = axis_weights(tiles.x, part)
    weights_y, on_y = axis_weights(tiles.y, part)
    count, height, width, _ = windows.shape
    size = tiles.size
    rows = weights_y.to(dtype) @ windows.view(count, height, width * 3)
    by_channel = rows.view(count, size, width, 3).transpose(2, 3).reshape(count, size * 3, width)
    both = by_channel @ weights_x.to(dtype).transpose(1, 2)
    grey_levels = both.view(count, size, 3, size).transpose(2, 3).float()
    is_shown = (on_y[:, :, None] & on_x[:, None])[..., None]
    return torch.where(is_shown, _to_bytes(grey_levels), store.fill)


def _gather_windows(tiles: Tiles, store: Store, part: slice) -> Tensor:
    """(t, h, w, 3) uint8, each window's last row and column repeated up to the largest."""
    x, y, device = tiles.x, tiles.y, store.device
    columns = torch.minimum(torch.arange(x.most, device=device), x.lengths[part, None] - 1)
    rows = torch.minimum(torch.arange(y.most, device=device), y.lengths[part, None] - 1)
    rows = (rows + y.starts[part, None]) * tiles.strides[part, None]
    columns = columns + (x.starts + tiles.pixel_starts)[part, None]
    indices = rows[:, :, None] + columns[:, None]
    return store.pixels.index_select(0, indices.view(-1)).view(*indices.shape, 3)


def axis_weights(axis: Axis, part: slice) -> tuple[Tensor, Tensor]:
    """What the pixels of a window weigh in each pixel of a tile: a triangle about its centre.

    Returns:
        (t, s, most) float32, each row adding up to 1; (t, s) bool, False beside the picture, where
        all weigh nothing.
    """
    places = torch.arange(axis.most, device=axis.centres.device)
    distances = (places + 0.5 - axis.centres[part, :, None]).abs()
    weights = (1 - distances / axis.reaches[part, None, None]).clamp_(min=0)
    weights *= (places < axis.lengths[part, None])[:, None]
    totals = weights.sum(dim=2, keepdim=True)
    return weights / totals.clamp(min=1e-6), totals[..., 0] > 0


def resample_maps(tiles: Tiles, store: Store) -> Tensor:
    """The nearest pixel's class, void beside the picture: (T, s, s) uint8."""
    x, y = tiles.x.map_indices[:, None], tiles.y.map_indices[:, :, None]
    is_shown = (x >= 0) & (y >= 0) & (tiles.map_starts >= 0)[:, None, None]
    if len(store.map_ids) == 0:
        return torch.full_like(is_shown, IGNORE_INDEX, dtype=torch.uint8)
    starts, strides = tiles.map_starts[:, None, None], tiles.map_strides[:, None, None]
    indices = torch.where(is_shown, starts + y * strides + x, 0)
    ids = store.map_ids.index_select(0, indices.view(-1)).view(indices.shape)
    return ids.masked_fill_(~is_shown, IGNORE_INDEX)


def distort(pictures: Tensor, tiles: Tiles) -> Tensor:
    """Colours as the plan says: (T, s, s, 3) uint8 to the same, rounded and clipped."""
    if tiles.matrices is None or tiles.offsets is None or tiles.mean_shares is None:
        return pictures
    colours = pictures.reshape(len(pictures), -1, 3).float()
    means = colours.mean(dim=1) * tiles.mean_shares[:, None]
    matrices = tiles.matrices.transpose(1, 2)
    offsets = tiles.offsets[:, None] + means[:, None] @ matrices
    return _to_bytes(torch.baddbmm(offsets, colours, matrices)).view(pictures.shape)


def join_tiles(tiles: Tensor, grid: int) -> Tensor:
    """(n * grid^2, s, s, ...) in reading order to (n, grid * s, grid * s, ...)."""
    if grid == 1:
        return tiles
    size, rest = tiles.shape[1], tiles.shape[3:]
    apart = tiles.reshape(-1, grid, grid, size, size, *rest).transpose(2, 3)
    return apart.reshape(-1, grid * size, grid * size, *rest)


def _to_bytes(values: Tensor) -> Tensor:
    return values.add(0.5).clamp_(0, 255).to(torch.uint8)
