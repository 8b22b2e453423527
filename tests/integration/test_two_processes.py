"""Two processes with half of a batch each give the same result as one with the whole batch.

Batch norms would see half of the images, so they use their running statistics here. All losses are
sums over images, divided by a count that the processes share. So results differ only in the order
of summation.
"""

import json
import multiprocessing
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

from blitznet.classes import IGNORE_INDEX
from blitznet.data.loader import collate_samples
from blitznet.detection.anchors import anchors_of
from blitznet.losses.joint import joint_loss
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model_files import read_info
from blitznet.structures import PADDING_LABEL, Batch
from blitznet.training.resume import read_progress
from blitznet.training.validation import read_validation
from fixtures.tiny_run import MIXED, STATE_FILE, TINY, read_log, read_state
from resized_sample import resize_sample

pytestmark = pytest.mark.fresh

NUM_IMAGES = 4
LABELS = ("boxes", "maps")

# Python 3.12 and later warn when a process with threads, as torch's, forks.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads do not survive a fork."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def batch() -> Batch:
    """Four drawn images with their maps, the first with one box and the last with four.

    The boxes are anchors of the levels from the finest on, so the second half has one for each.
    """
    (source, _) = MIXED.open_split("train")
    drawn = collate_samples([resize_sample(source.read(i), 64) for i in range(NUM_IMAGES)])
    first_anchors = np.cumsum([0, *(6 * size**2 for size in TINY.level_sizes[:-1])])
    boxes = anchors_of(TINY)[first_anchors].expand(NUM_IMAGES, -1, -1)
    labels = torch.arange(1, 17).view(4, 4).tril()
    assert PADDING_LABEL == 0
    return replace(drawn, boxes=boxes, labels=labels)


def without(batch: Batch, labels: str, images: slice) -> Batch:
    """The batch with boxes or maps of some images removed."""
    if labels == "boxes":
        has_boxes = batch.has_boxes.clone()
        has_boxes[images] = False
        return replace(batch, has_boxes=has_boxes)
    seg_maps = batch.seg_maps.clone()
    seg_maps[images] = IGNORE_INDEX
    return replace(batch, seg_maps=seg_maps)


