"""Typed replies of the service, as in its OpenAPI schema."""

from base64 import b64encode
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from blitznet.files.save_image import encode_png
from blitznet.inference.selection import DEFAULT_SCORE, Selection
from blitznet.scene import Scene
from blitznet.service.run_length import coco_run_length

Share = Annotated[float, Field(ge=0, le=1)]
# Of a request; the predictor's own check tells what is wrong.
_AskedShare = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]

# zlib's level: higher ones take five times as long for slightly smaller files. For segmentation
# maps, the strategy that compresses only runs (Z_RLE) halves the size.
_PNG_LEVEL = 1
_RUNS = 3


class Options(BaseModel):
    """Parameters of a prediction, in the query or in the form."""

    score: _AskedShare = Field(DEFAULT_SCORE, description="Minimum score of an object.")
    classes: str | SkipJsonSchema[None] = Field(
        None,
        description="Names of the classes to show, separated by commas; without it, all. Pixels of "
        "other classes become background.",
    )
    iou: _AskedShare | SkipJsonSchema[None] = Field(
        None,
        description="Maximum IoU of two objects of a class; without it, that of the network.",
    )
    max_detections: int | SkipJsonSchema[None] = Field(
        None, description="Maximum number of objects, the best ones; without it, all."
    )
    mask: Literal["png", "rle", "none"] = Field(
        "png", description="The segmentation map in the JSON: one PNG, run lengths, or none."
    )
    draw: bool = Field(False, description="Add the drawn image to the JSON, as a base64 PNG.")
    output: Literal["drawn", "map"] = Field(
        "drawn", description="With `Accept: image/png`: the drawn image, or the map in VOC colours."
    )

    def selection(self) -> Selection:
        """The parameters of `Predictor.predict`."""
        names = None if self.classes is None else self.classes.split(",")
        classes = names and [name.strip() for name in names if name.strip()]
        return Selection(self.score, classes, self.iou, self.max_detections)

    @model_validator(mode="after")
    def _check(self) -> "Options":
        self.selection()
        return self


class RunLengths(BaseModel):
    """Uncompressed COCO RLE: runs in column order, starting with zeros."""

    size: tuple[int, int] = Field(description="Height and width.")
    counts: list[int]


class DetectedObject(BaseModel):
    """One object."""

    label: str
    label_id: int = Field(description="Class id, from 1 on.")
    score: Share
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels.")
    mask: RunLengths | None = Field(None, description="Its own pixels; with mask=rle.")


class ImagePrediction(BaseModel):
    """The prediction for one image: a record of `predictions.jsonl`, and segmentation map."""

    source: str = Field(description="The file's name, or `body` without one.")
    width: int
    height: int
    detections: list[DetectedObject] = Field(description="Best score first.")
    pixels: dict[str, Share] | None = Field(description="Share of every class that occurs.")
    segmentation_mask: str | None = Field(
        None, description="Base64 PNG, grey, a class id per pixel; with mask=png."
    )
    segmentation_rle: dict[str, RunLengths] | None = Field(
        None, description="The pixels of every class except background; with mask=rle."
    )
    class_map: dict[str, str] = Field(description="Class id to name.")
    drawn: str | None = Field(None, description="Base64 PNG; with draw=true.")
    ms: dict[str, float] = Field(description="Milliseconds by stage.")


class Prediction(BaseModel):
    """An entry per image, in the order of the request."""

    model: str
    images: list[ImagePrediction]


EXAMPLE: dict[str, Any] = {
    "model": "blitznet300-mobile",
    "images": [
        {
            "source": "chelsea.jpg",
            "width": 451,
            "height": 300,
            "detections": [
                {"label": "cat", "label_id": 8, "score": 0.9995, "box": [6.39, 0.0, 430.92, 297.34]}
            ],
            "pixels": {"cat": 0.772498, "background": 0.227502},
            "segmentation_mask": "iVBORw0KGgo...",
            "class_map": {"0": "background", "8": "cat"},
            "ms": {"read": 5.77, "network": 23.73, "post": 1.63},
        }
    ],
}


class Health(BaseModel):
    """Status `UP`, as Label Studio expects."""

    status: Literal["UP"] = "UP"


class Ready(BaseModel):
    """Whether the service accepts requests."""

    ready: bool


class ServedModel(BaseModel):
    """The served network."""

    name: str
    engine: str
    device: str
    image_size: int
    detect: bool
    segment: bool
    names: tuple[str, ...] = Field(description="By class id, background first.")


class Models(BaseModel):
    """All served networks; currently one."""

    models: list[ServedModel]


class ErrorReply(BaseModel):
    """Why a request failed, in one line."""

    detail: str


def describe(scene: Scene, options: Options) -> ImagePrediction:
    """Convert a scene to JSON values."""
    record = scene.to_dict()
    record["class_map"] = {str(index): name for index, name in enumerate(scene.names)}
    record["ms"] = {stage: round(time, 2) for stage, time in scene.milliseconds.items()}
    del record["seg_map"], record["drawn"]
    if scene.seg_map is not None and options.mask == "png":
        seg_map = Image.fromarray(scene.seg_map)
        record["segmentation_mask"] = b64encode(png(seg_map, compress_type=_RUNS)).decode()
    elif scene.seg_map is not None and options.mask == "rle":
        record["segmentation_rle"] = {
            name: coco_run_length(scene.seg_map == class_id)
            for class_id, name in enumerate(scene.names)
            if class_id and name in record["pixels"]
        }
        owners = scene.instance_map()
        for index, detection in enumerate(record["detections"]):
            detection["mask"] = coco_run_length(owners == index)
    if options.draw:
        record["drawn"] = b64encode(png(scene.draw(in_place=True))).decode()
    return ImagePrediction(**record)


def png(image: Image.Image, **options: int) -> bytes:
    """Encode an image as PNG, with Pillow's options."""
    return encode_png(image, compress_level=_PNG_LEVEL, **options)
