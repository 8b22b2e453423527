"""Our networks as contestants: what they find is in pixels of the picture, and clocks are right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blitznet.bench.ours import count_work, look_of, write_single_tasks, write_untrained
from blitznet.bench.race import Laps
from blitznet.detections import Detections
from blitznet.inference.engines.engine import EngineOutput
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.model_info import ModelConfig

NAMES = ("background", "red", "green")
SIZE = 64


class KnownRuntime:
    """Finds one box in the upper left quarter, and class 1 on the left half of the map."""

    name = "known"

    def __init__(self, config: ModelConfig, **changes: bool):
        self.info = CheckpointInfo(model=config.model_copy(update=changes), names=NAMES)
        self.seen: list[tuple[int, ...]] = []

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:  # noqa: ARG002
        self.seen.append(pixels.shape)
        one = Detections(
            torch.tensor([[0.0, 0.0, SIZE / 2, SIZE / 2]]), torch.tensor([2]), torch.tensor([0.75])
        )
        seg_logits = np.zeros((len(pixels), len(NAMES), 2, 2), np.float32)
        seg_logits[:, 1, :, 0] = 10
        config = self.info.model
        return EngineOutput(
            [one] * len(pixels) if config.detect else None,
            seg_logits if config.segment else None,
            network_ms=1e6,
        )


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (40, 20)), Image.new("RGB", (30, 60))]


def test_boxes_and_map_are_in_pixels_of_each_picture(tiny_config: ModelConfig) -> None:
    runtime, laps = KnownRuntime(tiny_config), Laps()
    first, second = look_of([runtime], 0.01)(pictures(), laps)
    assert runtime.seen == [(2, SIZE, SIZE, 3)]
    np.testing.assert_allclose(first.boxes, [[0, 0, 20, 10]])
    np.testing.assert_allclose(second.boxes, [[0, 0, 15, 30]])
    assert first.seg_map is not None
    assert first.seg_map.shape == (20, 40)
    assert (first.seg_map[:, 0] == 1).all()
    assert (first.seg_map[:, -1] == 0).all()
    # The network's own clock said 1000 seconds; the rest of the call belongs to the next stage.
    assert laps.seconds["network"] == pytest.approx(1000)
    assert laps.seconds["postprocess"] == pytest.approx(-1000, abs=100)


def test_two_networks_find_what_one_finds_from_one_input(tiny_config: ModelConfig) -> None:
    both = look_of([KnownRuntime(tiny_config)], 0.01)(pictures(), Laps())
    boxes_only = KnownRuntime(tiny_config, segment=False)
    map_only = KnownRuntime(tiny_config, detect=False)
    laps = Laps()
    two = look_of([boxes_only, map_only], 0.01)(pictures(), laps)
    for one, other in zip(both, two, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.seg_map, other.seg_map)
    assert laps.seconds["network"] == pytest.approx(2000, rel=1e-12)


def test_networks_for_one_task_give_what_the_whole_one_gives(
    tiny_network: BlitzNet, tmp_path: Path
) -> None:
    info = CheckpointInfo(model=tiny_network.config, names=NAMES)
    save_checkpoint(tmp_path / "tiny.safetensors", tiny_network, info)
    images = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = tiny_network(images)
        boxes_only, map_only = (
            load_checkpoint(path)[0](images)
            for path in write_single_tasks(tmp_path / "tiny.safetensors", tmp_path)
        )
    assert boxes_only.seg_logits is None
    assert map_only.class_logits is None
    torch.testing.assert_close(boxes_only.class_logits, wanted.class_logits)
    torch.testing.assert_close(map_only.seg_logits, wanted.seg_logits)


def test_work_is_counted_as_by_hand(tiny_config: ModelConfig) -> None:
    config = tiny_config
    parameters, gflops = count_work(config.model_copy(update={"segment": False}))
    parameters_with_map, gflops_with_map = count_work(config)
    width, classes, sizes = config.seg_width, len(NAMES), config.level_sizes
    channels = BlitzNet(config).upscale.channels  # type: ignore[union-attr]
    assert parameters_with_map - parameters == (
        sum(channels) * width + len(sizes) * width + len(sizes) * width * 9 * classes + classes
    )
    squeeze = sum(
        size**2 * of_level * width for size, of_level in zip(sizes, channels, strict=True)
    )
    classify = sizes[0] ** 2 * len(sizes) * width * 9 * classes
    assert gflops_with_map - gflops == pytest.approx(2 * (squeeze + classify) / 1e9)


def test_a_network_without_weights_gets_settled_ones_that_are_always_the_same(
    tiny_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blitznet.bench.ours.build", lambda *_, **__: BlitzNet(tiny_config))
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8)) for _ in range(2)]
    written = []
    for name in ("a", "b"):
        path = write_untrained(name, tmp_path, images, NAMES, 0.01)
        network, info = load_checkpoint(path)
        assert info.names == NAMES
        assert not info.training
        written.append(network.state_dict())
    assert all(torch.equal(tensor, written[1][key]) for key, tensor in written[0].items())
