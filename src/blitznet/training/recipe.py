"""A recipe: everything that decides what training does, apart from the data."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blitznet.data.ssd_policy import Augmentation
from blitznet.errors import RecipeError, first_problem
from blitznet.model_info import BLITZNET300, BLITZNET300_MOBILE, MODELS, ModelConfig
from blitznet.text_files import read_yaml

Precision = Literal["fp32", "bf16"]


class Recipe(BaseModel):
    """How a network is trained.

    Attributes:
        name: what `blitznet train` calls it.
        model: the network.
        backbone_weights: "imagenet" = timm's, downloaded on first use; a safetensors file with
            timm's names; None = from scratch.
        start_from: a bundled network or a checkpoint file whose weights are taken over wherever
            name and shape agree, so not in heads for other classes; None = the backbone's alone.
        steps: optimizer steps.
        global_batch_size: images per step, over all processes.
        accumulate: parts in which a process takes its images of a step, one after the other, to
            save memory; apart from the statistics of batch norms the step is the same.
        sync_batchnorm: batch norms see the images of all processes, not of their own alone; CUDA
            only.
        optimizer: adam with L2 weight decay (section 4.2), or adamw.
        lr: initial learning rate (drops) or its peak (cosine).
        backbone_lr_scale: what the backbone's learning rate is multiplied by.
        schedule: "drops" divides by 10 at each of `lr_drops`; "cosine" decays to 0.
        lr_drops: steps.
        warmup_steps: linear from 0 to `lr`; in a short run a third of its steps.
        weight_decay: on convolution weights; biases and batch norms are spared with adamw.
        clip_grad_norm: None = off.
        ema_decay: of the averaged weights that are evaluated and saved; None = the weights
            themselves. In a short run less, so that the average is over a third of it.
        freeze_stride: the backbone up to and including this stride keeps its weights; 0 = all is
            trained.
        class_balance: share of images below which a class is rare: images that show one are drawn
            more often, see `blitznet.data.sampling`; 0 = off.
        augmentation: see there.
        precision: bf16 = autocast, weights in fp32; on a processor that has no instructions for
            bfloat16, training runs in fp32.
        seed: of weights and samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: ModelConfig
    backbone_weights: str | None = "imagenet"
    start_from: str | None = None
    steps: int = Field(ge=1)
    global_batch_size: int = Field(default=32, ge=1)
    accumulate: int = Field(default=1, ge=1)
    sync_batchnorm: bool = False
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    backbone_lr_scale: float = Field(default=1.0, ge=0)
    schedule: Literal["drops", "cosine"] = "drops"
    lr_drops: tuple[int, ...] = ()
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    freeze_stride: Literal[0, 2, 4, 8] = 0
    class_balance: float = Field(default=0.0, ge=0, le=1)
    augmentation: Augmentation = Augmentation()
    precision: Precision = "bf16"
    seed: int = 0

    @property
    def fitted_warmup_steps(self) -> int:
        """At most a third of the steps, so that a short run gets to its learning rate."""
        return min(self.warmup_steps, self.steps // 3)

    @property
    def fitted_ema_decay(self) -> float | None:
        """At most what remembers a third of the steps: not the random heads of the first ones."""
        if self.ema_decay is None:
            return None
        return min(self.ema_decay, max(0.0, 1 - 3 / self.steps))


# MobileNetV2, for two CPU cores.
MOBILE = Recipe(
    name="blitznet300-mobile",
    model=BLITZNET300_MOBILE,
    steps=5_600,
    global_batch_size=16,
    optimizer="adamw",
    lr=1.2e-3,
    backbone_lr_scale=0.1,
    schedule="cosine",
    warmup_steps=200,
    weight_decay=2e-2,
    clip_grad_norm=10.0,
    ema_decay=0.998,
    freeze_stride=4,
    augmentation=Augmentation(zoom_out_probability=0.4, zoom_out_max=2.5),
)

# ResNet-50 on one GPU.
RESNET50 = Recipe(
    name="blitznet300",
    model=BLITZNET300,
    steps=8_000,
    global_batch_size=32,
    optimizer="adamw",
    lr=4e-4,
    backbone_lr_scale=0.1,
    schedule="cosine",
    warmup_steps=500,
    weight_decay=5e-2,
    clip_grad_norm=10.0,
    ema_decay=0.9995,
    freeze_stride=2,
)

# The default: fine-tunes the bundled network, for other classes too. As its own second part, but
# without what turned out not to help (D21, D22).
MODERN = MOBILE.model_copy(
    update={
        "name": "modern",
        "start_from": BLITZNET300_MOBILE.name,
        "steps": 3_500,
        "lr": 8e-4,
        "weight_decay": 5e-2,
        "augmentation": Augmentation(
            zoom_out_probability=0.5, zoom_out_max=4.0, mosaic_probability=0.3
        ),
    }
)

# Sections 4.2 and 4.3 to the letter: the tables of VOC07 at 300 pixels.
PAPER = Recipe(
    name="paper",
    model=BLITZNET300,
    steps=65_000,
    lr_drops=(35_000, 50_000),
    precision="fp32",
)

DEFAULT_RECIPE = MODERN.name
RECIPES: dict[str, Recipe] = {r.name: r for r in (MODERN, PAPER, MOBILE, RESNET50)}


def read_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A named recipe or a YAML file, with `key=value` overrides as `model.fusion=refine`.

    A file holds the fields of `Recipe`; its `base` names the recipe that the rest is taken from,
    inside `model` and `augmentation` too. Its `model` may be just a name of the family, and its
    own name is that of the file unless it says another.

    Raises:
        RecipeError: for a name, key or value that does not exist.
    """
    return _change(_base_values(name_or_path), overrides, name_or_path)


def change_recipe(recipe: Recipe, overrides: tuple[str, ...] = (), **changes: object) -> Recipe:
    """The recipe with `key=value` overrides, see `read_recipe`, or changes as values.

    Args:
        recipe: stays as it is.
        overrides: as text.
        changes: fields and their values; of the parts `model` and `augmentation` a dict of what
            changes in them.

    Raises:
        RecipeError: for a key or value that does not exist.
    """
    values = _values(recipe)
    for key, value in changes.items():
        part = values.get(key)
        values[key] = part | value if isinstance(part, dict) and isinstance(value, dict) else value
    return _change(values, overrides, recipe.name)


def fit_to_classes(recipe: Recipe, num_classes: int) -> Recipe:
    """The recipe for the number of classes of the data, unless it asks for a number itself.

    Args:
        recipe: asks for a number if `model.num_classes` was given, even if it is the default.
        num_classes: C of the data, background included.
    """
    if "num_classes" in recipe.model.model_fields_set:
        return recipe
    model = recipe.model.model_copy(update={"num_classes": num_classes})
    return recipe.model_copy(update={"model": model})


def _values(recipe: Recipe) -> dict[str, Any]:
    """All fields as plain values, but not a number of classes that nobody has given."""
    return recipe.model_dump() | {"model": _without_default_classes(recipe.model)}


def _without_default_classes(model: ModelConfig) -> dict[str, Any]:
    is_given = "num_classes" in model.model_fields_set
    return model.model_dump(exclude=None if is_given else {"num_classes"})


def _change(values: dict[str, Any], overrides: tuple[str, ...], source: str) -> Recipe:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"--set {override}: give it as key=value, for example --set lr=0.001")
        try:
            value = yaml.safe_load(text)
        except (ValueError, yaml.YAMLError):
            raise RecipeError(f"--set {override}: the value is no valid YAML") from None
        _set_value(values, key.strip(), value)
    return _validate(values, source)


def _base_values(name_or_path: str) -> dict[str, Any]:
    if name_or_path in RECIPES:
        return _values(RECIPES[name_or_path])
    path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(
            f"no recipe or file is called {name_or_path!r}; recipes: {', '.join(RECIPES)}"
        )
    content = read_yaml(path, RecipeError)
    if not isinstance(content, dict):
        raise RecipeError(f"{path} is no recipe; it needs fields as `base`, `model` and `steps`")
    base = content.pop("base", None)
    if base is not None and base not in tuple(RECIPES):  # a list, say, has no hash
        raise RecipeError(f"{path}: no recipe is called {base!r}; there are {', '.join(RECIPES)}")
    values = _values(RECIPES[base]) if base else {}
    model = content.get("model")
    if isinstance(model, str):
        if model not in MODELS:
            raise RecipeError(
                f"{path}: no network is called {model!r}; there are {', '.join(MODELS)}"
            )
        content["model"] = _without_default_classes(MODELS[model])
    for part in ("model", "augmentation"):
        if isinstance(content.get(part), dict):
            content[part] = values.get(part, {}) | content[part]
    return values | {"name": path.stem} | content


def _set_value(values: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        part = values.get(parent)
        if not isinstance(part, dict):
            raise RecipeError(f"--set {key}: the recipe has no part {parent!r}")
        values = part
    values[last] = value


def _validate(values: dict[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"recipe {source}: {first_problem(error)}") from None
