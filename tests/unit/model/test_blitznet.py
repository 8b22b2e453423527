from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from blitznet.errors import InputError
from blitznet.losses.joint import joint_loss
from blitznet.model.blitznet import BlitzNet, build, normalize_images
from blitznet.model.fusion import FUSION_BLOCKS
from blitznet.model_info import MODELS, ModelConfig
from blitznet.structures import RawPredictions
from labelled_batch import labelled_batch

# The structure of every family member, at a size that takes milliseconds.
SMALL = {"backbone": "test_resnet", "downscale_width": 32, "upscale_width": 32, "seg_width": 8}


@pytest.fixture
def images(rng: torch.Generator) -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=rng)


SMALLEST = SMALL | {"image_size": 130, "num_classes": 3}
VARIANTS = [
    *(pytest.param(one.model_dump() | SMALLEST, id=name) for name, one in MODELS.items()),
    *(pytest.param({"fusion": fusion}, id=fusion) for fusion in FUSION_BLOCKS),
    pytest.param({"segment": False}, id="boxes only"),
    pytest.param({"detect": False}, id="pixels only"),
    *(
        pytest.param(one.model_dump(), id=f"{name} as it is", marks=pytest.mark.slow)
        for name, one in MODELS.items()
    ),
]


@pytest.mark.parametrize("update", VARIANTS)
def test_every_parameter_gets_a_gradient(
    update: dict[str, object], tiny_config: ModelConfig, rng: torch.Generator
) -> None:
    torch.manual_seed(0)
    config = tiny_config.model_copy(update=update)
    network = BlitzNet(config).train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1)  # timm starts with some branches silent
    batch = labelled_batch(config, rng)
    raw = network(normalize_images(batch.images, config.mean, config.std))
    joint_loss(raw, batch, network.anchors).total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("absent", ["segment", "detect"])
def test_network_for_one_task_carries_no_head_for_the_other(
    absent: str, tiny_config: ModelConfig, images: Tensor
) -> None:
    network = BlitzNet(tiny_config.model_copy(update={absent: False})).eval()
    shapes = [None if tensor is None else tuple(tensor.shape) for tensor in network(images)]
    detects = absent == "segment"
    assert shapes == ([(2, 510, 3), (2, 510, 4), None] if detects else [None, None, (2, 3, 8, 8)])
    head = "segmentation_head" if detects else "multibox_head"
    assert not any(name.startswith(head) for name in network.state_dict())


def test_ssd_baseline_has_its_heads_on_the_skips_and_no_upscale_stream(images: Tensor) -> None:
    network = build("ssd300", image_size=64, **SMALL).eval()
    assert network.upscale is None
    assert network.segmentation_head is None
    skips = network.downscale(network.backbone(images))
    class_logits, box_deltas = network.multibox_head(skips)
    raw = network(images)
    assert torch.equal(raw.class_logits, class_logits)
    assert torch.equal(raw.box_deltas, box_deltas)


def test_forward_is_figure_2(tiny_network: BlitzNet, images: Tensor) -> None:
    skips = tiny_network.downscale(tiny_network.backbone(images))
    features = tiny_network.upscale(skips)
    raw = tiny_network(images)
    assert torch.equal(raw.class_logits, tiny_network.multibox_head(features)[0])
    assert torch.equal(raw.box_deltas, tiny_network.multibox_head(features)[1])
    assert torch.equal(raw.seg_logits, tiny_network.segmentation_head(features))


@pytest.mark.parametrize("size", [64, 75, 100])
def test_there_is_one_prediction_for_every_anchor(tiny_config: ModelConfig, size: int) -> None:
    network = BlitzNet(tiny_config.model_copy(update={"image_size": size})).eval()
    raw = network(torch.zeros(1, 3, size, size))
    assert raw.class_logits.shape[1] == raw.box_deltas.shape[1] == len(network.anchors)
    assert raw.seg_logits.shape[-2:] == (network.config.level_sizes[0],) * 2


def test_training_and_evaluation_return_the_same_kind_of_thing(
    tiny_network: BlitzNet, images: Tensor
) -> None:
    evaluated, trained = tiny_network.eval()(images), tiny_network.train()(images)
    assert type(evaluated) is type(trained) is RawPredictions
    assert [t.shape for t in evaluated] == [t.shape for t in trained]


