"""Write PASCAL VOC's layout: XML and segmentation maps, lists, and CVAT's labelmap.txt."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from blitznet.classes import palette_image, voc_palette
from blitznet.errors import InputError
from blitznet.files.save_image import save_image
from blitznet.files.text_files import write_text
from blitznet.inference.writers import Added, AddScene
from blitznet.scene import Scene

ANNOTATIONS_FOLDER = "Annotations"
MAPS_FOLDER = "SegmentationClass"
LIST_NAME = "default.txt"  # CVAT's name
LABEL_MAP_FILE = "labelmap.txt"

_EDGES = ("xmin", "ymin", "xmax", "ymax")
# Characters that XML 1.0 cannot hold even if escaped: most control characters, and unpaired
# surrogates, which Python uses for bytes of file names that are not UTF-8.
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@contextmanager
def voc_labels(
    folder: Path, names: Sequence[str], before: Sequence[Added] = ()
) -> Iterator[AddScene]:
    """Write Annotations, ImageSets, labelmap.txt, and SegmentationClass if the network segments.

    See `LABEL_FORMATS`. The folder has the layout of VOCdevkit/VOC2012. The lists are written after
    the last image.

    Raises:
        InputError: if a file cannot be written, or a class name cannot be in labelmap.txt.
    """
    write_text(folder / LABEL_MAP_FILE, label_map(names))
    listed = [name for name, _ in before]

    def add(scene: Scene, name: str, file_name: str) -> None:
        text = annotation(scene, file_name)
        write_text(folder / ANNOTATIONS_FOLDER / f"{name}.xml", text, sync=False)
        if scene.seg_map is not None:
            path = folder / MAPS_FOLDER / f"{name}.png"
            save_image(path, palette_image(scene.seg_map), sync=False)
        listed.append(name)

    yield add
    mapped = [name for name in listed if (folder / MAPS_FOLDER / f"{name}.png").is_file()]
    for task, done in (("Main", listed), ("Segmentation", mapped)):
        if done or task == "Main":
            lines = (f'"{name}"\n' if " " in name else f"{name}\n" for name in done)
            write_text(folder / "ImageSets" / task / LIST_NAME, "".join(lines), "surrogateescape")


def label_map(names: Sequence[str]) -> str:
    """Make CVAT's labelmap.txt with the colours of the classes, without parts and actions.

    Raises:
        InputError: for a name with a colon or a line break, which the format cannot express.
    """
    lines = ["# label:color_rgb:parts:actions"]
    for name, colour in zip(names, voc_palette().tolist(), strict=False):
        if ":" in name or len(name.splitlines()) != 1:
            raise InputError(
                f"the class name {name!r} cannot be written in VOC's format, whose label map ends "
                "names at a colon; use another format"
            )
        lines.append(f"{name}:{','.join(map(str, colour))}::")
    return "\n".join(lines) + "\n"


def annotation(scene: Scene, file_name: str) -> str:
    """Make VOC's XML for one scene.

    As in the development kit, coordinates count from 1 and include the last pixel: a box from 0 to
    48 is written as 1, 48. They are rounded to two decimals.
    """
    width, height = scene.size
    path = PurePosixPath(file_name)
    root = ET.Element("annotation")
    _add_texts(root, folder=path.parent.name, filename=path.name)
    _add_texts(ET.SubElement(root, "source"), database="BlitzNet predictions")
    _add_texts(ET.SubElement(root, "size"), width=str(width), height=str(height), depth="3")
    _add_texts(root, segmented="0" if scene.seg_map is None else "1")
    for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels, strict=True):
        node = ET.SubElement(root, "object")
        _add_texts(node, name=scene.names[label], pose="Unspecified", truncated="0", difficult="0")
        corners = dict(zip(_EDGES, map(_decimal, (x1 + 1, y1 + 1, x2, y2)), strict=True))
        _add_texts(ET.SubElement(node, "bndbox"), **corners)
    ET.indent(root, "\t")
    return ET.tostring(root, encoding="unicode") + "\n"


def _add_texts(parent: ET.Element, **texts: str) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = _NOT_IN_XML.sub("?", text)


def _decimal(value: float) -> str:
    """Format with at most two decimals: 12, 12.5, 12.25."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
