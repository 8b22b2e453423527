"""Write COCO's instances_*.json for CVAT and Label Studio."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from blitznet.classes import coco_category_ids
from blitznet.files.atomic_write import atomic_write
from blitznet.files.result_folder import ensure_folder
from blitznet.files.text_files import read_json, write_text
from blitznet.inference.line_file import append_lines, keep_lines, read_lines
from blitznet.inference.writers import Added, AddScene
from blitznet.scene import Scene

INSTANCES_FILE = "instances.json"
LINES_FILE = "instances.jsonl"

Polygon = list[float]  # x1, y1, x2, y2, ... in pixels of the image

# Maximum distance of a polygon from the outline: a share of the size of the part, up to a pixel.
# Small parts keep their shape, and large ones get few points.
TOLERANCE_SHARE = 0.02  # of the square root of the part's area
MAX_TOLERANCE = 1.0  # pixels
MIN_PART = 0.01  # minimum share of the area of the object's largest part


@contextmanager
def coco_labels(
    folder: Path, names: Sequence[str], before: Sequence[Added] = ()
) -> Iterator[AddScene]:
    """Write instances.json; see `LABEL_FORMATS`.

    Until all images are done, instances.jsonl holds a line per image.

    Raises:
        InputError: if a file cannot be written.
    """
    ensure_folder(folder)
    category_ids = coco_category_ids(names)
    lines, whole = folder / LINES_FILE, folder / INSTANCES_FILE
    if before and whole.is_file():
        write_text(lines, "".join(json.dumps(line) + "\n" for line in _lines_of(read_json(whole))))
    done = {file_name for _, file_name in before}
    if lines.is_file():
        for _ in keep_lines(lines, lambda line: line["file_name"] in done):
            pass
    with append_lines(lines) as append:

        def add(scene: Scene, _: str, file_name: str) -> None:
            found = list(annotations(scene, category_ids))
            width, height = scene.size
            image = {"file_name": file_name, "width": width, "height": height}
            append(image | {"annotations": found})

        yield add
    categories = [
        {"id": category_ids[name], "name": name, "supercategory": ""} for name in names[1:]
    ]
    _join(lines, whole, categories)
    lines.unlink()


def _join(lines: Path, whole: Path, categories: list[dict[str, Any]]) -> None:
    """Write annotations before images, to keep only a line of text per image in memory."""
    head = {
        "info": {"description": "Unreviewed predictions of BlitzNet"},
        "licenses": [],
        "categories": categories,
    }
    images: list[str] = []
    numbers = count(1)
    with atomic_write(whole) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        separator = "\n"
        for image_id, image in enumerate(read_lines(lines), 1):
            for item in image.pop("annotations"):
                record = {"id": next(numbers), "image_id": image_id, **item}
                file.write(separator + json.dumps(record))
                separator = ",\n"
            images.append(json.dumps({"id": image_id, **image}))
        file.write('], "images": [\n' + ",\n".join(images) + "]}\n")


def _lines_of(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Undo `_join`: yield a record per image."""
    found = defaultdict(list)
    for item in content["annotations"]:
        found[item.pop("image_id")].append(item)
        del item["id"]
    for image in content["images"]:
        yield image | {"annotations": found[image.pop("id")]}


def annotations(scene: Scene, category_ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a scene, best score first, with coordinates rounded to 0.01 pixels.

    `segmentation` holds the polygons of the object's parts, see `Scene.instance_map`; holes are
    filled, because neither COCO nor labelling tools support them. If no pixel in the box has the
    object's class, it is omitted and tools show the box. `area` is that of the polygons, or of the
    box.
    """
    owners = None if scene.seg_map is None else scene.instance_map()
    objects = zip(scene.boxes, scene.labels, scene.scores, strict=True)
    for index, (box, label, score) in enumerate(objects):
        x1, y1, x2, y2 = box.tolist()
        polygons = []
        if owners is not None:
            left, top = max(0, floor(x1)), max(0, floor(y1))
            polygons = mask_polygons(owners[top : ceil(y2), left : ceil(x2)] == index, left, top)
        area = sum(map(signed_area, polygons)) if polygons else (x2 - x1) * (y2 - y1)
        annotation = {
            "category_id": category_ids[scene.names[label]],
            "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
            "area": round(area, 2),
            "iscrowd": 0,
            "score": round(float(score), 4),
        }
        yield annotation | ({"segmentation": polygons} if polygons else {})


def mask_polygons(mask: np.ndarray, left: int = 0, top: int = 0) -> list[Polygon]:
    """Trace the outlines of a mask along pixel edges, cutting corners.

    Args:
        mask: (h, w) bool.
        left: column of the mask's first column in the image.
        top: row of the mask's first row in the image.

    Returns:
        A polygon of at least three points for every connected part, largest first, rounded to 0.01.
    """
    from skimage.measure import approximate_polygon, find_contours

    parts: list[tuple[float, Polygon]] = []
    # Closed contours of (row, column) between pixel centres of the padded mask.
    lines = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    for line in lines:
        corners = line[:, ::-1] - 0.5 + (left, top)
        area = signed_area(corners.ravel())
        if area <= 0:  # contours of holes run in the opposite direction to those of parts
            continue
        tolerance = min(TOLERANCE_SHARE * np.sqrt(area), MAX_TOLERANCE)
        polygon = approximate_polygon(corners, tolerance)[:-1]  # type: ignore[no-untyped-call]
        parts.append((area, polygon.round(2).ravel().tolist()))
    parts.sort(reverse=True)
    return [polygon for area, polygon in parts if area >= MIN_PART * parts[0][0]]


def signed_area(polygon: Polygon | np.ndarray) -> float:
    """Area in square pixels; positive if the polygon runs clockwise on a screen."""
    x, y = polygon[::2], polygon[1::2]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
