"""The training loop: the files it writes, and that interruptions change nothing."""

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import blitznet.model.checkpoint as checkpoint_module
import blitznet.training.step as step_module
from blitznet.data.description import DataDescription
from blitznet.errors import CheckpointError, DivergenceError, InputError, RecipeError
from blitznet.losses.joint import LossTerms, joint_loss
from blitznet.model_files import read_info
from blitznet.structures import Batch, RawPredictions
from blitznet.training import loop
from blitznet.training.log import LOG_FIELDS
from blitznet.training.loop import MODEL_FILE, STATE_FILE
from blitznet.training.recipe import Recipe
from blitznet.training.resume import read_progress
from fixtures.tiny_run import (
    MIXED,
    ON_CPU,
    TINY,
    SmallNetwork,
    assert_same_tensors,
    read_log,
    read_state,
    tiny_recipe,
    train_steps,
    use_small_network,
)

pytestmark = pytest.mark.usefixtures("small_network")

STOP_AT_ONCE = replace(ON_CPU, max_minutes=0)  # after every single step
LOSSES = ("classification", "box", "segmentation")

# Python 3.12 and later warn when a process with threads, as torch's, forks.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a row and save the state after every step."""
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of six steps."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        use_small_network(patch)
        list(train_steps(tiny_recipe(), MIXED, run, ON_CPU))
    return run


def step_of(run: Path) -> int:
    return read_progress(run / STATE_FILE).step


def steps_of_log(run: Path) -> list[int]:
    return [int(row["step"]) for row in read_log(run)]


def finish(run: Path, recipe: Recipe | None = None) -> None:
    list(train_steps(recipe or tiny_recipe(), MIXED, run, ON_CPU, resume=True))


def assert_same_run(run: Path, other: Path) -> None:
    assert step_of(run) == step_of(other)
    assert_same_tensors(read_state(run), read_state(other))
    assert_same_tensors(load_file(run / MODEL_FILE), load_file(other / MODEL_FILE))


def test_a_run_leaves_a_state_a_log_and_a_network(uninterrupted: Path) -> None:
    assert sorted(path.name for path in uninterrupted.iterdir()) == [
        "log.csv",
        "model.safetensors",
        "state.safetensors",
    ]
    assert step_of(uninterrupted) == 6


def test_the_same_recipe_gives_the_same_run_bit_for_bit(
    tmp_path: Path, uninterrupted: Path
) -> None:
    list(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU))
    assert_same_run(tmp_path, uninterrupted)


def test_another_seed_gives_another_run(tmp_path: Path, uninterrupted: Path) -> None:
    list(train_steps(tiny_recipe(seed=1), MIXED, tmp_path, ON_CPU))
    name = "model.segmentation_head.weight"
    assert not torch.equal(read_state(tmp_path)[name], read_state(uninterrupted)[name])


@forks
def test_images_prepared_by_another_process_give_the_same_run(
    tmp_path: Path, uninterrupted: Path
) -> None:
    list(train_steps(tiny_recipe(), MIXED, tmp_path, replace(ON_CPU, workers=1)))
    assert_same_run(tmp_path, uninterrupted)


@forks
def test_an_unexpected_error_in_a_step_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SmallNetwork, "forward", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError) as caught:
        list(train_steps(tiny_recipe(), MIXED, tmp_path, replace(ON_CPU, workers=1)))
    assert multiprocessing.active_children() == []
    del caught  # its traceback would have kept them


