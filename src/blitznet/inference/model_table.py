"""What the bundled networks say of themselves."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from blitznet.model_files import CheckpointInfo

_FIGURES = {"mean_ap": "mAP", "mean_iou": "mIoU"}


def model_records(files: Mapping[str, Path], infos: Mapping[str, CheckpointInfo]) -> list[Any]:
    """One JSON-ready object a network: its name, file, size in bytes and all of its description."""
    return [
        {"name": name, "file": str(files[name]), "bytes": files[name].stat().st_size}
        | info.model_dump(mode="json")
        for name, info in infos.items()
    ]


def model_table(
    files: Mapping[str, Path], infos: Mapping[str, CheckpointInfo], default: str
) -> Table:
    """A column a network, a row a property; it stays readable in eighty characters."""
    table = Table("", *(f"{name} (default)" if name == default else name for name in infos))
    properties = {name: _properties(files[name], info) for name, info in infos.items()}
    rows = dict.fromkeys(row for column in properties.values() for row in column)
    for row in rows:
        table.add_row(row, *(column.get(row, "-") for column in properties.values()))
    return table


def _properties(file: Path, info: CheckpointInfo) -> dict[str, str]:
    model = info.model
    tasks = [task for task in ("detect", "segment") if getattr(model, task)]
    properties = {
        "tasks": ", ".join(tasks),
        "classes": str(model.num_classes - 1),
        "input": f"{model.image_size} x {model.image_size}",
        "backbone": model.backbone,
        "file": f"{file.stat().st_size / 1e6:.1f} MB",
    }
    for data_set, figures in info.metrics.items():
        properties[data_set] = "\n".join(_percentages(figures))
    for key, value in info.training.items():
        properties[key] = f"{value:g}" if isinstance(value, float) else str(value)
    return properties


def _percentages(figures: object) -> Iterator[str]:
    """`mAP 71.3`, `mAP (voc07) 70.2`, ...: the means of one data set; what is null is left out."""
    if not isinstance(figures, Mapping):
        yield str(figures)
        return
    for key, label in _FIGURES.items():
        value = figures.get(key)
        kinds = value if isinstance(value, Mapping) else {"": value}
        for kind, fraction in kinds.items():
            if fraction is not None:
                yield (
                    f"{label} ({kind}) {100 * fraction:.1f}"
                    if kind
                    else f"{label} {100 * fraction:.1f}"
                )
