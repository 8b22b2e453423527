"""The precision of training steps on the processor that takes them."""

from typing import Final, Literal

import torch

from blitznet.device import has_fast_bfloat16

Precision = Literal["fp32", "bf16"]

# As Lightning Fabric calls them.
FABRIC_PRECISION: Final[dict[Precision, Literal["32-true", "bf16-mixed"]]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
}


def usable_precision(wanted: Precision, device: torch.device) -> Precision:
    """What is wanted, or fp32 where bfloat16 would be emulated, which is slower by a multiple."""
    return wanted if has_fast_bfloat16(device) else "fp32"
