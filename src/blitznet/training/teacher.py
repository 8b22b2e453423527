"""Knowledge distillation: trained networks from which another one learns."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from blitznet.detection.matcher import match_anchors
from blitznet.errors import RecipeError, shown
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model.pixel_network import PixelNetwork
from blitznet.model_files import find_checkpoint
from blitznet.structures import Batch, SoftLabels

# Objects to which the teachers give less than this, all classes together, keep more of their label.
_LEAST_SUM = 1e-3


class Teacher:
    """Predicts on the student's images, resized to its own input.

    Args:
        name_or_path: a bundled network or a checkpoint.
        names: class names of the data, background first.
        device: device of the teacher.

    Raises:
        RecipeError: if the classes differ, or the teacher lacks a head or the labels of a class.
    """

    def __init__(self, name_or_path: str, names: Sequence[str], device: torch.device):
        network, info = load_checkpoint(find_checkpoint(name_or_path))
        if not (info.model.detect and info.model.segment):
            raise RecipeError(f"teacher: {name_or_path} must both detect and segment")
        if info.names != tuple(names):
            theirs, ours = (shown(", ".join(classes[1:])) for classes in (info.names, names))
            raise RecipeError(
                f"teacher: {name_or_path} knows {theirs}, the data has {ours}; a teacher "
                "must know the same classes in the same order"
            )
        for known in (info.supervised_boxes, info.supervised_masks):
            if missing := [] if known is None else [n for n in info.names[1:] if n not in known]:
                raise RecipeError(
                    f"teacher: {name_or_path} was trained without labels of {missing[0]}; "
                    "a teacher must know all classes, with boxes and with masks"
                )
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = PixelNetwork(network.eval())
        self._size, self._anchors = info.model.image_size, network.anchors

    @torch.no_grad()
    def soft_labels(self, batch: Batch) -> SoftLabels:
        """The teacher's labels for a batch on its device, see `SoftLabels`."""
        images = batch.images
        scale = self._size / images.shape[-1]
        if scale != 1:
            resized = F.interpolate(images.float(), size=[self._size] * 2, mode="bilinear")
            images = resized.round().to(torch.uint8)
        raw = self._network(images.permute(0, 2, 3, 1))
        match = match_anchors(self._anchors, batch.boxes * scale, batch.labels)
        assert raw.class_logits is not None  # `__init__`
        assert raw.seg_logits is not None
        of_anchors = raw.class_logits.float().softmax(dim=2)  # (B, A, C)
        chosen = F.one_hot(match + 1, batch.labels.shape[1] + 1)[..., 1:].float()  # (B, A, G)
        num_anchors = chosen.sum(dim=1)[..., None].clamp(min=1)  # a box without any gets zeros
        return SoftLabels(
            chosen.mT @ of_anchors / num_anchors, raw.seg_logits.float().softmax(dim=1)
        )


def mean_labels(labels: Sequence[SoftLabels]) -> SoftLabels:
    """The mean of teachers' labels for the same batch, with maps at the highest resolution.

    Objects lose the probability of background, which says how well a teacher's anchors fit the
    object, not what it is.
    """
    of_boxes = torch.stack([one.of_boxes for one in labels]).mean(dim=0)
    of_boxes[..., 0] = 0
    maps = [one.of_pixels for one in labels if one.of_pixels is not None]
    size = max(one.shape[-2:] for one in maps)
    resized = [F.interpolate(one, size, mode="bilinear") for one in maps]
    return SoftLabels(
        F.normalize(of_boxes, p=1, dim=2, eps=_LEAST_SUM), torch.stack(resized).mean(dim=0)
    )
