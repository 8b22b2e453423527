"""Sources that label only some classes: where nothing is labelled, the others are unknown (D18)."""

import torch
from torch import Tensor


def hide_unknown_classes(logits: Tensor, is_background: Tensor, known: Tensor) -> Tensor:
    """Take unknown classes out of the softmax wherever the label says background.

    There "background" means: none of the known classes. The softmax runs over the classes that are
    known, so an unknown class gets a gradient of exactly 0. What carries the label of an object is
    that object and no other, so there every class takes part.

    Args:
        logits: float, with a dimension of C classes, background first.
        is_background: bool, broadcastable to `logits`: nothing is labelled here.
        known: bool, broadcastable to `logits`; background is always known.

    Returns:
        As `logits`, -inf where hidden.
    """
    return logits.masked_fill(is_background & ~known, -torch.inf)
