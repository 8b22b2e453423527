"""The training loop. There is one."""

import csv
import math
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from blitznet.data.description import DataDescription
from blitznet.data.loader import TrainingSamples, batch_positions, training_batches
from blitznet.errors import RecipeError
from blitznet.losses.joint import LossTerms, joint_loss
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model.checkpoint import CheckpointInfo, save_checkpoint
from blitznet.structures import Batch
from blitznet.training.recipe import Recipe
from blitznet.training.resume import load_state, read_progress, save_state
from blitznet.training.schedule import learning_rate

STATE_FILE = "state.safetensors"
MODEL_FILE = "model.safetensors"
LOG_FILE = "log.csv"
LOG_FIELDS = ("step", "classification", "box", "segmentation", "lr", "pictures_per_second")

LOG_EVERY = 20  # steps; the only place where the device is waited for
SAVE_EVERY_S = 120.0


@dataclass
class LoopOptions:
    """How a run is carried out; none of it changes the result.

    Attributes:
        devices: processes, one a device.
        accelerator: as Lightning Fabric's: auto, cpu, cuda, ...
        workers: processes that prepare pictures, per device.
        max_minutes: stop cleanly, with a checkpoint, inside this time; None = no limit.
    """

    devices: int = 1
    accelerator: str = "auto"
    workers: int = 2
    max_minutes: float | None = None


class DivergenceError(RuntimeError):
    """The loss is no longer a number; the last checkpoint is from before."""


def train(
    recipe: Recipe, data: DataDescription, run: Path, options: LoopOptions, resume: bool = False
) -> Iterator[dict[str, float]]:
    """Train, yielding one row of `LOG_FIELDS` every `LOG_EVERY` steps.

    Leaves in `run`: `state.safetensors` to resume from, `log.csv`, and, when all steps are done,
    `model.safetensors`. Ctrl-C ends the current step, writes the state, raises KeyboardInterrupt.

    Args:
        recipe: what to do.
        data: its `train` split is used.
        run: a folder, made if missing.
        options: how to do it.
        resume: go on from the state in `run`.

    Raises:
        InputError: if recipe, data and state do not fit together, or a picture cannot be used.
        DivergenceError: if the loss becomes infinite or NaN.
    """
    if recipe.model.num_classes != len(data.classes):
        raise RecipeError(
            f"recipe {recipe.name} has {recipe.model.num_classes} classes, the data has "
            f"{len(data.classes)} with background; use --set model.num_classes={len(data.classes)}"
        )
    if recipe.global_batch_size % options.devices:
        raise RecipeError(
            f"a global batch of {recipe.global_batch_size} pictures cannot be shared by "
            f"{options.devices} devices; use --set global_batch_size=N with a multiple of them"
        )
    fabric = Fabric(
        accelerator=options.accelerator,
        devices=options.devices,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    samples = TrainingSamples(
        data.open_split("train"),
        partial(_image_size_at_position, recipe),
        recipe.augmentation,
        recipe.seed,
    )

    network = build_network(recipe)
    averaged = average_weights(network, recipe)
    optimizer = build_optimizer(network, recipe)
    first_step, seconds_before = 0, 0.0
    state_path = run / STATE_FILE
    if resume:
        progress = read_progress(state_path)
        first_step, seconds_before = progress["step"], progress["seconds"]
        load_state(state_path, network, averaged, optimizer)
    model, optimizer = fabric.setup(network, optimizer)
    if averaged is not None:
        averaged.to(fabric.device)
    positions = batch_positions(
        first_step, recipe.steps, recipe.global_batch_size, fabric.global_rank, fabric.world_size
    )
    batches = training_batches(
        samples, positions, options.workers, pin_memory=fabric.device.type == "cuda"
    )

    started = last_saved = last_logged = time.monotonic()
    running = torch.zeros(3, device=fabric.device)
    anchors: dict[int, Tensor] = {}  # by input side
    logged = first_step
    stop = False
    log_file = _LogFile(run / LOG_FILE, first_step) if fabric.is_global_zero else nullcontext()

    def save(step: int) -> None:
        if fabric.is_global_zero:
            seconds = seconds_before + time.monotonic() - started
            save_state(state_path, network, averaged, optimizer, {"step": step, "seconds": seconds})

    with _interruption() as interrupted, log_file as log:
        for step in range(first_step, recipe.steps):
            batch = _to_device(next(batches), fabric.device)
            set_learning_rate(optimizer, learning_rate(recipe, step))
            size = recipe.image_size_at(step)
            if size not in anchors:
                anchors[size] = recipe.model_at(size).make_anchors().to(fabric.device)
            terms = train_step(fabric, model, optimizer, batch, anchors[size], recipe)
            if averaged is not None:
                averaged.update_parameters(network)
            running += torch.stack(terms).detach()

            done = step + 1
            now = time.monotonic()
            minutes = (now - started) / 60
            stop = bool(interrupted) or (
                options.max_minutes is not None and minutes >= options.max_minutes
            )
            if fabric.world_size > 1:  # all stop at one step, or those that go on wait for ever
                stop = done % LOG_EVERY == 0 and _any_process(fabric, stop)
            if done % LOG_EVERY == 0 or done == recipe.steps or stop:
                count = done - logged
                classification, box, segmentation = (running / count).tolist()
                if not (math.isfinite(classification + box + segmentation) and _is_finite(network)):
                    raise DivergenceError(
                        f"the loss is not finite at step {done}; last pictures: "
                        f"{', '.join(batch.sources)}. Lower --set lr=... and resume"
                    )
                row = {
                    "step": done,
                    "classification": classification,
                    "box": box,
                    "segmentation": segmentation,
                    "lr": learning_rate(recipe, step),
                    "pictures_per_second": count * recipe.global_batch_size / (now - last_logged),
                }
                running.zero_()
                last_logged, logged = now, done
                if log is not None:
                    log.write(row)
                if stop or done == recipe.steps or now - last_saved >= SAVE_EVERY_S:
                    save(done)
                    last_saved = now
                yield row
            if stop:
                break
    if interrupted:
        raise KeyboardInterrupt
    if stop and done < recipe.steps:
        return
    if fabric.is_global_zero:
        final = cast(BlitzNet, averaged.module) if averaged is not None else network
        minutes = (seconds_before + time.monotonic() - started) / 60
        info = CheckpointInfo(
            model=recipe.model,
            names=data.classes,
            training=describe_training(recipe, samples.num_pictures, minutes, fabric.device),
            recipe=recipe.model_dump(mode="json"),
        )
        save_checkpoint(run / MODEL_FILE, final, info)


def train_step(
    fabric: Fabric,
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    anchors: Tensor,
    recipe: Recipe,
) -> LossTerms:
    """Forward, joint loss, backward, update."""
    images = normalize_images(batch.images, recipe.model.mean, recipe.model.std)
    raw = model(images.contiguous(memory_format=torch.channels_last))
    terms = joint_loss(raw, batch, anchors, partial(_average, fabric))
    fabric.backward(terms.total)
    if recipe.clip_grad_norm is not None:
        # To ask for an error would wait for the device; the weights are checked when logging.
        fabric.clip_gradients(
            model, optimizer, max_norm=recipe.clip_grad_norm, error_if_nonfinite=False
        )
    optimizer.step()
    optimizer.zero_grad()
    return terms


def build_network(recipe: Recipe) -> BlitzNet:
    """The recipe's network with its starting weights, in training mode, its frozen part fixed."""
    from_timm = recipe.backbone_weights == "imagenet"
    network = BlitzNet(recipe.model, pretrained=from_timm)
    if recipe.backbone_weights is not None and not from_timm:
        path = Path(recipe.backbone_weights)
        if not path.is_file():
            raise RecipeError(f"backbone_weights: {path} does not exist")
        network.backbone.load_imagenet(path)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    network.backbone.freeze(recipe.freeze_stride)
    return network


def average_weights(network: BlitzNet, recipe: Recipe) -> AveragedModel | None:
    """The exponential moving average of weights and batch statistics, if the recipe wants one."""
    if recipe.ema_decay is None:
        return None
    averager = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=averager, use_buffers=True)


