"""Measure the quality of `blitznet refine-masks` on images with segmentation maps.

python tools/refined_quality.py DATA.yaml --model MODEL --split val --classes bus,train,car,person

Maps made from boxes, and from boxes and network, are compared with the images' own maps: IoU over
the pixels that they label, and the share of an object's pixels that they label.
"""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from blitznet.classes import IGNORE_INDEX
from blitznet.data.description import read_description
from blitznet.image import read_image
from blitznet.inference.engines.choose import open_engine
from blitznet.training.refine_masks import CONFIDENCE, refine_map, require_known


def main(
    data: Path,
    model: Annotated[str, typer.Option()],
    classes: Annotated[str, typer.Option()],
    split: str = "val",
    confidence: float = CONFIDENCE,
) -> None:
    """Print a table with one row per class."""
    description = read_description(data)
    names = description.classes
    # Rows are true classes, columns the values of the made maps.
    counts = {made: np.zeros((len(names), 256), np.int64) for made in ("boxes", "refined")}
    with closing(open_engine(model)) as engine:
        require_known(engine.info, names)
        for source in description.open_split(split):
            for index in range(len(source)):
                labels = source.labels(index)
                truth = source.read(index).seg_map
                assert truth is not None, "the split has images without maps"
                image = read_image(labels.path)
                made = refine_map(engine, names, image, labels, source.table, confidence)
                known = truth != IGNORE_INDEX
                for count, seg_map in zip(counts.values(), made, strict=True):
                    np.add.at(count, (truth[known], seg_map[known]), 1)

    table = Table("class", *(f"{made}: {what}" for made in counts for what in ("IoU", "labelled")))
    rows = {
        name: [*map(figures, counts.values(), [names.index(name)] * 2)]
        for name in classes.split(",")
    }
    for name, row in (*rows.items(), ("mean", np.mean(list(rows.values()), axis=0))):
        table.add_row(name, *(f"{100 * value:.1f}" for value in np.ravel(row)))
    Console().print(table)


def figures(count: np.ndarray, class_id: int) -> tuple[float, float]:
    """IoU of a class over labelled pixels, and the share of its pixels that are labelled."""
    right, void = count[class_id, class_id], count[class_id, IGNORE_INDEX]
    own = count[class_id].sum()
    return right / (own - void + count[:, class_id].sum() - right), 1 - void / own


if __name__ == "__main__":
    typer.run(main)
