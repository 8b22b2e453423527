"""Training input over many batches: memory stays flat in this process and in the workers."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel
from blitznet.data.loader import TrainingSamples, batch_positions, collate_samples, prepare_ahead
from blitznet.data.seg_map import VOC_CODES, MapFile
from blitznet.data.source import LabelSource
from blitznet.data.ssd_policy import Augmentation

IMAGES, BATCH, PASSES = 200, 10, 6

# Noise of the allocator. Images that were kept would be 0.2 MiB each: 220 MiB in five passes.
ALLOWED_MIB = 24

pytestmark = [
    pytest.mark.slow,
    # Python 3.12 and later warn when a process with threads, as torch's, forks.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


def resident_mib(process_id: int) -> float:
    """Unshared memory of a process."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def noise_source(folder: Path) -> LabelSource:
    """JPEGs of 320x240 pixels with a box and a map each."""
    rng, box, labels = np.random.default_rng(0), (20.0, 30.0, 200.0, 180.0), []
    Image.fromarray(rng.integers(0, 21, (240, 320), np.uint8)).save(folder / "map.png")
    for index in range(IMAGES):
        path = folder / f"{index}.jpg"
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), np.uint8)).save(path)
        cat = ObjectLabel("cat", box, path.name, str(box))
        labels.append(ImageLabels(path, (cat,), MapFile(folder / "map.png", VOC_CODES)))
    return LabelSource(labels, _as_it_is, ClassTable(VOC_CLASSES))


def _as_it_is(labels: ImageLabels) -> ImageLabels:
    return labels


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_passes_and_no_worker_is_left(tmp_path: Path) -> None:
    source = noise_source(tmp_path)
    samples = TrainingSamples([source], 200, Augmentation(), seed=0)
    steps = PASSES * IMAGES // BATCH
    batches = prepare_ahead(samples, batch_positions(0, steps, BATCH, 0, 1), collate_samples, 2)
    used: list[dict[str, float]] = []
    for step, _ in enumerate(batches):
        workers = sorted(one.pid or 0 for one in multiprocessing.active_children())
        if (step + 1) % (IMAGES // BATCH) == 0 and len(workers) == 2:
            processes = {"main": os.getpid(), "0": workers[0], "1": workers[1]}
            used.append({name: resident_mib(one) for name, one in processes.items()})
    assert len(used) >= PASSES - 1  # at the last batch the workers may have gone
    for name in ("main", "0", "1"):
        row = [one[name] for one in used]
        assert max(row) - row[0] < ALLOWED_MIB, (name, row)
    assert multiprocessing.active_children() == []