def build_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Section 4.2's Adam, or AdamW that spares biases and batch norms."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """For every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def describe_training(
    recipe: Recipe, pictures: int, minutes: float, device: torch.device
) -> dict[str, Any]:
    """What the checkpoint says of how it was trained."""
    return {
        "recipe": recipe.name,
        "steps": recipe.steps,
        "pictures": pictures,
        "minutes": round(minutes, 1),
        "hardware": hardware_name(device),
        "torch": torch.__version__,
    }


def hardware_name(device: torch.device) -> str:
    """The GPU's name, or the kind of processor and the number of cores in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} cores"


def _average(fabric: Fabric, count: Tensor) -> Tensor:
    """Mean of a scalar over all processes."""
    return cast(Tensor, fabric.all_reduce(count, reduce_op="mean"))


def _any_process(fabric: Fabric, flag: bool) -> bool:
    """Whether it holds in any process."""
    count = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return bool(cast(Tensor, count) > 0)


def _is_finite(network: nn.Module) -> bool:
    """Whether all weights are; a finite loss may still have had an infinite gradient."""
    return all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def _image_size_at_position(recipe: Recipe, position: int) -> int:
    return recipe.image_size_at(position // recipe.global_batch_size)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return Batch(
        images=move(batch.images),
        boxes=move(batch.boxes),
        labels=move(batch.labels),
        has_boxes=move(batch.has_boxes),
        seg_maps=move(batch.seg_maps),
        sources=batch.sources,
    )


@contextmanager
def _interruption() -> Iterator[list[int]]:
    """A list that Ctrl-C or SIGTERM fills, so that the step at hand is finished first."""
    received: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM)
    previous = {n: signal.signal(n, lambda number, _: received.append(number)) for n in names}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _LogFile:
    """The CSV log of a run; resuming drops the rows of steps that are taken again."""

    def __init__(self, path: Path, first_step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[dict[str, str]] = []
        if first_step and path.is_file():
            with path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= first_step]
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, LOG_FIELDS)
        self._writer.writeheader()
        self._writer.writerows(kept)

    def __enter__(self) -> "_LogFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: dict[str, float]) -> None:
        """One row, on disk at once."""
        self._writer.writerow(row)
        self._file.flush()