def part_of(batch: Batch, rank: int) -> Batch:
    half = slice(rank * NUM_IMAGES // 2, (rank + 1) * NUM_IMAGES // 2)
    whole = {field.name: getattr(batch, field.name) for field in fields(Batch)}
    return Batch(**{name: value if value is None else value[half] for name, value in whole.items()})


def average(tensor: Tensor) -> Tensor:
    """Mean over all processes."""
    distributed.all_reduce(tensor)
    return tensor / distributed.get_world_size()


def gradients(batch: Batch, is_shared: bool) -> dict[str, Tensor]:
    """Gradients of the joint loss by parameter; `is_shared` = of this process's part."""
    torch.manual_seed(0)
    model = BlitzNet(TINY).eval()
    model.double()
    raw = model(normalize_images(batch.images, TINY.mean, TINY.std).double())
    count = average if is_shared else (lambda tensor: tensor)
    joint_loss(raw, batch, model.anchors.float(), count).total.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(found) == len(list(model.parameters()))
    return {name: average(grad) if is_shared else grad for name, grad in found.items()}


def gradients_of_two_processes(batch: Batch, folder: Path) -> dict[str, Tensor]:
    """Gradients averaged over both processes."""

    def body(rank: int) -> None:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'meeting'}",
            rank=rank,
            world_size=2,
            timeout=timedelta(seconds=60),
        )
        torch.save(gradients(part_of(batch, rank), is_shared=True), folder / f"{rank}.pt")
        distributed.destroy_process_group()

    processes = [
        multiprocessing.get_context("fork").Process(target=body, args=(rank,)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    return first  # type: ignore[no-any-return]


def assert_close(
    found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-12
) -> None:
    """Require equality up to rounding, relative to the largest value of each tensor."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        limit = tolerance * tensor.abs().max()
        assert (found[name] - tensor).abs().max() <= limit, name


@forks
def test_gradients_equal_those_of_the_joined_batch(tmp_path: Path, batch: Batch) -> None:
    assert_close(gradients_of_two_processes(batch, tmp_path), gradients(batch, is_shared=False))


@forks
@pytest.mark.parametrize("labels", LABELS)
def test_a_process_without_labels_for_a_head_counts_for_nothing_and_hangs_nothing(
    tmp_path: Path, batch: Batch, labels: str
) -> None:
    mixed = without(batch, labels, slice(0, NUM_IMAGES // 2))  # all of the first process
    expected = gradients(mixed, is_shared=False)
    assert_close(gradients_of_two_processes(mixed, tmp_path), expected)
    assert all(tensor.abs().max() > 0 for tensor in expected.values())


@forks
def test_a_process_whose_images_label_some_classes_only_hangs_nothing(
    tmp_path: Path, batch: Batch
) -> None:
    known = torch.ones(NUM_IMAGES, TINY.num_classes, dtype=torch.bool)
    known[: NUM_IMAGES // 2, 5:] = False
    partial = replace(batch, known_classes=known)
    expected = gradients(partial, is_shared=False)
    assert_close(gradients_of_two_processes(partial, tmp_path), expected)
    everything = gradients(batch, is_shared=False)
    assert any(not torch.equal(expected[name], everything[name]) for name in expected)


@forks
@pytest.mark.parametrize("labels", LABELS)
def test_a_head_without_labels_in_any_process_gets_zeros_and_no_nan(
    tmp_path: Path, batch: Batch, labels: str
) -> None:
    bare = without(batch, labels, slice(None))
    found = gradients_of_two_processes(bare, tmp_path)
    assert_close(found, gradients(bare, is_shared=False))
    head = {"boxes": "multibox_head.", "maps": "segmentation_head."}[labels]
    assert {name for name, tensor in found.items() if not tensor.any()} == {
        name for name in found if name.startswith(head)
    }


# Run as a program, since Fabric starts the second process with the command line of the first.
TRAINING = """
import json, sys
from pathlib import Path
import torch
from torch import nn

sys.path.insert(0, {tests!r})
from blitznet.training import loop, step
from fixtures.tiny_run import MIXED, ON_CPU, tiny_recipe, train_steps
from dataclasses import replace

torch.set_num_threads(1)
build = step.build_network
loop.LOG_EVERY = 1

def build_without_batch_statistics(*arguments):
    network = build(*arguments)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network

step.build_network = build_without_batch_statistics
run, changes, options, poisoned = Path(sys.argv[1]), *map(json.loads, sys.argv[2:])
fixed = dict(global_batch_size=2, clip_grad_norm=None, lr=1e-4, warmup_steps=0)
recipe = tiny_recipe(**(fixed | changes))
options = replace(ON_CPU, **options)
splits = MIXED.splits | (dict(val=MIXED.splits["train"][:1]) if options.validate_every else dict())

if poisoned:
    joint_loss, taken = step.joint_loss, []

    def poison_one_process(*arguments):
        terms = joint_loss(*arguments)
        taken.append(arguments[1].sources)
        print(*taken[-1], file=sys.stderr)
        is_bad = len(taken) == poisoned and torch.distributed.get_rank() == 1
        return terms._replace(box=terms.box * torch.nan) if is_bad else terms

    loop.LOG_EVERY = 20
    step.joint_loss = poison_one_process

resume = (run / loop.STATE_FILE).exists()
data = MIXED.model_copy(update=dict(splits=splits))
for row in train_steps(recipe, data, run, options, resume):
    pass
"""


def start_training(
    folder: Path,
    recipe: dict[str, Any],
    options: dict[str, Any],
    poisoned: int = 0,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the program; the second process gets a NaN loss at the step `poisoned`."""
    program = folder / "program.py"
    program.write_text(TRAINING.format(tests=str(Path(__file__).parents[1])))
    run = folder / f"run of {options['devices']}"
    arguments = [str(run), *map(json.dumps, (recipe, options, poisoned))]
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return run, done


def run_training(
    folder: Path, devices: int, steps: int, recipe: dict[str, Any] | None = None, **options: Any
) -> Path:
    run, done = start_training(
        folder, {"steps": steps} | (recipe or {}), {"devices": devices} | options
    )
    assert done.returncode == 0, done.stderr
    return run


def moments(run: Path, key: str) -> dict[str, Tensor]:
    return {name: t for name, t in read_state(run).items() if name.endswith(f".{key}")}


@pytest.mark.slow
def test_the_loop_takes_the_same_first_step_on_two_processes(tmp_path: Path) -> None:
    # One image a process, whose seed gives one without boxes in the first step.
    one, two = (run_training(tmp_path, devices, steps=1) for devices in (1, 2))
    # Adam divides by the size of the gradient, so its first moment tells more than the weights.
    assert_close(moments(two, "exp_avg"), moments(one, "exp_avg"), tolerance=1e-5)


@pytest.mark.slow
def test_the_loop_on_two_processes_stops_together_resumes_and_stays_with_one(
    tmp_path: Path,
) -> None:
    steps = 20
    one = run_training(tmp_path, 1, steps)
    two = run_training(tmp_path, 2, steps, max_minutes=0)
    assert read_progress(two / STATE_FILE).step == 1
    assert run_training(tmp_path, 2, steps) == two
    assert [int(row["step"]) for row in read_log(two)] == list(range(1, steps + 1))
    assert (two / "model.safetensors").exists()
    expected, found = read_state(one), read_state(two)
    for name in (name for name in expected if name.startswith("model.")):
        difference = (found[name].float() - expected[name].float()).abs()
        # Where a gradient is all rounding, Adam makes a full step of it, up to 1e-4 each.
        assert difference.max() <= 1e-4, name
        assert difference.mean() < 1e-6, name


@pytest.mark.slow
def test_two_processes_with_two_parts_each_take_the_step_of_one_with_the_whole_batch(
    tmp_path: Path,
) -> None:
    whole = run_training(tmp_path, 1, steps=1, recipe={"global_batch_size": 4})
    parts = run_training(tmp_path, 2, 1, recipe={"global_batch_size": 4, "accumulate": 2})
    assert_close(moments(parts, "exp_avg"), moments(whole, "exp_avg"), tolerance=1e-5)


@pytest.mark.slow
def test_one_process_measures_and_all_stop_early_together(tmp_path: Path) -> None:
    recipe = {"lr": 1e-9, "ema_decay": None}  # nothing moves enough to become better
    options = {"validate_every": 2, "early_stopping": 2}
    run = run_training(tmp_path, 2, steps=100, recipe=recipe, **options)
    steps = [row["step"] for row in read_validation(run)]
    assert len(steps) < 50
    assert read_progress(run / STATE_FILE).step == steps[-1]
    assert read_info(run / "model.safetensors").training["steps"] == steps[-3]


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_is_told_with_the_images_of_all(
    tmp_path: Path,
) -> None:
    recipe = {"steps": 6, "global_batch_size": 4}
    run, done = start_training(tmp_path, recipe, {"devices": 2}, poisoned=3)
    assert done.returncode != 0
    lines = re.findall(r"DivergenceError: (.*)", done.stderr)
    assert lines
    assert all("not finite at step 3;" in line for line in lines)
    (named,) = {tuple(re.findall(r"(\S+\.jpg)", line)) for line in lines}
    pairs = [named[:2], named[2:]]
    assert len(named) == 4
    assert all(" ".join(pair).replace(",", "") in done.stderr.replace(",", "") for pair in pairs)
    assert not (run / STATE_FILE).exists()


@pytest.mark.slow
def test_torchrun_on_two_machines_takes_the_step_of_one_process(tmp_path: Path) -> None:
    """Both are this one, with a process each."""
    one = run_training(tmp_path, 1, steps=1)
    run = tmp_path / "torchrun"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    meeting = ["--master-addr=127.0.0.1", f"--master-port={port}"]
    program = [str(tmp_path / "program.py"), str(run), '{"steps": 1}', '{"devices": 1}', "0"]
    machines = [
        subprocess.Popen(
            [*torchrun, *meeting, f"--node-rank={rank}", *program],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for machine in machines:
        _, error = machine.communicate(timeout=240)
        assert machine.returncode == 0, error
    assert_close(moments(run, "exp_avg"), moments(one, "exp_avg"), tolerance=1e-5)
