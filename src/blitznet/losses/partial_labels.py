"""Sources that label only some classes: unlabelled regions may show the other classes (D18)."""

import torch
from torch import Tensor


def merge_unknown_classes(logits: Tensor, is_background: Tensor, known: Tensor) -> Tensor:
    """Merge the unknown classes into background wherever the label is background.

    There, "background" means "none of the known classes", so the target is the joint probability of
    background and all unknown classes. The unknown logits are held fixed: their gradient is exactly
    0, and where the network already sees an unknown class, background gets almost none either.
    Elsewhere an object is labelled, and all classes take part as usual.

    Args:
        logits: (B, C, ...) float, background first.
        is_background: (B, ...) bool, where nothing is labelled.
        known: (B, C) bool; background is always known.

    Returns:
        Logits of the same shape. Where the label is background, unknown classes are -inf and
        background is the log-sum-exp of its own logit and theirs.
    """
    unknown = ~known.view(*known.shape, *[1] * (logits.ndim - 2)) & is_background[:, None]
    of_unknown = logits.detach().masked_fill(~unknown, -torch.inf).logsumexp(dim=1, keepdim=True)
    background = torch.logaddexp(logits[:, :1], of_unknown)
    return torch.cat((background, logits[:, 1:].masked_fill(unknown[:, 1:], -torch.inf)), dim=1)
