"""Put a trained network into the package and its figures into results/.

python tools/bundle.py runs/train/RUN NAME --data data/voc-subset.yaml --start "ImageNet weights"

The network is stored as a checkpoint, to train further, and as ONNX, to predict. Metrics are those
of the stored checkpoint; those of the original float32 checkpoint are recorded, too.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from blitznet.device import choose_device, hardware_name
from blitznet.evaluation.evaluate import evaluate
from blitznet.exporting.onnx_file import export_onnx
from blitznet.files.text_files import read_json, write_json
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import CheckpointInfo, bundled_networks, find_checkpoint, read_info
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE
from blitznet.training.run_record import RUN_FILE

WEIGHTS = Path("src/blitznet/weights")
RESULTS = Path("results")

# By split of data/voc-subset.yaml: its title, and the classes with enough images to average.
SPLITS = {
    "val": (
        "VOC12 val, nine classes",
        ["person", "car", "bus", "train", "cat", "dog", "cow", "horse", "sheep"],
    ),
    "test07": ("VOC07 test, five classes", ["person", "car", "bus", "train", "cat"]),
}
DATA = (
    "nine-class VOC subset: VOC12 train (boxes, maps), VOC07 trainval (boxes, maps from them), and "
    "composed images without objects"
)
LICENCE = "weights Apache-2.0; VOC images have their owners' terms; started from {start}"


def bundle(
    run: Path,
    name: str,
    data: Annotated[Path, typer.Option()],
    start: Annotated[str, typer.Option()],
) -> None:
    """Store the network, measure it, and write its record; `start` tells the backbone's origin."""
    trained, stored = run / MODEL_FILE, WEIGHTS / f"{name}.safetensors"
    model, info = load_checkpoint(trained)
    history = read_history(info)
    training = (
        {"data": DATA}
        | info.training
        | {
            "recipe": ", then ".join(recipe["name"] for recipe in history.recipes),
            "steps": history.steps,
            "minutes": round(history.minutes, 1),
            "storage": "float16",
            "licence": LICENCE.format(start=start),
        }
    )
    info = info.model_copy(update={"training": training, "metrics": {}})
    save_checkpoint(stored, model, info, half=True)

    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    device = choose_device("auto")
    metrics: dict[str, Any] = {}
    for split, (title, classes) in SPLITS.items():
        measured = evaluate(stored, data, split, device=device, classes=classes)
        reference = evaluate(trained, data, split, device=device, classes=classes)
        figures = measured.to_dict() | {
            "model": name,
            "title": title,
            "hardware": hardware_name(device),
            "float32": {"mean_ap": reference.mean_ap, "mean_iou": reference.mean_iou},
        }
        write_json(folder / f"{split}.json", figures)
        metrics[title] = measured.summary()
        typer.echo(f"{title}: {measured.mean_ap}, {measured.mean_iou}")
        typer.echo(f"float32: {figures['float32']}")
    # The weights are bit-identical; only metrics are added.
    save_checkpoint(stored, model, info.model_copy(update={"metrics": metrics}), half=True)
    export_onnx(stored.with_suffix(".onnx"), *load_checkpoint(stored), precision="fp16")
    environment = read_json(run / RUN_FILE)["environment"]
    write_json(
        folder / "run.json",
        {
            "training": training,
            "recipes": history.recipes,
            "environment": environment,
        },
    )
    # Earlier parts were bundled before, so their logs are already there.
    part = len(history.recipes)
    log_name = LOG_FILE if part == 1 else f"log-{part}.csv"
    shutil.copy(run / LOG_FILE, folder / log_name)


class History(NamedTuple):
    """All training behind a network, from the first part to the last."""

    recipes: list[dict[str, Any]]
    steps: int
    minutes: float


def read_history(info: CheckpointInfo) -> History:
    """The history of a network and of those that it started from.

    The history of a bundled network is read from its record, because its runs may be gone.
    """
    start = info.recipe.get("start_from")
    if start is None:
        before = History([], 0, 0.0)
    elif start in bundled_networks():
        told = read_json(RESULTS / start / RUN_FILE)
        before = History(told["recipes"], told["training"]["steps"], told["training"]["minutes"])
    else:
        before = read_history(read_info(find_checkpoint(start)))
    training = info.training
    return History(
        [*before.recipes, info.recipe],
        before.steps + training["steps"],
        before.minutes + training["minutes"],
    )


if __name__ == "__main__":
    typer.run(bundle)
