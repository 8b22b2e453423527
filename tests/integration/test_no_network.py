"""The package opens no connection, looks up no name, and leaves nothing in the home folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fixtures.make_fixtures import VOC_MINI

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="needs gcc on Linux"
)

SOURCE = Path(__file__).parents[1] / "fixtures/watch_network.c"
IMAGE = VOC_MINI / "JPEGImages/000001.jpg"

TRAIN = f"""
import blitznet
blitznet.load(engine="torch").predict({str(IMAGE)!r})
from blitznet.cli import main
small = ["steps=2", "global_batch_size=2", "start_from=null", "backbone_weights=null",
         "model.image_size=64", "model.downscale_width=8", "model.upscale_width=8"]
settings = [part for value in small for part in ("--set", value)]
assert main(["train", "--data", "data.yaml", "--workers", "0", "--device", "cpu", *settings]) == 0
assert main(["export", "runs/train/modern/model.safetensors", "--out", "mine.onnx", "--force"]) < 2
assert main(["eval", "mine.onnx", "--data", "data.yaml", "--split", "train", "--workers", "0"]) == 0
"""
PREDICT = f"""
from blitznet.cli import main
import blitznet
for engine in ("onnxruntime", "openvino"):
    blitznet.load(engine=engine).predict({str(IMAGE)!r})
assert main(["predict", {str(IMAGE)!r}]) == 0
assert main(["models"]) == 0
from fastapi.testclient import TestClient
from blitznet.service import create_app
with TestClient(create_app(blitznet.load(engine="onnxruntime"))) as client:
    image = open({str(IMAGE)!r}, "rb").read()
    assert client.post("/predict", content=image).status_code == 200
"""


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("watch") / "watch_network.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def watched(code: str, watcher: Path, folder: Path) -> list[str]:
    """Run Python code; returns its network accesses."""
    home, log = folder / "home", folder / "network.log"
    home.mkdir()
    hidden = ("XDG_", "BLITZNET_", "ORT_")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    variables |= {"HOME": str(home), "LD_PRELOAD": str(watcher), "WATCH_NETWORK": str(log)}
    variables |= {"BLITZNET_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    left = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    # matplotlib's list of fonts, which it makes by itself.
    assert not [path for path in left if "matplotlib" not in path.parts], left
    return log.read_text().splitlines() if log.exists() else []


def test_the_watcher_sees_what_there_is_to_see(watcher: Path, tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "socket.getaddrinfo('localhost', 80)\n"
        "try: socket.create_connection(('127.0.0.1', 9), 1)\n"
        "except OSError: pass"
    )
    lines = watched(code, watcher, tmp_path)
    assert "getaddrinfo localhost" in lines
    assert "connect 127.0.0.1" in lines


def test_prediction_asks_nothing_of_the_network(watcher: Path, tmp_path: Path) -> None:
    assert watched(PREDICT, watcher, tmp_path) == []


@pytest.mark.slow
def test_training_exporting_and_evaluating_ask_nothing_of_the_network(
    watcher: Path, tmp_path: Path
) -> None:
    entry = {"format": "voc", "root": str(VOC_MINI), "image_set": "Main/trainval"}
    splits = {"train": [entry]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"classes": "voc", **splits}))
    assert watched(TRAIN, watcher, tmp_path) == []
