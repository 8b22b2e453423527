"""COCO's average precision and recall (Lin et al. 2014), computed by pycocotools."""

import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from blitznet.detections import Detections
from blitznet.evaluation.average_precision import TrueBoxes
from blitznet.extras import require
from blitznet.structures import IGNORE_LABEL


class CocoAveragePrecision:
    """COCO AP and AR of every class, accumulated image by image.

    Difficult boxes become COCO crowds: pycocotools overwrites `ignore` with `iscrowd`, so there is
    no other way to ignore a box. This is lenient for VOC's difficult boxes: a crowd absorbs any
    number of detections, by intersection over the detection's own area.
    """

    def __init__(self, num_classes: int, by_area: bool = True) -> None:
        """`num_classes` includes background; without the figures by area it is three times as fast.

        Raises:
            InputError: if pycocotools is not installed.
        """
        require("pycocotools", "train", "COCO average precision")
        self.num_classes = num_classes
        self._areas = "sml" if by_area else ""
        self._num_images = 0
        self._detections: list[dict[str, Any]] = []
        self._ground_truth: list[dict[str, Any]] = []

    def update(self, found: Detections, true: TrueBoxes) -> None:
        """Add one image."""
        image = self._num_images
        self._num_images += 1
        self._detections += _annotations(image, found.boxes, found.labels, score=found.scores)
        has_class = true.labels != IGNORE_LABEL
        for label in np.unique(found.labels).tolist():  # a box of any class is a crowd of each
            boxes = true.boxes[~has_class]
            labels, crowds = np.full(len(boxes), label), np.ones(len(boxes), bool)
            self._ground_truth += _annotations(image, boxes, labels, iscrowd=crowds)
        boxes, labels, crowds = (values[has_class] for values in true)
        self._ground_truth += _annotations(image, boxes, labels, iscrowd=crowds)

    def compute(self) -> dict[str, list[float | None]]:
        """COCO's twelve figures for every class, by the names of its server.

        Objects are small below 32^2 pixels of the image, large from 96^2 on, by the area of their
        box.

        Returns:
            "AP", the mean over IoU 0.5, 0.55, ... 0.95, "AP50" and "AP75", at one IoU each, "APs",
            "APm" and "APl" by area, all from up to 100 detections per image and class. "AR1",
            "AR10" and "AR100", the recall with at most 1, 10 and 100, mean over the same IoU, and
            "ARs", "ARm" and "ARl". Each has C fractions indexed by class id; None for background
            and for classes without ground truth (of this area) that is not ignored.
        """
        from pycocotools.cocoeval import COCOeval

        with redirect_stdout(io.StringIO()):
            evaluation = COCOeval(
                self._dataset(self._ground_truth), self._dataset(self._detections), "bbox"
            )
            evaluation.params.areaRng = evaluation.params.areaRng[: 1 + len(self._areas)]
            evaluation.evaluate()
            evaluation.accumulate()
        # (classes, areas: all, small, medium, large, maximum detections: 1, 10, 100), of precision
        # after the IoU thresholds; -1 for a class without ground truth.
        precision = evaluation.eval["precision"].mean(axis=1)
        ap, ar = precision.mean(axis=0), evaluation.eval["recall"].mean(axis=0)
        percent = (100 * evaluation.params.iouThrs).round()
        figures = {
            "AP": ap[:, 0, 2],
            "AP50": precision[percent == 50][0, :, 0, 2],
            "AP75": precision[percent == 75][0, :, 0, 2],
            **{f"AP{area}": ap[:, index, 2] for index, area in enumerate(self._areas, start=1)},
            **{f"AR{most}": ar[:, 0, index] for index, most in enumerate((1, 10, 100))},
            **{f"AR{area}": ar[:, index, 2] for index, area in enumerate(self._areas, start=1)},
        }
        return {
            name: [None, *(float(value) if value >= 0 else None for value in values)]
            for name, values in figures.items()
        }

    def _dataset(self, annotations: list[dict[str, Any]]) -> Any:
        """A `COCO` over all images, without `loadRes`, which fails without detections."""
        from pycocotools.coco import COCO

        dataset = COCO()
        dataset.dataset = {
            "images": [{"id": image} for image in range(self._num_images)],
            "categories": [{"id": label} for label in range(1, self.num_classes)],
            # From 1, because pycocotools takes a match with annotation 0 for no match.
            "annotations": [{"id": i, **item} for i, item in enumerate(annotations, start=1)],
        }
        dataset.createIndex()
        return dataset


def _annotations(
    image: int, boxes: np.ndarray, labels: np.ndarray, **field: np.ndarray
) -> list[dict[str, Any]]:
    """Boxes of one image as COCO annotations (xywh), each with a value of one more field."""
    ((name, values),) = field.items()
    return [
        {
            "image_id": image,
            "category_id": label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            name: value,
        }
        for (x1, y1, x2, y2), label, value in zip(
            boxes.tolist(), labels.tolist(), values.tolist(), strict=True
        )
    ]
