"""POST /predict: results, formats of requests and answers, limits."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco_mask

from blitznet.scene import Scene
from blitznet.service import create_app
from tiny_network import NAMES, colour_predictor, tiny_predictor

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools


@pytest.fixture
def scene(image: Image.Image) -> Scene:
    return colour_predictor().predict(image)


def first(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    image: dict[str, Any] = answer.json()["images"][0]
    return image


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(text))))


def test_an_answer_is_the_record_of_predictions_jsonl_and_the_map(
    client: TestClient, png: bytes, scene: Scene
) -> None:
    answer = client.post("/predict", files={"file": ("a.png", png)})
    reply = first(answer)
    seg_map = decoded(reply.pop("segmentation_mask"))
    assert (seg_map == scene.seg_map).all()
    assert set(reply.pop("ms")) == {"read", "network", "post"}
    assert reply.pop("class_map") == {"0": "background", "1": "red", "2": "green", "3": "blue"}
    record = scene.to_dict() | {"source": "a.png"}
    del record["seg_map"], record["drawn"]
    assert reply == record
    assert answer.json()["model"] == "colours"


def test_a_form_a_body_and_parameters_in_either_place_say_the_same(
    client: TestClient, png: bytes
) -> None:
    def without_names(answer: Any) -> dict[str, Any]:
        return {k: v for k, v in first(answer).items() if k not in ("source", "ms")}

    query = {"score": "0.95", "mask": "none"}
    raw = without_names(client.post("/predict", params=query, content=png))
    assert raw["detections"] == []  # the object has 0.9
    assert "segmentation_mask" not in raw
    form = client.post("/predict", data=query, files={"file": png})
    assert without_names(form) == raw
    curl = {"content-type": "application/x-www-form-urlencoded"}  # curl --data-binary
    assert without_names(client.post("/predict", params=query, content=png, headers=curl)) == raw


def test_several_files_are_answered_in_order(client: TestClient, png: bytes) -> None:
    files = [("file", (f"{name}.png", png)) for name in "abc"]
    images = client.post("/predict", files=files).json()["images"]
    assert [image["source"] for image in images] == ["a.png", "b.png", "c.png"]


def test_run_lengths_are_those_of_the_map_and_of_the_objects(
    client: TestClient, png: bytes, scene: Scene
) -> None:
    reply = first(client.post("/predict?mask=rle", content=png))

    def read(rle: dict[str, Any]) -> np.ndarray:
        mask: np.ndarray = coco_mask.decode(coco_mask.frPyObjects(rle, *rle["size"])) == 1
        return mask

    for name, rle in reply["segmentation_rle"].items():
        assert (read(rle) == (scene.seg_map == NAMES.index(name))).all()
    assert set(reply["segmentation_rle"]) == set(reply["pixels"]) - {"background"}
    assert (read(reply["detections"][0]["mask"]) == scene.instances()[0]).all()


def test_drawn_image_and_map_as_png(client: TestClient, png: bytes, scene: Scene) -> None:
    headers = {"accept": "image/png"}
    drawn = client.post("/predict", content=png, headers=headers)
    assert drawn.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(drawn.content)).tobytes() == scene.draw().tobytes()
    seg_map = client.post("/predict?output=map", content=png, headers=headers)
    assert (np.asarray(Image.open(BytesIO(seg_map.content))) == scene.seg_map).all()
    both = first(client.post("/predict?draw=true", content=png))
    assert (decoded(both["drawn"]) == np.asarray(scene.draw())).all()


def test_32_clients_at_once_get_what_serial_ones_get(client: TestClient) -> None:
    generator = np.random.default_rng(0)
    images = []
    for size in generator.integers(8, 80, (32, 2)):
        content = BytesIO()
        Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(content, "PNG")
        images.append(content.getvalue())

    def ask(content: bytes) -> str:
        reply = first(client.post("/predict?mask=rle&score=0.01", content=content))
        del reply["ms"]
        return json.dumps(reply)

    serial = [ask(content) for content in images]
    with ThreadPoolExecutor(32) as pool:
        busy = client.app.state.service.queue  # type: ignore[attr-defined]
        busy._limit = 32
        assert list(pool.map(ask, images)) == serial


@pytest.mark.parametrize(
    "params",
    [
        {"classes": "red, blue"},
        {"classes": ["red", "blue"]},
        {"classes": "green", "iou": "0.1"},
        {"max_detections": "3"},
        {"iou": "0", "max_detections": "2"},
    ],
)
def test_parameters_of_predict_have_the_same_effect(
    image: Image.Image, png: bytes, params: dict[str, Any]
) -> None:
    with tiny_predictor() as predictor, TestClient(create_app(predictor)) as client:
        wanted = {key: float(params[key]) for key in ("iou",) if key in params}
        if "classes" in params:
            wanted["classes"] = ["green"] if params["classes"] == "green" else ["red", "blue"]
        if "max_detections" in params:
            wanted["max_detections"] = int(params["max_detections"])
        expected = predictor.predict(image, 0.05, **wanted)
        everything = predictor.predict(image, 0.05)
        asked = {"score": "0.05", **params}
        reply = first(client.post("/predict", params=asked, content=png))
        form = first(client.post("/predict", data=asked, files={"file": png}))
    assert 0 < len(expected.boxes) < len(everything.boxes)
    assert reply["detections"] == expected.to_dict()["detections"] == form["detections"]
    assert (decoded(reply["segmentation_mask"]) == expected.seg_map).all()


def test_a_class_that_the_network_lacks_gets_the_line_of_predict(
    client: TestClient, png: bytes
) -> None:
    answer = client.post("/predict?classes=bus", content=png)
    assert answer.status_code == 422
    detail = "no class is called 'bus'; this network has red, green, blue"
    assert answer.json()["detail"] == detail


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"content": b"milk, bread"}, 415, "body: not an image; BlitzNet reads JPEG"),
        ({"files": {"file": ("a.txt", b"milk")}}, 415, "a.txt: not an image"),
        ({"content": b""}, 422, "the request has no image"),
        ({"files": {"image": b"x"}}, 422, "files are sent as `file`, not as 'image'"),
        (
            {"params": {"conf": 1}, "content": b"x"},
            422,
            "there is no parameter 'conf'; parameters are score",
        ),
        ({"params": {"score": 2}, "content": b"x"}, 422, "score must be from 0 to 1, got 2.0"),
        ({"params": {"score": "high"}, "content": b"x"}, 422, "score: Input should be a valid"),
        ({"params": {"iou": -1}, "content": b"x"}, 422, "iou must be from 0 to 1, got -1.0"),
        ({"params": {"max_detections": 0}, "content": b"x"}, 422, "max_detections must be at"),
        ({"params": {"classes": ","}, "content": b"x"}, 422, "classes names no class; leave it"),
        ({"params": {"mask": "jpg"}, "content": b"x"}, 422, "mask: Input should be 'png', 'rle'"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            422,
            "the form cannot be read: Missing boundary",
        ),
        ({"files": {"file": (None, "a.png")}}, 422, "`file` is text and not a file; with curl"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "Invalid JSON"),
        (
            {"json": {"image": "abc"}},
            422,
            "the JSON has no `tasks`; JSON is for Label Studio; send an image as the body",
        ),
        (
            {"json": ["abc"]},
            422,
            "Input should be an object; JSON is for Label Studio; send an image as the body",
        ),
    ],
)
def test_a_wrong_request_gets_one_line(
    client: TestClient, request_: dict[str, Any], status: int, detail: str
) -> None:
    answer = client.post("/predict", **request_)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(detail)
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("image/png, application/json", "application/json"),
        ("image/png;q=1, */*;q=0.1", "image/png"),
        ("image/*", "image/png"),
        ("image/webp,image/*,*/*;q=0.8", "application/json"),
    ],
)
def test_the_answer_is_what_the_client_accepts(
    client: TestClient, png: bytes, accept: str, kind: str
) -> None:
    answer = client.post("/predict", content=png, headers={"accept": accept})
    assert answer.headers["content-type"] == kind


def test_other_kinds_of_answers_are_refused(client: TestClient, png: bytes) -> None:
    answer = client.post("/predict", content=png, headers={"accept": "image/jpeg"})
    assert answer.status_code == 406
    assert answer.json()["detail"] == (
        "the answer is application/json or image/png, and not image/jpeg; change `Accept`"
    )


@pytest.mark.parametrize(("image_format", "status"), [("JPEG", 422), ("PNG", 415)])
def test_an_image_that_curl_has_changed_gets_a_hint(
    client: TestClient, image: Image.Image, image_format: str, status: int
) -> None:
    file = BytesIO()
    image.save(file, image_format)
    content = re.sub(rb"[\r\n\0]", b"", file.getvalue())
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = client.post("/predict", content=content, headers=headers)
    assert answer.status_code == status
    hint = "; curl changes files that are sent with -d, use --data-binary"
    assert answer.json()["detail"].endswith(hint)
    plain = client.post("/predict", content=content)
    assert plain.status_code == status
    assert plain.json()["detail"] + hint == answer.json()["detail"]


def test_a_damaged_image_gets_the_line_of_predict(client: TestClient, png: bytes) -> None:
    answer = client.post("/predict", files={"file": ("cut.png", png[:90])})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cut.png: damaged or cut off")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8" + 50_000 * b"\xff",
        b"\xff\xd8" + 50_000 * b"\xff\xe5\0\2",
        b"P6\n" + 50_000 * b"#\n",
        b"GIF89a\1\0\1\0\0\0\0" + 50_000 * b"!\xfe\0",
    ],
    ids=["JPEG markers", "JPEG segments", "PPM comments", "GIF blocks"],
)
def test_a_header_of_millions_of_parts_is_not_read_to_its_end(
    client: TestClient, content: bytes
) -> None:
    answer = client.post("/predict", content=content)
    assert answer.status_code == 422
    assert "too many parts" in answer.json()["detail"]


def test_large_requests_are_refused_before_and_while_they_are_read(
    open_service: Callable[..., TestClient], png: bytes
) -> None:
    client = open_service(max_mb=0.001)

    def endless() -> Iterator[bytes]:  # without a length
        for _ in range(100):
            yield bytes(100)

    for body in (bytes(2000), endless()):
        answer = client.post("/predict", content=body)
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("the request has more than 0.001 MB")
    assert client.app.state.service.memory.held == 0  # type: ignore[attr-defined]


def test_pixels_are_counted_before_they_are_decoded(
    open_service: Callable[..., TestClient], png: bytes
) -> None:
    client = open_service(max_megapixels=0.004)
    answer = client.post("/predict", content=png)
    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("body: 96x48 pixels, more than 0.004 million")
