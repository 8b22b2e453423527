import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blitznet.detection.boxes import pairwise_iou
from reference.iou_loops import box_iou

# A coarse grid makes touching, nested and equal boxes likely.
corner = st.integers(0, 6)
boxes_on_a_grid = st.lists(
    st.tuples(corner, corner, st.integers(1, 5), st.integers(1, 5)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=6,
)


def as_boxes(rows: list[tuple[int, ...]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@given(boxes_on_a_grid, boxes_on_a_grid)
def test_iou_equals_the_loop_over_pairs(a: list[tuple[int, ...]], b: list[tuple[int, ...]]) -> None:
    expected = [[box_iou(x, y) for y in b] for x in a]
    # Float32 against Python's float64: three roundings of values near 1.
    torch.testing.assert_close(
        pairwise_iou(as_boxes(a), as_boxes(b)),
        torch.tensor(expected).reshape(len(a), len(b)),
        rtol=3e-7,
        atol=0,
    )


@pytest.mark.parametrize("flat", [(2, 2, 2, 2), (0, 1, 4, 1), (1, 0, 1, 2)])
def test_box_without_area_overlaps_nothing_not_even_itself(flat: tuple[int, ...]) -> None:
    boxes = as_boxes([flat, (0, 0, 4, 2)])
    assert pairwise_iou(boxes, boxes).tolist() == [[0, 0], [0, 1]]


def test_iou_of_no_boxes_has_no_rows_or_no_columns() -> None:
    three, none = torch.rand(3, 4), torch.zeros(0, 4)
    assert pairwise_iou(none, three).shape == (0, 3)
    assert pairwise_iou(three, none).shape == (3, 0)
    assert pairwise_iou(torch.zeros(2, 0, 4), three).shape == (2, 0, 3)


def test_iou_of_a_batch_is_that_of_every_image(rng: torch.Generator) -> None:
    corners = torch.rand(2, 5, 2, generator=rng)
    batch = torch.cat((corners, corners + 0.5), dim=-1)
    shared = batch[0, :3]
    iou = pairwise_iou(batch, shared)
    assert torch.equal(iou, torch.stack([pairwise_iou(image, shared) for image in batch]))
