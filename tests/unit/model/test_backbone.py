import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from blitznet.errors import CheckpointError, InputError
from blitznet.model.backbone import Backbone
from blitznet.model_info import ModelConfig


def with_backbone(config: ModelConfig, name: str, **update: object) -> ModelConfig:
    return config.model_copy(update={"backbone": name, **update})


@pytest.fixture
def images(rng: torch.Generator) -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=rng)


@pytest.fixture
def classifier_weights() -> dict[str, Tensor]:
    """Weights of a classifier with the tiny network's backbone, including its last layer."""
    torch.manual_seed(1)
    classifier = timm.create_model("test_resnet")
    for layer in classifier.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean)
    return dict(classifier.state_dict())


@pytest.mark.parametrize("size", [64, 75, 100])
@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_035", "test_convnext"])
def test_stages_have_the_sizes_that_the_anchors_assume_and_the_channels_that_they_say(
    tiny_config: ModelConfig, name: str, size: int
) -> None:
    config = with_backbone(tiny_config, name, finest_stride=4)
    backbone = Backbone(config).eval()
    stages = backbone(torch.zeros(2, 3, size, size))
    expected = [
        (2, channels, math.ceil(size / stride), math.ceil(size / stride))
        for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(stage.shape) for stage in stages] == expected


def test_stride_8_network_uses_the_last_three_stages_of_the_backbone(
    tiny_config: ModelConfig, images: Tensor
) -> None:
    backbone = Backbone(tiny_config).eval()
    assert backbone.channels == backbone.body.feature_info.channels()[-3:]
    for stage, expected in zip(backbone(images), backbone.body(images)[-3:], strict=True):
        assert torch.equal(stage, expected)


@pytest.mark.slow
def test_stages_of_a_swin_transformer_are_channels_first(tiny_config: ModelConfig) -> None:
    config = with_backbone(tiny_config, "swin_tiny_patch4_window7_224", image_size=224)
    stages = Backbone(config).eval()(torch.zeros(1, 3, 224, 224))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (192, 28, 28),
        (384, 14, 14),
        (768, 7, 7),
    ]


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_resnet_equals_that_of_torchvision_with_the_same_weights(
    tiny_config: ModelConfig, images: Tensor, name: str
) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    reference = models.get_model(name, weights=None).eval()
    backbone = Backbone(with_backbone(tiny_config, name, finest_stride=4)).eval()
    weights = {k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    backbone.body.load_state_dict(weights)
    features = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images))))
    for stage, layer in zip(
        backbone(images), ("layer1", "layer2", "layer3", "layer4"), strict=True
    ):
        features = getattr(reference, layer)(features)
        torch.testing.assert_close(stage, features)


def test_stride_in_1x1_moves_the_strides_of_three_stages_and_keeps_the_sizes(
    tiny_config: ModelConfig, images: Tensor
) -> None:
    ours = Backbone(with_backbone(tiny_config, "resnet14t")).eval()
    original = Backbone(with_backbone(tiny_config, "resnet14t", stride_in_1x1=True)).eval()
    for layer in ours.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)  # timm starts with silent branches
    original.load_state_dict(ours.state_dict())
    for stage in ("layer2", "layer3", "layer4"):
        block = getattr(original.body, stage)[0]
        assert (block.conv1.kernel_size, block.conv1.stride) == ((1, 1), (2, 2))
        assert (block.conv2.kernel_size, block.conv2.stride) == ((3, 3), (1, 1))
    assert original.body.layer1[0].conv2.stride == (1, 1)
    for stage, moved in zip(ours(images), original(images), strict=True):
        assert stage.shape == moved.shape
        assert not torch.allclose(stage, moved)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_035"])
def test_stride_in_1x1_is_refused_where_there_are_no_bottlenecks(
    tiny_config: ModelConfig, name: str
) -> None:
    with pytest.raises(InputError, match=f"ResNets with bottlenecks, {name} has none"):
        Backbone(with_backbone(tiny_config, name, stride_in_1x1=True))


