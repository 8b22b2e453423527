"""Machine-learning backend for Label Studio: tasks in, predictions in its format out."""

import base64
import http.client
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
from fastapi import HTTPException
from pydantic import BaseModel, Field, ValidationError

from blitznet.errors import cut, first_problem
from blitznet.files.regular_file import read_regular
from blitznet.image import EncodedImage
from blitznet.scene import Scene
from blitznet.service.request_body import open_image
from blitznet.service.run_length import brush_run_length
from blitznet.service.settings import Settings

_FETCH_SECONDS = 10
# Limits of a request: tasks, characters of the configuration, and JSON values, which can be many
# because of brush annotations that the tasks already have.
_MAX_TASKS, _MAX_CONFIG, _MAX_VALUES = 100, 1_000_000, 2_000_000
_NOT_TASKS = "JSON is for Label Studio; send an image as the body, or as `file` of a form"
_RECTANGLES, _BRUSHES = "RectangleLabels", "BrushLabels"


class SetupReply(BaseModel):
    """The served network."""

    model_version: str


class LabelStudioTask(BaseModel):
    """One image to label."""

    id: int | str | None = None
    data: dict[str, Any]


class TaskRequest(BaseModel):
    """Label Studio's request to `/predict`; other fields are ignored."""

    tasks: list[LabelStudioTask] = Field(min_length=1, max_length=_MAX_TASKS)
    label_config: str = Field(max_length=_MAX_CONFIG, description="The project's XML.")


class TaskResult(BaseModel):
    """Regions of one task, as `rectanglelabels` and `brushlabels`."""

    result: list[dict[str, Any]]
    score: float = Field(description="Mean score of the objects.")
    model_version: str


class TaskReply(BaseModel):
    """Predictions in the order of the tasks."""

    results: list[TaskResult]
    model_version: str


class Control(NamedTuple):
    """A tag of the labelling configuration that takes regions.

    Attributes:
        kind: `RectangleLabels` or `BrushLabels`.
        name: name of the tag.
        to_name: name of the image tag that it labels.
        labels: the project's labels, by class name in lower case.
    """

    kind: str
    name: str
    to_name: str
    labels: dict[str, str]


def read_tasks(content: bytes, settings: Settings) -> tuple[Iterator[EncodedImage], list[Control]]:
    """Parse Label Studio's request.

    Returns:
        The images, which are read one at a time, and the project's labelling tags.

    Raises:
        HTTPException: 422 if it is not such a request, or while iterating, if an image is not
            available; 413 if it is too large.
    """
    if content.count(b",") > _MAX_VALUES:  # parsing takes up to thirty times their size
        raise HTTPException(422, f"more than {_MAX_VALUES:,} values; send fewer tasks at once")
    try:
        request = TaskRequest.model_validate_json(content)
    except ValidationError as error:
        text, problem = first_problem(error), error.errors()[0]
        if problem["type"] == "missing" and problem["loc"] == ("tasks",):
            text = "the JSON has no `tasks`"
        elif problem["loc"]:
            raise HTTPException(422, text) from None
        raise HTTPException(422, f"{text}; {_NOT_TASKS}") from None
    key, controls = _read_config(request.label_config)
    return (_read_image(task, key, settings) for task in request.tasks), controls


def _read_image(task: LabelStudioTask, key: str, settings: Settings) -> EncodedImage:
    address = task.data.get(key)
    if not isinstance(address, str):
        raise HTTPException(422, f"task {task.id}: data has no text called {key!r}")
    image = EncodedImage(_read(address, settings), f"task {task.id}")
    return open_image(image, settings.max_megapixels)


def label_scene(scene: Scene, controls: list[Control], model: str) -> TaskResult:
    """Convert a scene to Label Studio's regions."""
    result: list[dict[str, Any]] = []
    for control in controls:
        result += (_rectangles if control.kind == _RECTANGLES else _brushes)(scene, control)
    return TaskResult(
        result=result,
        score=float(np.mean(scene.scores)) if len(scene.scores) else 0.0,
        model_version=model,
    )


class _NoDeclarations(ElementTree.TreeBuilder):
    """Rejects declarations: configurations do not need them, and entities can expand hugely."""

    def doctype(self, *_: str | None) -> None:
        """Raise ParseError; called at the start of a declaration."""
        raise ElementTree.ParseError("declarations are not allowed")


