"""Recipes: everything that decides a training run, except the data."""

import inspect
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from blitznet.data.ssd_policy import Augmentation
from blitznet.errors import InputError, RecipeError, closest, cut, first_problem, shown
from blitznet.files.plain_names import file_name
from blitznet.files.text_files import parse_yaml, read_yaml
from blitznet.model_info import ModelConfig, find_model

Precision = Literal["fp32", "bf16"]

# Fields by their names in other tools.
_CALLED_ELSEWHERE = {
    "epochs": "steps", "iterations": "steps", "max_steps": "steps", "batch": "global_batch_size",
    "batch_size": "global_batch_size", "imgsz": "model.image_size", "img_size": "model.image_size",
    "learning_rate": "lr", "lr0": "lr", "weights": "start_from", "pretrained": "start_from",
    "mosaic": "augmentation.mosaic_probability",
}  # fmt: skip


class Recipe(BaseModel):
    """How a network is trained.

    Attributes:
        name: name of the recipe for `blitznet train`.
        model: architecture of the network.
        backbone_weights: "imagenet" = from an installed package (`PACKAGES` in
            `model.imagenet_weights`), otherwise timm's, downloaded on first use; a safetensors file
            with timm's names; None = from scratch.
        start_from: a bundled network or a checkpoint file whose weights are used wherever name and
            shape agree, and in the heads for classes of the same name. None = start from
            `backbone_weights`.
        teacher: a bundled network or a checkpoint with the same classes, for distillation: its
            probabilities are half of the labels of objects and pixels. Of several, the mean is
            used; None = no teacher.
        steps: optimizer steps; 0 = keep the starting weights.
        global_batch_size: images per step, over all processes.
        accumulate: number of parts in which a process computes its images of a step, to save
            memory; only batch statistics differ.
        optimizer: adam with L2 weight decay (section 4.2), or adamw.
        lr: initial learning rate (drops) or its peak (cosine).
        backbone_lr_scale: factor of the backbone's learning rate.
        schedule: "drops" divides by 10 at each of `lr_drops`; "cosine" decays to 0.
        lr_drops: steps at which the learning rate drops.
        warmup_steps: steps of linear warm-up from 0 to `lr`; at most a third of all steps.
        weight_decay: weight decay; adamw does not apply it to biases and batch norms.
        clip_grad_norm: maximum norm of the gradients; None = no clipping.
        ema_decay: decay of the EMA weights, which are evaluated and saved; lower in a short run, to
            average over a third of it. None = no EMA weights.
        freeze_stride: freeze the backbone up to and including this stride; 0 = train all of it.
        freeze: modules whose weights and batch statistics are kept, by name, such as `backbone` or
            `multibox_head.classify`.
        min_negatives: minimum number of hard negatives per image, even without objects.
        class_balance: share of images below which a class is rare; images with rare classes are
            drawn more often, see `blitznet.data.sampling`. 0 = off.
        augmentation: how strongly images are changed, see `Augmentation`.
        precision: bf16 = autocast with weights in fp32; falls back to fp32 on processors without
            bfloat16 instructions.
        seed: seed of weights and samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=200)
    model: ModelConfig
    backbone_weights: str | None = "imagenet"
    start_from: str | None = None
    teacher: str | tuple[str, ...] | None = None
    steps: int = Field(ge=0, le=10**9)
    global_batch_size: int = Field(default=32, ge=1, le=65_536)
    accumulate: int = Field(default=1, ge=1, le=65_536)
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(default=1e-4, gt=0, le=1000)
    backbone_lr_scale: float = Field(default=1.0, ge=0, le=1000)
    schedule: Literal["drops", "cosine"] = "drops"
    lr_drops: tuple[int, ...] = ()
    warmup_steps: int = Field(default=0, ge=0, le=10**9)
    weight_decay: float = Field(default=5e-4, ge=0, le=1)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    freeze_stride: Literal[0, 2, 4, 8] = 0
    freeze: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    min_negatives: int = Field(default=0, ge=0)
    class_balance: float = Field(default=0.0, ge=0, le=1)
    augmentation: Augmentation = Augmentation()
    precision: Precision = "bf16"
    seed: int = Field(default=0, ge=0, le=2**32 - 1)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if file_name(name) != name:
            raise ValueError("a recipe's name is that of its runs' folder, without / or \\")
        return name

    @property
    def teachers(self) -> tuple[str, ...]:
        """The networks of `teacher`."""
        if self.teacher is None or isinstance(self.teacher, tuple):
            return self.teacher or ()
        return (self.teacher,)

    @property
    def fitted_warmup_steps(self) -> int:
        """`warmup_steps`, at most a third of the steps, so that a short run reaches `lr`."""
        return min(self.warmup_steps, self.steps // 3)

    @property
    def fitted_ema_decay(self) -> float | None:
        """`ema_decay`, lowered to forget the random heads of the first steps in a short run."""
        if self.ema_decay is None:
            return None
        return min(self.ema_decay, max(0.0, 1 - 3 / max(self.steps, 1)))


def read_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a named recipe or a YAML file, with overrides such as `model.fusion=refine`.

    A file contains fields of `Recipe`; unset ones, also in `model` and `augmentation`, come from
    the recipe that `base` names. `model` may be the name of a network, or have one as its own
    `base`. The recipe's name defaults to the file's.

    Raises:
        RecipeError: if a name, key or value is invalid.
    """
    if name_or_path in RECIPES:
        return change_recipe(RECIPES[name_or_path], overrides)
    path = Path(name_or_path)
    if not path.is_file():
        raise RecipeError(
            f"no recipe or file is called {name_or_path!r}; recipes: {', '.join(RECIPES)}"
        )
    content = read_yaml(path, RecipeError)
    if isinstance(content, dict) and {"classes", "train"} & content.keys():
        raise RecipeError(f"{path} is not a recipe but describes data; give it with --data {path}")
    if not isinstance(content, dict):
        raise RecipeError(
            f"{path} is not a recipe; it needs fields such as `base`, `model` and `steps`"
        )
    return make_recipe({"name": file_name(path.stem)} | content, str(path), overrides)


