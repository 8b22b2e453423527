"""Memory of a whole process that predicts one huge image."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# An image's pixels are 192 MB in Pillow, its segmentation map 48 MB; 394 MB were measured with ONNX
# Runtime, 451 MB with OpenVINO, and 152 MB and 210 MB for an image of 500 x 375 pixels.
MAX_BYTES = 600_000_000
PROGRAM = """
import sys
from pathlib import Path
from blitznet.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
status = Path("/proc/self/status").read_text().splitlines()
print(*[line.split()[1] for line in status if line.startswith("VmHWM")])
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc"),
]


def peak_bytes(image: Path, engine: str) -> int:
    """Peak memory of a process that predicts one image and writes the result."""
    out = image.parent / f"{image.stem}-{engine}"
    arguments = ["predict", str(image), "--out", str(out), "--engine", engine]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, "--score", "0.1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(image) as given, Image.open(out / f"{image.stem}.jpg") as drawn:
        assert drawn.size == given.size
    return int(done.stdout.splitlines()[-1]) * 1024


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_image_of_48_million_pixels_fits_in_600_megabytes(engine: str, tmp_path: Path) -> None:
    cells = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    blobs = Image.fromarray(cells)
    blobs.save(tmp_path / "small.png")
    peak_bytes(tmp_path / "small.png", engine)  # the first start fills the cache
    blobs.resize((8000, 6000), Image.Resampling.BICUBIC).save(tmp_path / "huge.jpg")
    assert peak_bytes(tmp_path / "huge.jpg", engine) < MAX_BYTES
