"""What is compared with torchvision's policy: exact figures of views, and an outside distance."""

import numpy as np
import pytest

from blitznet.bench.views import (
    FIGURES,
    TorchvisionViews,
    draw_ours,
    ks_distance,
    random_pictures,
    view_figures,
)
from blitznet.data.geometry import View
from blitznet.data.ssd_policy import Augmentation, draw_view

SIZE = (100, 50)
BOXES = np.array([[0, 0, 20, 20], [70, 20, 90, 40]], np.float32)


def test_the_figures_of_a_view_are_those_worked_out_by_hand() -> None:
    canvas, view = View(-50, -25, 150, 75), View(-25, 0, 75, 50)
    figures = view_figures(lambda *_: (canvas, view), [(SIZE, BOXES)], 1)
    # Twice the picture's sides; 100x50 pixels of it; three quarters of them on the picture; of the
    # centres (10, 10) and (80, 30) one is inside.
    assert [figures[name].tolist() for name in FIGURES] == [[2], [1], [1], [0.75], [0.25], [0.5]]


def test_a_view_beyond_the_picture_shows_nothing() -> None:
    figures = view_figures(
        lambda *_: (View(0, 0, 100, 50), View(120, 0, 140, 20)), [(SIZE, BOXES)], 1
    )
    assert figures["visible share"].tolist() == [0]
    assert figures["filled share"].tolist() == [1]
    assert figures["aspect"].tolist() == [0.5]


def test_the_distance_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for a, b in ((rng.random(50), rng.random(70) ** 2), (rng.integers(0, 4, 60), np.arange(5))):
        assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)


def test_equal_samples_have_no_distance_and_separate_ones_have_all() -> None:
    assert ks_distance(np.arange(5), np.arange(5)) == 0
    assert ks_distance(np.arange(5), np.arange(5) + 9) == 1


def test_our_views_are_those_of_training() -> None:
    for seed, (size, boxes) in enumerate(random_pictures(20)):
        _, view = draw_ours(size, boxes, np.random.default_rng(seed))
        trained = draw_view(size, boxes, Augmentation(), np.random.default_rng(seed))
        assert (view.x1, view.y1, view.x2, view.y2) == (
            trained.x1,
            trained.y1,
            trained.x2,
            trained.y2,
        )


def test_torchvisions_views_keep_to_its_limits() -> None:
    draw = TorchvisionViews()
    for size, boxes in random_pictures(20):
        canvas, view = draw(size, boxes)
        assert 1 <= canvas.width / size[0] <= 4
        assert canvas.x1 <= view.x1 < view.x2 <= canvas.x2
        assert canvas.y1 <= view.y1 < view.y2 <= canvas.y2
        if view != canvas:
            assert 0.49 <= view.width / view.height <= 2.01
            assert view.width >= 0.29 * canvas.width
