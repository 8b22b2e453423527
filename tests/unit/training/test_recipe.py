"""Recipes: names, files, overrides, and messages for wrong ones."""

import re
from pathlib import Path

import pytest

from blitznet.data.ssd_policy import Augmentation
from blitznet.errors import RecipeError
from blitznet.model_info import BLITZNET512, MODELS, ModelConfig
from blitznet.training.recipe import RECIPES, Recipe, describe_recipe, fit_to_data, read_recipe

RECIPE_FILES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))

MOBILE, PAPER = RECIPES["blitznet300-mobile"], RECIPES["paper"]


def written(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", RECIPES)
def test_a_name_gives_the_recipe_of_that_name(name: str) -> None:
    assert read_recipe(name) == RECIPES[name]
    assert read_recipe(name).name == name


def test_the_papers_recipe_is_that_of_sections_4_2_and_4_3() -> None:
    recipe = PAPER
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-4)
    assert (recipe.global_batch_size, recipe.steps) == (32, 65_000)
    assert (recipe.schedule, recipe.lr_drops) == ("drops", (35_000, 50_000))
    assert (recipe.ema_decay, recipe.clip_grad_norm, recipe.freeze_stride) == (None, None, 0)


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
def test_every_recipe_file_of_the_project_is_valid_and_named_as_its_file(path: Path) -> None:
    assert read_recipe(str(path)).name == path.stem


def test_a_file_takes_from_its_base_what_it_does_not_say(tmp_path: Path) -> None:
    path = written(tmp_path, "base: blitznet300-mobile\nsteps: 10\nlr: 5.0e-4\n")
    expected = MOBILE.model_copy(update={"name": "mine", "steps": 10, "lr": 5e-4})
    assert read_recipe(path) == expected


def test_a_file_may_say_its_own_name(tmp_path: Path) -> None:
    path = written(tmp_path, "base: blitznet300-mobile\nname: other\n")
    assert read_recipe(path).name == "other"


