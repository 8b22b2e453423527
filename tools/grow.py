"""Make the start of a network for larger images from a trained one: a level more, but narrower.

python tools/grow.py blitznet300-lite --out start.safetensors --image-size 480 \
    --upscale-width 224 --finest-scale 0.045 --min-scale 0.12

`blitznet train` aligns levels by itself. This also drops channels of the up-scale stream, those
that the heads weigh least, so that the network does not become too large and slow. It needs
training before use.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import find_checkpoint
from blitznet.model_info import ModelConfig
from blitznet.training.network import align_levels

State = dict[str, Tensor]
HEADS = ("multibox_head.classify", "multibox_head.regress", "segmentation_head.squeeze")


def grow(
    network: str,
    out: Annotated[Path, typer.Option()],
    image_size: Annotated[int, typer.Option()],
    upscale_width: Annotated[int, typer.Option()],
    finest_scale: Annotated[float, typer.Option()],
    min_scale: Annotated[float, typer.Option()],
) -> None:
    """Write the checkpoint of the network for larger images."""
    trained, info = load_checkpoint(find_checkpoint(network))
    changes = {
        "image_size": image_size,
        "upscale_width": upscale_width,
        "finest_scale": finest_scale,
        "min_scale": min_scale,
    }
    config = ModelConfig.model_validate(trained.config.model_dump() | changes)
    larger = BlitzNet(config)
    levels, wanted = len(trained.config.level_sizes), len(config.level_sizes)
    kept = best_channels(trained.state_dict(), levels, upscale_width)
    state = align_levels(trained.state_dict(), levels, wanted)
    for level in range(wanted - 1):  # the coarsest, 1x1, is not up-scaled
        for head in HEADS:
            state[f"{head}.{level}.weight"] = state[f"{head}.{level}.weight"][:, kept]
    everything = torch.arange(trained.config.downscale_width)
    for block in range(wanted - 1):  # the coarsest first
        narrow(state, f"upscale.blocks.{block}.block", kept if block else everything, kept)
    project = torch.eye(len(everything))[kept]  # its batch norm starts as the identity
    state["upscale.blocks.0.block.project.0.weight"] = project[:, :, None, None]
    larger.load_state_dict(larger.state_dict() | state)
    save_checkpoint(out, larger, info.model_copy(update={"model": config}))


def best_channels(state: State, levels: int, number: int) -> Tensor:
    """The channels of the up-scale stream with the largest weights in the heads and batch norms.

    All its levels have the same channels, because each adds the coarser one to its own.
    """
    share = torch.zeros(())
    for level in range(levels - 1):
        for head in HEADS:
            squares = state[f"{head}.{level}.weight"].square()
            share = share + squares.sum(dim=(0, 2, 3)) / squares.sum()
        squares = state[f"upscale.blocks.{level}.block.transform.7.weight"].square()
        share = share + squares / squares.sum()
    return largest(share, number)


def narrow(state: State, block: str, below: Tensor, kept: Tensor) -> None:
    """Drop channels of a fusion block: `below` come in, `kept` go out, a quarter between."""
    reduce, convolve, expand = (state[f"{block}.transform.{i}.weight"] for i in (0, 3, 6))
    first = largest(convolve.square().sum(dim=(0, 2, 3)), len(kept) // 4)
    second = largest(expand.square().sum(dim=(0, 2, 3)), len(kept) // 4)
    width = len(expand)  # channels of the coarser level, followed by those of the skip
    reduce = torch.cat((reduce[first][:, :width][:, below], reduce[first][:, width:]), dim=1)
    state[f"{block}.transform.0.weight"] = reduce
    state[f"{block}.transform.3.weight"] = convolve[second][:, first]
    state[f"{block}.transform.6.weight"] = expand[kept][:, second]
    for norm, channels in ((1, first), (4, second), (7, kept)):
        for field in ("weight", "bias", "running_mean", "running_var"):
            name = f"{block}.transform.{norm}.{field}"
            state[name] = state[name][channels]


def largest(values: Tensor, number: int) -> Tensor:
    """The positions of the largest values, in ascending order."""
    return values.argsort(descending=True)[:number].sort().values


if __name__ == "__main__":
    typer.run(grow)
