"""The start of a run: weights, frozen layers, the optimizer's groups, EMA weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from blitznet.classes import VOC_CLASSES
from blitznet.errors import InputError, RecipeError
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.training.network import build_network, fit_to_start, keep_dropped
from blitznet.training.optimizer import build_optimizer, set_learning_rate
from blitznet.training.recipe import Recipe
from fixtures.tiny_run import TINY, saved_network, tiny_recipe

# Beginnings of names, by the stride up to which a backbone is frozen.
FROZEN = {
    "test_resnet": {
        0: (),
        2: ("conv1.", "bn1."),
        4: ("conv1.", "bn1.", "layer1."),
        8: ("conv1.", "bn1.", "layer1.", "layer2."),
    },
    "test_efficientnet": {
        0: (),
        2: ("conv_stem.", "bn1.", "blocks.0."),
        4: ("conv_stem.", "bn1.", "blocks.0.", "blocks.1."),
        8: ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.", "blocks.2."),
    },
}

CASES = [(backbone, stride) for backbone in FROZEN for stride in (0, 2, 4, 8)]


def recipe_of(backbone: str, stride: int) -> Recipe:
    model = TINY.model_copy(update={"backbone": backbone})
    return tiny_recipe(model=model, freeze_stride=stride)


@pytest.mark.parametrize(("backbone", "stride"), CASES)
def test_frozen_layers_keep_weights_and_statistics_and_all_others_change(
    backbone: str, stride: int
) -> None:
    frozen = tuple(f"backbone.body.{start}" for start in FROZEN[backbone][stride])
    assert_only_kept(recipe_of(backbone, stride), frozen)


# The last one is the smallest part that the detection loss trains alone.
@pytest.mark.parametrize(
    "names",
    [
        ["backbone"],
        ["backbone.body.conv_stem", "multibox_head.classify.0"],
        ["backbone", "downscale", "upscale", "segmentation_head", "multibox_head.classify"],
    ],
)
def test_frozen_modules_keep_weights_and_statistics_and_all_others_change(
    names: list[str],
) -> None:
    assert_only_kept(tiny_recipe(freeze=names), tuple(f"{name}." for name in names))


def assert_only_kept(recipe: Recipe, frozen: tuple[str, ...]) -> None:
    """In two steps, all tensors change but those whose names begin with `frozen`."""
    torch.manual_seed(0)
    network = build_network(recipe, VOC_CLASSES)
    optimizer = build_optimizer(network, recipe)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(2):  # of a new network, some gradients of the first step are 0
        raw = network(torch.randn(2, 3, 64, 64))
        torch.stack(
            [output.square().mean() for output in raw if output is not None]
        ).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = network.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name.startswith(frozen)}


@pytest.mark.parametrize(("backbone", "stride"), CASES)
def test_what_is_frozen_is_not_given_to_the_optimizer(backbone: str, stride: int) -> None:
    recipe = recipe_of(backbone, stride)
    network = build_network(recipe, VOC_CLASSES)
    frozen = tuple(f"backbone.body.{start}" for start in FROZEN[backbone][stride])
    given = {p for group in build_optimizer(network, recipe).param_groups for p in group["params"]}
    expected = {p for name, p in network.named_parameters() if not name.startswith(frozen)}
    assert given == expected


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["backbon"], "freeze: this network has no module 'backbon'; it has backbone, downscale"),
        (["anchors"], "no module 'anchors'"),
        (["backbone.body.conv_stem.weight"], "no module 'backbone.body.conv_stem.weight'"),
        (
            ["backbone", "downscale", "upscale", "multibox_head", "segmentation_head"],
            "freeze: nothing is left to train",
        ),
    ],
)
def test_modules_that_cannot_be_frozen_are_refused(names: list[str], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        build_network(tiny_recipe(freeze=names), VOC_CLASSES)


def test_a_backbone_that_cannot_run_at_the_image_size_is_refused_before_training() -> None:
    with pytest.raises(InputError, match="visformer_tiny cannot run at 64 pixels"):
        build_network(recipe_of("visformer_tiny", stride=0), VOC_CLASSES)


def test_the_network_starts_in_training_mode() -> None:
    network = build_network(tiny_recipe(), VOC_CLASSES)
    assert all(module.training for module in network.modules())


def test_adam_decays_all_weights_and_adamw_spares_biases_and_batch_norms() -> None:
    network = build_network(tiny_recipe(), VOC_CLASSES)
    everything = set(network.parameters())
    adam = build_optimizer(network, tiny_recipe(optimizer="adam", weight_decay=0.01))
    assert type(adam) is torch.optim.Adam
    assert {group["weight_decay"] for group in adam.param_groups} == {0.01}
    assert {p for group in adam.param_groups for p in group["params"]} == everything

    adamw = build_optimizer(network, tiny_recipe(optimizer="adamw", weight_decay=0.01))
    assert type(adamw) is torch.optim.AdamW
    decayed = {p for g in adamw.param_groups if g["weight_decay"] == 0.01 for p in g["params"]}
    spared = {p for g in adamw.param_groups if g["weight_decay"] == 0 for p in g["params"]}
    assert decayed == {m.weight for m in network.modules() if isinstance(m, nn.Conv2d)}
    assert decayed | spared == everything
    assert not decayed & spared


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_the_backbone_has_its_own_learning_rate_and_every_weight_has_one(kind: str) -> None:
    recipe = tiny_recipe(optimizer=kind, backbone_lr_scale=0.25)
    network = build_network(recipe, VOC_CLASSES)
    optimizer = build_optimizer(network, recipe)
    set_learning_rate(optimizer, 0.8)
    rates = [(p, group["lr"]) for group in optimizer.param_groups for p in group["params"]]
    backbone = set(network.backbone.parameters())
    assert len(rates) == len(list(network.parameters()))
    assert {rate for p, rate in rates if p in backbone} == {0.2}
    assert {rate for p, rate in rates if p not in backbone} == {0.8}


def test_weights_of_a_file_are_put_into_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    body = BlitzNet(TINY).backbone.body
    weights = {name: t.half() for name, t in body.state_dict().items() if t.ndim > 0}
    weights["classifier.weight"] = torch.zeros(10, 4)  # a classifier's file holds more
    save_file(weights, tmp_path / "weights.safetensors")
    recipe = tiny_recipe(backbone_weights=str(tmp_path / "weights.safetensors"))
    loaded = build_network(recipe, VOC_CLASSES).backbone.body.state_dict()
    assert all(torch.equal(loaded[name], weights[name].float()) for name in weights.keys() & loaded)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    recipe = tiny_recipe(backbone_weights=str(path))
    message = f"^backbone_weights: {path} does not exist$"
    with pytest.raises(RecipeError, match=message):  # before a run has a folder
        fit_to_start(recipe)
    with pytest.raises(RecipeError, match=message):  # when it resumes
        build_network(recipe, VOC_CLASSES)


def test_a_run_starts_from_another_networks_weights_wherever_they_fit(tmp_path: Path) -> None:
    torch.manual_seed(7)
    path = tmp_path / "other.safetensors"
    other = saved_network(path, ("background", "a", "b", "c"))
    network = build_network(tiny_recipe(start_from=str(path)), VOC_CLASSES)
    theirs = other.state_dict()
    for name, tensor in network.state_dict().items():
        fits = tensor.shape == theirs[name].shape
        assert fits == ("classify" not in name)
        assert torch.equal(tensor, theirs[name]) == fits


# By the beginning of a name, the level, block or step that each of the larger network copies.
SOURCES = {
    "multibox_head.classify": [0, 1, 2, 3, 4, 4, 5],
    "multibox_head.regress": [0, 1, 2, 3, 4, 4, 5],
    "segmentation_head.squeeze": [0, 1, 2, 3, 4, 4, 5],
    "upscale.blocks": [0, 0, 1, 2, 3, 4],  # the coarsest first
    "downscale.steps": [0, 1, 1],
}


def network_of_size(size: int, path: Path | None = None) -> BlitzNet:
    model = TINY.model_copy(update={"image_size": size})
    recipe = tiny_recipe(model=model, start_from=None if path is None else str(path))
    return build_network(recipe, VOC_CLASSES)


def saved_network_of_size(size: int, path: Path) -> BlitzNet:
    torch.manual_seed(7)
    network = network_of_size(size)
    save_checkpoint(path, network, CheckpointInfo(model=network.config, names=VOC_CLASSES))
    return network


def test_a_larger_image_size_adds_a_coarse_level_and_keeps_the_weights_of_all_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "other.safetensors"
    theirs = saved_network_of_size(256, path).state_dict()
    own = network_of_size(512, path).state_dict()
    for module, sources in SOURCES.items():
        for number, source in enumerate(sources):
            start, origin = f"{module}.{number}.", f"{module}.{source}."
            for name in [name for name in own if name.startswith(start)]:
                assert torch.equal(own[name], theirs[origin + name.removeprefix(start)]), name
    joint, parts = (
        state["segmentation_head.classify.weight"].split(TINY.seg_width, dim=1)
        for state in (own, theirs)
    )
    half = parts[4] / 2  # two levels share the weights of one
    for found, expected in zip(joint, [*parts[:4], half, half, parts[5]], strict=True):
        torch.testing.assert_close(found, expected)
    for name in own:
        if not name.startswith((*SOURCES, "segmentation_head.classify.weight")):
            assert torch.equal(own[name], theirs[name]), name


def test_a_smaller_image_size_drops_the_second_coarsest_level(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    theirs = saved_network_of_size(512, path).state_dict()
    own = network_of_size(256, path).state_dict()
    for name, source in (
        ("multibox_head.classify.4.weight", "multibox_head.classify.4.weight"),
        ("multibox_head.classify.5.weight", "multibox_head.classify.6.weight"),
        ("upscale.blocks.0.block.transform.3.weight", "upscale.blocks.1.block.transform.3.weight"),
        ("upscale.blocks.4.block.transform.3.weight", "upscale.blocks.5.block.transform.3.weight"),
    ):
        assert torch.equal(own[name], theirs[source]), name


def test_an_image_size_without_down_scale_steps_keeps_the_heads_of_levels_that_fit(
    tmp_path: Path,
) -> None:
    path = tmp_path / "other.safetensors"
    theirs = saved_network_of_size(256, path).state_dict()
    network = network_of_size(64, path)
    assert not network.downscale.steps  # the 1x1 level has the backbone's channels
    own = network.state_dict()
    for level in range(3):
        name = f"multibox_head.classify.{level}.weight"
        assert torch.equal(own[name], theirs[name])
    assert own["multibox_head.classify.3.weight"].shape[1] != TINY.downscale_width


def test_a_part_of_the_classes_keeps_its_scores_and_the_others_are_background(
    tmp_path: Path,
) -> None:
    torch.manual_seed(7)
    path, again = tmp_path / "other.safetensors", tmp_path / "again.safetensors"
    other = saved_network(path, ("background", "a", "b", "c", "d")).eval()
    model = TINY.model_copy(update={"num_classes": 3})
    recipe = keep_dropped(tiny_recipe(model=model, start_from=str(path)), ("background", "d", "b"))
    assert recipe.model.background_rows == 3
    network = build_network(recipe, ("background", "d", "b")).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        theirs, ours = other(images), network(images)
        for whole, part, dim in (
            (theirs.class_logits, ours.class_logits, 2),
            (theirs.seg_logits, ours.seg_logits, 1),
        ):
            expected = whole.softmax(dim).index_select(dim, torch.tensor([4, 2]))
            found = part.softmax(dim).index_select(dim, torch.tensor([1, 2]))
            torch.testing.assert_close(found, expected)
        torch.testing.assert_close(ours.box_deltas, theirs.box_deltas)

        # And once more: of that network's classes, one is left.
        info = CheckpointInfo(model=network.config, names=("background", "d", "b"))
        save_checkpoint(again, network, info)
        model = TINY.model_copy(update={"num_classes": 2})
        recipe = keep_dropped(tiny_recipe(model=model, start_from=str(again)), ("background", "b"))
        assert recipe.model.background_rows == 4
        last = build_network(recipe, ("background", "b")).eval()(images)
    torch.testing.assert_close(
        last.class_logits.softmax(2)[..., 1], theirs.class_logits.softmax(2)[..., 2]
    )


def test_other_classes_begin_with_one_row_of_background(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    saved_network(path, ("background", "a", "b"))
    recipe = tiny_recipe(start_from=str(path))
    for names in (("background", "x"), ("background", "a", "b"), ("background", "a", "b", "c")):
        assert keep_dropped(recipe, names) == recipe


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    saved_network(path, backbone="test_resnet")
    with pytest.raises(RecipeError, match="can take over too little"):
        build_network(tiny_recipe(start_from=str(path)), VOC_CLASSES)
