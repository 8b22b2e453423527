"""The wheel in a fresh environment: its content, and what works without PyTorch."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

pytestmark = [pytest.mark.install, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
MAX_MEGABYTES = 200

# Modules that need PyTorch. All others are imported in the fresh environment.
LOWER_HALF = (
    "boxes", "data", "detection", "device", "evaluation", "exporting", "losses", "model", "paper",
    "structures", "training", "inference.engines.torch_engine",
    "service",  # needs the extra `serve`
)  # fmt: skip
# Needs the extra `ray`, which has its own test.
RAY = ("cluster",)

IMPORT_ALL = f"""
import pkgutil, sys
from importlib import import_module
import blitznet

def is_lower(name):
    return any(name == f"blitznet.{{part}}" or name.startswith(f"blitznet.{{part}}.")
               for part in {LOWER_HALF + RAY!r})

def walk(package):
    for module in pkgutil.iter_modules(package.__path__, f"{{package.__name__}}."):
        if not is_lower(module.name) and not module.name.endswith("__main__"):
            imported = import_module(module.name)
            if module.ispkg:
                walk(imported)

walk(blitznet)
print(sorted({{"torch", "torchvision", "timm"}} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    clean = folder / "source"  # a build in the checkout would include leftovers of earlier ones
    shutil.copytree(ROOT / "src", clean / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clean)
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(clean))
    return next(folder.glob("blitznet-*.whl"))


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with only the wheel and its base dependencies."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    binaries = folder / "bin"
    install(binaries, str(wheel))
    return binaries


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "drawn.png"
    Image.linear_gradient("L").convert("RGB").resize((500, 375)).save(path)
    return path


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*command, *arguments], check=True)


def install(binaries: Path, *packages: str) -> None:
    constraints = str(ROOT / "constraints.txt")
    python = str(binaries / "python")
    pip("--python", python, "install", "--constraint", constraints, *packages)


def run(
    binaries: Path, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    hidden = ("PYTHONPATH", "BLITZNET_")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    return subprocess.run(
        [str(binaries / arguments[0]), *arguments[1:]],
        cwd=cwd, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert all(top == "blitznet" or top.endswith(".dist-info") for top in tops)
    for needed in ("py.typed", "weights/blitznet300-mobile.onnx"):
        assert f"blitznet/{needed}" in names


def test_the_environment_is_small_and_has_no_torch(binaries: Path) -> None:
    folder = binaries.parent
    packages = {path.name for path in next(folder.glob("lib/*/site-packages")).iterdir()}
    assert not packages & {"torch", "torchvision", "timm"}
    files = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    size = sum(path.lstat().st_size for path in files) / 1e6  # without bytecode, which pip may make
    assert size <= MAX_MEGABYTES


def test_all_modules_that_predict_are_imported_without_torch(binaries: Path) -> None:
    done = run(binaries, "python", "-W", "error", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_predict_writes_what_it_promises(binaries: Path, image: Path, tmp_path: Path) -> None:
    done = run(binaries, "blitznet", "predict", str(image), "--save-masks", "--format", "voc,yolo",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs/predict/predictions.jsonl").read_text())
    assert (record["width"], record["height"]) == (500, 375)
    assert (tmp_path / "runs/predict" / record["seg_map"]).is_file()


def test_the_python_api_predicts(binaries: Path, image: Path) -> None:
    code = (
        "import sys, blitznet\n"
        "with blitznet.load() as net:\n"
        f"    scene = net.predict({str(image)!r})\n"
        "print(scene.boxes.dtype, scene.seg_map.shape, net.engine.name, 'torch' in sys.modules)"
    )
    done = run(binaries, "python", "-c", code)
    assert done.stdout.split() == ["float32", "(375,", "500)", "onnxruntime", "False"], done.stderr


def test_every_verb_has_help_and_says_what_it_needs(binaries: Path, tmp_path: Path) -> None:
    overview = run(binaries, "blitznet", "--help")
    verbs = re.findall(r"^│ (\w[\w-]+)  ", overview.stdout, re.M)
    assert {"predict", "demo", "models", "train", "eval", "export", "check-data"} <= set(verbs)
    for verb in verbs:
        assert run(binaries, "blitznet", verb, "--help").returncode == 0, verb
    assert run(binaries, "blitznet", "models").returncode == 0
    for arguments in (
        ["train", "--data", "data.yaml"],
        ["eval", "blitznet300-mobile", "--data", "data.yaml"],
        ["export", "blitznet300-mobile"],
        ["check-data", "data.yaml"],
        ["predict", "clip.mp4"],
        ["serve"],
        ["predict", "image.png", "--format", "coco"],
        ["predict", "image.png", "--track"],
        ["predict", "image.png", "--engine", "openvino"],
        ["predict", "image.png", "--engine", "torch"],
        ["batch", "image.png", "--out", "out"],
    ):
        (tmp_path / "clip.mp4").touch()
        Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
        done = run(binaries, "blitznet", *arguments, cwd=tmp_path)
        lines = done.stderr.strip().splitlines()
        assert (done.returncode, len(lines)) == (1, 1), (arguments, done.stderr)
        assert re.search(r"pip install 'blitznet\[\w+\]'", lines[0]), lines


def test_the_demo_has_photos_of_its_own(binaries: Path, tmp_path: Path) -> None:
    done = run(binaries, "blitznet", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2 of 2 images done")


def test_a_checkpoint_without_torch_is_one_line(binaries: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.safetensors"
    checkpoint.write_bytes(
        (ROOT / "src/blitznet/weights/blitznet300-mobile.safetensors").read_bytes()
    )
    done = run(binaries, "python", "-c", f"import blitznet; blitznet.load({str(checkpoint)!r})")
    last = done.stderr.strip().splitlines()[-1]
    assert "is a checkpoint, which needs PyTorch to run" in last
    assert "pip install 'blitznet[train]'" in last


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("openvino", ["predict", "image.png", "--engine", "openvino"]),
        ("labels", ["predict", "image.png", "--format", "coco"]),
        ("demo", ["demo"]),
        ("video", ["predict", "clip.mp4"]),
        ("track", ["predict", "clip.mp4", "--track"]),
        ("ray", ["batch", "image.png", "--out", "out"]),
    ],
)
def test_an_extra_opens_its_door_without_torch(
    extra: str, arguments: list[str], wheel: Path, binaries: Path, image: Path, tmp_path: Path
) -> None:
    install(binaries, f"{wheel}[{extra}]")
    image.rename(tmp_path / "image.png")
    if "clip.mp4" in arguments:
        write_clip(tmp_path / "clip.mp4")
    done = run(binaries, "blitznet", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    packages = {path.name for path in next(binaries.parent.glob("lib/*/site-packages")).iterdir()}
    assert "torch" not in packages


def test_the_service_answers_without_torch(
    wheel: Path, binaries: Path, image: Path, tmp_path: Path
) -> None:
    install(binaries, f"{wheel}[serve]")
    command = [str(binaries / "blitznet"), "serve", "--port", "0", "--engine", "onnxruntime"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127.0.0.1:\d+", line)
        assert found, line
        with urlopen(found[0] + "/") as page:
            assert b"BlitzNet" in page.read()
        with urlopen(found[0] + "/predict", image.read_bytes()) as answer:
            assert json.load(answer)["images"][0]["width"] == 500
        process.terminate()
    assert process.returncode == 0
    packages = {path.name for path in next(binaries.parent.glob("lib/*/site-packages")).iterdir()}
    assert "torch" not in packages


def write_clip(path: Path) -> None:
    """Ten grey frames."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(10):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), "grey"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
