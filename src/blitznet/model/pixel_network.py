"""A network as it predicts: from pixels, and with the box prior."""

import torch
from torch import Tensor, nn

from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import CheckpointInfo
from blitznet.structures import RawPredictions

# Smallest best score of a class in the box prior, below any score that decides a pixel.
_LEAST = 1e-4


class PixelNetwork(nn.Module):
    """A network that includes its normalisation, so that only bytes are copied to the device.

    With `ModelConfig.box_prior`, the probability of a class at a pixel is multiplied by the score
    of the class's best box in the image (D31).

    Args:
        network: network to run; not copied.
        info: metadata of its checkpoint, which says which classes have labelled boxes; None =
            without the box prior.
    """

    mean: Tensor
    std: Tensor
    has_boxes: Tensor | None  # (C, 1, 1) bool, classes that the box prior covers

    def __init__(self, network: BlitzNet, info: CheckpointInfo | None = None):
        super().__init__()
        self.network = network
        device = network.anchors.device
        for name, values in (("mean", network.config.mean), ("std", network.config.std)):
            value = torch.tensor(values, device=device).view(3, 1, 1) * 255
            self.register_buffer(name, value, persistent=False)
        covered = None
        if info is not None and network.config.box_prior and network.multibox_head:
            known = info.names if info.supervised_boxes is None else info.supervised_boxes
            is_covered = [False, *(name in known for name in info.names[1:])]
            covered = torch.tensor(is_covered, device=device).view(-1, 1, 1)
        self.register_buffer("has_boxes", covered, persistent=False)

    def forward(self, pixels: Tensor) -> RawPredictions:
        """pixels: (B, S, S, 3) uint8 RGB; permuted to (B, 3, S, S), it is already channels-last."""
        # Like `normalize_images`, but with constants that are already on the GPU.
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        raw: RawPredictions = self.network(images)
        if self.has_boxes is None or raw.class_logits is None or raw.seg_logits is None:
            return raw
        best_scores = raw.class_logits.softmax(dim=2).amax(dim=1)[..., None, None]
        prior = best_scores.clamp(min=_LEAST).log() * self.has_boxes
        return raw._replace(seg_logits=raw.seg_logits + prior)
