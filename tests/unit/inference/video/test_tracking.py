"""Object ids across frames."""

from fractions import Fraction

import numpy as np
import pytest

from blitznet.inference.video.predict_frames import Tracker
from blitznet.scene import NO_ID, Scene
from known_scene import make_scene


def scene(*objects: tuple[float, int, float]) -> Scene:
    """Detections from (left edge, label, score); every box is 40 x 40 pixels at the top."""
    boxes = [(left, 10, left + 40, 50) for left, _, _ in objects]
    labels, scores = [label for _, label, _ in objects], [score for _, _, score in objects]
    return make_scene(boxes, labels, scores=scores, size=(320, 240))


def ids(followed: Scene) -> list[int]:
    assert followed.ids is not None
    return followed.ids.tolist()


def test_two_moving_objects_keep_their_identities_whatever_their_order() -> None:
    tracker = Tracker(0.5, Fraction(25))
    seen = []
    for step in range(10):
        left, right = (10.0 + 4 * step, 1, 0.9), (200.0 - 4 * step, 1, 0.8)
        order = (left, right) if step % 2 else (right, left)
        found = tracker.follow(scene(*order), step / 25)
        seen.append(dict(zip(found.boxes[:, 0].tolist(), ids(found), strict=True)))
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
    tracker = Tracker(0.5, Fraction(25))
    found = [tracker.follow(scene((10, *one)), step / 25) for step, one in enumerate(objects)]
    assert [ids(one) for one in found] == expected


def test_an_object_that_comes_back_within_a_second_is_the_same() -> None:
    for pause, identity in [(0.8, 1), (1.5, NO_ID)]:
        tracker = Tracker(0.5, Fraction(25))
        for step in range(5):
            tracker.follow(scene((10, 1, 0.9)), step / 25)
        for step in range(5, 5 + round(pause * 25)):
            assert ids(tracker.follow(scene(), step / 25)) == []
        assert ids(tracker.follow(scene((10, 1, 0.9)), 0.16 + pause + 0.04)) == [identity]


def test_identities_are_in_the_record_and_on_the_tags() -> None:
    tracker = Tracker(0.5, Fraction(25))
    first, second = (tracker.follow(scene((10, 1, 0.9)), step / 25) for step in range(2))
    assert [one.to_dict()["detections"][0]["id"] for one in (first, second)] == [None, 1]
    assert "id" not in scene((10, 1, 0.9)).to_dict()["detections"][0]
    assert np.any(np.asarray(first.draw()) != np.asarray(second.draw()))
