"""The scripts in benchmarks/, which time torchvision's networks as they are."""

import copy
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.transforms.functional import pil_to_tensor

import peers
import race
import untrained
from blitznet.model.blitznet import BlitzNet, normalize_images
from tiny_network import save_tiny_checkpoint

CPU = torch.device("cpu")


class TinyBackbone(nn.Module):
    """A network with one level of 16 x 16 cells of 4 pixels."""

    out_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=4, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict({"0": self.layers(images)})


def tiny_ssd() -> nn.Module:
    generator = DefaultBoxGenerator([[2]], scales=[0.2, 0.4])
    head = detection.ssd.SSDHead([16], generator.num_anchors_per_location(), peers.NUM_CLASSES)
    return detection.ssd.SSD(TinyBackbone(), generator, (64, 64), peers.NUM_CLASSES, head=head)


def tiny_retinanet() -> nn.Module:
    generator = AnchorGenerator(((8,),), ((1.0,),))
    return detection.RetinaNet(
        TinyBackbone(), peers.NUM_CLASSES, fixed_size=(64, 64), anchor_generator=generator
    )


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(60, 90), (90, 60)]  # height, width
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]


@pytest.mark.parametrize("build", [tiny_ssd, tiny_retinanet])
def test_a_detector_finds_what_it_finds_without_us(
    build: Callable[[], nn.Module], images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrained, "CANDIDATES", {0.01: 60.0, 0.05: 40.0})
    peer = peers.Peer(build, "boxes")
    model = peers.build_peer(peer, images)
    # Channels last sums in another order, which decides on boxes at a threshold.
    layouts = {peers.TORCH_DEFAULT: torch.contiguous_format, peers.TORCH: torch.channels_last}
    for engine, layout in layouts.items():
        same = copy.deepcopy(model).to(memory_format=layout)
        with torch.inference_mode():
            wanted = same([pil_to_tensor(image) / 255 for image in images])
        found: list[dict[str, np.ndarray]] = []
        seconds = peers.predict_with_peer(peer, model, engine, CPU)(images, found)
        assert list(seconds) == ["resize", "network", "post"]
        assert min(seconds.values()) > 0
        for one, theirs in zip(found, wanted, strict=True):
            assert len(one["boxes"])
            np.testing.assert_allclose(one["boxes"], theirs["boxes"].numpy(), atol=0.01)
            np.testing.assert_allclose(one["scores"], theirs["scores"].numpy(), atol=1e-4)
    rounded: list[dict[str, np.ndarray]] = []
    peers.predict_with_peer(peer, model, peers.TORCH_BF16, CPU)(images, rounded)
    # Rounded scores change the order of weak boxes, but not how many there are.
    for one, theirs in zip(rounded, wanted, strict=True):
        assert len(one["boxes"]) == pytest.approx(len(theirs["boxes"]), rel=0.5)


def test_a_segmenter_gives_torchvisions_map_at_the_size_of_the_image(
    images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "SIDE", 64)
    peer = peers.PEERS["lraspp_mobilenet_v3_large"]
    model = peers.build_peer(peer, images)
    found: list[np.ndarray] = []
    peers.predict_with_peer(peer, model, peers.TORCH, CPU)(images, found)
    for one, image in zip(found, images, strict=True):
        assert one.shape == (image.height, image.width)
        resized = pil_to_tensor(image.resize((64, 64), Image.Resampling.BILINEAR))
        mean, std = torch.tensor(peers.IMAGENET_MEAN), torch.tensor(peers.IMAGENET_STD)
        with torch.inference_mode():
            inputs = (resized / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
            logits = model(inputs[None])["out"]
        wanted = nn.functional.interpolate(logits, one.shape, mode="bilinear").argmax(1)
        assert (wanted[0].numpy() == one).mean() > 0.99  # but for rounding


@pytest.mark.slow
def test_the_light_rival_of_our_mobile_network_is_left_as_many_boxes(
    images: list[Image.Image],
) -> None:
    peer = peers.PEERS["ssdlite320_mobilenet_v3_large"]
    model = peers.build_peer(peer, images)
    outputs: list[Tensor] = []
    head = model.head.classification_head
    head.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.inference_mode():
        model([pil_to_tensor(image) / 255 for image in images])
    scores = outputs[0].softmax(dim=-1)[..., 1:]
    candidates = untrained.usual_candidates(model.score_thresh)
    assert int((scores >= model.score_thresh).sum()) / 2 == pytest.approx(candidates, rel=0.05)


def test_a_settled_network_has_the_wanted_boxes_and_cells(
    tiny_network: BlitzNet, rng: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrained, "CANDIDATES", {0.01: 25.0})
    monkeypatch.setattr(untrained, "UNDECIDED_CELLS", 0.2)
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8, generator=rng)
    untrained.settle_network(tiny_network, pixels, 0.01)
    assert not any(module.training for module in tiny_network.modules())
    config = tiny_network.config
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inputs = normalize_images(pixels.permute(0, 3, 1, 2), config.mean, config.std)
        raw = tiny_network(inputs)
    scores = raw.class_logits.float().softmax(dim=-1)[..., 1:]
    # bf16 rounds the logits once more, with the new biases.
    assert int((scores >= 0.01).sum()) / 4 == pytest.approx(25, rel=0.2)
    assert untrained.undecided_share(raw.seg_logits) == pytest.approx(0.2, abs=0.05)


def test_a_cell_is_undecided_if_one_corner_differs() -> None:
    seg_map = np.array([[0, 0, 0], [0, 0, 1]])
    logits = torch.nn.functional.one_hot(torch.from_numpy(seg_map)[None]).permute(0, 3, 1, 2)
    assert untrained.undecided_share(logits.float()) == 0.5


def test_a_race_times_ours_two_of_ours_and_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "SIDE", 64)
    ssd = peers.Peer(tiny_ssd, "boxes", (peers.TORCH_DEFAULT, peers.TORCH))
    monkeypatch.setitem(peers.PEERS, "ssd300_vgg16", ssd)
    network = str(save_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    race.main(
        networks=network,
        engines="torch",
        peers="ssd300",
        two="torch",
        rounds=1,
        seconds=0,
        device="cpu",
        json_file=tmp_path / "bench.json",
    )
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    reference = "torchvision ssd300_vgg16"
    assert [(row["network"], row["engine"]) for row in rows] == [
        ("tiny", "torch"),
        ("tiny, two networks", "torch"),
        (reference, "torch-nchw"),
        (reference, "torch"),
    ]
    out, err = capsys.readouterr()
    assert "x ssd300" in out
    assert f"measuring {reference} on torch, round 1 of 1 ..." in err
