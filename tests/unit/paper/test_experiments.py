"""Every experiment can be trained: its recipe, its network, its data description."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from blitznet.data.coco import CocoEntry
from blitznet.data.description import read_description
from blitznet.data.sampling import draw_frequencies
from blitznet.data.voc import VocEntry
from blitznet.errors import InputError
from blitznet.model.blitznet import BlitzNet
from blitznet.model_info import MODELS
from blitznet.paper.tables import (
    Experiment,
    find_recipe,
    find_table,
    read_experiments,
    read_tables,
)
from blitznet.training.recipe import RECIPES, fit_to_data

ROOT = Path(__file__).parents[3]
EXPERIMENTS = read_experiments()
ALL = list(EXPERIMENTS.values())


@pytest.fixture
def _in_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_experiment_is_in_a_table_under_a_name_of_its_own() -> None:
    shown = {one.name for table in read_tables().values() for one in table.experiments}
    assert shown == set(EXPERIMENTS)
    assert not shown & set(RECIPES)
    assert len([one for one in ALL if not one.is_twin]) == 6 + 4 + 3 + 2 + 3 + 2 + 3 + 5
    assert len([one for one in ALL if one.is_twin]) == 5 + 3 + 4 + 4


@pytest.mark.parametrize("experiment", ALL, ids=lambda one: one.name)
def test_recipe_is_valid_and_its_network_builds(experiment: Experiment) -> None:
    recipe = experiment.recipe
    assert recipe.name == experiment.name
    # The same network with a small backbone and narrow streams, which is built quickly.
    narrow = {"backbone": "test_resnet", "pad_same": False, "seg_width": 8}
    widths = {"downscale_width": 32, "upscale_width": 32}
    with torch.device("meta"):
        network = BlitzNet(recipe.model.model_copy(update=narrow | widths))
    assert len(network.anchors) == 6 * sum(size**2 for size in recipe.model.level_sizes)


@pytest.mark.usefixtures("_in_clone")
@pytest.mark.parametrize("experiment", ALL, ids=lambda one: one.name)
def test_data_description_has_what_the_experiment_trains_and_is_measured_on(
    experiment: Experiment,
) -> None:
    description = read_description(experiment.data_file)
    model = experiment.recipe.model
    assert len(description.classes) == model.num_classes
    assert experiment.splits.keys() <= description.splits.keys()
    train = description.entries("train")
    assert any(entry.boxes for entry in train) or not model.detect
    has_maps = [
        isinstance(entry, VocEntry | CocoEntry)
        and (entry.masks is not None or getattr(entry, "sbd", None) is not None)
        for entry in train
    ]
    assert any(has_maps) or not model.segment
    if not experiment.is_twin:
        assert "val" not in description.splits, "a test set must not choose what is kept"


@pytest.mark.usefixtures("_in_clone")
def test_apart_leaves_out_what_is_tested_on_and_changes_nothing_else() -> None:
    plain = read_description(Path("data/voc12-seg-aug-voc07.yaml"))
    apart = read_description(Path("data/voc12-seg-aug-voc07-apart.yaml"))
    excluded = [
        tuple(map(str, entry.exclude)) for entry in apart.entries("train") if entry.format == "voc"
    ]
    assert excluded == [
        ("VOCdevkit/VOC2007/ImageSets/Main/test.txt",),
        ("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",),
    ]
    without = [entry.model_copy(update={"exclude": ()}) for entry in apart.entries("train")]
    assert without == plain.entries("train")
    for split in ("voc12_val_seg", "voc07_test"):
        assert apart.entries(split) == plain.entries(split)
    aparts = [one for one in ALL if one.name.endswith("-apart")]
    assert len(aparts) == 5
    for one in aparts:
        whole = EXPERIMENTS[one.name.removesuffix("-apart")]
        assert one.data == f"{whole.data}-apart"
        assert one.recipe.model_copy(update={"name": whole.name}) == whole.recipe
        assert one.columns == whole.columns


# By table: 3, 4 and 8 are trained to convergence. Where boxes are added, a third of the images
# drawn have no map.
BUDGETS = {"1": {400}, "3": {2500}, "4": {2500, 3750}, "8": {2500}}


@pytest.mark.parametrize("table", BUDGETS)
def test_twins_of_a_table_share_budget_seeds_and_classes(table: str) -> None:
    nine = ("person", "car", "bus", "train", "cat", "dog", "cow", "horse", "sheep")
    same = {"name": "", "model": RECIPES["paper"].model, "steps": 1, "lr_drops": ()}
    twins = [one for one in ALL if one.is_twin and one.name.startswith(f"subset-table{table}")]
    assert {one.recipe.steps for one in twins} == BUDGETS[table]
    assert len({one.recipe.model_copy(update=same).model_dump_json() for one in twins}) == 1
    for one in twins:
        assert one.recipe.global_batch_size == 16
        assert one.seeds == ((0, 1, 2) if table == "3" else (0, 1))
        assert one.splits.items() <= {"val": nine, "test07": nine[:5]}.items()
        assert one.source.startswith(f"twin of table {one.name[len('subset-table')]}, row")


def test_a_row_changes_a_part_of_its_model_and_may_name_another_network() -> None:
    both, ssd = (EXPERIMENTS[name].recipe for name in ("voc07-blitznet300-s4", "voc07-ssd300"))
    assert both.model == MODELS["blitznet300"].model_copy(update={"segment": False})
    assert ssd.model == MODELS["ssd300"]
    coco = EXPERIMENTS["coco-blitznet512-det"].recipe.model
    changes = {"num_classes": 81, "segment": False}
    assert coco == MODELS["blitznet512"].model_copy(update=changes)
    # Other data may have other classes, unless a row gives their number.
    assert fit_to_data(ssd, 5).model.num_classes == 5
    assert fit_to_data(EXPERIMENTS["coco-blitznet512-det"].recipe, 5).model.num_classes == 81


def test_unknown_tables_get_one_line() -> None:
    with pytest.raises(InputError, match=r"no table 9; give a number from 1 to 8"):
        find_table(9)


@pytest.mark.usefixtures("_in_clone")
def test_an_experiment_has_its_data_and_takes_overrides() -> None:
    experiment = EXPERIMENTS["voc07-blitznet300-s4-seg"]
    assert find_recipe(experiment.name) == experiment.recipe
    assert experiment.require_data() == Path("data/voc0712-seg.yaml")
    assert find_recipe(experiment.name, ("steps=7", "lr_drops=[]")).steps == 7
    assert find_recipe("blitznet300") == RECIPES["blitznet300"]


def test_training_outside_a_clone_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data/voc0712.yaml, which is not here; run it in a c"):
        EXPERIMENTS["voc07-ssd300"].require_data()


@pytest.mark.data
@pytest.mark.usefixtures("_in_clone")
@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        ("voc-subset", [3179, 960]),
        ("voc-subset-aug", [3147]),
        ("voc-subset-few-maps", [453]),
        ("voc-subset-few-maps-boxes12", [453, 2726]),
        ("voc-subset-few-maps-boxes12-07", [453, 2726, 960]),
    ],
)
def test_twins_have_the_images_that_their_table_says(data: str, sizes: list[int]) -> None:
    description = read_description(Path(f"data/{data}.yaml"))
    folder = Path(os.environ["BLITZNET_DATA"]).parent
    sources = description.model_copy(update={"folder": folder}).open_split("train")
    assert [len(source) for source in sources] == sizes
    if "few-maps-" in data:  # section 4.4: with maps to with boxes only as 2 to 1
        frequencies = draw_frequencies(sources)
        share = frequencies[: sizes[0]].sum() / np.sum(frequencies)
        assert share == pytest.approx(2 / 3, abs=0.001)
        with_maps = {sources[0].image_id(i) for i in range(len(sources[0]))}
        others = {sources[1].image_id(i) for i in range(len(sources[1]))}
        assert not with_maps & others