def make_recipe(content: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Make a recipe of a file's fields, see `read_recipe`; `source` names it in errors."""
    values = dict(content)
    base, model = values.pop("base", None), values.get("model")
    if base is not None and base not in tuple(_NAMED):  # `base` may be a list, which has no hash
        raise RecipeError(
            f"{source}: no recipe is called {shown(base)}; choose from {', '.join(_NAMED)}"
        )
    inherited = {} if base is None else _values(make_recipe(_NAMED[base] | {"name": base}, base))
    model = {"base": model} if isinstance(model, str) else model
    if isinstance(model, dict) and "base" in model:
        try:
            family = find_model(str(model["base"])).model_dump(exclude_unset=True)
        except InputError as error:
            raise RecipeError(f"{source}: {error}") from None
        values["model"] = {key: value for key, value in model.items() if key != "base"}
        inherited["model"] = family
    return _change(_merge(inherited, values), overrides, source)


def change_recipe(recipe: Recipe, overrides: Sequence[str] = (), **changes: object) -> Recipe:
    """A copy of the recipe with changes.

    Args:
        recipe: the original, not changed.
        overrides: changes as `key=value`, see `read_recipe`.
        changes: changes as values; for `model` and `augmentation`, a dict of the fields to change.

    Raises:
        RecipeError: if a key or value is invalid.
    """
    return _change(_merge(_values(recipe), changes), overrides, recipe.name)


def describe_recipe(recipe: Recipe) -> str:
    """The recipe as YAML for `read_recipe`, without its name, which is that of the file.

    Model fields that are left to their defaults or to the data become comments.
    """
    content, given = recipe.model_dump(mode="json", exclude={"name"}), recipe.model.model_fields_set
    content["model"] = recipe.model.model_dump(mode="json", include=given)
    rest = recipe.model.model_dump(mode="json", exclude={*given, "num_classes"})
    comment = "# Of the model, num_classes is that of the data unless it is given; by default:\n"
    return _dump(content) + comment + indent(_dump({"model": rest}), "# ")


def summarize_recipe(recipe: Recipe) -> str:
    """A line that says what the recipe trains."""
    weights = recipe.backbone_weights or "random"
    start = recipe.start_from or f"{weights} weights of {recipe.model.backbone}"
    return (
        f"{recipe.name}: {recipe.model.name}, {recipe.model.image_size} pixels, from {start}, "
        f"{recipe.steps} steps of {recipe.global_batch_size} images"
    )


def fit_to_data(
    recipe: Recipe, num_classes: int, has_boxes: bool = True, has_maps: bool = True
) -> Recipe:
    """The recipe with the number of classes and the heads that the data can train.

    Args:
        recipe: keeps its `model.num_classes` if it was given, even as the default value.
        num_classes: C of the data, background included.
        has_boxes: whether to keep the multibox head, if there is one.
        has_maps: whether to keep the segmentation head.

    Raises:
        RecipeError: if no head is left, or there are too many classes for a segmentation map.
    """
    model = recipe.model
    changes: dict[str, Any] = {}
    if "num_classes" not in model.model_fields_set:
        changes["num_classes"] = num_classes
    if model.detect and not has_boxes:
        changes["detect"] = False
    if model.segment and not has_maps:
        changes["segment"] = False
    return change_recipe(recipe, model=changes) if changes else recipe


def _dump(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=80)


def _values(recipe: Recipe) -> dict[str, Any]:
    """All fields as plain values, but only those of the model that were given."""
    return recipe.model_dump() | {"model": recipe.model.model_dump(exclude_unset=True)}


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with changes; where both are dicts, they are merged by key."""
    merged = {**values, **changes}
    for key, part in changes.items():
        if isinstance(part, dict) and isinstance(values.get(key), dict):
            merged[key] = values[key] | part
    return merged


def _change(values: dict[str, Any], overrides: Sequence[str], source: str) -> Recipe:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"--set {override}: give it as key=value, for example --set lr=0.001")
        *parents, last = key.strip().split(".")
        part: Any = values
        for parent in parents:
            part = part.get(parent)
            if not isinstance(part, dict):
                raise RecipeError(f"--set {override}: {_no_field(key.strip())}")
        try:
            part[last] = parse_yaml(text)
        except ValueError:
            raise RecipeError(f"--set {cut(override)}: the value is not valid YAML") from None
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        is_unknown = problem["type"] == "extra_forbidden"
        text = _no_field(".".join(map(str, problem["loc"]))) if is_unknown else first_problem(error)
        raise RecipeError(f"recipe {source}: {text}") from None


def _no_field(key: str) -> str:
    """Say that a recipe has no such field, and suggest one of nearly that name with its meaning."""
    fields = _fields()
    by_last = {name.rpartition(".")[2]: name for name in reversed(fields)} | _CALLED_ELSEWHERE
    last = key.rpartition(".")[2]
    near = closest(last, by_last)
    if near is None:
        return f"there is no field {cut(key)!r}; blitznet recipe {DEFAULT_RECIPE} shows all"
    field = by_last[near]
    flag = " or --epochs N, passes over the images" if near == "epochs" else ""
    return f"there is no field {cut(key)!r}; did you mean {field} ({fields[field]}){flag}?"


def _fields() -> dict[str, str]:
    """All fields with their meanings from the docstrings; those of parts as `model.backbone`."""
    meanings = {}
    for prefix, part in (("", Recipe), ("model.", ModelConfig), ("augmentation.", Augmentation)):
        text = inspect.getdoc(part) or ""
        for name in part.model_fields:
            found = re.search(rf"^    {name}: (.*?)(?=^    \S|\Z)", text, re.M | re.S)
            meanings[prefix + name] = " ".join(found[1].split()).rstrip(".") if found else ""
    return meanings


_NAMED = parse_yaml(files(__package__).joinpath("recipes.yaml").read_text(encoding="utf-8"))
RECIPES: dict[str, Recipe] = {
    name: make_recipe(content | {"name": name}, name) for name, content in _NAMED.items()
}
DEFAULT_RECIPE = "modern"