def _read_config(text: str) -> tuple[str, list[Control]]:
    try:
        root = ElementTree.fromstring(text, ElementTree.XMLParser(target=_NoDeclarations()))
    except ElementTree.ParseError as error:
        raise HTTPException(422, f"label_config is not XML ({error})") from None
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    tags = (root.find(f".//{kind}") for kind in (_RECTANGLES, _BRUSHES))
    controls = [_control(tag) for tag in tags if tag is not None]
    named = {control.to_name for control in controls}
    value = images.get(next(iter(named), ""), "")
    if len(named) != 1 or not value.startswith("$"):
        raise HTTPException(
            422, f"label_config needs {_RECTANGLES} or {_BRUSHES} for one Image with value='$...'"
        )
    return value[1:], controls


def _control(tag: ElementTree.Element) -> Control:
    values = [label.get("value", "") for label in tag.iter("Label")]
    labels = {value.lower(): value for value in values}
    return Control(tag.tag, tag.get("name", ""), tag.get("toName", ""), labels)


def _rectangles(scene: Scene, control: Control) -> Iterator[dict[str, Any]]:
    """Yield boxes in per cent of the image, for classes that the project has."""
    width, height = scene.size
    percent = 100 / np.array((width, height) * 2)
    for box, label, score in zip(scene.boxes, scene.labels, scene.scores, strict=True):
        if value := control.labels.get(scene.names[label].lower()):
            x1, y1, x2, y2 = (box * percent).round(4).tolist()
            where = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
            yield _region(scene, control, value, where) | {"score": round(float(score), 4)}


def _brushes(scene: Scene, control: Control) -> Iterator[dict[str, Any]]:
    """Yield the pixels of every class that occurs, if the project has it."""
    if scene.seg_map is None:
        return
    shares = scene.pixel_shares() or {}
    for class_id, name in enumerate(scene.names):
        if class_id and name in shares and (value := control.labels.get(name.lower())):
            rle = brush_run_length(scene.seg_map == class_id)
            yield _region(scene, control, value, {"format": "rle", "rle": rle})


def _region(scene: Scene, control: Control, label: str, value: dict[str, Any]) -> dict[str, Any]:
    kind = control.kind.lower()
    return {
        "from_name": control.name,
        "to_name": control.to_name,
        "type": kind,
        "original_width": scene.size[0],
        "original_height": scene.size[1],
        "image_rotation": 0,
        "value": value | {kind: [label]},
    }


def _read(address: str, settings: Settings) -> bytes:
    """Read a task's image: base64, an uploaded file, or a URL of an allowed host."""
    if address.startswith("data:"):
        try:
            return base64.b64decode(address.partition("base64,")[2], validate=True)
        except ValueError:
            raise HTTPException(422, "a data: address needs base64") from None
    if address.startswith("/data/"):
        return _read_uploaded(address, settings)
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0]
    if scheme in ("http", "https") and host in settings.allow_fetch:
        return _fetch(address, settings.max_bytes)
    raise HTTPException(
        422,
        f"{cut(address)}: images come as base64, as uploads (--uploads DIR), "
        "or from a host of --allow-fetch",
    )


def _read_uploaded(address: str, settings: Settings) -> bytes:
    """Read a file inside Label Studio's folder, and nothing outside it."""
    if settings.uploads is None:
        raise HTTPException(422, "for uploaded files, start the service with --uploads DIR")
    folder = settings.uploads.resolve()
    try:
        path = (folder / unquote(address.removeprefix("/data/"))).resolve()
        if not path.is_relative_to(folder):
            raise FileNotFoundError
        return read_regular(path, settings.max_bytes)
    except (OSError, ValueError, RuntimeError) as error:  # invalid names, and circular links
        reason = getattr(error, "strerror", None) or "no such file"
        raise HTTPException(422, f"{cut(address)}: {reason} in the upload folder") from None


class _NoRedirect(HTTPRedirectHandler):
    """Rejects redirects, because an allowed host could redirect to others."""

    def redirect_request(self, *_: Any) -> None:
        """Return None, which makes urllib raise HTTPError."""


def _fetch(address: str, max_bytes: int) -> bytes:
    try:
        request = Request(address, headers={"User-Agent": "blitznet"})
        with build_opener(_NoRedirect).open(request, timeout=_FETCH_SECONDS) as answer:
            content: bytes = answer.read(max_bytes + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HTTPException(422, f"{cut(address)}: cannot be fetched ({cut(str(error))})") from None
    if len(content) > max_bytes:
        raise HTTPException(413, f"{cut(address)}: more than {max_bytes / 1e6:g} MB")
    return content