def test_a_run_stopped_after_every_step_equals_the_uninterrupted_one(
    tmp_path: Path, uninterrupted: Path
) -> None:
    for step in range(1, 7):
        rows = list(train_steps(tiny_recipe(), MIXED, tmp_path, STOP_AT_ONCE, resume=step > 1))
        assert [row["step"] for row in rows] == [step]
        assert step_of(tmp_path) == step
        assert (tmp_path / MODEL_FILE).exists() == (step == 6)
    assert_same_run(tmp_path, uninterrupted)
    assert steps_of_log(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.gpu
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_run_goes_on_on_a_gpu(tmp_path: Path, ema_decay: float | None) -> None:
    recipe, on_gpu = tiny_recipe(ema_decay=ema_decay), replace(STOP_AT_ONCE, accelerator="cuda")
    for step in range(6):
        (row,) = train_steps(recipe, MIXED, tmp_path, on_gpu, resume=step > 0)
        assert row["step"] == step + 1
    assert (tmp_path / MODEL_FILE).exists()


@pytest.mark.usefixtures("every_step")
def test_a_run_whose_rows_nobody_takes_any_more_goes_on_from_its_last_state(
    tmp_path: Path, uninterrupted: Path
) -> None:
    rows = train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU)
    assert [row["step"] for row in islice(rows, 3)] == [1, 2, 3]
    rows.close()  # type: ignore[attr-defined]
    assert step_of(tmp_path) == 3
    finish(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.usefixtures("every_step")
def test_steps_that_are_taken_again_are_logged_once(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(islice(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU), 2))
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 1e9)
    list(islice(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU, resume=True), 2))
    assert steps_of_log(tmp_path) == [1, 2, 3, 4]
    assert step_of(tmp_path) == 2
    finish(tmp_path)
    assert steps_of_log(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert_same_run(tmp_path, uninterrupted)


def test_a_run_that_starts_anew_forgets_the_log_before(tmp_path: Path) -> None:
    list(train_steps(tiny_recipe(), MIXED, tmp_path, STOP_AT_ONCE))
    list(train_steps(tiny_recipe(), MIXED, tmp_path, STOP_AT_ONCE))
    assert steps_of_log(tmp_path) == [1]


@pytest.mark.fresh
@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_step_at_hand_and_is_told_on(
    tmp_path: Path, uninterrupted: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    rows = train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU)
    list(islice(rows, 2))
    os.kill(os.getpid(), number)
    assert next(rows)["step"] == 3
    with pytest.raises(KeyboardInterrupt):
        next(rows)
    assert signal.getsignal(number) is before
    assert step_of(tmp_path) == 3
    assert not (tmp_path / MODEL_FILE).exists()
    finish(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


def run_until_killed(body: Callable[[], None]) -> None:
    """Train in another process, which must die by SIGKILL."""
    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@forks
@pytest.mark.usefixtures("every_step")
def test_a_kill_in_the_middle_of_writing_leaves_the_last_whole_state(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = checkpoint_module.save_file
    num_writes = 0

    def write_half_and_die_at_the_third_time(
        tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]
    ) -> None:
        nonlocal num_writes
        num_writes += 1
        written(tensors, path, metadata)
        if num_writes == 3:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "save_file", write_half_and_die_at_the_third_time)
        run_until_killed(lambda: list(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU)) and None)
    assert step_of(tmp_path) == 2
    assert not (tmp_path / MODEL_FILE).exists()
    finish(tmp_path)
    assert_same_run(tmp_path, uninterrupted)
    assert steps_of_log(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@forks
@pytest.mark.usefixtures("every_step")
def test_a_kill_in_the_middle_of_writing_the_network_leaves_none(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half_and_die(tensors: dict[str, Tensor], path: Path, _: dict[str, str]) -> None:
        path.write_bytes(b"half a network")
        os.kill(os.getpid(), signal.SIGKILL)

    def body() -> None:
        for row in train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU):
            if row["step"] == 6:  # the state is written, the network comes next
                monkeypatch.setattr(checkpoint_module, "save_file", write_half_and_die)

    run_until_killed(body)
    assert step_of(tmp_path) == 6
    assert not (tmp_path / MODEL_FILE).exists()
    finish(tmp_path)
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.slow
@pytest.mark.fresh
@pytest.mark.usefixtures("every_step")
def test_a_kill_at_any_moment_is_survived(tmp_path: Path) -> None:
    alike = {"schedule": "drops", "warmup_steps": 0, "ema_decay": None}
    recipe = tiny_recipe(**alike, steps=10_000)

    def body() -> None:
        list(train_steps(recipe, MIXED, tmp_path / "killed", ON_CPU))

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    while not (tmp_path / "killed" / STATE_FILE).exists():
        assert process.is_alive()
    process.join(0.2)
    process.kill()
    process.join()
    reached = step_of(tmp_path / "killed")
    short = recipe.model_copy(update={"steps": reached + 2})  # nothing depends on it
    finish(tmp_path / "killed", short)
    list(train_steps(short, MIXED, tmp_path / "whole", ON_CPU))
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert steps_of_log(tmp_path / "killed") == list(range(1, reached + 3))


def test_a_row_is_the_mean_over_the_steps_since_the_row_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    single = list(train_steps(tiny_recipe(steps=5), MIXED, tmp_path, ON_CPU))
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    pairs = list(train_steps(tiny_recipe(steps=5), MIXED, tmp_path, ON_CPU))
    assert [row["step"] for row in pairs] == [2, 4, 5]
    for name in LOSSES:
        steps = [row[name] for row in single]
        expected = [(steps[0] + steps[1]) / 2, (steps[2] + steps[3]) / 2, steps[4]]
        assert [row[name] for row in pairs] == pytest.approx(expected, rel=1e-6)
    assert [row["lr"] for row in pairs] == [single[i]["lr"] for i in (1, 3, 4)]


def test_the_first_row_after_resuming_is_not_diluted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    single = list(train_steps(tiny_recipe(), MIXED, tmp_path / "single", ON_CPU))
    monkeypatch.setattr(loop, "LOG_EVERY", 3)
    list(train_steps(tiny_recipe(), MIXED, tmp_path / "two", STOP_AT_ONCE))
    row = next(iter(train_steps(tiny_recipe(), MIXED, tmp_path / "two", ON_CPU, resume=True)))
    assert row["step"] == 3
    for name in LOSSES:
        assert row[name] == pytest.approx((single[1][name] + single[2][name]) / 2, rel=1e-6)


def test_the_log_holds_the_rows_that_were_yielded(tmp_path: Path) -> None:
    (row,) = train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU)
    (logged,) = read_log(tmp_path)
    assert {name: float(value) for name, value in logged.items()} == row
    assert tuple(logged) == LOG_FIELDS
    assert row["pictures_per_second"] > 0


