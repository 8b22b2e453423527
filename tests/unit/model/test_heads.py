import itertools

import torch
from torch import nn
from torch.nn import functional as F

from blitznet.detection.anchors import ANCHORS_PER_CELL
from blitznet.model.heads import MultiboxHead, SegmentationHead


def pass_centre_through(conv: nn.Conv2d) -> None:
    """Make output o of each cell its first input channel plus o."""
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.weight[:, 0, 1, 1] = 1
        conv.bias.copy_(torch.arange(conv.out_channels))


def test_predictions_stand_in_the_order_of_levels_rows_columns_anchors_of_the_cell() -> None:
    num_classes, sizes = 3, (4, 2, 1)
    head = MultiboxHead([2, 2, 2], num_classes)
    for conv in (*head.classify, *head.regress):
        pass_centre_through(conv)
    # Cells are numbered in thousands, all levels together, rows first.
    cells = 1000 * torch.arange(sum(size**2 for size in sizes), dtype=torch.float32)
    maps = [
        level.reshape(1, 1, size, size).expand(1, 2, size, size)
        for level, size in zip(cells.split([size**2 for size in sizes]), sizes, strict=True)
    ]
    class_logits, box_deltas = head(maps)
    anchors = list(itertools.product(cells.tolist(), range(ANCHORS_PER_CELL)))
    assert class_logits[0].tolist() == [[c + 3 * k + i for i in range(3)] for c, k in anchors]
    assert box_deltas[0].tolist() == [[c + 4 * k + i for i in range(4)] for c, k in anchors]


def test_head_of_every_level_is_one_3x3_convolution_of_its_own() -> None:
    head = MultiboxHead([4, 8], 21)
    convolutions = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    layout = [(m.in_channels, m.out_channels, m.kernel_size) for m in convolutions]
    assert layout == [(c, 6 * n, (3, 3)) for n in (21, 4) for c in (4, 8)]
    assert len({m.weight.data_ptr() for m in convolutions}) == 4


def test_segmentation_equals_squeezing_resizing_and_joining_step_by_step(
    rng: torch.Generator,
) -> None:
    head = SegmentationHead([4, 6], width=5, num_classes=3)
    fine, coarse = (torch.randn(2, c, s, s, generator=rng) for c, s in ((4, 7), (6, 3)))
    first, second = (
        torch.einsum("bihw,oi->bohw", maps, conv.weight[:, :, 0, 0]) + conv.bias.view(-1, 1, 1)
        for maps, conv in zip((fine, coarse), head.squeeze, strict=True)
    )
    second = F.interpolate(second, size=(7, 7), mode="bilinear", align_corners=False)
    expected = head.classify(torch.cat((first, second), dim=1))
    torch.testing.assert_close(head([fine, coarse]), expected)
    assert head.classify.kernel_size == (3, 3)
    assert head([fine, coarse]).shape == (2, 3, 7, 7)
