"""Convert segmentation logits to a segmentation map of any size."""

import numpy as np

# Rows of logits are processed together up to this many pixels: for small images, the overhead of
# calls per row would dominate.
_PIXELS_AT_ONCE = 1 << 15


def classify_pixels(seg_logits: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize logits bilinearly to an image and take the best class of every pixel (section 3.6).

    Equals `interpolate(seg_logits, (height, width), mode="bilinear").argmax(0)`, but is about a
    hundred times faster and does not need C planes of image size. A pixel's logits are a weighted
    mean of those of its four neighbours. If these agree on the best class, it is the pixel's class,
    too. A class whose maximum over the four is below another's minimum cannot win. So only a few
    classes have to be computed, for the pixels between neighbours that disagree.

    Args:
        seg_logits: (C, h, w) float32, at most 255 classes.
        width: W, width of the image in pixels.
        height: H, height of the image in pixels.

    Returns:
        (H, W) uint8 class ids.
    """
    num_rows, num_columns = seg_logits.shape[1:]
    row, down = _source_positions(num_rows, height)
    column, right = _source_positions(num_columns, width)
    next_column = np.minimum(np.arange(num_columns) + 1, num_columns - 1)

    best_class = seg_logits.argmax(axis=0).astype(np.uint8)
    seg_map: np.ndarray = best_class[:, column][row]
    lowest, highest = _over_neighbours(best_class)
    agree = lowest == highest
    lowest, highest = _over_neighbours(seg_logits)
    can_win = highest >= lowest.max(axis=0)

    rows_at_once = max(1, _PIXELS_AT_ONCE // (-(-height // num_rows) * width))
    for first in range(0, num_rows, rows_at_once):
        rows = slice(first, min(first + rows_at_once, num_rows))
        lines = slice(*np.searchsorted(row, (rows.start, rows.stop)))
        is_open = ~agree[rows]
        open_columns = np.flatnonzero(is_open.any(axis=0)[column])
        if lines.start == lines.stop or not len(open_columns):
            continue
        # With several rows of logits at once, one slice of columns is faster than picking columns.
        one_slice = slice(open_columns[0], open_columns[-1] + 1)
        across = one_slice if rows_at_once > 1 else open_columns
        classes = np.flatnonzero(can_win[:, rows][:, is_open].any(axis=1))
        left, way = column[across], right[across]
        source_row = np.append(np.arange(rows.start, rows.stop), min(rows.stop, num_rows - 1))
        above = row[lines] - rows.start if rows_at_once > 1 else slice(0, 1)
        for number, class_id in enumerate(classes):
            line = seg_logits[class_id, source_row]
            upper = line[:, left]
            upper += (line[:, next_column[left]] - upper) * way
            logits = (upper[1:] - upper[:-1])[above] * down[lines, None]
            logits += upper[:-1][above]
            if number == 0:
                best, winner = logits, np.full(logits.shape, class_id, dtype=np.uint8)
            else:
                np.copyto(winner, np.uint8(class_id), where=logits > best)
                np.maximum(best, logits, out=best)
        if rows_at_once > 1:
            np.copyto(seg_map[lines, across], winner, where=is_open[above][:, left])
        else:
            seg_map[lines, across] = winner
    return seg_map


def _over_neighbours(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of every 2x2 window, from the cell to its lower right neighbour.

    Args:
        values: (..., h, w); the last row and column are repeated.
    """
    padding = [(0, 0)] * (values.ndim - 2) + [(0, 1), (0, 1)]
    padded = np.pad(values, padding, mode="edge")
    upper, lower = padded[..., :-1, :], padded[..., 1:, :]
    lowest, highest = np.minimum(upper, lower), np.maximum(upper, lower)
    return (
        np.minimum(lowest[..., :-1], lowest[..., 1:]),
        np.maximum(highest[..., :-1], highest[..., 1:]),
    )


def _source_positions(source_size: int, target_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of target pixels between source pixels, like torch's `align_corners=False`.

    Returns:
        (target_size,) int64 previous source pixel, and (target_size,) float32 fraction to the next.
    """
    centres = (np.arange(target_size) + 0.5) * (source_size / target_size) - 0.5
    centres = centres.clip(0, source_size - 1)
    before = centres.astype(np.int64)
    return before, (centres - before).astype(np.float32)
