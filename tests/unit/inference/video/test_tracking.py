"""Object ids across frames."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest

from blitznet.inference.video.decoding import Frame
from blitznet.inference.video.predict_frames import track_objects
from blitznet.scene import NO_ID, Scene
from known_scene import make_scene


def scene(*objects: tuple[float, int, float]) -> Scene:
    """Detections from (left edge, label, score); every box is 40 x 40 pixels at the top."""
    boxes = [(left, 10, left + 40, 50) for left, _, _ in objects]
    labels, scores = [label for _, label, _ in objects], [score for _, _, score in objects]
    return make_scene(boxes, labels, scores=scores, size=(320, 240))


def follow(scenes: Iterable[Scene], last_ms: int | None = None) -> list[Scene]:
    """Track at 25 frames per second; the last frame may come later."""
    scenes = list(scenes)
    times = [40 * step for step in range(len(scenes))]
    times[-1] = times[-1] if last_ms is None else last_ms
    frames = (
        (Frame(one.image, step, time, Fraction(1, 1000)), one)
        for step, (time, one) in enumerate(zip(times, scenes, strict=True))
    )
    return [found for _, found in track_objects(frames, 0.5, Fraction(25))]


def ids(followed: Scene) -> list[int]:
    assert followed.ids is not None
    return followed.ids.tolist()


def test_two_moving_objects_keep_their_identities_whatever_their_order() -> None:
    scenes = []
    for step in range(10):
        left, right = (10.0 + 4 * step, 1, 0.9), (200.0 - 4 * step, 1, 0.8)
        scenes.append(scene(*((left, right) if step % 2 else (right, left))))
    seen = [
        dict(zip(found.boxes[:, 0].tolist(), ids(found), strict=True)) for found in follow(scenes)
    ]
    assert set(seen[0].values()) == {NO_ID}  # known from the second frame on
    first, second = seen[1][14.0], seen[1][196.0]
    assert {first, second} == {1, 2}
    for step in range(1, 10):
        assert seen[step] == {10.0 + 4 * step: first, 200.0 - 4 * step: second}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([(1, score) for score in (0.9, 0.9, 0.3, 0.2, 0.9)], [[NO_ID], [1], [], [], [1]]),
        ([(label, 0.9) for label in (1, 1, 2, 2)], [[NO_ID], [1], [NO_ID], [2]]),
    ],
    ids=["weak boxes keep the identity, unreported", "another class is another object"],
)
def test_identities_of_what_stays_in_its_place(
    objects: list[tuple[int, float]], expected: list[list[int]]
) -> None:
    assert [ids(one) for one in follow(scene((10, *one)) for one in objects)] == expected


def test_an_object_that_comes_back_within_a_second_is_the_same() -> None:
    there = scene((10, 1, 0.9))
    for pause, identity in [(0.8, 1), (1.5, NO_ID)]:
        hidden = [scene()] * round(pause * 25)
        *before, last = follow([*[there] * 5, *hidden, there], round(1000 * (0.16 + pause + 0.04)))
        assert [ids(one) for one in before[5:]] == [[]] * len(hidden)
        assert ids(last) == [identity]


def test_identities_are_in_the_record_and_on_the_tags() -> None:
    first, second = follow([scene((10, 1, 0.9))] * 2)
    assert [one.to_dict()["detections"][0]["id"] for one in (first, second)] == [None, 1]
    assert "id" not in scene((10, 1, 0.9)).to_dict()["detections"][0]
    assert np.any(np.asarray(first.draw()) != np.asarray(second.draw()))
