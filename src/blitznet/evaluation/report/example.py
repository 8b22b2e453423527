"""The best and worst images, with labels beside predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.data.check.plots import draw_labels
from blitznet.detections import Detections
from blitznet.draw import draw_scene
from blitznet.evaluation.report.review import DetailedEvaluation, EvaluatedImage
from blitznet.files.save_image import save_image

CELL = (640, 320)  # maximum width and height of an image, pixels
MARGIN = 4


def write_examples(folder: Path, review: DetailedEvaluation) -> dict[str, str]:
    """Write best_1.png, worst_1.png and so on.

    Returns:
        Captions by file name.
    """
    captions = {}
    for rank, images in (("best", review.best), ("worst", review.worst)):
        for number, image in enumerate(images, start=1):
            name = f"{rank}_{number}.png"
            captions[name] = f"{rank.capitalize()} image {number}, labels and found: {_text(image)}"
            save_image(folder / name, draw_example(image, review.names))
    return captions


def draw_example(image: EvaluatedImage, names: Sequence[str]) -> Image.Image:
    """Draw the labels on the left and the prediction on the right: RGB, on white.

    Args:
        image: the image with its labels and prediction.
        names: class names, background first.
    """
    labelled = draw_labels(image.sample, names, CELL)
    size, seg_map = labelled.size, image.seg_map
    if seg_map is not None:
        seg_map = np.asarray(Image.fromarray(seg_map).resize(size, Image.Resampling.NEAREST))
    boxes, labels, scores = image.detections or Detections.none()
    boxes = boxes * (size[0] / image.sample.size[0])
    scaled = Image.fromarray(image.sample.image).resize(size, Image.Resampling.BICUBIC)
    pair = Image.new("RGB", (2 * size[0] + MARGIN, size[1]), "white")
    pair.paste(labelled, (0, 0))
    pair.paste(draw_scene(scaled, boxes, labels, scores, seg_map, names), (size[0] + MARGIN, 0))
    return pair


def _text(image: EvaluatedImage) -> str:
    """A caption such as `street.jpg, boxes F1 0.50, mIoU 0.71`."""
    name = image.sample.source.replace("\\", "/").rsplit("/", 1)[-1]
    figures = {"boxes F1": image.f1, "mIoU": image.mean_iou}
    shown = [f"{title} {value:.2f}" for title, value in figures.items() if value is not None]
    return ", ".join([name, *shown])
