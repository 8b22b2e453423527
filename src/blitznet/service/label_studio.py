"""Label Studio's machine-learning backend: tasks in, predictions in its format out."""

import base64
import binascii
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blitznet.errors import first_problem
from blitznet.image import ImageSource
from blitznet.scene import Scene
from blitznet.service.request_body import open_image
from blitznet.service.run_length import brush_run_length
from blitznet.service.settings import MAX_IMAGES, Settings

_FETCH_SECONDS = 10
_RECTANGLES, _BRUSHES = "RectangleLabels", "BrushLabels"


class Setup(BaseModel):
    """What Label Studio sends when a backend is added; nothing of it is needed."""

    model_config = ConfigDict(extra="allow")


class SetupReply(BaseModel):
    """Answer to `Setup`."""

    model_version: str


class LabelStudioTask(BaseModel):
    """One image to label."""

    id: int | str | None = None
    data: dict[str, Any]


class TaskRequest(BaseModel):
    """What Label Studio posts to `/predict`; other fields are ignored."""

    tasks: list[LabelStudioTask] = Field(min_length=1, max_length=MAX_IMAGES)
    label_config: str = Field(description="The project's XML.")


class TaskResult(BaseModel):
    """Regions of one task, as `rectanglelabels` and `brushlabels`."""

    result: list[dict[str, Any]]
    score: float = Field(description="Mean score of the objects.")
    model_version: str


class TaskReply(BaseModel):
    """Predictions in the order of the tasks."""

    results: list[TaskResult]
    model_version: str


@dataclass(frozen=True)
class Control:
    """A tag of the labelling configuration that takes regions.

    Attributes:
        name: the tag's.
        to_name: of the image tag that it labels.
        labels: by class name in lower case, as the project writes them.
    """

    name: str
    to_name: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Task:
    """An opened image, and the tags for its regions; None for a kind that the project lacks."""

    image: ImageSource
    rectangles: Control | None
    brushes: Control | None


def read_tasks(content: bytes, settings: Settings) -> list[Task]:
    """Label Studio's request with its images read, up to their headers.

    Raises:
        HTTPException: 422 for what is no such request, or names an image that is not to be had.
    """
    try:
        request = TaskRequest.model_validate_json(content)
    except ValidationError as error:
        raise HTTPException(422, first_problem(error)[:300]) from None
    key, rectangles, brushes = _read_config(request.label_config)
    tasks = []
    for task in request.tasks:
        address = task.data.get(key)
        if not isinstance(address, str):
            raise HTTPException(422, f"task {task.id}: data has no text called {key!r}")
        image = open_image(_read(address, settings), f"task {task.id}", settings)
        tasks.append(Task(image, rectangles, brushes))
    return tasks


def predict_tasks(tasks: list[Task], model: str, scenes: list[Scene]) -> bytes:
    """The answer, a `TaskReply`, to tasks whose scenes are known."""
    results = [
        TaskResult(
            result=[*_rectangles(scene, task.rectangles), *_brushes(scene, task.brushes)],
            score=float(np.mean(scene.scores)) if len(scene.scores) else 0.0,
            model_version=model,
        )
        for task, scene in zip(tasks, scenes, strict=True)
    ]
    return TaskReply(results=results, model_version=model).model_dump_json().encode()


def _read_config(text: str) -> tuple[str, Control | None, Control | None]:
    """The name of the image in the tasks' data, and the tags that take rectangles and brushes."""
    try:
        if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
            raise ElementTree.ParseError("declarations are not read")
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise HTTPException(422, f"label_config is not XML ({error})") from None
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    controls = {kind: _control(root, kind) for kind in (_RECTANGLES, _BRUSHES)}
    named = {control.to_name for control in controls.values() if control is not None}
    value = images.get(next(iter(named), ""), "")
    if len(named) != 1 or not value.startswith("$"):
        raise HTTPException(
            422, f"label_config wants {_RECTANGLES} or {_BRUSHES} for one Image with value='$...'"
        )
    return value[1:], controls[_RECTANGLES], controls[_BRUSHES]


def _control(root: ElementTree.Element, kind: str) -> Control | None:
    tag = root.find(f".//{kind}")
    if tag is None:
        return None
    values = [label.get("value", "") for label in tag.iter("Label")]
    labels = {value.lower(): value for value in values}
    return Control(tag.get("name", ""), tag.get("toName", ""), labels)


def _rectangles(scene: Scene, control: Control | None) -> Iterator[dict[str, Any]]:
    """Boxes in per cent of the image, of classes that the project has."""
    if control is None:
        return
    width, height = scene.size
    percent = 100 / np.array((width, height) * 2)
    for box, label, score in zip(scene.boxes, scene.labels, scene.scores, strict=True):
        if value := control.labels.get(scene.names[label].lower()):
            x1, y1, x2, y2 = (box * percent).round(4).tolist()
            where = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
            region = _region(
                scene, control, "rectanglelabels", where | {"rectanglelabels": [value]}
            )
            yield region | {"score": round(float(score), 4)}


def _brushes(scene: Scene, control: Control | None) -> Iterator[dict[str, Any]]:
    """The pixels of every class that occurs and that the project has."""
    if control is None or scene.seg_map is None:
        return
    for class_id in np.unique(scene.seg_map).tolist():
        if class_id and (value := control.labels.get(scene.names[class_id].lower())):
            rle = brush_run_length(scene.seg_map == class_id)
            brush = {"format": "rle", "rle": rle, "brushlabels": [value]}
            yield _region(scene, control, "brushlabels", brush)


def _region(scene: Scene, control: Control, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "from_name": control.name,
        "to_name": control.to_name,
        "type": kind,
        "original_width": scene.size[0],
        "original_height": scene.size[1],
        "image_rotation": 0,
        "value": value,
    }


def _read(address: str, settings: Settings) -> bytes:
    """The image that a task names: base64, an uploaded file, or a URL of an allowed host."""
    if address.startswith("data:"):
        try:
            return base64.b64decode(address.partition("base64,")[2], validate=True)
        except binascii.Error:
            raise HTTPException(422, "a data: address wants base64") from None
    if address.startswith("/data/"):
        return _read_uploaded(address.removeprefix("/data/"), settings.uploads)
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.netloc in settings.allow_fetch:
        return _fetch(address, settings.max_bytes)
    raise HTTPException(
        422,
        f"{address[:80]}: images come as base64, as uploads (--uploads DIR), "
        "or from a host of --allow-fetch",
    )


def _read_uploaded(name: str, folder: Path | None) -> bytes:
    """A file inside Label Studio's folder, and none outside it."""
    if folder is None:
        raise HTTPException(422, "for uploaded files, start the service with --uploads DIR")
    path = (folder / unquote(name)).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise HTTPException(422, f"/data/{name}: no such file in the folder of uploads")
    return path.read_bytes()


class _NoRedirect(HTTPRedirectHandler):
    """An allowed host does not lead to others."""

    def redirect_request(self, *_: Any) -> None:
        """Never follow."""


def _fetch(address: str, max_bytes: int) -> bytes:
    try:
        request = Request(address, headers={"User-Agent": "blitznet"})
        with build_opener(_NoRedirect).open(request, timeout=_FETCH_SECONDS) as answer:
            content: bytes = answer.read(max_bytes + 1)
    except (URLError, OSError, ValueError) as error:
        raise HTTPException(422, f"{address[:80]}: cannot be fetched ({error})") from None
    if len(content) > max_bytes:
        raise HTTPException(413, f"{address[:80]}: more than {max_bytes / 1e6:g} MB")
    return content
