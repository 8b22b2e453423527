"""The fast classification of pixels equals resizing all logits."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from blitznet.inference.seg_map import classify_pixels


def smooth_logits(num_classes: int, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Logits with blobs and a little noise, like a network's."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, num_classes, 3, 3, generator=generator)
    blobs = interpolate(coarse, (rows, columns), mode="bicubic")[0]
    return 4 * blobs + 0.3 * torch.randn(num_classes, rows, columns, generator=generator)


@pytest.mark.parametrize("shape", [(21, 38, 38), (81, 16, 9), (2, 1, 1), (3, 1, 5), (255, 4, 4)])
@pytest.mark.parametrize("size", [(1, 1), (3, 1), (38, 38), (50, 20), (211, 160), (7, 300)])
@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_every_pixel_gets_the_best_of_all_resized_logits(
    shape: tuple[int, int, int], size: tuple[int, int], noise: float
) -> None:
    logits = smooth_logits(*shape) + noise * torch.randn(
        shape, generator=torch.Generator().manual_seed(1)
    )
    width, height = size
    resized = interpolate(logits[None], (height, width), mode="bilinear")[0]
    chosen = torch.from_numpy(classify_pixels(logits.numpy(), width, height)).long()
    # Not simply equal: where two classes tie but for rounding, either is right.
    of_chosen = resized.gather(0, chosen[None])[0]
    torch.testing.assert_close(of_chosen, resized.amax(dim=0), rtol=0, atol=1e-4)


def test_a_class_that_is_second_at_all_neighbours_can_win_between_them() -> None:
    logits = np.array([[[5.0, 0.0]], [[0.0, 5.0]], [[4.0, 4.0]]], dtype=np.float32)
    assert classify_pixels(logits, 8, 1).tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]


def test_a_tie_goes_to_the_first_class_as_argmax_does() -> None:
    seg_map = classify_pixels(np.zeros((4, 3, 3), dtype=np.float32), 10, 7)
    assert (seg_map.shape, seg_map.dtype) == ((7, 10), np.uint8)
    assert not seg_map.any()


def test_huge_images_do_not_need_a_plane_per_class() -> None:
    import tracemalloc

    logits = smooth_logits(21, 38, 38).numpy()
    tracemalloc.start()
    classify_pixels(logits, 2000, 1500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2000 * 1500  # the float planes would take 84 bytes a pixel
