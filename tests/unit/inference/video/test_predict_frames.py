"""Frames and their scenes match in batches, one by one, and with skipped frames."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from blitznet.errors import InputError
from blitznet.inference.selection import Selection
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.scene import Scene
from synthetic_video import grey_of, write_video
from tiny_network import colour_predictor

EVERYTHING = Selection(0.0)


class Grey:
    """Finds one object whose score is the image's brightness."""

    def predict(self, image: Image.Image, score: float, **_: object) -> Scene:
        value = float(np.asarray(image).mean() / 255)
        boxes = np.array([[8, 8, 40, 40]], dtype=np.float32)
        scores = np.array([value], dtype=np.float32)
        found = scores >= score
        labels = np.ones(1, dtype=np.int64)
        return Scene(boxes[found], labels[found], scores[found], None, ("background", "a"), image)

    def predict_stream(
        self, images: Iterable[Image.Image], score: float, batch: int | None, **_: object
    ) -> Iterator[tuple[Image.Image, Scene]]:
        group = []
        for image in images:
            group.append(image)
            if len(group) == (batch or 1):
                yield from ((one, self.predict(one, score)) for one in group)
                group = []
        yield from ((one, self.predict(one, score)) for one in group)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return str(write_video(tmp_path / "a.mp4", range(0, 800, 40)))


@pytest.mark.parametrize("batch", [None, 1, 3, 50])
def test_every_frame_has_the_scene_of_its_own_image(clip: str, batch: int | None) -> None:
    seen = list(predict_frames(Grey(), open_video(clip), EVERYTHING, batch, VideoOptions()))  # type: ignore[arg-type]
    assert [frame.index for frame, _ in seen] == list(range(20))
    for frame, scene in seen:
        assert scene.image is frame.image
        assert scene.scores[0] * 255 == pytest.approx(grey_of(frame.index), abs=2)


@pytest.mark.parametrize(
    ("every", "most", "indices"),
    [
        (3, None, [0, 3, 6, 9, 12, 15, 18]),
        (1, 4, [0, 1, 2, 3]),
        (5, 2, [0, 5]),
        (1, 99, list(range(20))),
    ],
)
def test_frames_may_be_left_out(
    clip: str, every: int, most: int | None, indices: list[int]
) -> None:
    video = open_video(clip)
    seen = predict_frames(Grey(), video, EVERYTHING, None, VideoOptions(every, most))  # type: ignore[arg-type]
    assert [(frame.index, frame.time) for frame, _ in seen] == [(i, i * 0.04) for i in indices]


def test_identities_need_the_weak_boxes_of_the_network(clip: str) -> None:
    video = open_video(clip)
    score = grey_of(10) / 255  # the first ten frames are below
    seen = predict_frames(Grey(), video, Selection(score), None, VideoOptions(track=True))  # type: ignore[arg-type]
    counts = [len(scene.boxes) for _, scene in seen]
    assert counts[:9] == [0] * 9
    assert counts[11:] == [1] * 9


def test_a_slow_network_drops_frames_of_a_live_source_and_keeps_up() -> None:
    class Slow(Grey):
        def predict(self, image: Image.Image, score: float, **_: object) -> Scene:
            time.sleep(0.05)
            return super().predict(image, score)

    def gone() -> av.container.InputContainer:
        raise InputError("gone")

    source = av.open("testsrc=size=32x32:rate=25:duration=20", format="lavfi")
    video = LiveVideo(source, gone, "camera", "camera", attempts=0)
    seen = list(predict_frames(Slow(), video, EVERYTHING, None, VideoOptions()))  # type: ignore[arg-type]
    assert len(seen) + video.dropped == 500
    assert video.dropped > 250


def test_python_gets_frames_with_times_and_scenes(clip: str) -> None:
    seen = list(colour_predictor().predict_video(clip, score=0.5, track=True))
    assert [frame.time for frame, _ in seen] == [index * 0.04 for index in range(20)]
    for frame, scene in seen:
        assert scene.size == (64, 48)
        assert scene.seg_map is not None
        assert scene.ids is not None
        assert scene.ids.tolist() == [0 if frame.index == 0 else 1]
        np.testing.assert_allclose(scene.boxes, [[16, 6, 48, 18]], atol=1e-3)


def test_a_video_may_be_left_in_the_middle(clip: str) -> None:
    video = colour_predictor().predict_video(clip)
    assert next(video)[0].index == 0
    video.close()
