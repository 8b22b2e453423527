"""One step: the same in parts as in one go, and never waits for the device."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode

from blitznet.classes import VOC_CLASSES
from blitznet.data.loader import collate_samples
from blitznet.model.blitznet import BlitzNet
from blitznet.structures import Batch
from blitznet.training import step
from blitznet.training.log import Meter
from blitznet.training.step import StepResult, TrainState
from fixtures.tiny_run import MIXED, TINY, saved_network, tiny_recipe
from resized_sample import resize_sample

NUM_IMAGES = 4

MakeLearner = Callable[..., tuple[TrainState, BlitzNet, SGD]]
Gradients = Callable[..., tuple[StepResult, dict[str, Tensor]]]


@pytest.fixture
def batch() -> Batch:
    """Four drawn images; the first two have no boxes, the last one no map."""
    (source, _) = MIXED.open_split("train")
    drawn = collate_samples([resize_sample(source.read(i), 64) for i in range(NUM_IMAGES)])
    drawn.seg_maps[-1] = 255
    return replace(drawn, has_boxes=torch.tensor([False, False, True, True]))


@pytest.fixture
def make_learner(monkeypatch: pytest.MonkeyPatch) -> MakeLearner:
    """A state with batch norms in evaluation mode and an optimizer that changes nothing."""

    def make(device: str = "cpu", **changes: Any) -> tuple[TrainState, BlitzNet, SGD]:
        torch.manual_seed(0)
        network = BlitzNet(TINY).eval()
        # With this momentum the buffer of the first step is the gradient.
        groups = [{"params": list(network.parameters()), "lr_scale": 0.0}]
        optimizer = SGD(groups, lr=0.0, momentum=0.9)
        monkeypatch.setattr(step, "build_network", lambda *_: network)
        monkeypatch.setattr(step, "build_optimizer", lambda *_: optimizer)
        fabric = Fabric(accelerator=device, devices=1, precision="32-true")
        return TrainState(fabric, tiny_recipe(**changes), VOC_CLASSES), network, optimizer

    return make


@pytest.fixture
def gradients(make_learner: MakeLearner) -> Gradients:
    """The result of a step, and the gradients by name of the parameter."""

    def take(batch: Batch, **changes: Any) -> tuple[StepResult, dict[str, Tensor]]:
        learner, network, optimizer = make_learner(ema_decay=None, **changes)
        result = learner.step(0, batch)
        named = network.named_parameters()
        return result, {name: optimizer.state[p]["momentum_buffer"] for name, p in named}

    return take


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    torch.manual_seed(1)
    saved_network(tmp_path / "teacher.safetensors")
    return str(tmp_path / "teacher.safetensors")


@pytest.mark.parametrize(("parts", "is_taught"), [(2, False), (4, False), (2, True)])
def test_a_step_in_parts_is_the_step_with_the_whole_batch(
    batch: Batch, gradients: Gradients, teacher: str, parts: int, is_taught: bool
) -> None:
    changes = {"clip_grad_norm": None, "teacher": teacher if is_taught else None}
    whole, expected = gradients(batch, **changes)
    accumulated, found = gradients(batch, accumulate=parts, **changes)
    assert [term.item() for term in whole.terms] == pytest.approx(
        [term.item() for term in accumulated.terms], rel=1e-5
    )
    assert min(term.item() for term in whole.terms) > 0
    torch.testing.assert_close(accumulated.gradient_norm, whole.gradient_norm, rtol=1e-5, atol=0)
    for name, gradient in expected.items():
        # Sums of another order, in float32.
        limit = 1e-5 * gradient.abs().max()
        assert (found[name] - gradient).abs().max() <= limit, name


def test_a_teacher_changes_the_loss_of_classes_and_pixels_but_not_of_boxes(
    batch: Batch, gradients: Gradients, teacher: str
) -> None:
    alone, _ = gradients(batch)
    taught, _ = gradients(batch, teacher=teacher)
    assert taught.terms.box == alone.terms.box
    assert taught.terms.classification != alone.terms.classification
    assert taught.terms.segmentation != alone.terms.segmentation
    twice, _ = gradients(batch, teacher=(teacher, teacher))
    assert [term.item() for term in twice.terms] == pytest.approx(
        [term.item() for term in taught.terms], rel=1e-5
    )


def test_parts_without_a_label_for_a_head_count_for_nothing(
    batch: Batch, gradients: Gradients
) -> None:
    """If each part were divided by its own counts, parts with few labels would weigh more."""
    bare = replace(batch, has_boxes=torch.tensor([False, False, False, True]))
    whole, _ = gradients(bare, clip_grad_norm=None)
    accumulated, _ = gradients(bare, clip_grad_norm=None, accumulate=4)
    assert accumulated.terms.classification.item() == pytest.approx(
        whole.terms.classification.item(), rel=1e-5
    )


def test_nothing_labelled_costs_nothing_in_parts_too(batch: Batch, gradients: Gradients) -> None:
    bare = replace(batch, has_boxes=torch.zeros(NUM_IMAGES, dtype=torch.bool))
    bare.seg_maps[:] = 255
    for parts in (1, 4):
        result, found = gradients(bare, accumulate=parts, clip_grad_norm=None)
        assert [term.item() for term in result.terms] == [0, 0, 0]
        assert not any(gradient.any() for gradient in found.values())


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_norm_is_that_of_the_gradients_before_clipping(
    batch: Batch, gradients: Gradients, clip: float | None
) -> None:
    _, unclipped = gradients(batch, clip_grad_norm=None)
    expected = torch.cat([gradient.flatten() for gradient in unclipped.values()]).norm()
    result, found = gradients(batch, clip_grad_norm=clip)
    torch.testing.assert_close(result.gradient_norm, expected, rtol=1e-5, atol=0)
    norm = torch.cat([gradient.flatten() for gradient in found.values()]).norm()
    torch.testing.assert_close(norm, torch.tensor(clip or expected.item()), rtol=1e-4, atol=0)


class WaitingOperations(TorchDispatchMode):
    """Records operations that synchronise with a GPU."""

    # Reading a value; shapes that depend on values; constants copied from pageable memory.
    NAMES = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "lift_fresh")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        is_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name in self.NAMES or is_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("parts", "clip", "known"), [(1, None, None), (1, 0.5, 5), (2, None, 5), (2, 0.5, None)]
)
def test_a_step_asks_the_device_for_no_value(
    batch: Batch, make_learner: MakeLearner, parts: int, clip: float | None, known: int | None
) -> None:
    if known is not None:
        batch.known_classes = torch.arange(TINY.num_classes).lt(known).repeat(NUM_IMAGES, 1)
    learner, _, _ = make_learner(accumulate=parts, clip_grad_norm=clip)
    meter = Meter()

    def take(number: int) -> None:
        meter.add(learner.step(number, batch), batch)

    take(1)
    with WaitingOperations() as waiting:
        take(2)
    assert waiting.found == []
    assert learner.result is not learner.network


@pytest.mark.gpu
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_never_waits_for_a_gpu(batch: Batch, make_learner: MakeLearner, parts: int) -> None:
    device = torch.device("cuda")
    learner, _, _ = make_learner("cuda", accumulate=parts)
    meter = Meter()
    there = batch.to(device)
    try:
        for number in (1, 2):
            meter.add(learner.step(number, there), there)
            torch.cuda.set_sync_debug_mode("error")  # from the second step on
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_waits_is_noticed() -> None:
    values = torch.arange(4)
    with WaitingOperations() as waiting:
        values.sum().item()
        values[values > 2]
        torch.tensor([1, 2])
    assert waiting.found == ["_local_scalar_dense", "index", "lift_fresh"]
