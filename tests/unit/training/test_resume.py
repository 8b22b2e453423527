"""The state of a run is restored exactly, or one line says why not."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from blitznet.errors import CheckpointError, InputError
from blitznet.training.log import read_rows
from blitznet.training.resume import Progress, load_state, read_progress, save_state

FITS_NOT = (
    "is the state of another network or optimizer; resume with the recipe and the settings that "
    "the run began with"
)


@dataclass
class Run:
    """The objects that have a state."""

    model: nn.Module
    averaged: AveragedModel | None
    optimizer: Optimizer

    def step(self, seed: int) -> None:
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        self.model(images).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def tensors(self) -> dict[str, Tensor]:
        found = {f"model.{name}": t.clone() for name, t in self.model.state_dict().items()}
        if self.averaged is not None:
            found |= {f"averaged.{n}": t.clone() for n, t in self.averaged.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"{index}.{name}": t.clone() for name, t in moments.items()}
        return found


def make_run(seed: int = 0, width: int = 4, ema: bool = True, frozen: bool = False) -> Run:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))
    if frozen:
        model[0].requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    averager = get_ema_multi_avg_fn(0.9)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=averager, use_buffers=True) if ema else None
    return Run(model, averaged, AdamW(groups, lr=0.01))


def save(run: Run, path: Path, **progress: object) -> None:
    save_state(path, run.model, run.averaged, run.optimizer, {"step": 3, **progress})


def load(run: Run, path: Path) -> None:
    load_state(path, run.model, run.averaged, run.optimizer)


def assert_same(a: Run, b: Run) -> None:
    left, right = a.tensors(), b.tensors()
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@pytest.fixture
def trained() -> Run:
    run = make_run()
    for seed in range(3):
        run.step(seed)
    return run


@pytest.mark.parametrize("ema", [True, False])
def test_what_is_loaded_is_what_was_saved_and_goes_on_alike(tmp_path: Path, ema: bool) -> None:
    trained = make_run(ema=ema)
    for seed in range(3):
        trained.step(seed)
    save(trained, tmp_path / "state")
    fresh = make_run(seed=1, ema=ema)
    load(fresh, tmp_path / "state")
    assert_same(fresh, trained)
    for run in (fresh, trained):
        run.step(3)
    assert_same(fresh, trained)


def test_progress_comes_back_with_its_keys(tmp_path: Path, trained: Run) -> None:
    save(trained, tmp_path / "state", seconds=1.5, recipe={"lr": 1.0})
    expected = Progress(step=3, seconds=1.5, recipe={"lr": 1.0})
    assert read_progress(tmp_path / "state") == expected


def test_the_groups_keep_the_settings_of_the_recipe_and_not_of_the_file(
    tmp_path: Path, trained: Run
) -> None:
    save(trained, tmp_path / "state")
    fresh = make_run()
    for group in fresh.optimizer.param_groups:
        group["lr"] = 0.5
    load(fresh, tmp_path / "state")
    assert [group["lr"] for group in fresh.optimizer.param_groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in fresh.optimizer.param_groups] == [0.1, 0.0]


@pytest.mark.parametrize(
    "other",
    [{"width": 5}, {"ema": False}, {"frozen": True}],
    ids=["another width", "no averaged weights", "fewer trained weights"],
)
def test_a_state_of_something_else_is_refused_and_nothing_is_changed(
    tmp_path: Path, trained: Run, other: dict[str, int | bool]
) -> None:
    save(trained, tmp_path / "state")
    fresh = make_run(seed=1, **other)  # type: ignore[arg-type]
    before = fresh.tensors()
    with pytest.raises(CheckpointError, match=f"^{re.escape(f'{tmp_path}/state {FITS_NOT}')}$"):
        load(fresh, tmp_path / "state")
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.tensors().items())


def test_a_state_without_averaged_weights_is_refused_where_they_are_wanted(tmp_path: Path) -> None:
    run = make_run(ema=False)
    run.step(0)
    save(run, tmp_path / "state")
    with pytest.raises(CheckpointError, match=FITS_NOT):
        load(make_run(ema=True), tmp_path / "state")


def test_a_missing_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))} does not exist$"):
        read_progress(path)


def test_another_safetensors_file_is_no_state(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(
        CheckpointError, match=f"^{re.escape(str(path))} is not the state of a training run$"
    ):
        read_progress(path)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_state_that_is_cut_short_is_refused(tmp_path: Path, trained: Run, keep: int) -> None:
    path = tmp_path / "state"
    save(trained, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))} is not a readable"):
        read_progress(path)


def test_a_write_that_fails_leaves_the_old_state_and_nothing_else(
    tmp_path: Path, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    save(trained, path)
    before = path.read_bytes()

    def fill_the_disk(_: object, name: str, __: object) -> None:
        Path(name).write_bytes(before[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr("blitznet.model.checkpoint.save_file", fill_the_disk)
    trained.step(3)
    with pytest.raises(InputError, match=r"state: cannot be written \(No space left on device\)$"):
        save(trained, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 50_000, "too deeply nested"),
        ("{}", "step: Field required"),
        ('{"step": 1}', "seconds: Field required"),
        ('{"step": "1", "seconds": 1.0}', "step: Input should be a valid integer"),
        ('{"step": -1, "seconds": 1.0}', "step: Input should be greater"),
        ('{"step": 1, "seconds": NaN}', "seconds: Input should be a finite number"),
        ("[]", "Input should be"),
    ],
)
def test_damaged_progress_is_one_line(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "state"
    save_file({"a": torch.zeros(1)}, path, {"blitznet_training": content})
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))} .*{reason}") as error:
        read_progress(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"evil.a": torch.zeros(1)}, "holds 'evil.a', not part of a state; restore it"),
        ({"optimizer.x.exp_avg": torch.zeros(1)}, FITS_NOT),
        ({"optimizer.0.step": torch.zeros(2)}, FITS_NOT),
        ({"optimizer.0.exp_avg_sq": torch.zeros(1)}, FITS_NOT),
        ({"optimizer.0.exp_avg_sq": None}, FITS_NOT),
        ({"model.0.weight": torch.full((4, 3, 3, 3), torch.nan)}, "infinite or NaN"),
    ],
)
def test_a_state_with_foreign_or_missing_tensors_is_one_line(
    tmp_path: Path, trained: Run, change: dict[str, Tensor | None], reason: str
) -> None:
    path = tmp_path / "state"
    save(trained, path)
    tensors = {
        name: tensor for name, tensor in (load_file(path) | change).items() if tensor is not None
    }
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=reason):
        load(make_run(), path)


@pytest.mark.parametrize(
    "content",
    [b"step,score\nx,1\n", b"step,score\n1,x\n", b"score\n1\n", b"\xff\xfe",
     b"step,score\n1," + b"1" * 200_000, b"step,score\n1,2,3\n"],
)  # fmt: skip
def test_damaged_rows_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "validation.csv"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"validation\.csv is (damaged|not UTF-8 text)"):
        read_rows(path, ("step", "score"))


def test_a_folder_in_place_of_rows_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder"):
        read_rows(tmp_path, ("step", "score"))
