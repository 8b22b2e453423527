"""Every runtime that is here, beside PyTorch in float32."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from blitznet.boxes import pairwise_iou
from blitznet.detections import Detections
from blitznet.inference.demo import demo_pictures
from blitznet.inference.engines.choose import RUNTIMES, open_engine
from blitznet.inference.engines.engine import Engine
from tiny_network import SIZE, save_tiny_checkpoint

pytestmark = pytest.mark.slow

SCORE = 0.2
CONVERTED = ["onnxruntime", "openvino", "openvino-bf16"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Engine:
    return open_engine(checkpoint, "torch", "cpu")


def noise(num_pictures: int) -> np.ndarray:
    rng = np.random.default_rng(num_pictures)
    return rng.integers(0, 256, (num_pictures, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_float32_gives_what_pytorch_gives(runtime: str, checkpoint: Path, plain: Engine) -> None:
    opened = open_engine(checkpoint, runtime, "cpu")
    assert opened.name == runtime
    assert opened.info == plain.info
    assert opened.model is not None
    for size in (1, 3, 8):
        one, other = (each.run(noise(size), SCORE) for each in (plain, opened))
        np.testing.assert_allclose(other.seg_logits, one.seg_logits, atol=1e-3)
        assert one.detections is not None
        assert other.detections is not None
        for expected, found in zip(one.detections, other.detections, strict=True):
            assert len(expected.scores) > 0
            torch.testing.assert_close(found.scores, expected.scores, atol=1e-3, rtol=0)
        assert other.network_ms is not None


@pytest.mark.parametrize("runtime", CONVERTED)
def test_threads_and_later_calls_leave_results_alone(runtime: str, checkpoint: Path) -> None:
    opened = open_engine(checkpoint, runtime, "cpu", hint="throughput")
    pictures = [noise(1) // (1 + index) for index in range(6)]
    alone = [opened.run(picture, SCORE).seg_logits for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda one: opened.run(one, SCORE).seg_logits, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_second_start_converts_nothing(checkpoint: Path) -> None:
    open_engine(checkpoint, "openvino", "cpu")
    lines: list[str] = []
    open_engine(checkpoint, "openvino-bf16", "cpu", tell=lines.append)
    assert lines == []


def test_int8_is_calibrated_once_and_found_again(
    checkpoint: Path, plain: Engine, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "maps").mkdir()
    for index, pixels in enumerate(noise(4)):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{index}.png")
        Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "maps" / f"{index}.png")
    entry = {"format": "masks", "images": "pictures", "masks": "maps", "values": {0: "background"}}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"classes": ["red", "green", "blue"], "train": [entry]}))
    lines: list[str] = []
    for calibrate in (data, data, None):
        opened = open_engine(
            checkpoint, "openvino-int8", "cpu", calibrate=calibrate, tell=lines.append
        )
    assert sum("openvino-int8" in line for line in lines) == 1
    expected, found = (each.run(noise(1), SCORE).seg_logits for each in (plain, opened))
    assert expected is not None
    assert found is not None
    # Untrained, and calibrated on noise: docs/runtimes.md has what trained ones lose.
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.8
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("runtime", ["torch-bf16", *CONVERTED])
def test_photographs_give_the_same_objects(runtime: str) -> None:
    plain, opened = (open_engine(None, name, "cpu") for name in ("torch", runtime))
    assert runtime in RUNTIMES
    side = plain.info.model.image_size
    num_objects = 0
    for picture in demo_pictures():
        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB").resize((side, side)))[None]
        one, other = plain.run(pixels, 0.5), opened.run(pixels, 0.3)
        assert one.detections is not None
        assert other.detections is not None
        assert is_found(one.detections[0], other.detections[0])
        num_objects += len(one.detections[0].scores)
        assert one.seg_logits is not None
        assert other.seg_logits is not None
        is_same = one.seg_logits.argmax(axis=1) == other.seg_logits.argmax(axis=1)
        assert is_same.mean() > 0.95  # in bfloat16, two nearly equal logits may be equal
    assert num_objects > 2


def is_found(expected: Detections, found: Detections) -> bool:
    """Whether every object has one of its class that overlaps by more than half."""
    overlaps = pairwise_iou(expected.boxes, found.boxes) > 0.5
    matches = overlaps & (expected.labels[:, None] == found.labels)
    return bool(matches.any(dim=1).all())
