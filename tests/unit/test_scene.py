import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from blitznet.errors import InputError
from blitznet.scene import NO_OBJECT, Scene
from known_scene import make_scene

NAMES = ("background", "cat", "dog")


def nearest_middle_loop(scene: Scene) -> np.ndarray:
    """Slow twin of `Scene.instance_map`: compares every pixel with every box."""
    assert scene.seg_map is not None
    height, width = scene.seg_map.shape
    owners = np.full((height, width), NO_OBJECT)
    for row in range(height):
        for column in range(width):
            x, y, nearest = column + 0.5, row + 0.5, np.inf
            for index, (x1, y1, x2, y2) in enumerate(scene.boxes.tolist()):
                is_inside = x1 <= x < x2 and y1 <= y < y2
                if not is_inside or scene.seg_map[row, column] != scene.labels[index]:
                    continue
                distance = np.hypot(
                    (x - (x1 + x2) / 2) / (x2 - x1), (y - (y1 + y2) / 2) / (y2 - y1)
                )
                if np.float32(distance) < nearest:
                    owners[row, column], nearest = index, np.float32(distance)
    return owners


def test_an_object_is_the_pixels_of_its_class_inside_its_box() -> None:
    scene = make_scene([[1, 0, 3, 2]], [1], [[1, 1, 0, 1], [1, 1, 1, 1], [1, 1, 2, 1]])
    masks = scene.instances()
    assert masks.dtype == bool
    assert masks.astype(int).tolist() == [[[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]]


@pytest.mark.parametrize(
    ("boxes", "labels", "pixels", "owners"),
    [
        ([[0, 0, 4, 1], [2, 0, 6, 1]], [1, 1], [1] * 6, [0, 0, 0, 1, 1, 1]),
        ([[0, 0, 12, 1], [8, 0, 11, 1]], [1, 1], [1] * 12, [0] * 9 + [1, 1, 0]),
        ([[0, 0, 4, 1], [0, 0, 4, 1]], [1, 2], [1, 2, 2, 0], [0, 1, 1, NO_OBJECT]),
        ([[0, 0, 2, 1], [0, 0, 2, 1]], [1, 1], [1, 1], [0, 0]),
        ([], [], [0, 1], [NO_OBJECT] * 2),
    ],
    ids=["half-way", "a small box keeps its middle", "two classes", "the better score", "nothing"],
)
def test_boxes_share_the_pixels_of_their_class(
    boxes: list[list[float]], labels: list[int], pixels: list[int], owners: list[int]
) -> None:
    scene = make_scene(boxes, labels, [pixels])
    assert scene.instance_map().tolist() == [owners]
    assert scene.instances().shape == (len(boxes), 1, len(pixels))


def test_every_pixel_goes_to_the_box_that_the_loop_finds() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 20, (30, 2, 2)), axis=1)
    boxes = corners.reshape(30, 4)
    labels = rng.integers(1, 3, 30).tolist()
    scene = make_scene(boxes.tolist(), labels, rng.integers(0, 3, (20, 20)))
    owners = scene.instance_map()
    assert owners.tolist() == nearest_middle_loop(scene).tolist()
    assert len(np.unique(owners)) > 10  # the case is worth something
    assert scene.instances().sum(axis=0).max() == 1


def test_masks_without_a_map_are_refused() -> None:
    with pytest.raises(ValueError, match="instance masks need a segmentation map"):
        make_scene([[0, 0, 1, 1]], [1], None).instances()


def test_the_record_is_the_line_of_predictions_jsonl() -> None:
    scene = make_scene(
        boxes=[[0.125, 0, 2.5, 1.999]],
        labels=[2],
        scores=[0.87654],
        seg_map=[[0, 2, 2, 2], [0, 0, 1, 2]],
    )
    assert scene.to_dict() == {
        "source": None,
        "width": 4,
        "height": 2,
        "detections": [{"label": "dog", "label_id": 2, "score": 0.8765, "box": [0.12, 0, 2.5, 2]}],
        "pixels": {"dog": 0.5, "background": 0.375, "cat": 0.125},
        "seg_map": None,
        "drawn": None,
    }
    assert json.loads(json.dumps(scene.to_dict())) == scene.to_dict()
    record = make_scene([], [], None, size=(5, 4)).to_dict()
    assert (record["pixels"], record["detections"]) == (None, [])
    assert (record["width"], record["height"]) == (5, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 5), (7, 1), (30, 40)])
