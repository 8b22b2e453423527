"""What happens before a run's first step."""

import pytest

from blitznet.training.recipe import RECIPES
from blitznet.training.run import fit_to_classes
from fixtures.tiny_run import TINY, tiny_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_takes_the_number_of_classes_from_the_data(name: str) -> None:
    recipe = RECIPES[name]
    fitted = fit_to_classes(recipe, 3)
    assert fitted.model.num_classes == 3
    original = fitted.model.model_copy(update={"num_classes": recipe.model.num_classes})
    assert fitted.model_copy(update={"model": original}) == recipe


def test_a_number_of_classes_that_a_recipe_asks_for_is_kept() -> None:
    recipe = tiny_recipe(model=TINY.model_copy(update={"num_classes": 5}))
    assert fit_to_classes(recipe, 3) == recipe
