"""Run-length encoding of masks, in the formats of COCO and Label Studio."""

import numpy as np

# Sizes of a run's length in Label Studio's format, chosen by a two-bit index.
_LENGTH_BITS = (3, 4, 8, 16)
_WORD_BITS = 8


def coco_run_length(mask: np.ndarray) -> dict[str, list[int]]:
    """Encode a mask as uncompressed RLE, as `pycocotools.mask.frPyObjects` reads it.

    Args:
        mask: (H, W) bool.

    Returns:
        `size` [H, W] and `counts`, lengths of runs in column order, starting with zeros.
    """
    lengths, values = _runs(mask.T.ravel())
    counts = [0] if len(values) and values[0] else []
    return {"size": list(mask.shape), "counts": counts + lengths.tolist()}


def brush_run_length(mask: np.ndarray) -> list[int]:
    """Encode a mask for Label Studio's brush, as an RGBA image with the mask in every channel.

    The bit stream holds the number of values (32 bits), bits per value minus 1 (5), and the four
    sizes of lengths minus 1 (4 each); then for each run a 1, the index of its size (2), its length
    minus 1, and its value (8). It is padded with zeros.

    Args:
        mask: (H, W) bool.
    """
    lengths, values = _runs(mask.ravel())
    parts = [f"{4 * mask.size:032b}{_WORD_BITS - 1:05b}"]
    parts += [f"{bits - 1:04b}" for bits in _LENGTH_BITS]
    longest = 1 << _LENGTH_BITS[-1]
    for length, value in zip((4 * lengths).tolist(), values.tolist(), strict=True):
        for part in (*[longest] * (length // longest), length % longest):
            if part:
                index = next(i for i, bits in enumerate(_LENGTH_BITS) if part <= 1 << bits)
                bits = _LENGTH_BITS[index]
                parts.append(f"1{index:02b}{part - 1:0{bits}b}{255 * value:08b}")
    stream = "".join(parts)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and values of the runs in (N,) values."""
    starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    return np.diff(starts, append=len(values)), values[starts].astype(np.int64)
