"""Sources that label only some classes: where nothing is labelled, the others are unknown (D18)."""

import torch
from torch import Tensor


def merge_unknown_classes(logits: Tensor, is_background: Tensor, known: Tensor) -> Tensor:
    """Let background stand for the unknown classes, too, wherever the label says background.

    There "background" means: none of the known classes. So the probability that is asked for is
    that of background and all unknown classes together, with the unknown logits held fixed: they
    get a gradient of exactly 0, and where the network already sees an unknown class, background
    gets none either. What carries the label of an object is that object and no other; there every
    class takes part as ever.

    Args:
        logits: (B, C, ...) float, background first.
        is_background: (B, ...) bool: nothing is labelled here.
        known: (B, C) bool; background is always known.

    Returns:
        As `logits`: at background, the unknown classes are -inf and background is the logarithm of
        the sum of their exponentials and its own.
    """
    unknown = ~known.view(*known.shape, *[1] * (logits.ndim - 2)) & is_background[:, None]
    of_unknown = logits.detach().masked_fill(~unknown, -torch.inf).logsumexp(dim=1, keepdim=True)
    background = torch.logaddexp(logits[:, :1], of_unknown)
    return torch.cat((background, logits[:, 1:].masked_fill(unknown[:, 1:], -torch.inf)), dim=1)
