"""The Label Studio backend, with requests as documented."""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from blitznet.scene import Scene
from blitznet.service import label_studio
from tiny_network import NAMES, colour_predictor
from unit.service.test_run_length import decode_brush

CONFIG = """
<View>
  <!-- what the project labels -->
  <Image name="photo" value="$image"/>
  <RectangleLabels name="boxes" toName="photo"><Label value="Green"/></RectangleLabels>
  <BrushLabels name="pixels" toName="photo"><Label value="red"/><Label value="blue"/></BrushLabels>
</View>
"""


def request_of(*images: str, config: str = CONFIG) -> dict[str, Any]:
    """A request of Label Studio 1.x."""
    tasks = [
        {"id": number, "data": {"image": image}, "annotations": [], "predictions": []}
        for number, image in enumerate(images)
    ]
    return {"tasks": tasks, "label_config": config, "project": "1.1700000000",
            "params": {"login": None, "password": None, "context": None}}  # fmt: skip


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_setup_says_which_model(client: TestClient) -> None:
    body = {"project": "1.1", "schema": CONFIG, "hostname": "http://localhost:8080",
            "access_token": "x", "extra_params": None}  # fmt: skip
    assert client.post("/setup", json=body).json() == {"model_version": "colours"}
    assert client.post("/setup", content=b"{").status_code == 200  # nothing of it is needed


def test_boxes_in_per_cent_and_brushes_of_the_projects_classes(
    client: TestClient, png: bytes, image: Image.Image
) -> None:
    scene: Scene = colour_predictor().predict(image)
    answer = client.post("/predict", json=request_of(data_url(png), data_url(png))).json()
    assert answer["model_version"] == "colours"
    first, second = answer["results"]
    assert first == second
    assert (first["model_version"], round(first["score"], 3)) == ("colours", 0.9)
    box, *brushes = first["result"]
    common = {"original_width": 96, "original_height": 48, "image_rotation": 0, "to_name": "photo"}
    assert box == common | {
        "from_name": "boxes", "type": "rectanglelabels", "score": 0.9,
        # OBJECT, of 64 pixels: a quarter to three quarters, an eighth to three
        "value": {"x": 25.0, "y": 12.5, "width": 50.0, "height": 25.0, "rotation": 0,
                  "rectanglelabels": ["Green"]},
    }  # fmt: skip
    assert [brush["value"]["brushlabels"] for brush in brushes] == [["red"], ["blue"]]
    for brush in brushes:
        value = brush.pop("value")
        assert brush == common | {"from_name": "pixels", "type": "brushlabels"}
        mask = decode_brush(value["rle"]).reshape(48, 96, 4)[..., 3] > 0
        assert (mask == (scene.seg_map == NAMES.index(value["brushlabels"][0]))).all()


def test_uploaded_files_are_read_from_their_folder_and_from_no_other(
    open_service: Callable[..., TestClient], png: bytes, tmp_path: Path
) -> None:
    (tmp_path / "media/upload/1").mkdir(parents=True)
    (tmp_path / "media/upload/1/a b.png").write_bytes(png)
    (tmp_path / "secret.png").write_bytes(png)
    client = open_service(uploads=tmp_path / "media")
    assert client.post("/predict", json=request_of("/data/upload/1/a%20b.png")).status_code == 200
    (tmp_path / "media/away").symlink_to(tmp_path)
    (tmp_path / "media/circle").symlink_to(tmp_path / "media/circle")
    os.mkfifo(tmp_path / "media/pipe")
    for name in (
        "../secret.png", "%2e%2e/secret.png", f"{tmp_path}/secret.png", "away/secret.png",
        "circle/a.png", "a%00b", 5000 * "a", "pipe", "upload",
    ):  # fmt: skip
        answer = client.post("/predict", json=request_of(f"/data/{name}"))
        assert answer.status_code == 422, name
        assert answer.json()["detail"].endswith("in the upload folder")


def test_no_address_is_fetched_but_of_allowed_hosts(
    open_service: Callable[..., TestClient], png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def fetch(address: str, max_bytes: int) -> bytes:
        fetched.append(address)
        return png

    monkeypatch.setattr(label_studio, "_fetch", fetch)
    client = open_service(allow_fetch=("images.example:8080",))
    allowed = "http://images.example:8080/a.png"
    for address in (
        "http://images.example/a.png", "http://images.example:8080@evil.example/a.png",
        "https://evil.example/?images.example:8080", "file:///etc/passwd", "s3://bucket/a.png",
        "http://[::1", "http://", "",
    ):  # fmt: skip
        answer = client.post("/predict", json=request_of(address))
        assert answer.status_code == 422
        assert "from a host of --allow-fetch" in answer.json()["detail"]
    assert client.post("/predict", json=request_of(allowed)).status_code == 200
    assert fetched == [allowed]


@pytest.mark.parametrize(
    ("config", "image", "problem"),
    [
        ("<View>", "x", "label_config is not XML"),
        ("<!--" * 100_000, "x", "label_config is not XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><View/>", "x", "declarations are not allowed"),
        (CONFIG + " " * 10**6, "x", "label_config: String should have at most 1000000 characters"),
        ("<View><Image name='a' value='$b'/></View>", "x", "label_config needs RectangleLabels"),
        (CONFIG.replace("$image", "$url"), "x", "task 0: data has no text called 'url'"),
        (CONFIG, "data:image/png;base64,???", "a data: address needs base64"),
        (CONFIG, "/data/upload/1/a.png", "start the service with --uploads DIR"),
    ],
)
def test_what_is_wrong_with_a_request_is_one_line(
    client: TestClient, config: str, image: str, problem: str
) -> None:
    answer = client.post("/predict", json=request_of(image, config=config))
    assert answer.status_code == 422
    assert problem in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_a_task_that_is_no_image_is_named(client: TestClient) -> None:
    answer = client.post("/predict", json=request_of(data_url(b"milk")))
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("task 0: not an image")


def test_values_are_counted_before_they_take_their_memory(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_studio, "_MAX_VALUES", 100)
    request = request_of(data_url(png))
    assert client.post("/predict", json=request).status_code == 200
    request["tasks"][0]["predictions"] = [[]] * 101
    answer = client.post("/predict", json=request)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "more than 100 values; send fewer tasks at once"