def test_parts_of_a_file_are_merged_into_those_of_its_base(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        base: blitznet300-mobile
        model: {fusion: refine, mean: [0.5, 0.5, 0.5]}
        augmentation: {photometric: false}
        """,
    )
    recipe = read_recipe(path)
    expected_model = {"fusion": "refine", "mean": (0.5, 0.5, 0.5)}
    assert recipe.model == MOBILE.model.model_copy(update=expected_model)
    assert recipe.augmentation == MOBILE.augmentation.model_copy(update={"photometric": False})


def test_a_file_without_base_starts_from_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "model: blitznet512\nsteps: 75000\nglobal_batch_size: 16\n")
    expected = Recipe(name="mine", model=BLITZNET512, steps=75_000, global_batch_size=16)
    assert read_recipe(path) == expected


def test_the_name_of_a_network_replaces_all_of_the_bases(tmp_path: Path) -> None:
    path = written(tmp_path, "base: blitznet300-mobile\nmodel: ssd300\n")
    assert read_recipe(path).model == MODELS["ssd300"]


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("steps=7", "steps", 7),
        ("lr=0.002", "lr", 0.002),
        ("lr=2e-3", "lr", 0.002),  # a string in YAML 1.1, which wants 2.0e-3
        (" lr = 0.002", "lr", 0.002),
        ("ema_decay=null", "ema_decay", None),
        ("backbone_weights=a=b.safetensors", "backbone_weights", "a=b.safetensors"),
        ("lr_drops=[3, 5]", "lr_drops", (3, 5)),
    ],
)
def test_an_override_sets_one_field(override: str, field: str, value: object) -> None:
    recipe = read_recipe("blitznet300-mobile", (override,))
    assert getattr(recipe, field) == value
    assert recipe.model_copy(update={field: getattr(MOBILE, field)}) == MOBILE


def test_overrides_reach_into_parts_and_the_last_one_counts(tmp_path: Path) -> None:
    path = written(tmp_path, "base: blitznet300-mobile\nsteps: 10\n")
    recipe = read_recipe(
        path, ("steps=11", "steps=12", "model.fusion=hourglass", "augmentation.zoom_out_max=1.5")
    )
    assert recipe.steps == 12
    assert recipe.model.fusion == "hourglass"
    assert recipe.augmentation.zoom_out_max == 1.5
    assert recipe.augmentation.zoom_out_probability == MOBILE.augmentation.zoom_out_probability


def test_overriding_leaves_the_named_recipe_alone() -> None:
    before = MOBILE.model_dump()
    read_recipe("blitznet300-mobile", ("model.fusion=refine", "augmentation.photometric=false"))
    assert MOBILE.model_dump() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "--set steps: give it as key=value, for example --set lr=0.001"),
        ("lr=[", "--set lr=[: the value is not valid YAML"),
        ("lr=2001-99-99", "--set lr=2001-99-99: the value is not valid YAML"),
        (
            "lr.x=1",
            "--set lr.x=1: there is no field 'lr.x'; blitznet recipe modern shows all",
        ),
        (
            "modle.fusion=refine",
            "--set modle.fusion=refine: there is no field 'modle.fusion'; did you mean model.fusion"
            " (block of the up-scale stream (table 8); None = no up-scale stream, heads on the "
            "skips (SSD))?",
        ),
        (
            "epochs=3",
            "recipe blitznet300: there is no field 'epochs'; did you mean steps (optimizer steps; "
            "0 = keep the starting weights) or --epochs N, passes over the images?",
        ),
        (
            "model.colour=red",
            "recipe blitznet300: there is no field 'model.colour'; blitznet recipe modern shows "
            "all",
        ),
        (
            "seg_weight=2",
            "recipe blitznet300: there is no field 'seg_weight'; blitznet recipe modern shows all",
        ),
        (
            "loss_weights=2",
            "recipe blitznet300: there is no field 'loss_weights'; blitznet recipe modern shows "
            "all",
        ),
        ("lr=-1", "recipe blitznet300: lr: Input should be greater than 0, got -1"),
        (
            "freeze_stride=3",
            "recipe blitznet300: freeze_stride: Input should be 0, 2, 4 or 8, got 3",
        ),
        (
            "schedule=linear",
            "recipe blitznet300: schedule: Input should be 'drops' or 'cosine', got 'linear'",
        ),
    ],
)
def test_a_wrong_override_gets_one_line(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        read_recipe("blitznet300", (override,))


@pytest.mark.parametrize(
    ("override", "field", "meaning"),
    [
        ("batch", "global_batch_size", "images per step"),
        ("batch_size", "global_batch_size", "images per step"),
        ("imgsz", "model.image_size", "S, side of the square input in pixels"),
        ("image_size", "model.image_size", "S, side of the square input in pixels"),
        ("learning_rate", "lr", "initial learning rate (drops) or its peak (cosine)"),
        ("mosaic", "augmentation.mosaic_probability", "share of samples made of four images"),
        ("stpes", "steps", "optimizer steps"),
        ("warmup", "warmup_steps", "steps of linear warm-up"),
        ("model.lr", "lr", "initial learning rate"),
    ],
)
def test_what_other_tools_call_a_field_is_answered_with_ours(
    override: str, field: str, meaning: str
) -> None:
    with pytest.raises(RecipeError) as raised:
        read_recipe("modern", [f"{override}=8"])
    assert f"did you mean {field} ({meaning}" in str(raised.value)


@pytest.mark.parametrize("name", RECIPES)
def test_a_printed_recipe_is_a_file_that_gives_the_recipe(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, describe_recipe(RECIPES[name]))
    assert read_recipe(path) == RECIPES[name].model_copy(update={"name": "mine"})
    assert fit_to_data(read_recipe(path), 7).model.num_classes == 7
    text = Path(path).read_text()
    for part in (Recipe, ModelConfig, Augmentation):
        assert [name for name in part.model_fields if name not in text] == []


def test_an_unknown_name_is_answered_with_those_that_there_are() -> None:
    message = f"no recipe or file is called 'blitznet301'; recipes: {', '.join(RECIPES)}"
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        read_recipe("blitznet301")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", " is not a recipe; it needs fields such as `base`, `model` and `steps`"),
        ("", " is not a recipe; it needs fields such as `base`, `model` and `steps`"),
        ("base: mine", f": no recipe is called 'mine'; choose from {', '.join(RECIPES)}"),
        ("base: [a]", f": no recipe is called ['a']; choose from {', '.join(RECIPES)}"),
        ("model: resnet", f": no network is called 'resnet'; choose from {', '.join(MODELS)}"),
        ("base: blitznet300\nmodel: 5", ": model: Input should be a valid dictionary"),
        ("base: blitznet300\naugmentation: 5", ": augmentation: Input should be a valid dict"),
        ("model: blitznet300", ": steps: Field required"),
        ("steps: 5", ": model: Field required"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as raised:
        read_recipe(path)
    assert str(raised.value).removeprefix("recipe ").startswith(f"{path}{problem}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"a: [", b"lr: 2001-99-99"])
def test_a_file_that_is_no_yaml_gets_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=f"^{re.escape(str(path))} cannot be read as YAML: .+$"):
        read_recipe(str(path))


@pytest.mark.parametrize(
    ("steps", "decay"), [(3_500, 0.998), (1_500, 0.998), (60, 0.95), (3, 0.0), (1, 0.0)]
)
def test_the_average_of_a_short_run_is_over_a_third_of_it(steps: int, decay: float) -> None:
    recipe = MOBILE.model_copy(update={"steps": steps})
    assert recipe.fitted_ema_decay == pytest.approx(decay)
    assert PAPER.fitted_ema_decay is None


@pytest.mark.parametrize(
    "override",
    ["name=../../escape", 'name="\\ud800"', 'name="a\\nb"', "name=", "seed=99999999999", "seed=-1",
     "seed=1e30", "clip_grad_norm=.inf", "lr=.nan", "global_batch_size=1000000000000",
     "model.image_size=20000", "model.downscale_width=1000000", "model.finest_scale=1e-30",
     "model.mean=[.nan, 0, 0]", "model.std=[0, 1, 1]", "model.backbone=hf-hub:a/b",
     "model.backbone=local-dir:/tmp", "steps=99999999999999"],
)  # fmt: skip
def test_values_that_no_run_can_have_are_refused_with_their_field(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(RecipeError, match=rf"(recipe modern: {key}|--set {key})") as error:
        read_recipe("modern", [override])
    assert "\n" not in str(error.value)