def test_images_of_a_batch_do_not_influence_each_other_in_evaluation(
    tiny_network: BlitzNet, images: Tensor
) -> None:
    for together, alone in zip(tiny_network(images), tiny_network(images[1:]), strict=True):
        # Convolutions of another batch size may sum in another order.
        torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_a_single_image_can_be_trained_on(tiny_network: BlitzNet, images: Tensor) -> None:
    # Batch norm fails on a single value a channel; none may stand on the 1x1 level.
    raw = tiny_network.train()(images[:1])
    assert all(tensor.isfinite().all() for tensor in raw)


def test_anchors_follow_the_network_but_are_not_saved(tiny_network: BlitzNet) -> None:
    assert "anchors" not in tiny_network.state_dict()
    assert tiny_network.anchors.shape == (510, 4)
    assert deepcopy(tiny_network).double().anchors.dtype == torch.float64


def test_network_runs_in_float64(tiny_network: BlitzNet, images: Tensor) -> None:
    single, double = tiny_network(images), tiny_network.double()(images.double())
    assert all(tensor.dtype == torch.float64 for tensor in double)
    for a, b in zip(single, double, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # of inductor
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_network_is_one_graph_and_equals_the_network(
    tiny_network: BlitzNet, images: Tensor, backend: str
) -> None:
    torch.compiler.reset()
    compiled = torch.compile(tiny_network, backend=backend, fullgraph=True)
    for ours, eager in zip(compiled(images), tiny_network(images), strict=True):
        # Inductor fuses, and so rounds differently, through some thirty layers.
        torch.testing.assert_close(ours, eager, rtol=1e-3, atol=1e-4)


def test_bf16_autocast_stays_close_to_single_precision(
    tiny_network: BlitzNet, images: Tensor
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tiny_network(images)
    for low, full in zip(half, tiny_network(images), strict=True):
        assert low.dtype == torch.bfloat16
        # Eight bits of mantissa: 0.4 % a rounding, some thirty roundings that mostly cancel.
        assert (low.float() - full).std() < 0.03 * full.std()


def test_channels_last_equals_channels_first(tiny_network: BlitzNet, images: Tensor) -> None:
    expected = tiny_network(images)
    network = tiny_network.to(memory_format=torch.channels_last)
    result = network(images.to(memory_format=torch.channels_last))
    assert result.seg_logits.is_contiguous(memory_format=torch.channels_last)
    for ours, reference in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)


def test_build_takes_classes_tasks_and_any_other_field(tiny_config: ModelConfig) -> None:
    network = build("blitznet300-mobile", classes=7, segment=False, **SMALL, fusion="refine")
    expected = {**SMALL, "num_classes": 7, "segment": False, "fusion": "refine"}
    expected = MODELS["blitznet300-mobile"].model_dump() | expected
    assert network.config.model_dump() == expected


def test_build_follows_the_name_where_no_task_is_given() -> None:
    assert build("ssd300", **SMALL).config.segment is False
    assert build("ssd300", segment=True, **SMALL).segmentation_head is not None


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("blitznet400", {}, "no network is called 'blitznet400'; choose from blitznet300, blitz"),
        ("blitznet300", {"fusion": "sum"}, "blitznet300: fusion: Input should be 'hourglass'"),
        ("blitznet300", {"depth": 50}, "blitznet300: depth: Extra inputs are not permitted"),
        ("blitznet300", {"detect": False, "segment": False}, "blitznet300: .*at least one task"),
        ("blitznet300", {"classes": 1}, "blitznet300: num_classes: .*, got 1"),
        ("blitznet300", {"backbone": "vgg99"}, "timm has no model 'vgg99'"),
        ("blitznet300-mobile", {"backbone": "visformer_tiny"}, "visformer_tiny cannot run at 300"),
    ],
)
def test_build_refuses_what_does_not_exist_in_one_line(
    name: str, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(name, **overrides)
    assert "\n" not in str(caught.value)


def test_normalised_image_is_the_one_worked_out_by_hand() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    normalised = normalize_images(images, mean=(0.5, 0.2, 0.2), std=(0.5, 0.1, 0.4))
    torch.testing.assert_close(normalised.flatten(), torch.tensor([-1.0, 0.0, 2.0]))
    assert normalised.dtype == torch.float32
