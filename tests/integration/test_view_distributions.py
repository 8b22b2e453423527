"""The distributions of many drawn views are those of the published policy."""

import numpy as np
import pytest

from reference.ssd_policy_loops import draw_view_slowly
from reference.view_figures import (
    FIGURES,
    TorchvisionViews,
    draw_ours,
    ks_distance,
    random_images,
    view_figures,
)

DRAWS = 20_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ours() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return view_figures(lambda size, boxes: draw_ours(size, boxes, rng), random_images(64), DRAWS)


def test_our_views_are_distributed_as_those_of_the_literal_loop(
    ours: dict[str, np.ndarray],
) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    loop = view_figures(
        lambda size, boxes: draw_view_slowly(size, boxes, rng), random_images(64), DRAWS
    )
    for name in FIGURES:
        assert stats.ks_2samp(ours[name], loop[name]).pvalue > 0.001, name


def test_a_uniform_aspect_would_be_noticed_and_moves_little_else(
    ours: dict[str, np.ndarray],
) -> None:
    rng = np.random.default_rng(3)
    uniform = view_figures(
        lambda size, boxes: draw_view_slowly(size, boxes, rng, "uniform"),
        random_images(64),
        DRAWS,
    )
    assert ks_distance(ours["aspect"], uniform["aspect"]) > 0.05  # D10
    for name in ("zoom ratio", "visible share", "boxes kept"):
        assert ks_distance(ours[name], uniform[name]) < 0.05, name


def test_torchvision_zooms_as_we_do_and_crops_smaller(ours: dict[str, np.ndarray]) -> None:
    draws = DRAWS // 10  # slow
    theirs = view_figures(TorchvisionViews(), random_images(64), draws)
    assert ks_distance(ours["zoom ratio"], theirs["zoom ratio"]) < 0.06
    # It draws both sides from 0.3..1 where we draw the area from there.
    assert ours["area"].min() >= 0.3 - 1e-9
    assert (theirs["area"] < 0.3).mean() > 0.02
