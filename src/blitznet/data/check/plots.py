"""Plots of a data check: a sheet of labelled samples, labels per class, and sizes of boxes."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.check_report import CheckReport, OpenSource
from blitznet.data.check.image_check import cached_anchors
from blitznet.detection.matcher import MATCHING_IOU
from blitznet.draw import draw_scene
from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.files.save_image import save_figure, save_image
from blitznet.files.text_files import write_json
from blitznet.model_info import ModelConfig
from blitznet.structures import Sample

COLUMNS, ROWS = 4, 4
CELL = (400, 300)  # pixels
CAPTION = 22
MARGIN = 8
_DOTS = 5000  # boxes drawn, chosen at random


def write_folder(folder: Path, report: CheckReport, model: ModelConfig) -> None:
    """Write samples.png, boxes_by_class.png, pixels_by_class.png, box_sizes.png and report.json.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    require("matplotlib", "plots", "plots of statistics")
    statistics = report.statistics
    names = next(iter(statistics.values())).names
    save_image(folder / "samples.png", draw_sheet(report.sources, names))
    has_boxes = {s: one for s, one in statistics.items() if one.counts["pictures_with_boxes"]}
    boxes = {split: one.boxes[1:] for split, one in has_boxes.items()}
    _plot_bars(folder / "boxes_by_class.png", names[1:], boxes, "boxes that count")
    shares = {
        split: np.round([100 * share for share in shares.values()], 3)
        for split, one in statistics.items()
        if (shares := one.pixel_shares())
    }
    _plot_bars(folder / "pixels_by_class.png", names, shares, "% of the labelled pixels")
    _plot_sizes(folder / "box_sizes.png", report, model)
    write_json(folder / "report.json", report.to_dict())


def draw_sheet(sources: Sequence[OpenSource], names: Sequence[str]) -> Image.Image:
    """Draw up to 16 images of all sources on white (RGB), chosen at random but always the same.

    Images with errors are skipped. A caption under each image states its split and file.
    """
    samples = list(islice(_shuffled(sources), COLUMNS * ROWS))
    width, height = CELL[0] + MARGIN, CELL[1] + CAPTION + MARGIN
    rows = max(1, -(-len(samples) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * width + MARGIN, rows * height + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (split, sample) in enumerate(samples):
        row, column = divmod(number, COLUMNS)
        middle, bottom = MARGIN + column * width + CELL[0] // 2, MARGIN + row * height + CELL[1]
        drawn = draw_labels(sample, names, CELL)
        sheet.paste(drawn, (middle - drawn.width // 2, bottom - drawn.height))
        caption = f"{split}: {Path(sample.source).name[-36:]}"
        if sample.boxes is None or sample.seg_map is None:  # not visible in the image
            caption += ", no boxes" if sample.boxes is None else ", no map"
        pen.text((middle, bottom + 3), caption, fill="black", font=font, anchor="ma")
    return sheet


def _shuffled(sources: Sequence[OpenSource]) -> Iterator[tuple[str, Sample]]:
    """Yield split and sample of all images in random order."""
    places = [(split, source, i) for split, _, source in sources for i in range(len(source))]
    for position in np.random.default_rng(0).permutation(len(places)).tolist():
        split, source, index = places[position]
        with suppress(InputError):  # already in the report
            yield split, source.read(index)


def draw_labels(sample: Sample, names: Sequence[str], cell: tuple[int, int]) -> Image.Image:
    """Draw one image with its labels, as large as fits into a cell of (width, height) pixels.

    The image is scaled before drawing, so that lines and tags stay readable. Ignored boxes are
    tagged "ignored". Names begin with background.
    """
    width, height = sample.size
    scale = min(cell[0] / width, cell[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(sample.image).resize(size, Image.Resampling.BICUBIC)
    seg_map = None
    if sample.seg_map is not None:
        seg_map = np.asarray(Image.fromarray(sample.seg_map).resize(size, Image.Resampling.NEAREST))
    ignored = len(names)
    all_names = [*names, "ignored", *[""] * (IGNORE_INDEX - len(names) - 1), "void"]
    boxes = np.zeros((0, 4), np.float32) if sample.boxes is None else sample.boxes * scale
    labels = np.where(sample.difficult, ignored, sample.labels)
    return draw_scene(image, boxes, labels, None, seg_map, all_names)


def _plot_bars(
    path: Path, names: tuple[str, ...], values: dict[str, np.ndarray], title: str
) -> None:
    """One row per class, one bar per split, on a logarithmic axis."""
    from matplotlib.figure import Figure

    thickness = 0.8 / max(1, len(values))
    figure = Figure(figsize=(8, 1.5 + 0.32 * len(names) * max(1, len(values) / 2)))
    axes = figure.add_subplot(xlabel=title, xscale="symlog" if values else "linear")
    for position, (split, lengths) in enumerate(values.items()):
        bars = axes.barh(np.arange(len(names)) + position * thickness, lengths, thickness)
        bars.set_label(split)
        axes.bar_label(bars, fmt="{:g}", padding=2, fontsize=7)
    axes.set_yticks(np.arange(len(names)) + 0.4 - thickness / 2, names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    if values:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(values))
    save_figure(figure, path)


def _plot_sizes(path: Path, report: CheckReport, model: ModelConfig) -> None:
    """Width and height of boxes and anchors at the network's input size."""
    from matplotlib.figure import Figure

    statistics = list(report.statistics.values())
    shapes = np.concatenate([one.shapes for one in statistics])
    has_anchor = np.concatenate([one.best_iou for one in statistics]) >= MATCHING_IOU
    chosen = np.random.default_rng(0).permutation(len(shapes))[:_DOTS]
    sides, is_matched = shapes[chosen] * model.image_size, has_anchor[chosen]
    corners = cached_anchors(model).numpy()
    anchor_sides = np.unique((corners[:, 2:] - corners[:, :2]).round(1), axis=0).T
    share = 100 * has_anchor.mean() if len(has_anchor) else 100.0
    figure = Figure(figsize=(7, 7))
    axes = figure.add_subplot(
        xlabel=f"width, pixels of {model.name}'s {model.image_size} pixel input",
        ylabel="height",
        title=f"{share:.1f} % of {len(has_anchor)} boxes match an anchor (IoU {MATCHING_IOU})",
        xscale="log",
        yscale="log",
    )
    matched, lonely = sides[is_matched].T, sides[~is_matched].T
    axes.scatter(matched[0], matched[1], s=4, alpha=0.4, label="boxes", linewidths=0)
    axes.scatter(lonely[0], lonely[1], s=6, color="tab:red", label="matches one anchor only")
    axes.scatter(anchor_sides[0], anchor_sides[1], s=40, color="black", marker="+", label="anchors")
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
    save_figure(figure, path)
