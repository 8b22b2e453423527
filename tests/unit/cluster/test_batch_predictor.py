import copyreg
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from batch_records import record_of
from blitznet import cpu
from blitznet.cluster.batch_predictor import BatchPredictor
from blitznet.cluster.rows import SCHEMA, Columns, as_text, error_kind
from blitznet.errors import InputError
from blitznet.inference.predict_folder import predict_to_folder
from web_server import web_server

SCORE = 0.02  # an untrained network is sure of nothing


@pytest.fixture(scope="module")
def predictor(checkpoint: str) -> Iterator[BatchPredictor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "_limit", None)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield BatchPredictor(checkpoint, score=SCORE, engine="torch", cpus=1, save_masks=True)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two images, a broken one between them, one that is missing."""
    paths = [tmp_path / name for name in ("a.png", "b.jpg", "c.png", "missing.png")]
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(paths[0])
    paths[1].write_bytes(b"no image")
    Image.linear_gradient("L").save(paths[2])
    return paths


def rows_of(columns: Columns) -> list[dict]:
    return pa.table(columns, schema=SCHEMA).to_pylist()


def test_rows_hold_exactly_what_predict_writes(
    predictor: BatchPredictor, images: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    found = list(
        predict_to_folder(predictor.predictor, images, out, score=SCORE, draw=False,
                          save_masks=True)
    )  # fmt: skip
    rows = rows_of(predictor({"uri": [str(path) for path in images]}))
    records = map(json.loads, (out / "predictions.jsonl").read_text().splitlines())
    for row, result in zip(rows, found, strict=True):
        assert row["id"] == row["uri"] == str(result.source)
        if result.error is not None:
            assert row["error"] == str(result.error)
            assert row["width"] is row["detections"] is row["pixels"] is row["ms"] is None
            continue
        record = next(records)
        found = record_of(row)
        assert json.dumps(found) == json.dumps({key: record[key] for key in found})
        assert row["seg_map"] == (out / record["seg_map"]).read_bytes()
        assert row["ms"].keys() == {"read", "network", "post"}
    assert sum(len(row["detections"] or ()) for row in rows) > 0


def test_content_and_arrays_give_what_files_give(
    predictor: BatchPredictor, images: list[Path]
) -> None:
    names = [str(path) for path in images[:3]]
    contents = [path.read_bytes() for path in images[:3]]
    expected = rows_of(predictor({"uri": names}))
    by_content = rows_of(predictor({"bytes": contents, "path": names, "id": [1, 2, 3]}))
    arrays = [np.asarray(Image.open(images[0])), np.asarray(Image.open(images[2]))]
    by_array = rows_of(predictor({"image": arrays, "id": ["x", "y"]}))
    for name in ("width", "detections", "pixels", "seg_map", "error", "model"):
        values = [row[name] for row in expected]
        assert [row[name] for row in by_content] == values
        assert [row[name] for row in by_array] == values[::2]
    assert [row["id"] for row in by_content] == ["1", "2", "3"]
    assert [row["uri"] for row in by_array] == [None, None]
    nameless = predictor({"bytes": [None, contents[1]]})
    assert nameless["error"][0].as_py() == "image 0: the file is empty"


def test_it_travels_as_its_arguments(predictor: BatchPredictor, images: list[Path]) -> None:
    make, arguments, state = predictor.__reduce_ex__(2)[:3]
    assert make is copyreg.__newobj__
    other = make(*arguments)
    other.__setstate__(state)
    batch = {"uri": [str(images[0])]}
    assert other(batch)["detections"] == predictor(batch)["detections"]


def test_a_worker_keeps_to_its_cores(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_limit", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert cpu.usable_cores() > 3 or cpu._cgroup_quota() is not None
    cpu.limit_cores(3)
    assert cpu.usable_cores() <= 3


def test_a_batch_without_images_is_refused(predictor: BatchPredictor) -> None:
    with pytest.raises(InputError, match="needs a column bytes, image, uri or path, got x"):
        predictor({"x": [1]})
    assert rows_of(predictor({"uri": []})) == []


def test_the_schema_is_the_documented_one() -> None:
    detection = "struct<label: string, label_id: int64, score: double, x1: double, y1: double, "
    assert [(field.name, str(field.type)) for field in SCHEMA] == [
        ("id", "string"),
        ("uri", "string"),
        ("width", "int32"),
        ("height", "int32"),
        ("detections", f"list<element: {detection}x2: double, y2: double>>"),
        ("pixels", "map<string, double>"),
        ("seg_map", "binary"),
        ("error", "string"),
        ("model", "string"),
        ("ms", "struct<read: double, network: double, post: double>"),
    ]


def test_errors_of_a_kind_are_counted_together() -> None:
    kinds = {
        "a.jpg: no such file": "no such file",
        "a.jpg: damaged or cut off (3 bytes)": "damaged or cut off",
        "a.jpg: not an image; BlitzNet reads PNG": "not an image",
    }
    assert {error: error_kind("a.jpg", error) for error in kinds} == kinds


def test_names_that_are_no_text_are_written_as_json_does() -> None:
    assert as_text("caf\udce9.jpg") == r"caf\udce9.jpg"
    assert as_text("café.jpg") == "café.jpg"
    assert pa.array([as_text("\udcff")]).to_pylist() == [r"\udcff"]


def test_http_images_are_rows_too(predictor: BatchPredictor, images: list[Path]) -> None:
    with web_server(images[0].parent) as base:
        columns = predictor({"uri": [base + path.name for path in images]})
    local = predictor({"uri": [str(path) for path in images[:1]]})
    assert columns["detections"][:1] == local["detections"]
    errors = columns["error"].to_pylist()
    assert errors[0] is None
    assert errors[1].startswith(f"{base}b.jpg: not an image")
    assert errors[3] == f"{base}missing.png: cannot be read (HTTP Error 404: File not found)"
