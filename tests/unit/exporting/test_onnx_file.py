"""A small exported network in both libraries; tests/integration/test_export.py has the rest."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from blitznet.errors import InputError
from blitznet.exporting.onnx_file import export_onnx
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import describe, load_checkpoint
from blitznet.model_files import ExportInfo, bundled_networks, find_checkpoint


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "fp16"])
def test_a_file_gives_what_the_network_gives_and_leaves_it_alone(
    precision: str, tiny_network: BlitzNet, tmp_path: Path
) -> None:
    network = copy.deepcopy(tiny_network)
    network.config = network.config.model_copy(update={"box_prior": True})
    info = describe(network)
    for weight in network.parameters():  # as stored in half precision, so nothing is left to round
        weight.data = weight.data.half().float()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.uniform_(0.5, 2, generator=generator)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_onnx(tmp_path / "tiny.onnx", network, info, precision=precision)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    expected = TorchEngine(network, info, torch.device("cpu")).run(pixels, 0.3)
    tolerance = 1e-4  # sums in another order
    for name in ("onnxruntime", "openvino"):
        engine = open_engine(tmp_path / "tiny.onnx", name, "cpu")
        assert isinstance(engine.info, ExportInfo)
        assert (engine.info.names, engine.info.precision) == (info.names, precision)
        found = engine.run(pixels, 0.3)
        np.testing.assert_allclose(found.seg_logits, expected.seg_logits, atol=tolerance)
        for given, wanted in zip(found.detections or (), expected.detections or (), strict=True):
            assert len(wanted.labels) > 0
            np.testing.assert_array_equal(given.labels, wanted.labels)
            np.testing.assert_allclose(given.scores, wanted.scores, atol=tolerance)
            np.testing.assert_allclose(given.boxes, wanted.boxes, atol=1e-2)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert b"stack_trace" not in (tmp_path / "tiny.onnx").read_bytes()  # paths of this machine


def test_the_coarsest_level_stores_the_centre_of_its_kernels(
    tiny_network: BlitzNet, tmp_path: Path
) -> None:
    export_onnx(tmp_path / "tiny.onnx", tiny_network, describe(tiny_network))
    shapes = {one.name: tuple(one.dims) for one in stored_tensors(tmp_path / "tiny.onnx")}
    assert tiny_network.config.level_sizes[-1] == 1  # a pixel has no neighbours
    last = f"multibox_head.classify.{len(tiny_network.config.level_sizes) - 1}.weight"
    assert tiny_network.get_parameter(last).shape[2:] == (3, 3)
    assert shapes[f"network.network.{last}"][2:] == (1, 1)


def stored_tensors(path: Path) -> list[onnx.TensorProto]:
    return list(onnx.load(path).graph.initializer)


def test_a_weight_beyond_half_precision_is_named(tiny_network: BlitzNet, tmp_path: Path) -> None:
    network = copy.deepcopy(tiny_network)
    [*_, weight] = (one for one in network.parameters() if one.ndim == 4)
    weight.data.view(-1)[0] = 1e5
    with pytest.raises(InputError, match=r"has values beyond the range of float16; use fp32"):
        export_onnx(tmp_path / "a.onnx", network, describe(network), precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_bundled_networks_say_nothing_of_the_machine_that_made_them() -> None:
    for files in bundled_networks().values():
        assert files.exported is not None
        assert b"stack_trace" not in files.exported.read_bytes()


def test_bundled_networks_store_weights_but_no_anchors() -> None:
    for name, files in bundled_networks().items():
        assert files.exported is not None
        anchors = load_checkpoint(find_checkpoint(name))[0].anchors.numel()
        for one in stored_tensors(files.exported):
            if one.data_type != onnx.TensorProto.FLOAT16:
                assert np.prod(one.dims) < anchors / 10, one.name
