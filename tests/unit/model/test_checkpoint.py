import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from blitznet import model_files
from blitznet.errors import CheckpointError, InputError
from blitznet.model import checkpoint
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import (
    CHECKPOINT_FORMAT_VERSION,
    CheckpointInfo,
    NetworkFiles,
    find_checkpoint,
    read_info,
)
from blitznet.model_info import ModelConfig

NAMES = ("background", "cat", "dog")


@pytest.fixture
def info(tiny_config: ModelConfig) -> CheckpointInfo:
    return CheckpointInfo(
        model=tiny_config,
        names=NAMES,
        metrics={"voc12 val": {"mean_iou": 0.5, "ap": {"cat": None}}},
        training={"steps": 7, "licence": "free"},
    )


@pytest.fixture
def path(tmp_path: Path, tiny_network: BlitzNet, info: CheckpointInfo) -> Path:
    """A valid checkpoint, alone in its folder."""
    file = tmp_path / "tiny.safetensors"
    save_checkpoint(file, tiny_network, info)
    return file


def rewrite(
    path: Path,
    change_tensors: Callable[[dict[str, Tensor]], object] = lambda _: None,
    change_content: Callable[[dict[str, object]], object] = lambda _: None,
) -> None:
    """Save a checkpoint again after changing its tensors or metadata in place."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["blitznet"])
    change_tensors(tensors)
    change_content(content)
    save_file(tensors, path, {"blitznet": json.dumps(content)})


def assert_refused(path: Path, message: str) -> None:
    """Expect a one-line error that names the file."""
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def weights_of(network: BlitzNet) -> dict[str, Tensor]:
    state = network.state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def test_network_in_single_precision_comes_back_exactly(
    path: Path, tiny_network: BlitzNet, info: CheckpointInfo, rng: torch.Generator
) -> None:
    network, read = load_checkpoint(path)
    assert read == info
    assert network.config == tiny_network.config
    assert not network.training
    assert weights_of(network).keys() == weights_of(tiny_network).keys()
    for name, tensor in weights_of(tiny_network).items():
        assert torch.equal(weights_of(network)[name], tensor), name
    images = torch.randn(1, 3, 64, 64, generator=rng)
    for ours, saved in zip(network(images), tiny_network(images), strict=True):
        assert torch.equal(ours, saved)


def test_half_precision_comes_back_within_half_a_step_and_is_smaller(
    path: Path, tiny_network: BlitzNet, info: CheckpointInfo
) -> None:
    small = path.with_name("small.safetensors")
    save_checkpoint(small, tiny_network, info, half=True)
    restored = weights_of(load_checkpoint(small)[0])
    for name, tensor in weights_of(tiny_network).items():
        assert restored[name].dtype == torch.float32
        assert torch.equal(restored[name], tensor.half().float() if tensor.ndim == 4 else tensor)
    assert small.stat().st_size < 0.6 * path.stat().st_size


def test_saved_weights_of_a_channels_last_network_come_back_in_order(
    tmp_path: Path, tiny_network: BlitzNet, info: CheckpointInfo
) -> None:
    expected = {name: tensor.clone() for name, tensor in weights_of(tiny_network).items()}
    tiny_network.to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "last.safetensors", tiny_network, info)
    restored = weights_of(load_checkpoint(tmp_path / "last.safetensors")[0])
    assert all(torch.equal(restored[name], tensor) for name, tensor in expected.items())


def test_description_is_read_without_reading_the_weights(path: Path, info: CheckpointInfo) -> None:
    assert read_info(path) == info
    rewrite(path, change_tensors=lambda tensors: tensors.clear())
    assert read_info(path) == info


def test_folders_of_a_new_checkpoint_are_made(
    tmp_path: Path, tiny_network: BlitzNet, info: CheckpointInfo
) -> None:
    save_checkpoint(tmp_path / "new" / "folder" / "tiny.safetensors", tiny_network, info)
    assert [file.name for file in tmp_path.rglob("*")] == ["new", "folder", "tiny.safetensors"]


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (RuntimeError("no memory"), RuntimeError, "no memory"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (OSError(28, "No space left"), InputError, r"tiny\.safetensors: cannot be written \(No sp"),
        (
            checkpoint.SafetensorError("full"),
            InputError,
            r"\.safetensors: cannot be written \(full",
        ),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    path: Path,
    tiny_network: BlitzNet,
    info: CheckpointInfo,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    message: str,
) -> None:
    before = path.read_bytes()

    def write_half(tensors: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(before[:1000])
        raise error

    monkeypatch.setattr(checkpoint, "save_file", write_half)
    with pytest.raises(raised, match=message):
        save_checkpoint(path, tiny_network, info)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_folder_that_is_a_file_is_refused_in_one_line(
    path: Path, tiny_network: BlitzNet, info: CheckpointInfo
) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        save_checkpoint(path / "inside.safetensors", tiny_network, info)


def test_missing_file_and_folder_are_refused(path: Path) -> None:
    assert_refused(path.with_name("other.safetensors"), "does not exist")
    assert_refused(path.parent, "Is a directory")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_of_torch_save_is_called_one(tmp_path: Path, is_zip: bool) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    assert_refused(tmp_path / "a.pt", "a file of torch.save, which is never loaded")


@pytest.mark.parametrize("part", [0, 4, 8, 100, 0.5, 0.9999])
def test_file_cut_short_is_refused(path: Path, part: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(part if part >= 1 else part * len(content))])
    assert_refused(path, "not a readable safetensors file .*truncated")


def test_file_of_random_bytes_is_refused(path: Path, rng: torch.Generator) -> None:
    noise = torch.randint(0, 256, (5000,), generator=rng, dtype=torch.uint8)
    path.write_bytes(noise.numpy().tobytes())
    assert_refused(path, "not a readable safetensors file")


def test_pickle_is_refused_unopened(path: Path, tiny_network: BlitzNet) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (path.with_name("sprung"),)

    path.write_bytes(pickle.dumps(Trap()))
    assert_refused(path, "not a readable safetensors file")
    torch.save({"state": tiny_network.state_dict(), "trap": Trap()}, path)
    assert_refused(path, "not a readable safetensors file")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors_file_is_refused(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.ones(3)}, path, metadata)
    assert_refused(path, "is a safetensors file, but not from BlitzNet")
    save_file({"x": torch.zeros(1)}, path, {"blitznet_training": "{}"})
    assert_refused(path, "is the state of a run, not a network; give the run's folder")


def test_newer_format_is_refused_with_the_remedy(path: Path) -> None:
    rewrite(
        path,
        change_content=lambda content: content.update(
            format_version=CHECKPOINT_FORMAT_VERSION + 1, model={"brain": "unknown to this version"}
        ),
    )
    assert_refused(path, f"has format {CHECKPOINT_FORMAT_VERSION + 1}, .* install a newer one")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "damaged description: TypeError"),
        ("{}", "damaged description: KeyError"),
        ('{"format_version": "1"}', "damaged description: TypeError"),
        ('{"format_version": 1}', "damaged description: model: Field required"),
    ],
)
def test_damaged_description_is_refused(path: Path, content: str, message: str) -> None:
    save_file(load_file(path), path, {"blitznet": content})
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "magic"}, r"damaged description: model\.fusion: Input should be"),
        ({"wings": 2}, r"damaged description: model\.wings: Extra inputs"),
        ({"backbone": "resnet51"}, "timm has no model"),
        ({"num_classes": 4}, "names 3 classes for a network of 4"),
        ({"image_size": 10**9}, r"damaged description: model\.image_size"),
        ({"downscale_width": 10**6}, r"damaged description: model\.downscale_width"),
        ({"upscale_width": 10**6}, r"damaged description: model\.upscale_width"),
        ({"finest_scale": 1e-30}, r"damaged description: model\.finest_scale"),
        ({"mean": [math.nan, 0, 0]}, r"damaged description: model\.mean"),
        ({"std": [0, 1, 1]}, r"damaged description: model\.std"),
        ({"std": [math.inf, 1, 1]}, r"damaged description: model\.std"),
        ({"backbone": "hf-hub:a/b"}, r"damaged description: model\.backbone"),
        ({"backbone": "local-dir:/tmp"}, r"damaged description: model\.backbone"),
        ({"backbone": "../resnet50"}, r"damaged description: model\.backbone"),
        ({"name": ""}, r"damaged description: model\.name"),
    ],
)
def test_description_of_an_impossible_network_is_refused(
    path: Path, change: dict[str, object], message: str
) -> None:
    rewrite(path, change_content=lambda content: content["model"].update(change))
    assert_refused(path, message)


def test_missing_tensor_is_named(path: Path) -> None:
    rewrite(path, lambda tensors: tensors.pop("segmentation_head.classify.bias"))
    assert_refused(
        path,
        r"1 tensors do not fit tiny, first segmentation_head\.classify\.bias: "
        r"wanted \(3,\), got nothing",
    )


@pytest.mark.parametrize("name", ["classifier.weight", "stray.scale"])
def test_extra_tensor_is_named(path: Path, name: str) -> None:
    rewrite(path, lambda tensors: tensors.update({name: torch.ones(2, 3)}))
    assert_refused(path, rf"1 tensors do not fit tiny, first {name}: wanted nothing, got \(2, 3\)")


def test_misshaped_tensor_is_named(path: Path) -> None:
    name = "segmentation_head.classify.weight"
    rewrite(path, lambda tensors: tensors.update({name: tensors[name][:, 1:].contiguous()}))
    assert_refused(path, rf"first {name}: wanted \(3, 32, 3, 3\), got \(3, 31, 3, 3\)")


def test_checkpoint_is_found_by_its_path_and_an_unknown_name_is_refused_with_the_known_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        model_files, "bundled_networks", lambda: {"bundled": NetworkFiles(None, path)}
    )
    assert find_checkpoint(str(path)) == path
    assert find_checkpoint("bundled") == path
    with pytest.raises(CheckpointError, match="called 'missing'; bundled: bundled"):
        find_checkpoint("missing")


def test_the_default_network_is_bundled() -> None:
    assert model_files.DEFAULT_MODEL in model_files.bundled_networks()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    path: Path, tiny_network: BlitzNet, info: CheckpointInfo, value: float
) -> None:
    with torch.no_grad():
        next(iter(tiny_network.parameters())).view(-1)[3] = value
    save_checkpoint(path, tiny_network, info)
    assert_refused(path, "holds infinite or NaN values")


def test_tensors_are_compared_before_a_network_of_any_size_is_built(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"downscale_width": 2048, "upscale_width": 2048}
    rewrite(path, change_content=lambda content: content["model"].update(wide))
    devices = []
    build = BlitzNet.__init__

    def watch(self: BlitzNet, config: ModelConfig) -> None:
        devices.append(torch.get_default_device().type)
        build(self, config)

    monkeypatch.setattr(BlitzNet, "__init__", watch)
    assert_refused(path, "tensors do not fit")
    assert devices == ["meta"]


@pytest.mark.parametrize("offsets", [[], [0], 7, None, ["a", "b"], {}])
def test_a_header_with_impossible_offsets_is_refused(path: Path, offsets: object) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert_refused(path, "not a readable safetensors file")
