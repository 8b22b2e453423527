from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from blitznet.detection.postprocess import decode_detections
from blitznet.inference.engines.torch_engine import TorchEngine, fill_up
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model_files import CheckpointInfo
from tiny_network import NAMES, SIZE, tiny_model

CPU = torch.device("cpu")
SCORE = 0.2


def runtime_of(model: BlitzNet, **settings: object) -> TorchEngine:
    info = CheckpointInfo(model=model.config, names=NAMES)
    return TorchEngine(model, info, CPU, **settings)  # type: ignore[arg-type]


def noise(num_pictures: int) -> np.ndarray:
    rng = np.random.default_rng(num_pictures)
    return rng.integers(0, 256, (num_pictures, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("num_pictures", [1, 3, 8])
def test_it_gives_what_normalising_the_network_and_decoding_give(num_pictures: int) -> None:
    model, pixels = tiny_model().eval(), noise(num_pictures)
    output = runtime_of(model).run(pixels, SCORE)
    with torch.inference_mode():
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        raw = model(normalize_images(images, model.config.mean, model.config.std))
    expected = decode_detections(raw, model.anchors, SIZE, SCORE)
    assert output.detections is not None
    assert len(output.detections) == num_pictures
    for one, other in zip(output.detections, expected, strict=True):
        assert len(one.scores) > 0
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    np.testing.assert_array_equal(output.seg_logits, raw.seg_logits.numpy())
    assert output.network_ms is not None
    assert output.network_ms > 0


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_network_of_one_task_gives_none_for_the_other(task: str) -> None:
    model = tiny_model(detect=task == "detect", segment=task == "segment")
    output = runtime_of(model).run(noise(1), SCORE)
    assert (output.detections is None) == (task == "segment")
    assert (output.seg_logits is None) == (task == "detect")


def test_a_later_call_does_not_overwrite_an_earlier_result() -> None:
    runtime = runtime_of(tiny_model())
    first = runtime.run(noise(1), SCORE)
    assert first.seg_logits is not None
    before = first.seg_logits.copy()
    runtime.run(noise(1) // 2, SCORE)
    np.testing.assert_array_equal(first.seg_logits, before)


def test_several_threads_get_what_one_gets() -> None:
    runtime = runtime_of(tiny_model())
    pictures = [noise(1) // (1 + index) for index in range(6)]
    alone = [runtime.run(picture, SCORE).seg_logits for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        together = pool.map(lambda picture: runtime.run(picture, SCORE).seg_logits, pictures)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)


def test_bfloat16_gives_float32_within_its_eight_bits() -> None:
    model = tiny_model()
    plain = runtime_of(model).run(noise(2), SCORE)
    rounded = runtime_of(model, is_bfloat16=True).run(noise(2), SCORE)
    assert rounded.seg_logits is not None
    assert rounded.seg_logits.dtype == np.float32
    scale = np.abs(plain.seg_logits).max()
    np.testing.assert_allclose(rounded.seg_logits, plain.seg_logits, atol=0.1 * scale)
    assert not np.array_equal(rounded.seg_logits, plain.seg_logits)


def test_weights_rounded_once_give_what_autocast_gives_and_leave_the_network_alone() -> None:
    model, pixels = tiny_model(), noise(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    output = runtime_of(model, is_bfloat16=True).run(pixels, SCORE)
    images = normalize_images(
        torch.from_numpy(pixels).permute(0, 3, 1, 2), model.config.mean, model.config.std
    )
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        raw = model(images)
    np.testing.assert_array_equal(output.seg_logits, raw.seg_logits.float().numpy())
    assert output.detections is not None
    expected = decode_detections(raw, model.anchors, SIZE, SCORE)
    for one, other in zip(output.detections, expected, strict=True):
        assert len(one.scores) > 0
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_batches_are_filled_up_to_a_power_of_two() -> None:
    assert [len(fill_up(noise(size))) for size in (1, 2, 3, 4, 5, 8, 9)] == [1, 2, 4, 4, 8, 8, 16]
    np.testing.assert_array_equal(fill_up(noise(3))[:3], noise(3))
    assert not fill_up(noise(3))[3:].any()


@pytest.mark.slow
def test_compiled_it_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    compiled = runtime_of(model, is_compiled=True)
    for size in (1, 3):
        plain = runtime_of(model).run(noise(size), SCORE).seg_logits
        np.testing.assert_allclose(compiled.run(noise(size), SCORE).seg_logits, plain, atol=1e-3)
