"""The network from pixels on: what every conversion starts from."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from blitznet.model.blitznet import BlitzNet
from blitznet.model_info import ModelConfig
from blitznet.structures import RawPredictions

INPUT_NAME = "pixels"

# torch.export takes sizes 0 and 1 for constants, so the example is a batch of two.
_EXAMPLE_BATCH = 2


class PixelNetwork(nn.Module):
    """A network with its normalisation inside, so that bytes are all that has to be copied."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: BlitzNet):
        super().__init__()
        self.network = network
        device = network.anchors.device
        for name, values in (("mean", network.config.mean), ("std", network.config.std)):
            value = torch.tensor(values, device=device).view(3, 1, 1) * 255
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The raw predictions that there are, in the order of `output_names`.

        Args:
            pixels: (B, S, S, 3) uint8 RGB, which as (B, 3, S, S) is channels-last already.
        """
        # As `normalize_images`, whose constants a graph on a GPU would copy there every time.
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return tuple(tensor for tensor in self.network(images) if tensor is not None)


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Of `RawPredictions`, those that a network has."""
    detect = ("class_logits", "box_deltas") if config.detect else ()
    return (*detect, "seg_logits") if config.segment else detect


def as_raw(outputs: Mapping[str, Tensor]) -> RawPredictions:
    """Outputs by name; None for those that the network lacks."""
    return RawPredictions(*(outputs.get(name) for name in RawPredictions._fields))


@contextmanager
def without_warnings() -> Iterator[None]:
    """While a network is converted: PyTorch's exporters use what PyTorch has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def export_program(network: BlitzNet) -> torch.export.ExportedProgram:
    """The graph of `PixelNetwork`, on the CPU, for a batch of any size."""
    pixel_network = PixelNetwork(copy.deepcopy(network).cpu().eval())
    with without_warnings():
        return torch.export.export(
            pixel_network,
            (example_pixels(network.config),),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        )


def example_pixels(config: ModelConfig) -> Tensor:
    """(2, S, S, 3) uint8, black."""
    side = config.image_size
    return torch.zeros(_EXAMPLE_BATCH, side, side, 3, dtype=torch.uint8)
