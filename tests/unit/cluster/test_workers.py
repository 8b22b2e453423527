"""How the pool handles dying workers, on a cluster within this process."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

workers = pytest.importorskip("blitznet.cluster.workers")

from pyarrow import dataset  # noqa: E402
from ray.exceptions import ActorDiedError, RayTaskError  # noqa: E402

from blitznet.cluster.batch_report import BatchReport  # noqa: E402
from blitznet.cluster.listing import Item, cut  # noqa: E402
from blitznet.cluster.parts import Parts  # noqa: E402
from blitznet.cluster.rows import error_row, to_columns  # noqa: E402
from blitznet.errors import InputError, WorkerError  # noqa: E402

POISON = {"3", "17"}


class Died(BaseException):
    """Represents the death of a process."""


class FakePredictor:
    """Returns empty rows, dies on some images, and dies at its first `deaths_at_start` starts."""

    deaths_at_start = 0
    model = "tiny@0"

    def __init__(self, **_: Any) -> None:
        if type(self).deaths_at_start > 0:
            type(self).deaths_at_start -= 1
            raise Died

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        if POISON & set(batch["id"]):
            raise Died
        return to_columns([error_row(None) | {"id": i, "error": None} for i in batch["id"]])


class FakeRay:
    """Runs every call immediately, and counts actors."""

    def __init__(self) -> None:
        self.alive = 0

    def remote(self, kind: type) -> SimpleNamespace:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: self.actor(kind)))

    def actor(self, kind: type) -> SimpleNamespace:
        self.alive += 1
        worker = kind()
        return SimpleNamespace(open=self.method(worker.open), predict=self.method(worker.predict))

    def method(self, call: Callable[..., Any]) -> SimpleNamespace:
        def remote(*arguments: Any) -> Callable[[], Any]:
            try:
                result = call(*arguments)
            except Died:
                return lambda: self.fail(ActorDiedError())
            except InputError as error:
                return lambda problem=error: self.fail(RayTaskError("call", "trace", problem))
            return lambda: result

        return SimpleNamespace(remote=remote)

    def fail(self, error: Exception) -> None:
        raise error

    def get(self, ref: Callable[[], Any]) -> Any:
        return ref()

    def wait(self, refs: list[Any], **_: float) -> tuple[list[Any], list[Any]]:
        return refs[:1], refs[1:]

    def kill(self, _: SimpleNamespace) -> None:
        self.alive -= 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay()
    monkeypatch.setattr(workers, "ray", ray)
    monkeypatch.setattr(workers, "BatchPredictor", FakePredictor)
    return ray


def run(out: Path, model: str = "tiny@0", count: int = 40, folder: str = "/") -> BatchReport:
    items = [Item(str(number), f"{folder}{number}.jpg") for number in range(count)]
    Parts(str(out)).prepare({"score": 0.5})
    report = BatchReport()
    pool = workers.WorkerPool({}, model, str(out), "/missing", 1, 10, 2, 3, report)
    counts = pool.predict(enumerate(cut(items, 10)), print)
    assert sum(counts) == report.num_new == report.by_worker.total()
    return report


def test_images_that_kill_workers_are_rows_with_an_error(fake: FakeRay, tmp_path: Path) -> None:
    report = run(tmp_path)
    rows = dataset.dataset(tmp_path).to_table().to_pylist()
    assert Counter(row["id"] for row in rows) == {str(number): 1 for number in range(40)}
    errors = {row["id"]: row["error"] for row in rows if row["error"]}
    assert set(errors) == POISON
    for id_, error in errors.items():
        assert error.startswith(f"/{id_}.jpg: it killed 3 workers (its process or machine ended")
    assert report.num_new == 40
    assert report.errors == {"it killed 3 workers": 2}
    assert fake.alive == 0


def test_a_worker_that_dies_once_costs_nothing(fake: FakeRay, tmp_path: Path) -> None:
    FakePredictor.deaths_at_start = 2
    run(tmp_path, count=3)
    assert sorted(Parts(str(tmp_path)).done_ids()) == ["0", "1", "2"]


def test_workers_that_cannot_begin_are_one_line(fake: FakeRay, tmp_path: Path) -> None:
    FakePredictor.deaths_at_start = 99
    with pytest.raises(WorkerError, match="17 workers died without a result"):
        run(tmp_path)
    FakePredictor.deaths_at_start = 0
    with pytest.raises(InputError, match=re.escape("a worker has the network tiny@0, not big@1")):
        run(tmp_path, model="big@1")
    with pytest.raises(InputError, match=r"/missing: not on every machine .* absolute paths"):
        run(tmp_path, folder="")
    assert fake.alive == 0
