"""Table of the bundled networks."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from blitznet.model_files import NetworkFiles, read_info

_FIGURES = {"mean_ap": "mAP", "mean_iou": "mIoU"}


def model_records(networks: Mapping[str, NetworkFiles]) -> list[dict[str, Any]]:
    """One JSON object per network: name, file, size in bytes, checkpoint and metadata."""
    records = []
    for name, files in networks.items():
        checkpoint = files.require_checkpoint()
        head = {"name": name, "file": str(files.path), "bytes": files.path.stat().st_size}
        info = read_info(checkpoint).model_dump(mode="json")
        records.append(head | {"checkpoint": str(checkpoint)} | info)
    return records


def model_table(networks: Mapping[str, NetworkFiles], default: str) -> Table:
    """Make a table with a column per network and a row per property, for 80 characters."""
    table = Table("", *(f"{name} (default)" if name == default else name for name in networks))
    columns = [_properties(files) for files in networks.values()]
    for row in dict.fromkeys(row for column in columns for row in column):
        table.add_row(row, *(column.get(row, "-") for column in columns))
    return table


def _properties(files: NetworkFiles) -> dict[str, str]:
    info = read_info(files.require_checkpoint())
    paths = [path for path in (files.exported, files.checkpoint) if path is not None]
    sizes = [f"{path.suffix[1:]} {path.stat().st_size / 1e6:.1f} MB" for path in paths]
    properties = {
        "tasks": ", ".join(task for task in ("detect", "segment") if getattr(info.model, task)),
        "classes": str(info.model.num_classes - 1),
        "input": f"{info.model.image_size} x {info.model.image_size}",
        "backbone": info.model.backbone,
        "files": ", ".join(sizes),
    }
    for data_set, figures in info.metrics.items():
        properties[data_set] = ", ".join(_percentages(figures))
    for key, value in info.training.items():
        name = "images" if key == "pictures" else key
        properties[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return properties


def _percentages(figures: object) -> Iterator[str]:
    """Format the means of one dataset: `mAP 71.3`, `mAP (voc07) 70.2`, ...; skips null."""
    if not isinstance(figures, Mapping):
        yield str(figures)
        return
    for key, label in _FIGURES.items():
        value = figures.get(key)
        kinds = value if isinstance(value, Mapping) else {"": value}
        for kind, fraction in kinds.items():
            if fraction is not None:
                yield f"{label}{f' ({kind})' if kind else ''} {100 * fraction:.1f}"
