"""Submissions to the evaluation servers of PASCAL VOC and COCO (tables 2 and 6)."""

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from blitznet.classes import COCO_CLASSES, VOC_CLASSES, coco_category_ids, palette_image
from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.files.atomic_write import atomic_write
from blitznet.files.plain_names import file_name
from blitznet.files.save_image import save_image
from blitznet.files.text_files import write_text

# Image id, detections and map of class ids; None for a task that the network lacks.
AddImage = Callable[[str, Detections | None, np.ndarray | None], None]

SERVERS = {"voc": VOC_CLASSES, "coco": COCO_CLASSES}  # with the classes that each requires
VOC_ARCHIVE = "results.tgz"

# The competitions of VOC2012 that allow additional training data, such as ImageNet.
_VOC_DETECTION = "results/VOC2012/Main/comp4_det_test_{}.txt"
_VOC_SEGMENTATION = "results/VOC2012/Segmentation/comp6_test_cls"


def require_server(name: str) -> None:
    """Raise InputError if there is no such evaluation server."""
    if name not in SERVERS:
        raise InputError(f"no server is called {name!r}; choose from {', '.join(SERVERS)}")


def open_submission(
    server: str, folder: Path, names: Sequence[str], split: str, algorithm: str
) -> AbstractContextManager[AddImage]:
    """Open the files of a submission for adding images; the archive is written on exit.

    Args:
        server: key of `SERVERS`.
        folder: an existing folder for the files.
        names: class names, background first.
        split: the server's name of the split, part of the name of COCO's file.
        algorithm: name of the network on the server.

    Raises:
        InputError: if there is no such server, or it requires other classes.
    """
    require_server(server)
    classes = SERVERS[server]
    if tuple(names) != classes:
        raise InputError(
            f"the {server} server takes its own {len(classes) - 1} classes; "
            f"the data has {', '.join(names[1:])}"
        )
    if server == "voc":
        return _voc_submission(folder, names)
    title = f"detections_{_plain(split)}_{_plain(algorithm)}_results"
    return coco_results(folder / f"{title}.json", names)


@contextmanager
def _voc_submission(folder: Path, names: Sequence[str]) -> Iterator[AddImage]:
    """The development kit's text files and maps, and results.tgz, which contains them."""
    root = folder / "results"
    (folder / _VOC_DETECTION).parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[str]] = {}  # by class; empty if the network does not detect

    def add(image: str, detections: Detections | None, seg_map: np.ndarray | None) -> None:
        if detections is not None:
            for name in names[1:]:
                rows.setdefault(name, [])
            for (x1, y1, x2, y2), label, score in zip(*detections, strict=True):
                # VOC's corners are pixel indices from 1, the last one included.
                corners = f"{x1 + 1:.2f} {y1 + 1:.2f} {x2:.2f} {y2:.2f}"
                rows[names[label]].append(f"{image} {score:.6f} {corners}\n")
        if seg_map is not None:
            path = folder / _VOC_SEGMENTATION / f"{file_name(image)}.png"
            save_image(path, palette_image(seg_map), sync=False)

    yield add
    for name, lines in rows.items():
        write_text(folder / _VOC_DETECTION.format(file_name(name)), "".join(lines))
    with (
        atomic_write(folder / VOC_ARCHIVE) as temporary,
        tarfile.open(temporary, "w:gz") as archive,
    ):
        archive.add(root, root.name)


@contextmanager
def coco_results(path: Path, names: Sequence[str]) -> Iterator[AddImage]:
    """COCO's results file, written image by image, and a zip of it in the same folder.

    Args:
        path: path of the JSON file.
        names: class names, background first; see `coco_category_ids`.

    Raises:
        InputError: if an image id is not a number, or a file cannot be written.
    """
    ids = coco_category_ids(names)
    separator = "["
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def add(image: str, detections: Detections | None, _: np.ndarray | None) -> None:
            nonlocal separator
            if not image.isdecimal():
                raise InputError(
                    f"image {image!r}: COCO's ids are numbers; "
                    "describe the split with format: coco and its annotation file"
                )
            if detections is None:
                raise InputError("COCO's server takes boxes, but this network does not detect")
            for (x1, y1, x2, y2), label, score in zip(
                *(values.tolist() for values in detections), strict=True
            ):
                record = {
                    "image_id": int(image),
                    "category_id": ids[names[label]],
                    "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                    "score": round(score, 6),
                }
                file.write(f"{separator}\n{json.dumps(record)}")
                separator = ","

        yield add
        file.write("\n]\n" if separator == "," else "[]\n")
    with (
        atomic_write(path.with_suffix(".zip")) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.write(path, path.name)


def _plain(name: str) -> str:
    """Without slashes and underscores; the latter separate the parts of COCO's file name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)