@pytest.mark.usefixtures("every_step")
def test_averaged_weights_are_the_exponential_mean_of_all_steps(tmp_path: Path) -> None:
    expected: dict[str, Tensor] = {}
    for _ in train_steps(tiny_recipe(ema_decay=0.5), MIXED, tmp_path, ON_CPU):
        state = read_state(tmp_path)
        for name, tensor in state.items():
            part, _, rest = name.partition(".")
            if part == "model" and tensor.is_floating_point():
                before = expected.get(rest, tensor.double())
                expected[rest] = 0.5 * before + 0.5 * tensor.double()
    saved = load_file(tmp_path / MODEL_FILE)
    for name, tensor in expected.items():
        assert torch.equal(saved[name], state[f"averaged.module.{name}"])
        torch.testing.assert_close(saved[name].double(), tensor, rtol=1e-5, atol=1e-6)


def test_without_averaging_the_network_is_saved_as_it_is(tmp_path: Path) -> None:
    list(train_steps(tiny_recipe(ema_decay=None), MIXED, tmp_path, ON_CPU))
    saved, state = load_file(tmp_path / MODEL_FILE), read_state(tmp_path)
    assert not any(name.startswith("averaged.") for name in state)
    assert saved
    assert all(torch.equal(tensor, state[f"model.{name}"]) for name, tensor in saved.items())


def test_the_network_says_how_it_was_trained(uninterrupted: Path) -> None:
    info = read_info(uninterrupted / MODEL_FILE)
    assert info.names == MIXED.classes
    assert info.model == TINY
    training = info.training
    assert info.recipe == tiny_recipe().model_dump(mode="json")
    assert (training["recipe"], training["steps"], training["pictures"]) == ("tiny", 6, 11)
    assert 0 <= training["minutes"] < 1
    assert training["torch"] == torch.__version__
    assert "CPU" in training["hardware"]


def test_a_finished_run_writes_its_network_again_if_it_is_missing(
    tmp_path: Path, uninterrupted: Path
) -> None:
    list(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU))
    (tmp_path / MODEL_FILE).unlink()
    assert list(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU, resume=True)) == []
    assert_same_run(tmp_path, uninterrupted)


