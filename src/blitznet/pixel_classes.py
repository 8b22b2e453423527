"""From the segmentation head's logits to the class of every pixel of a picture of any size."""

import numpy as np


def classify_pixels(seg_logits: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize logits bilinearly to a picture and take the best class of every pixel (section 3.6).

    Gives what `interpolate(seg_logits, (height, width), mode="bilinear").argmax(0)` gives, without
    its C planes of picture size and some hundred times faster. A pixel's logits are a weighted mean
    of its four neighbours': where these agree on their best class, it is the pixel's too, and a
    class whose best of the four is below another one's worst cannot win. What is left to compute is
    a few classes on the pixels between neighbours that disagree.

    Args:
        seg_logits: (C, h, w) float32, at most 255 classes.
        width: W of the picture in pixels.
        height: H.

    Returns:
        (H, W) uint8 class ids.
    """
    num_rows, num_columns = seg_logits.shape[1:]
    row, down = _source_positions(num_rows, height)
    column, right = _source_positions(num_columns, width)
    next_row = np.minimum(np.arange(num_rows) + 1, num_rows - 1)
    next_column = np.minimum(np.arange(num_columns) + 1, num_columns - 1)

    below = seg_logits[:, next_row]
    neighbours = np.stack(
        (seg_logits, below, seg_logits[:, :, next_column], below[:, :, next_column])
    )
    winners = neighbours.argmax(axis=1).astype(np.uint8)
    agree = (winners == winners[0]).all(axis=0)
    can_win = neighbours.max(axis=0) >= neighbours.min(axis=0).max(axis=0)

    seg_map = np.empty((height, width), dtype=np.uint8)
    first_line = np.searchsorted(row, np.arange(num_rows + 1))
    for cell in range(num_rows):
        lines = slice(first_line[cell], first_line[cell + 1])
        seg_map[lines] = winners[0, cell, column]
        open_columns = np.flatnonzero(~agree[cell, column])
        if lines.start == lines.stop or not len(open_columns):
            continue
        classes = np.flatnonzero(can_win[:, cell, ~agree[cell]].any(axis=1))
        left, across = column[open_columns], right[open_columns]
        best = np.full((lines.stop - lines.start, len(open_columns)), -np.inf, dtype=np.float32)
        winner = np.empty(best.shape, dtype=np.uint8)
        for class_id in classes:
            upper, lower = (
                line[left] + (line[next_column[left]] - line[left]) * across
                for line in seg_logits[class_id, [cell, next_row[cell]]]
            )
            logits = upper + (lower - upper) * down[lines, None]
            winner[logits > best] = class_id
            np.maximum(best, logits, out=best)
        seg_map[lines, open_columns] = winner
    return seg_map


def _source_positions(source_size: int, target_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where target pixels lie between source pixels, as torch's `align_corners=False`.

    Returns:
        (target_size,) int64 source pixel before, and (target_size,) float32 way to the next, 0..1.
    """
    centres = (np.arange(target_size) + 0.5) * (source_size / target_size) - 0.5
    centres = centres.clip(0, source_size - 1)
    before = centres.astype(np.int64)
    return before, (centres - before).astype(np.float32)