def test_same_padding_pads_at_the_end_only(tiny_config: ModelConfig, images: Tensor) -> None:
    symmetric = Backbone(with_backbone(tiny_config, "mobilenetv2_035")).eval()
    same = Backbone(with_backbone(tiny_config, "mobilenetv2_035", pad_same=True)).eval()
    same.load_state_dict(symmetric.state_dict())
    for stage, other in zip(symmetric(images), same(images), strict=True):
        assert stage.shape == other.shape
    # On an even side, stride 2 with padding (0, 1) sees the mirror image of padding (1, 0).
    stem, same_stem = symmetric.body.conv_stem, same.body.conv_stem
    mirrored = nn.functional.conv2d(
        images.flip(2, 3), stem.weight.flip(2, 3), stride=2, padding=1
    ).flip(2, 3)
    torch.testing.assert_close(same_stem(images), mirrored)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"backbone": "resnet51"}, r"timm has no model 'resnet51'"),
        ({"backbone": "test_vit"}, r"strides \[.*but tiny needs \(8, 16, 32\)"),
        ({"pad_same": True}, "'test_resnet': .*pad_type"),
    ],
)
def test_backbone_that_cannot_serve_is_refused_in_one_line(
    tiny_config: ModelConfig, update: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Backbone(tiny_config.model_copy(update=update))
    assert "\n" not in str(caught.value)


def test_backbone_that_cannot_run_at_the_size_is_named_in_one_line(
    tiny_config: ModelConfig,
) -> None:
    backbone = Backbone(with_backbone(tiny_config, "visformer_tiny"))
    backbone.require_runnable(224)
    assert backbone.training
    with pytest.raises(InputError) as caught:
        backbone.require_runnable(64)
    assert str(caught.value) == (
        "backbone visformer_tiny cannot run at 64 pixels (Input height (32) doesn't match model "
        "(112)); choose another timm model, or another image_size: it was made for 224"
    )


def test_trying_a_size_changes_no_weight_or_batch_statistic(tiny_config: ModelConfig) -> None:
    backbone = Backbone(tiny_config)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone.require_runnable(64)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_weights_of_a_classifier_fill_the_whole_backbone(
    tiny_config: ModelConfig, classifier_weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "classifier.safetensors"
    save_file(classifier_weights, path)
    backbone = Backbone(tiny_config)
    assert backbone.load_imagenet(path) == []
    for name, tensor in backbone.body.state_dict().items():
        assert torch.equal(tensor, classifier_weights[name])


def test_tensors_that_a_file_lacks_are_named_and_stay_fresh(
    tiny_config: ModelConfig, classifier_weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "to_layer3.safetensors"
    given = {k: v.half() for k, v in classifier_weights.items() if not k.startswith("layer4.")}
    save_file(given, path)
    backbone = Backbone(tiny_config)
    fresh = backbone.body.layer4[0].conv1.weight.clone()
    assert not torch.equal(fresh, classifier_weights["layer4.0.conv1.weight"])
    missing = backbone.load_imagenet(path)
    assert missing
    assert all(name.startswith("layer4.") for name in missing)
    assert torch.equal(backbone.body.layer4[0].conv1.weight, fresh)
    for name, tensor in backbone.body.named_parameters():
        assert tensor.dtype == torch.float32
        assert name in missing or torch.equal(tensor, given[name].float())


@pytest.mark.parametrize("other", ["mobilenetv2_035", "resnet10t", "less than half", "damaged"])
def test_weights_of_another_architecture_or_of_too_little_of_it_are_refused(
    tiny_config: ModelConfig, classifier_weights: dict[str, Tensor], tmp_path: Path, other: str
) -> None:
    path, message = tmp_path / "other.safetensors", "does not fit this backbone"
    if other == "damaged":
        path.write_bytes(b"no tensors here")
        message = "is not a readable safetensors"
    elif other == "less than half":
        save_file({k: v for k, v in classifier_weights.items() if k.startswith("layer1.")}, path)
    else:
        save_file(timm.create_model(other).state_dict(), path)
    with pytest.raises(CheckpointError, match=rf"other\.safetensors {message}"):
        Backbone(tiny_config).load_imagenet(path)


@pytest.mark.parametrize(
    ("name", "stride", "first_trained"),
    [
        ("test_resnet", 2, "layer1"),
        ("test_resnet", 4, "layer2"),
        ("test_resnet", 8, "layer3"),
        ("mobilenetv2_035", 4, "blocks.2"),
        ("test_convnext", 4, "stages_1"),  # timm flattens its names
        ("xception41", 4, "blocks_1.stack.conv3"),  # and only their first dot
    ],
)
def test_freezing_fixes_all_convolutions_up_to_a_stride_and_none_beyond(
    tiny_config: ModelConfig, name: str, stride: int, first_trained: str
) -> None:
    backbone = Backbone(with_backbone(tiny_config, name)).train()
    backbone.freeze(stride)
    convolutions = {
        key: layer.weight.requires_grad
        for key, layer in backbone.body.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    names = list(convolutions)
    border = next(i for i, key in enumerate(names) if key.startswith(f"{first_trained}."))
    assert list(convolutions.values()) == [i >= border for i in range(len(names))]


def test_frozen_layers_of_a_resnet_keep_weights_and_batch_statistics_in_training(
    tiny_config: ModelConfig, images: Tensor
) -> None:
    backbone = Backbone(tiny_config).train()
    backbone.freeze(4)
    before = {name: tensor.clone() for name, tensor in backbone.body.state_dict().items()}
    sum(stage.square().mean() for stage in backbone(images.expand(2, -1, -1, -1))).backward()
    for name, parameter in backbone.body.named_parameters():
        frozen = name.startswith(("conv1.", "bn1.", "layer1."))
        assert (parameter.grad is None) == frozen, name
    for name, tensor in backbone.body.state_dict().items():
        if name.startswith(("bn1.running", "layer1.0.bn1.running")):
            assert torch.equal(tensor, before[name]), name
        if name.startswith("layer2.0.bn1.running"):
            assert not torch.equal(tensor, before[name]), name


def test_freezing_nothing_leaves_all_trainable(tiny_config: ModelConfig) -> None:
    backbone = Backbone(tiny_config).train()
    backbone.freeze(0)
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(layer.training for layer in backbone.modules())


def test_freezing_up_to_a_stride_that_the_backbone_lacks_is_refused(
    tiny_config: ModelConfig,
) -> None:
    backbone = Backbone(with_backbone(tiny_config, "test_convnext"))
    with pytest.raises(InputError, match=r"freeze at stride 2; this backbone has \[4, 8, 16, 32\]"):
        backbone.freeze(2)


def test_freezing_a_stage_that_timm_names_unlike_its_layers_is_refused_in_one_line(
    tiny_config: ModelConfig,
) -> None:
    backbone = Backbone(with_backbone(tiny_config, "hrnet_w18_small"))
    with pytest.raises(InputError) as caught:
        backbone.freeze(4)
    assert str(caught.value) == (
        "the layers of hrnet_w18_small up to stride 4 cannot be told apart; "
        "set freeze_stride to 0, which trains all of it"
    )