def only_source(index: int) -> DataDescription:
    return MIXED.model_copy(update={"splits": {"train": [MIXED.splits["train"][index]]}})


def test_without_maps_the_segmentation_costs_exactly_nothing(tmp_path: Path) -> None:
    entry = MIXED.splits["train"][0].model_copy(update={"masks": None})
    boxes_only = MIXED.model_copy(update={"splits": {"train": [entry]}})
    (row,) = train_steps(tiny_recipe(), boxes_only, tmp_path, ON_CPU)
    assert row["segmentation"] == 0
    assert row["classification"] > 0
    assert row["box"] > 0


def test_without_boxes_the_detection_costs_exactly_nothing(tmp_path: Path) -> None:
    (row,) = train_steps(tiny_recipe(), only_source(1), tmp_path, ON_CPU)
    assert row["segmentation"] > 0
    assert row["classification"] == row["box"] == 0


@pytest.mark.parametrize(
    ("task", "costs_nothing"),
    [("detect", ("segmentation",)), ("segment", ("classification", "box"))],
)
def test_a_network_for_one_task_trains_alone(
    tmp_path: Path, task: str, costs_nothing: tuple[str, ...]
) -> None:
    tasks = {"detect": task == "detect", "segment": task == "segment"}
    recipe = tiny_recipe(model=TINY.model_copy(update=tasks), steps=2)
    (row,) = train_steps(recipe, only_source(0), tmp_path, ON_CPU)
    assert {name for name in LOSSES if row[name] == 0} == set(costs_nothing)


@pytest.mark.usefixtures("every_step")
def test_a_rate_that_is_far_too_high_is_told_with_step_and_images(tmp_path: Path) -> None:
    recipe = tiny_recipe(warmup_steps=0).model_copy(update={"lr": 1e30})
    with pytest.raises(
        DivergenceError,
        match=r"^the loss is not finite at step 2; its images: (\S+\.jpg(, )?){4}\. Lower ",
    ):
        list(train_steps(recipe, MIXED, tmp_path, ON_CPU))
    assert step_of(tmp_path) == 1
    assert all(tensor.isfinite().all() for tensor in read_state(tmp_path).values())
    assert not (tmp_path / MODEL_FILE).exists()


def test_a_loss_that_is_no_number_is_told_with_the_images_of_its_own_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are written every 20 steps, and steps 4 to 6 have a NaN loss, too."""
    batches: list[Batch] = []

    def poison_the_third(raw: RawPredictions, batch: Batch, *arguments: Any) -> LossTerms:
        batches.append(batch)
        terms = joint_loss(raw, batch, *arguments)
        return terms._replace(box=terms.box * torch.nan) if len(batches) == 3 else terms

    monkeypatch.setattr(step_module, "joint_loss", poison_the_third)
    with pytest.raises(DivergenceError) as error:
        list(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU))
    assert len(batches) == 6
    assert len({batch.sources for batch in batches}) > 1
    assert str(error.value) == (
        f"the loss is not finite at step 3; its images: {', '.join(batches[2].sources)}. "
        "Lower the learning rate with --set lr=..."
    )
    assert not (tmp_path / STATE_FILE).exists()


def test_a_gradient_that_is_no_number_is_told_with_the_images_of_its_own_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of this step is finite, but that of the next one is not."""
    batches: list[Batch] = []

    def poison_the_third(raw: RawPredictions, batch: Batch, *arguments: Any) -> LossTerms:
        batches.append(batch)
        assert raw.box_deltas is not None
        if len(batches) == 3:
            raw.box_deltas.register_hook(lambda gradient: gradient * torch.inf)
        return joint_loss(raw, batch, *arguments)

    monkeypatch.setattr(step_module, "joint_loss", poison_the_third)
    with pytest.raises(DivergenceError, match="at step 3") as error:
        list(train_steps(tiny_recipe(), MIXED, tmp_path, ON_CPU))
    assert f"its images: {', '.join(batches[2].sources)}." in str(error.value)


