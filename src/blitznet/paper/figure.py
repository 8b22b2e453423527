"""The figures that the paper's tables print, and where `metrics.json` holds ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blitznet.classes import VOC_CLASSES

BENCH = "bench"  # instead of a split: what `blitznet bench` measures


@dataclass(frozen=True)
class Figure:
    """One column of a table.

    Attributes:
        title: what stands above the column.
        split: of the data description that it is measured on.
        keys: path to it in `metrics.json`; empty = we do not measure it that way.
        classes: that are averaged; None = all with ground truth.
        of_one_class: whether it is one class's share of another column.
        scale: what the value there is multiplied by; 100 = a fraction, printed in per cent.
        decimals: that are printed.
    """

    title: str
    split: str
    keys: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    of_one_class: bool = False
    scale: float = 100.0
    decimals: int = 1

    def read(self, metrics: Mapping[str, Any]) -> float | None:
        """Its value in the content of a `metrics.json`, as the paper prints it; None = none."""
        value: Any = metrics
        for key in self.keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return self.scale * value if self.keys and value is not None else None


def class_figures(ap: Figure, classes: Sequence[str]) -> tuple[Figure, ...]:
    """The AP of single classes that the mean AP `ap` is taken over."""
    kind = ap.keys[-1]
    return tuple(
        replace(ap, title=name, keys=("ap", kind, name), of_one_class=True) for name in classes
    )


# Splits carry the paper's names (section 4.1). In VOC, AP is that of each year's development kit.
VOC07_AP = Figure("mAP", "voc07_test", ("mean_ap", "voc07"))
VOC12_AP = Figure("mAP", "voc12_val_seg", ("mean_ap", "voc12"))
VOC12_IOU = Figure("mIoU", "voc12_val_seg", ("mean_iou",))
VOC07_CLASS_APS = class_figures(VOC07_AP, VOC_CLASSES[1:])

# The pictures of VOC12 test have no public labels: `blitznet eval --submission voc` writes what the
# evaluation server takes.
VOC12_TEST_AP = Figure("mAP", "voc12_test")
VOC12_TEST_CLASS_APS = tuple(
    Figure(name, "voc12_test", of_one_class=True) for name in VOC_CLASSES[1:]
)

COCO_AP = Figure("mAP", "coco2014_minival", ("mean_ap", "coco"))
COCO_IOU = Figure("mIoU", "coco2014_minival", ("mean_iou",))


def voc07(mean: float, classes: str) -> dict[Figure, float]:
    """A row of table 1 as printed: the mean AP, and the AP of the 20 classes in VOC's order."""
    values = map(float, classes.split())
    return {VOC07_AP: mean, **dict(zip(VOC07_CLASS_APS, values, strict=True))}


def voc12_test(mean: float, classes: str) -> dict[Figure, float]:
    """A row of table 2, likewise."""
    values = map(float, classes.split())
    return {VOC12_TEST_AP: mean, **dict(zip(VOC12_TEST_CLASS_APS, values, strict=True))}
