"""Write segmentation maps for images with boxes only: `blitznet.refine_masks`."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from blitznet.classes import BACKGROUND, IGNORE_INDEX, palette_image
from blitznet.data.description import DataDescription, read_description
from blitznet.data.labels import ClassTable, ImageLabels, read_objects
from blitznet.data.map_from_boxes import (
    NAMES_FILE,
    map_from_boxes,
    refine_box_map,
    refined_path,
)
from blitznet.errors import ImageError, InputError
from blitznet.files.result_folder import ensure_folder
from blitznet.files.save_image import save_image
from blitznet.files.text_files import read_json, write_json, write_text
from blitznet.image import read_image, resize_to_input
from blitznet.image_file import read_image_header
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.inference.prefetch import prefetch
from blitznet.model_files import CheckpointInfo, find_network
from blitznet.progress import with_progress
from blitznet.structures import IGNORE_LABEL

RECORD_FILE = "refined.json"
_ORIGIN = "blitznet-origin"  # key of a text in the PNG

CONFIDENCE = 0.8  # for the effect of other values, see docs/your_data.md


@dataclass(frozen=True)
class RefinedMasks:
    """The result of `refine_masks`.

    Attributes:
        folder: folder of the maps.
        written: number of maps written by this call.
        maps: number of maps in the folder.
        decided: share of the pixels inside boxes that are not void, in maps of this call.
    """

    folder: Path
    written: int
    maps: int
    decided: float


def refine_masks(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    *,
    split: str = "train",
    confidence: float = CONFIDENCE,
    engine: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> RefinedMasks:
    """Write a segmentation map for every image that has boxes but no map; see `refine_box_map`.

    A source uses the maps with `refined_masks: OUT` in the data description. Repeat an interrupted
    call to continue it. A repeated call also replaces maps whose boxes have changed, but no map
    that was edited.

    Args:
        data: path of the data description.
        out: folder for the maps (PNG files of class ids), the list of classes, and the settings.
        model: bundled name, checkpoint or exported file of a network that segments; None = the best
            bundled one. Classes are matched by name; boxes of classes that it does not know get the
            coarse maps of `masks: from_boxes`.
        split: the split to process.
        confidence: minimum probability of a labelled pixel; the others are void.
        engine: inference engine; None = the one in BLITZNET_ENGINE, or else the fastest here.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        overwrite: replace maps made with other settings.

    Raises:
        InputError: if there is nothing to do, the network does not segment or knows none of the
            classes, two images differ only in their suffix, or the folder contains maps made with
            other settings.
    """
    description, out = read_description(Path(data)), Path(out)
    found = list(_boxes_only(description, split, out))
    if not found:
        raise InputError(f"{data}: no image of {split!r} has boxes but no segmentation map")
    image_of: dict[Path, Path] = {}
    images = {labels.path.resolve() for labels, _, _ in found}
    for labels, _, path in found:
        if path.resolve() in images:
            raise InputError(f"{out}: its map {path} would replace an image; name another folder")
        if (other := image_of.setdefault(path, labels.path)) != labels.path:
            raise InputError(
                f"{other} and {labels.path} would share the map {path}; rename one of them"
            )
    decided, in_boxes = 0, 0
    with closing(open_engine(model, engine, device)) as opened:
        require_known(opened.info, description.classes)
        content = find_network(model).path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        record = {"model": digest, "confidence": confidence, "classes": [*description.classes]}
        _begin(out, record, overwrite)
        todo = []
        for labels, table, path in found:
            origin = _origin_of(record, labels, table)
            if overwrite or _is_missing_or_old(path, origin):
                todo.append((labels, table, path, origin))
        decoded = prefetch(read_image, [labels.path for labels, *_ in todo], workers=1)
        shown = with_progress(decoded, len(todo), "refining")
        for (labels, table, path, origin), image in zip(todo, shown, strict=True):
            coarse, refined = refine_map(
                opened, description.classes, image, labels, table, confidence
            )
            note = PngInfo()
            note.add_text(_ORIGIN, origin)
            save_image(path, palette_image(refined), pnginfo=note)
            in_boxes += int(np.count_nonzero(coarse))
            decided += int((refined[coarse != BACKGROUND] != IGNORE_INDEX).sum())
    return RefinedMasks(out, len(todo), len(found), decided / max(in_boxes, 1))


def _origin_of(record: dict[str, Any], labels: ImageLabels, table: ClassTable) -> str:
    """Digest of what a map is made from, except the image: network, settings and boxes."""
    objects = [(one.name, one.box, one.ignore) for one in labels.objects or ()]
    content = repr((record, objects, table.label_map, table.known.tolist()))
    return hashlib.blake2b(content.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _is_missing_or_old(path: Path, origin: str) -> bool:
    """Whether to write a map: not if it was edited, which removes the note of its origin."""
    try:
        with path.open("rb") as file:
            return bool(read_image_header(file, str(path)).info.get(_ORIGIN, origin) != origin)
    except (OSError, ImageError):
        return True


def require_known(info: CheckpointInfo, names: Sequence[str]) -> None:
    """Check that a network can refine the maps of these classes, background first.

    Raises:
        InputError: if the network does not segment, or knows none of the classes.
    """
    if not info.model.segment:
        raise InputError("this network has no segmentation head; give another one with --model")
    if len(set(names) & set(info.names)) < 2:
        raise InputError(
            f"the network knows none of the classes {', '.join(names[1:])}; train one on "
            "the images that have maps, and give it with --model"
        )


def refine_map(
    engine: Engine,
    names: Sequence[str],
    image: Image.Image,
    labels: ImageLabels,
    table: ClassTable,
    confidence: float = CONFIDENCE,
) -> tuple[np.ndarray, np.ndarray]:
    """The map of an image from its boxes alone, and from boxes and network: (H, W) uint8.

    Args:
        engine: runs a network that fulfils `require_known`.
        names: class names of the data, background first.
        image: the image, RGB.
        labels: labels of the image, with objects.
        table: class table of the source.
        confidence: minimum probability of a labelled pixel.

    Raises:
        LabelError: if a box is unusable.
    """
    coarse = map_from_boxes(labels, image.size, table)
    boxes, ids, is_ignored = read_objects(labels, image.size, table)
    pixels = resize_to_input(image, engine.info.model.image_size)[None]
    logits = engine.run(np.ascontiguousarray(pixels), score=1).seg_logits
    assert logits is not None  # `require_known`
    of_network = torch.from_numpy(logits[0]).softmax(dim=0).numpy()
    columns = {name: of_network[column] for column, name in enumerate(engine.info.names)}
    unknown = np.zeros_like(of_network[0])
    seen = np.stack([columns.get(name, unknown) for name in names])
    ids[is_ignored] = IGNORE_LABEL
    return coarse, refine_box_map(coarse, seen, boxes, ids, confidence, table.known)


def _boxes_only(
    description: DataDescription, split: str, out: Path
) -> Iterator[tuple[ImageLabels, ClassTable, Path]]:
    """Labels, class table and path of the map of all images with boxes but no map of their own."""
    for entry in description.entries(split):
        changes: dict[str, Any] = {"refined_masks": None}
        if entry.masks == "from_boxes":  # these have boxes, even if training reads none
            changes |= {"masks": None, "boxes": True}
        source = entry.model_copy(update=changes).open(description.folder, description.classes)
        for index in range(len(source)):
            labels = source.labels(index)
            if labels.seg_map is None and labels.objects is not None:
                yield labels, source.table, refined_path(out, labels.path, description.folder)


def _begin(out: Path, record: dict[str, Any], overwrite: bool) -> None:
    """Create the folder, or continue in it if its maps were made with the same settings."""
    ensure_folder(out)
    path = out / RECORD_FILE
    if not overwrite and any(out.iterdir()) and (not path.is_file() or read_json(path) != record):
        raise InputError(
            f"{out}: not empty, and made with another network, confidence or list of classes; name "
            "another folder, or add --overwrite"
        )
    write_json(path, record)
    write_text(out / NAMES_FILE, "".join(f"{name}\n" for name in record["classes"]))