def test_layers_that_draw_at_random_draw_the_same_after_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_with_dropout(recipe: Recipe, _: object) -> SmallNetwork:
        network = SmallNetwork(recipe.model)
        network.backbone.append(torch.nn.Dropout(0.5))
        return network

    monkeypatch.setattr(step_module, "build_network", build_with_dropout)
    list(train_steps(tiny_recipe(steps=3), MIXED, tmp_path / "whole", ON_CPU))
    for step in range(3):
        torch.rand(step)  # whatever else there was
        list(train_steps(tiny_recipe(steps=3), MIXED, tmp_path / "parts", STOP_AT_ONCE, step > 0))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.usefixtures("every_step")
def test_weights_that_are_no_numbers_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = torch.optim.AdamW.step
    num_steps = 0

    def poison_the_third_update(optimizer: torch.optim.AdamW) -> None:
        nonlocal num_steps
        num_steps += 1
        if num_steps == 3:
            optimizer.param_groups[0]["params"][0].grad.fill_(torch.inf)
        update(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", poison_the_third_update)
    recipe = tiny_recipe(clip_grad_norm=None)
    with pytest.raises(DivergenceError, match="at step 3"):
        list(train_steps(recipe, MIXED, tmp_path, ON_CPU))
    assert step_of(tmp_path) == 2
    assert all(tensor.isfinite().all() for tensor in read_state(tmp_path).values())


def test_gradients_are_clipped_to_the_recipes_norm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = []
    update = torch.optim.AdamW.step

    def measure(optimizer: torch.optim.AdamW) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients])).item())
        update(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", measure)
    list(train_steps(tiny_recipe(steps=2, clip_grad_norm=None), MIXED, tmp_path, ON_CPU))
    assert min(norms) > 0.5
    norms.clear()
    list(train_steps(tiny_recipe(steps=2, clip_grad_norm=0.5), MIXED, tmp_path, ON_CPU))
    assert norms == pytest.approx([0.5, 0.5], rel=1e-4)


def test_the_number_of_classes_must_be_that_of_the_data(tmp_path: Path) -> None:
    recipe = tiny_recipe(model=TINY.model_copy(update={"num_classes": 5}))
    message = (
        "recipe tiny has 5 classes, the data has 21 with background; use --set model.num_classes=21"
    )
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        list(train_steps(recipe, MIXED, tmp_path, ON_CPU))


def test_a_batch_must_be_shared_evenly_by_the_devices(tmp_path: Path) -> None:
    message = "a global batch of 4 images cannot be shared by 3 devices"
    with pytest.raises(RecipeError, match=f"^{message}"):
        list(train_steps(tiny_recipe(), MIXED, tmp_path, replace(ON_CPU, devices=3)))


def test_a_batch_must_be_shared_evenly_by_the_parts(tmp_path: Path) -> None:
    message = "a global batch of 4 images cannot be shared by 2 devices in 4 parts each; use --set"
    with pytest.raises(RecipeError, match=f"^{message}"):
        list(train_steps(tiny_recipe(accumulate=4), MIXED, tmp_path, replace(ON_CPU, devices=2)))


def test_a_run_in_parts_stopped_after_every_step_equals_the_uninterrupted_one(
    tmp_path: Path,
) -> None:
    recipe = tiny_recipe(accumulate=2)
    list(train_steps(recipe, MIXED, tmp_path / "whole", ON_CPU))
    for step in range(6):
        list(train_steps(recipe, MIXED, tmp_path / "parts", STOP_AT_ONCE, resume=step > 0))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_without_a_state_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\.safetensors does not exist$"):
        finish(tmp_path)


def test_a_run_cannot_be_resumed_with_another_network(tmp_path: Path) -> None:
    list(train_steps(tiny_recipe(), MIXED, tmp_path, STOP_AT_ONCE))
    other = tiny_recipe(model=TINY.model_copy(update={"segment": False}))
    with pytest.raises(CheckpointError, match="is the state of another network or optimizer"):
        finish(tmp_path, other)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    data = MIXED.model_copy(update={"splits": {"val": MIXED.splits["train"]}})
    with pytest.raises(InputError, match=r"no split 'train'; there are val$"):
        list(train_steps(tiny_recipe(), data, tmp_path, ON_CPU))
