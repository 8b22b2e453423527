"""A recipe gets its number of classes from the data, and fields of the weights from these."""

from pathlib import Path

import pytest

from blitznet.training.network import fit_to_start
from blitznet.training.recipe import RECIPES, fit_to_data, read_recipe
from fixtures.tiny_run import TINY, saved_network, tiny_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_takes_the_number_of_classes_from_the_data(name: str) -> None:
    recipe = RECIPES[name]
    fitted = fit_to_data(recipe, 3)
    assert fitted.model.num_classes == 3
    original = fitted.model.model_copy(update={"num_classes": recipe.model.num_classes})
    assert fitted.model_copy(update={"model": original}) == recipe


@pytest.mark.parametrize("number", [5, 21])
def test_a_number_of_classes_that_a_recipe_asks_for_is_kept(tmp_path: Path, number: int) -> None:
    (tmp_path / "given.yaml").write_text(f"base: modern\nmodel: {{num_classes: {number}}}\n")
    for recipe in (
        read_recipe("modern", (f"model.num_classes={number}",)),
        read_recipe(str(tmp_path / "given.yaml")),
    ):
        assert fit_to_data(recipe, 3) == recipe
        assert recipe.model.num_classes == number


def test_a_recipe_that_is_read_takes_the_number_of_classes_from_the_data(tmp_path: Path) -> None:
    (tmp_path / "named.yaml").write_text("model: ssd300\nsteps: 5\n")
    for name in (str(tmp_path / "named.yaml"), "modern"):
        assert fit_to_data(read_recipe(name, ("steps=7",)), 3).model.num_classes == 3


def test_what_belongs_to_the_weights_comes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    saved_network(path, pad_same=True, mean=(0.5, 0.4, 0.3), std=(1, 2, 3))
    recipe = tiny_recipe(start_from=str(path), model=TINY.model_copy(update={"num_classes": 3}))
    fitted = fit_to_start(recipe).model
    assert (fitted.pad_same, fitted.mean, fitted.std) == (True, (0.5, 0.4, 0.3), (1, 2, 3))
    assert fitted.num_classes == 3
    other = recipe.model.model_copy(update={"backbone": "resnet18"})
    assert fit_to_start(recipe.model_copy(update={"model": other})).model == other
    assert fit_to_start(tiny_recipe()) == tiny_recipe()
