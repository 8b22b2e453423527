"""Selection from a network's output: learned and wanted classes, the best objects."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from blitznet.detection.limits import Limits
from blitznet.detection.nms import per_class_nms
from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.inference.predictor import Predictor
from blitznet.inference.selection import Selection, Selector
from blitznet.model_files import CheckpointInfo, ExportInfo
from tiny_network import NAMES, ColourNetwork, colour_predictor, tiny_predictor

RED = np.full((40, 40, 3), (255, 0, 0), np.uint8)  # the network also finds a green object in it


def predictor(**learned: list[str] | None) -> Predictor:
    model = ColourNetwork()
    info = CheckpointInfo(model=model.config, names=NAMES, **learned)  # type: ignore[arg-type]
    return Predictor(TorchEngine(model, info, torch.device("cpu")))  # type: ignore[arg-type]


def test_a_head_that_nothing_trained_shows_nothing() -> None:
    scene = predictor(supervised_boxes=[]).predict(RED)
    assert (len(scene.boxes), scene.summary()) == (0, "pixels 100% red")
    scene = predictor(supervised_masks=[]).predict(RED)
    assert (len(scene.boxes), scene.seg_map, scene.to_dict()["pixels"]) == (1, None, None)
    assert (predictor(supervised_boxes=[]).detects, predictor().detects) == (False, True)
    assert (predictor(supervised_masks=[]).segments, predictor().segments) == (False, True)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"score": 50}, "score must be from 0 to 1, got 50"),
        ({"score": "0.5"}, "score must be a number, got '0.5'"),
        ({"iou": float("nan")}, "iou must be from 0 to 1 and finite, got nan"),
        ({"max_detections": 0}, "max_detections must be at least 1, got 0"),
        ({"max_detections": [3]}, "max_detections must be a number, got [3]"),
        ({"classes": "red"}, "classes must be a list of names, got the text 'red'"),
        ({"classes": []}, "classes names no class; leave it out to show all"),
    ],
)
def test_a_wrong_selection_is_one_line(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Selection(**wrong)
    assert str(caught.value) == problem


def test_objects_that_an_exported_file_lacks_are_refused_before_it_runs() -> None:
    info = ExportInfo(
        model=ColourNetwork().config, names=NAMES, score=0.1, iou=0.5, top=9, precision="fp32",
        outputs=(),
    )  # fmt: skip
    Selector(info, Selection(0.1, iou=0.5))
    with pytest.raises(InputError, match=r"score 0\.1 or more, but 0\.01 was requested"):
        Selector(info, Selection(0.01))
    with pytest.raises(InputError, match=r"more than 0\.5 \(IoU\), but 0\.6 was requested"):
        Selector(info, Selection(0.5, iou=0.6))


def test_classes_that_no_box_was_labelled_with_have_no_objects() -> None:
    assert len(predictor(supervised_boxes=["red", "blue"]).predict(RED, 0.0).labels) > 0
    labels = predictor(supervised_boxes=["red", "blue"]).predict(RED, 0.0).labels.tolist()
    assert sorted(labels) == [1, 3]


def test_classes_that_no_pixel_was_labelled_with_win_none() -> None:
    """The best of the other classes wins: a red pixel has logits 0, 0.9, -0.1, -0.1."""
    assert predictor(supervised_masks=["green", "blue"]).predict(RED).pixel_shares() == {
        "background": 1.0
    }
    yellow = np.full((40, 40, 3), (255, 200, 0), np.uint8)
    assert predictor().predict(yellow).pixel_shares() == {"red": 1.0}
    scene = predictor(supervised_masks=["blue", "green"]).predict(yellow)
    assert scene.pixel_shares() == {"green": 1.0}


def test_what_was_all_labelled_changes_nothing() -> None:
    everything = list(NAMES[1:])
    one, other = (
        learned.predict(RED, 0.0)
        for learned in (
            predictor(),
            predictor(supervised_boxes=everything, supervised_masks=everything),
        )
    )
    assert one.boxes.tobytes() == other.boxes.tobytes()
    assert one.seg_map is not None
    assert other.seg_map is not None
    assert one.seg_map.tobytes() == other.seg_map.tobytes()


def test_wanted_classes_alone_are_shown_and_the_others_are_background() -> None:
    red, green = (colour_predictor().predict(RED, classes=[name]) for name in ("red", "green"))
    assert (red.label_names, red.pixel_shares()) == ([], {"red": 1.0})
    assert (green.label_names, green.pixel_shares()) == (["green"], {"background": 1.0})
    assert green.labels.tolist() == [2]
    with pytest.raises(InputError, match="no class is called 'rde'; this network has red, green"):
        colour_predictor().predict(RED, classes=["rde"])
    with pytest.raises(InputError, match="'background'"):
        colour_predictor().predict(RED, classes=["background"])


def test_the_best_objects_are_kept() -> None:
    everything = tiny_predictor().predict(RED, 0.0)
    best = tiny_predictor().predict(RED, 0.0, max_detections=7)
    assert len(everything.boxes) > 7
    np.testing.assert_array_equal(best.boxes, everything.boxes[:7])
    np.testing.assert_array_equal(best.scores, everything.scores[:7])


@pytest.mark.parametrize("iou", [0.0, 0.1, 0.3])
def test_less_overlap_is_greedy_suppression_of_what_the_network_gives(iou: float) -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 30, (60, 2, 2)), axis=1).reshape(60, 4).astype(np.float32)
    scores = np.sort(rng.random(60).astype(np.float32))[::-1].copy()
    labels = rng.integers(1, 4, 60)
    found = Detections(corners, labels, scores)
    info = CheckpointInfo(model=ColourNetwork().config, names=NAMES)
    kept = Selector(info, Selection(iou=iou)).detections(found)
    limits = Limits(0, iou, 200, 400, 200)
    expected = per_class_nms(*map(torch.tensor, (corners, scores, labels)), limits).numpy()
    np.testing.assert_array_equal(kept.boxes, corners[expected])
    assert 0 < len(kept.boxes) < 60
    assert kept.boxes.dtype == np.float32
    nothing = Detections(corners[:0], labels[:0], scores[:0])
    assert len(Selector(info, Selection(iou=iou)).detections(nothing).boxes) == 0


def test_more_overlap_is_the_engines() -> None:
    usual = tiny_predictor().predict(RED, 0.0)
    wide = tiny_predictor().predict(RED, 0.0, iou=0.9)
    assert wide.boxes.tolist() != usual.boxes.tolist()


def test_a_selection_can_be_changed_and_passed_on() -> None:
    assert vars(replace(Selection(0.2, iou=0.3), score=0.1)) == {
        "score": 0.1, "classes": None, "iou": 0.3, "max_detections": None,
    }  # fmt: skip
