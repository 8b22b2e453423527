from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from blitznet.detection.limits import Limits
from blitznet.detection.postprocess import decode_detections
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model_files import CheckpointInfo
from tiny_network import NAMES, SIZE, tiny_model

CPU = torch.device("cpu")
SCORE = 0.2


def engine_of(model: BlitzNet, **settings: object) -> TorchEngine:
    info = CheckpointInfo(model=model.config, names=NAMES)
    return TorchEngine(model, info, CPU, **settings)  # type: ignore[arg-type]


def noise(num_images: int) -> np.ndarray:
    rng = np.random.default_rng(num_images)
    return rng.integers(0, 256, (num_images, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("num_images", [1, 3])
def test_it_gives_what_normalising_the_network_and_decoding_give(num_images: int) -> None:
    model, pixels = tiny_model().eval(), noise(num_images)
    output = engine_of(model).run(pixels, SCORE)
    with torch.inference_mode():
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        raw = model(normalize_images(images, model.config.mean, model.config.std))
    expected = decode_detections(raw, model.anchors, SIZE, Limits(SCORE))
    assert output.detections is not None
    assert len(output.detections) == num_images
    for one, other in zip(output.detections, expected, strict=True):
        assert len(one.scores) > 0
        for found, wanted in zip(one, other, strict=True):
            np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(output.seg_logits, raw.seg_logits.numpy())


@pytest.mark.parametrize("missing", ["detect", "segment"])
def test_a_network_of_one_task_gives_nothing_of_the_other(missing: str) -> None:
    output = engine_of(tiny_model(**{missing: False})).run(noise(1), SCORE)
    assert (output.detections is None) == (missing == "detect")
    assert (output.seg_logits is None) == (missing == "segment")


def test_bfloat16_gives_nearly_the_same_and_leaves_the_network_alone() -> None:
    model, pixels = tiny_model().eval(), noise(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exact = engine_of(model).run(pixels, SCORE).seg_logits
    rounded = engine_of(model, is_bfloat16=True)
    assert rounded.name == "torch-bf16"
    found = rounded.run(pixels, SCORE).seg_logits
    assert found is not None
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    np.testing.assert_allclose(found, exact, atol=0.1)  # eight bits, and logits of about 1
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_many_threads_get_the_results_of_their_own_pixels() -> None:
    engine = engine_of(tiny_model().eval())
    batches = [noise(count) for count in (1, 2, 3, 1, 2, 3)]
    alone = [engine.run(pixels, SCORE).seg_logits for pixels in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda pixels: engine.run(pixels, SCORE).seg_logits, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
