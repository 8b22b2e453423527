"""Every writer on a full disk: one line, and no incomplete file under its final name."""

import subprocess
import sys
from pathlib import Path

import pytest

# Runs in a process whose files cannot grow beyond 20 000 bytes, and prints the error.
FULL = """
import resource
from fractions import Fraction
from pathlib import Path
import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from blitznet.cluster.parts import Parts
from blitznet.errors import InputError
from blitznet.exporting.openvino_file import write_openvino
from blitznet.inference.line_file import append_lines
from blitznet.inference.video.decoding import Frame
from blitznet.inference.video.predict_video import video_writer
from blitznet.model.checkpoint import write_safetensors
from blitznet.model_files import bundled_networks
from blitznet.files.result_folder import temporary_folder
from blitznet.training.log import LOG_FIELDS, append_row, write_rows

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # Python ignores SIGXFSZ
rng = np.random.default_rng(0)

def video(path):
    image = Image.fromarray(rng.integers(0, 256, (120, 160, 3), np.uint8))
    frame = Frame(image, 0, 0, Fraction(1, 25))
    with video_writer(path, frame, Fraction(25), Fraction(1), False) as w:
        for pts in range(40):
            w(image.rotate(pts), pts)

def parquet(path):
    ids = [str(one) for one in rng.integers(0, 10**9, 9000)]
    Parts(str(path.parent)).write(0, pa.table({"id": ids}))

def lines(path):
    with append_lines(path) as append:
        for number in range(3000):
            append({"number": number})

def log(path):
    for step in range(2000):
        append_row(path, dict.fromkeys(LOG_FIELDS, step))

def openvino(path):
    with temporary_folder(path.parent) as folder:
        write_openvino(folder / path.name, bundled_networks()["blitznet300-mobile"].exported)

for name, write in {
    "a.mp4": video, "part.parquet": parquet, "a.jsonl": lines, "log.csv": log, "a.xml": openvino,
    "a.safetensors": lambda path: write_safetensors(path, {"a": torch.zeros(9000)}, {}),
    "a.csv": lambda path: write_rows(path, ["a"], [{"a": 1}] * 9000),
}.items():
    try:
        write(Path(name))
    except InputError as error:
        print(name, error)
"""


@pytest.mark.slow
def test_what_does_not_fit_is_one_line_and_no_half_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "a.mp4", "part.parquet", "a.jsonl", "log.csv", "a.xml", "a.safetensors", "a.csv"
    ]  # fmt: skip
    assert all("cannot be written" in line for line in lines)
    # These two grow line by line; readers leave out a last one that is not whole.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "log.csv"]
    assert (tmp_path / "a.jsonl").read_text().endswith("}\n")
