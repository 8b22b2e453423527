"""Write COCO's instances_*.json for CVAT and Label Studio."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from blitznet.classes import coco_category_ids
from blitznet.files.atomic_write import atomic_write
from blitznet.files.result_folder import ensure_folder
from blitznet.files.text_files import read_json, write_text
from blitznet.inference.line_file import append_lines, keep_lines, read_lines
from blitznet.inference.writers import Added, AddScene
from blitznet.inference.writers.outlines import object_outlines, signed_area
from blitznet.scene import Scene

INSTANCES_FILE = "instances.json"
LINES_FILE = "instances.jsonl"


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

    `segmentation` holds polygons, which every tool reads. If no pixel in the box has the object's
    class, it is omitted and tools show the box. `area` is that of the polygons, or of the box.
    """
    outlines = object_outlines(scene) if scene.seg_map is not None else iter(())
    for box, label, score in zip(scene.boxes, scene.labels, scene.scores, strict=True):
        x1, y1, x2, y2 = box.tolist()
        polygons = next(outlines, [])
        area = sum(map(signed_area, polygons)) if polygons else (x2 - x1) * (y2 - y1)
        annotation = {
            "category_id": category_ids[scene.names[label]],
            "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
            "area": round(area, 2),
            "iscrowd": 0,
            "score": round(float(score), 4),
        }
        yield annotation | ({"segmentation": polygons} if polygons else {})
