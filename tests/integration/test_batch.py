"""`blitznet batch` on a cluster of this machine."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

pytest.importorskip("ray")
import pyarrow as pa
from pyarrow import dataset

import blitznet
from batch_records import record_of
from blitznet.cluster.batch_predictor import BatchPredictor
from blitznet.cluster.parts import Parts
from blitznet.cluster.rows import SCHEMA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COUNT = 60
PHOTO = Path(blitznet.__file__).parent / "service/page/examples/chelsea.jpg"
Rows = dict[str, list[Any]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """58 coarse patterns, in which nothing is found, a photo and a broken file."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(COUNT - 2):
        pattern = Image.fromarray(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8))
        pattern.resize((500, 375)).save(folder / f"{index:02}.jpg")
    shutil.copy(PHOTO, folder)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def command(verb: str, *arguments: object) -> list[str]:
    engine = ("--engine", "onnxruntime", "--score", "0.02")
    return [sys.executable, "-m", "blitznet", verb, *map(str, arguments), *engine]


def run(verb: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(verb, *arguments), capture_output=True, text=True, check=False)


def children(driver: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    """Processes of the driver's cluster."""
    found = psutil.Process(driver.pid).children(recursive=True)
    return [one for one in found if (one.cmdline() or [""])[0].startswith(name)]


def wait_for_parts(out: Path, count: int, driver: subprocess.Popen[bytes]) -> None:
    while len(list(out.glob("part-*"))) < count:
        assert driver.poll() is None
        time.sleep(0.05)


def test_rows_are_what_predict_writes_whatever_was_killed(images: Path, tmp_path: Path) -> None:
    run("predict", images, "--no-draw", "--out", tmp_path / "predicted")
    lines = (tmp_path / "predicted/predictions.jsonl").read_text().splitlines()
    records = {record["source"]: record for record in map(json.loads, lines)}
    out = tmp_path / "out"
    start = command("batch", images, "--out", out, "--shard-size", 2)

    driver = subprocess.Popen(start)
    wait_for_parts(out, 2, driver)
    children(driver, "ray::Worker")[0].kill()
    wait_for_parts(out, 5, driver)
    workers = children(driver, "ray::Worker")
    driver.kill()
    driver.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    num_before = len(list(out.glob("part-*"))) * 2

    done = run("batch", images, "--out", out, "--shard-size", 2)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT - num_before} images done, {num_before} before" in done.stdout
    rows = dataset.dataset(out).to_table().to_pylist()
    assert len(rows) == len({row["id"] for row in rows}) == COUNT
    for row in rows:
        if row["id"] == "broken.jpg":
            assert row["error"].startswith(f"{images}/broken.jpg: not an image")
            continue
        found, record = record_of(row), records.pop(row["uri"])
        assert json.dumps(found) == json.dumps({key: record[key] for key in found})
    assert not records
    assert any(row["detections"] for row in rows)


@pytest.fixture(scope="module")
def expected(images: Path) -> Rows:
    """The records of a single predictor, by file name."""
    predictor = BatchPredictor(engine="onnxruntime", score=0.02)
    columns = predictor({"uri": sorted(map(str, images.iterdir()))})
    return by_name(pa.table(columns).to_pylist())


def by_name(rows: list[dict[str, Any]]) -> Rows:
    """Records without times; paths may be URIs."""
    named = {Path(row["uri"]).name: row for row in rows}
    wanted = ("width", "height", "detections", "pixels", "model")
    found = {name: [row[column] for column in wanted] for name, row in named.items()}
    assert [name for name, row in named.items() if row["error"]] == ["broken.jpg"]
    return found


def test_map_batches_gives_the_same_columns(images: Path, expected: Rows, tmp_path: Path) -> None:
    code = f"""
import blitznet, ray
ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False)
rows = (
    ray.data.read_binary_files({str(images)!r}, include_paths=True)
    .map_batches(
        blitznet.BatchPredictor,
        fn_constructor_kwargs={{"engine": "onnxruntime", "score": 0.02, "cpus": 1}},
        batch_size=16, num_cpus=1, compute=ray.data.ActorPoolStrategy(size=1),
    )
)
rows.write_parquet({str(tmp_path / "ray")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    rows = dataset.dataset(tmp_path / "ray").to_table()
    assert rows.schema.types == SCHEMA.types
    assert by_name(rows.to_pylist()) == expected


def test_daft_gives_the_same_rows(images: Path, expected: Rows) -> None:
    code = f"""
import blitznet, daft, json, pyarrow as pa
from blitznet.cluster.parts import Parts
from blitznet.cluster.rows import SCHEMA

@daft.cls
class Predict:
    def __init__(self):
        self.predictor = blitznet.BatchPredictor(engine="onnxruntime", score=0.02, cpus=1)

    @daft.method.batch(return_dtype=daft.DataType.from_arrow_type(pa.struct(list(SCHEMA))))
    def __call__(self, uri):
        columns = self.predictor({{"uri": uri.to_pylist()}})
        return pa.StructArray.from_arrays(columns.values(), fields=list(SCHEMA))

images = daft.from_glob_path({str(images)!r} + "/*.jpg")
rows = images.select(Predict()(images["path"]).alias("row")).to_pydict()["row"]
print(json.dumps(rows))
"""
    variables = os.environ | {"DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, env=variables
    )
    rows = json.loads(done.stdout)
    for row in rows:
        row["pixels"] = row["pixels"] and [tuple(pair) for pair in row["pixels"]]
    assert by_name(rows) == expected


def test_data_frames_give_the_same_rows(images: Path, expected: Rows) -> None:
    """Batches as Spark passes them to `mapInPandas`."""
    pandas = pytest.importorskip("pandas")
    predictor = BatchPredictor(engine="onnxruntime", score=0.02)
    columns = predictor(pandas.DataFrame({"path": sorted(map(str, images.iterdir()))}))
    assert by_name(pa.table(columns).to_pylist()) == expected


def test_the_documented_readers_read_it(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb")
    text = Path("docs/batch.md").read_text()
    (code,) = [
        one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "duckdb" in one
    ]
    predictor = BatchPredictor(engine="onnxruntime", score=0.02)
    columns = predictor({"path": sorted(map(str, images.iterdir()))})
    Parts(str(tmp_path / "result")).prepare({})
    Parts(str(tmp_path / "result")).write(0, pa.table(columns, schema=SCHEMA))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = []
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Expr):
            found.append(eval(ast.unparse(statement), names))
        else:
            exec(ast.unparse(statement), names)
    objects, shares, frame, errors = found
    labels = [one["label"] for row in columns["detections"].to_pylist() for one in row or ()]
    assert dict(objects.fetchall()) == Counter(labels)
    assert all(share > 0.1 for _, share in shares.fetchall())
    assert frame["id"].tolist() == columns["id"].to_pylist()
    assert [Path(uri).name for uri in errors["uri"].to_pylist()] == ["broken.jpg"]


def test_a_cluster_that_is_not_there_is_one_line(images: Path, tmp_path: Path) -> None:
    done = run("batch", images, "--out", tmp_path, "--address", "127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "blitznet: no Ray cluster at 127.0.0.1:9 (Connection refused)\n"
    assert not list(tmp_path.iterdir())
