"""int8 by NNCF: calibrated on pictures, kept in the cache."""

import contextlib
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blitznet.data.description import read_description
from blitznet.data.geometry import resize_sample
from blitznet.data.source import LabelSource, locate
from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.engines.conversion_cache import (
    Tell,
    find_converted,
    fingerprint,
    keep_converted,
    read_cached,
)
from blitznet.inference.engines.openvino_runtime import convert, read_model, save_model
from blitznet.model.blitznet import BlitzNet

if TYPE_CHECKING:
    import openvino

# NNCF's own default; more change nothing that can be measured.
CALIBRATION_PICTURES = 300
_ORIGIN_FILE = "calibration.json"
_METHOD = "ranges alone"  # what was made in another way is made anew


def quantize(
    network: BlitzNet, calibrate: Path | None, tell: Tell | None = None
) -> "openvino.Model":
    """The graph of a network with int8 convolutions.

    Args:
        network: with its weights.
        calibrate: a data description, whose training pictures tell how large activations get; None
            = what was made at an earlier time.
        tell: is told that there is something to wait for.

    Raises:
        InputError: if nothing was made earlier and no pictures are given, or NNCF is missing.
    """
    require("openvino", "openvino", "OpenVINO")
    key = fingerprint(network, "openvino-int8", ("openvino",))
    if calibrate is None:
        if find_converted(key) is None:
            raise InputError(
                "int8 has to be calibrated on pictures like those it will see; "
                "give some with --calibrate DATA.yaml, once for a network"
            )
        return read_cached(key, _fail, read_model)
    require("nncf", "quantize", "int8")
    origin = _origin(calibrate)
    if _known_origin(key) != origin:
        sources = open_calibration(calibrate)

        def make(folder: Path) -> None:
            pixels = calibration_pixels(sources, network.config.image_size)
            save_model(quantize_converted(convert(network), pixels), folder)
            (folder / _ORIGIN_FILE).write_text(json.dumps(origin))

        return read_model(keep_converted(key, make, True, tell))
    return read_cached(key, _fail, read_model)


def quantize_converted(
    model: "openvino.Model", pixels: Iterable[np.ndarray], spare: Sequence[str] = ()
) -> "openvino.Model":
    """Post-training quantization.

    Args:
        model: takes pixels, as `openvino_runtime.convert` gives it.
        pixels: (1, S, S, 3) uint8 each.
        spare: names of operations to leave in float32.
    """
    # NNCF imports it to compile what is not used here, and it misses CUDA.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    pictures = list(pixels)
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        quantized: openvino.Model = nncf.quantize(
            model,
            nncf.Dataset(pictures),
            # ReLU's results have no sign, those of linear bottlenecks do.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            # It costs a trained network more than it gives back: docs/runtimes.md.
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
            ignored_scope=nncf.IgnoredScope(names=list(spare), validate=False),
        )
    return quantized


def calibration_pixels(sources: list[LabelSource], size: int) -> Iterator[np.ndarray]:
    """Pictures spread evenly over the sources, as the network gets to see them."""
    total = sum(map(len, sources))
    for position in np.unique(np.linspace(0, total - 1, min(total, CALIBRATION_PICTURES)).round()):
        source, index = locate(sources, int(position))
        yield resize_sample(source.read(index), size).image[None]


def open_calibration(calibrate: Path) -> list[LabelSource]:
    """The training pictures of a data description, or those of its first split."""
    description = read_description(calibrate)
    split = "train" if "train" in description.splits else next(iter(description.splits))
    return description.open_split(split)


def _origin(calibrate: Path) -> dict[str, str]:
    read_description(calibrate)  # says what is wrong with it
    text = calibrate.read_text(encoding="utf-8")
    return {"data": str(calibrate.absolute()), "text": text, "method": _METHOD}


def _known_origin(key: str) -> dict[str, str] | None:
    folder = find_converted(key)
    if folder is None or not (folder / _ORIGIN_FILE).exists():
        return None
    origin: dict[str, str] = json.loads((folder / _ORIGIN_FILE).read_text())
    return origin


def _fail(_folder: Path) -> None:
    raise InputError("the int8 network in the cache cannot be read; make it with --calibrate again")
