"""COCO's instances_*.json, as CVAT and Label Studio import it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blitznet.classes import coco_category_ids
from blitznet.inference.writers import AddScene
from blitznet.inference.writers.outlines import object_outlines, signed_area
from blitznet.result_folder import ensure_folder
from blitznet.scene import Scene
from blitznet.whole_file import whole_file

INSTANCES_FILE = "instances.json"


@contextmanager
def coco_labels(folder: Path, names: Sequence[str]) -> Iterator[AddScene]:
    """Write instances.json; see `LABEL_FORMATS`.

    Annotations are written as they come. The list of images follows them, so that only a line of
    text for each image is held.

    Raises:
        InputError: if something cannot be written.
    """
    ensure_folder(folder)
    category_ids = coco_category_ids(names)
    head = {
        "info": {"description": "Predictions of BlitzNet, which nobody has checked"},
        "licenses": [],
        "categories": [
            {"id": category_ids[name], "name": name, "supercategory": ""} for name in names[1:]
        ],
    }
    images: list[str] = []
    num_annotations = 0
    with (
        whole_file(folder / INSTANCES_FILE) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):

        def add(scene: Scene, name: str, file_name: str) -> None:  # noqa: ARG001
            nonlocal num_annotations
            image_id = len(images) + 1
            width, height = scene.size
            record = {"id": image_id, "file_name": file_name, "width": width, "height": height}
            images.append(json.dumps(record))
            for item in annotations(scene, category_ids):
                num_annotations += 1
                file.write(",\n" if num_annotations > 1 else "\n")
                json.dump({"id": num_annotations, "image_id": image_id, **item}, file)

        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        yield add
        file.write('], "images": [\n' + ",\n".join(images) + "]}\n")


def annotations(scene: Scene, category_ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    """The objects of a scene, best score first; pixels to 0.01.

    `segmentation` holds polygons, which every tool reads. It is left out where no pixel in the box
    is of the object's class; tools then show the box. `area` is of the polygons, or of the box.
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
