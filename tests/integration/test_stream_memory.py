"""Memory over the length of a video."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.inference.predict_folder import predict_to_folder
from blitznet.inference.sources import Video
from blitznet.inference.video.predict_frames import VideoOptions
from blitznet.model_files import CheckpointInfo
from blitznet.scene import Scene
from synthetic_video import read_times, write_video
from tiny_network import tiny_config

NUM_FRAMES = 20_000
NAMES = ("background", "thing")
STATUS = Path("/proc/self/status")


class MovingThing:
    """Replaces the network: a moving box and region, so that objects are tracked."""

    names = NAMES
    info = CheckpointInfo(model=tiny_config(num_classes=len(NAMES)), names=NAMES)

    def __init__(self) -> None:
        self.resident: list[float] = []

    def predict_stream(
        self, images: Iterable[Image.Image], **_: object
    ) -> Iterator[tuple[Image.Image, Scene]]:
        for index, image in enumerate(images):
            left = index % 20
            seg_map = np.zeros((48, 64), dtype=np.uint8)
            seg_map[10:30, left : left + 30] = 1
            boxes = np.array([[left, 10, left + 30, 30]], dtype=np.float32)
            scores, labels = np.array([0.9], dtype=np.float32), np.ones(1, dtype=np.int64)
            self.resident.append(resident_megabytes())
            yield image, Scene(boxes, labels, scores, seg_map, NAMES, image)


def resident_megabytes() -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc")
def test_memory_stays_the_same_over_the_length_of_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", range(0, 40 * NUM_FRAMES, 40), gop=250)
    (tmp_path / "out").mkdir()
    network, options = MovingThing(), VideoOptions(track=True)
    sources = [Video(str(path))]
    list(predict_to_folder(network, sources, tmp_path / "out", video=options))  # type: ignore[arg-type]
    resident = network.resident
    assert len(resident) == NUM_FRAMES
    times = read_times(tmp_path / "out" / "long.mp4")
    assert times == pytest.approx(np.arange(NUM_FRAMES) * 0.04, abs=1e-6)
    early = float(np.median(resident[NUM_FRAMES // 10 : NUM_FRAMES // 5]))
    late = float(np.median(resident[-NUM_FRAMES // 10 :]))
    assert late < 1.05 * early
