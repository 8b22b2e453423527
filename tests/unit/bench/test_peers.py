"""The peers give what torchvision's networks give, and stop the clock between their parts."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

from blitznet.bench import peers, untrained
from blitznet.bench.peers import (
    PEERS,
    REFERENCE,
    TORCH,
    TORCH_BF16,
    TORCH_DEFAULT,
    Peer,
    build_peer,
    find_peers,
    open_peer,
)
from blitznet.bench.race import Laps
from blitznet.errors import InputError
from tiny_peers import tiny_faster_rcnn, tiny_retinanet, tiny_ssd

CPU = torch.device("cpu")


DETECTORS = [tiny_ssd, tiny_retinanet, tiny_faster_rcnn]


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(60, 90), (90, 60)]  # height, width
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrained, "CANDIDATES", {0.01: 60.0, 0.05: 40.0})


@pytest.mark.usefixtures("few_candidates")
@pytest.mark.parametrize("build", DETECTORS)
def test_a_detector_finds_what_it_finds_without_us(
    build: Callable[[], nn.Module], images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "tiny", Peer(build, "boxes", 64))
    model = build_peer("tiny", images)
    # Channels last sums in another order, which decides on boxes at a threshold.
    layouts = {
        TORCH_DEFAULT: torch.contiguous_format,
        TORCH: torch.channels_last,
        TORCH_BF16: torch.channels_last,
    }
    for runtime, layout in layouts.items():
        same = copy.deepcopy(model).to(memory_format=layout)
        with torch.inference_mode():
            wanted = same([pil_to_tensor(image) / 255 for image in images])
        assert all(len(one["boxes"]) for one in wanted)
        contestant = open_peer("tiny", model, runtime, CPU, images)
        laps = Laps()
        found = contestant.look(images, laps)
        assert list(laps.seconds) == ["preprocess", "network", "postprocess"]
        for one, theirs, image in zip(found, wanted, images, strict=True):
            assert one.boxes is not None
            assert one.scores is not None
            assert one.boxes.dtype == one.scores.dtype == np.float32
            assert (one.boxes <= (*image.size, *image.size)).all()
            if runtime == TORCH_BF16:
                # Rounded scores change the order of weak boxes, but not how many there are.
                assert len(one.boxes) == pytest.approx(len(theirs["boxes"]), rel=0.5)
                continue
            np.testing.assert_allclose(one.boxes, theirs["boxes"].numpy(), atol=0.01)
            np.testing.assert_allclose(one.scores, theirs["scores"].numpy(), atol=1e-4)
            np.testing.assert_array_equal(one.labels, theirs["labels"].numpy())
        assert contestant.parameters == sum(p.numel() for p in model.parameters())
        assert contestant.gflops is not None
        assert contestant.gflops > 0


@pytest.mark.usefixtures("few_candidates")
def test_anchors_are_counted(images: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "tiny", Peer(tiny_ssd, "boxes", 64))
    contestant = open_peer("tiny", build_peer("tiny", images), TORCH_BF16, CPU, images)
    assert contestant.anchors == 16 * 16 * 4  # cells, and four boxes each


def test_a_map_has_the_size_of_its_picture_and_is_torchvisions(
    images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "torchvision lraspp_mobilenet_v3_large"
    monkeypatch.setattr(peers, "SIDE", 64)
    model = build_peer(name, images)
    contestant = open_peer(name, model, TORCH, CPU, images)
    laps = Laps()
    found = contestant.look(images, laps)
    assert list(laps.seconds) == ["preprocess", "network", "postprocess"]
    assert contestant.anchors is None
    for one, image in zip(found, images, strict=True):
        assert one.boxes is None
        assert one.seg_map is not None
        assert one.seg_map.dtype == np.uint8
        assert one.seg_map.shape == (image.height, image.width)
        resized = pil_to_tensor(image.resize((64, 64), Image.Resampling.BILINEAR))
        mean, std = torch.tensor(peers.IMAGENET_MEAN), torch.tensor(peers.IMAGENET_STD)
        picture = ((resized / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))[None]
        with torch.inference_mode():
            logits = model(picture)["out"]
        wanted = nn.functional.interpolate(logits, one.seg_map.shape, mode="bilinear").argmax(1)
        assert (wanted[0].numpy() == one.seg_map).mean() > 0.99  # but for rounding


def test_peers_are_found_by_parts_of_their_names() -> None:
    assert find_peers(["ssd300"]) == (REFERENCE,)
    assert find_peers(["deeplab", "ssd300"]) == (REFERENCE, "torchvision deeplabv3_resnet50")
    assert find_peers(["none"]) == ()
    with pytest.raises(InputError, match=r"no peer's name contains 'yolo'; there are torchvision"):
        find_peers(["ssd300", "yolo"])