def test_shares_count_every_pixel_of_a_map_of_any_size(shape: tuple[int, int]) -> None:
    seg_map = np.random.default_rng(0).integers(0, 3, shape, np.uint8)
    shares = make_scene([], [], seg_map.T).pixel_shares()
    wanted = {name: (seg_map == index).mean() for index, name in enumerate(NAMES)}
    assert shares == pytest.approx({name: one for name, one in wanted.items() if one}, abs=1e-6)
    assert shares is not None
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_drawing_can_leave_out_either_part() -> None:
    scene = make_scene([[5, 5, 60, 60]], [1], np.full((64, 64), 2))
    both, boxes, pixels, neither = (
        scene.draw(boxes=b, seg_map=s).tobytes()
        for b, s in [(True, True), (True, False), (False, True), (False, False)]
    )
    assert neither == scene.image.tobytes()
    assert len({both, boxes, pixels, neither}) == 4


def test_a_scene_is_one_line_to_read_and_a_png_in_a_notebook() -> None:
    scene = make_scene([[0, 0, 2, 2], [1, 0, 3, 2], [0, 1, 4, 3]], [1, 2, 1], [[0, 1, 1, 0]] * 3)
    named = replace(scene, source="trip/street.jpg")
    assert repr(named) == "Scene(street.jpg 4x3: 2 x cat, 1 x dog; map)"
    assert repr(make_scene([], [], None)) == "Scene(4x3: no objects)"
    assert named.summary() == "2 x cat, 1 x dog; pixels 50% cat"
    with Image.open(BytesIO(scene._repr_png_())) as png:
        assert png.format == "PNG"
        np.testing.assert_array_equal(png, scene.draw())


@pytest.mark.parametrize("has_map", [True, False])
def test_supervision_gets_boxes_scores_names_and_masks(has_map: bool) -> None:
    pytest.importorskip("supervision")
    seg_map = [[0, 2, 2, 0], [1, 2, 2, 0]] if has_map else None
    scene = make_scene([[1, 0, 3, 2], [0, 1, 1, 2]], [2, 1], seg_map, scores=[0.9, 0.6])
    found = scene.to_supervision()
    assert found.xyxy.tolist() == [[1, 0, 3, 2], [0, 1, 1, 2]]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6])
    assert found.class_id.tolist() == [2, 1]
    assert found["class_name"].tolist() == ["dog", "cat"]
    assert found.tracker_id is None
    if has_map:
        assert found.mask.tolist() == scene.instances().tolist()
    else:
        assert found.mask is None
    assert len(make_scene([], [], seg_map).to_supervision()) == 0


def test_supervision_that_is_not_installed_is_one_line(hide_package: Callable[[str], None]) -> None:
    hide_package("supervision")
    with pytest.raises(InputError, match=r"pip install 'blitznet\[track\]'"):
        make_scene([], [], None).to_supervision()


def test_filter_keeps_objects_and_the_map() -> None:
    boxes = [[0.0, 0, 1, 1], [1, 0, 3, 2], [0, 0, 4, 3]]
    scene = make_scene(boxes, [1, 2, 1], [[1, 2], [0, 1]], [0.9, 0.8, 0.7])
    tracked = replace(scene, ids=np.array([7, 0, 9]))
    kept = tracked.filter(tracked.labels == 1)
    assert kept.boxes.tolist() == [boxes[0], boxes[2]]
    assert kept.labels.tolist() == [1, 1]
    assert kept.scores.tolist() == scene.scores[[0, 2]].tolist()
    assert kept.ids is not None
    assert kept.ids.tolist() == [7, 9]
    assert kept.seg_map is scene.seg_map
    assert kept.image is scene.image
    assert scene.filter(scene.scores > 1).boxes.shape == (0, 4)
    assert scene.filter(scene.scores > 0.75).ids is None
    nothing = make_scene([], [], None)
    assert nothing.filter(nothing.scores > 0.5).labels.tolist() == []


@pytest.mark.parametrize("mask", [[True], [0, 1], 0, [[True, False]]])
def test_filter_takes_a_boolean_per_object(mask: object) -> None:
    scene = make_scene([[0, 0, 1, 1], [1, 0, 3, 2]], [1, 2], None)
    with pytest.raises(ValueError, match="takes 2 booleans, one per object; got "):
        scene.filter(mask)  # type: ignore[arg-type]
