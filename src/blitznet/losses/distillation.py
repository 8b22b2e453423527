"""Labels softened by a teacher network (Hinton et al., Distilling the Knowledge, 2015)."""

import torch
from torch import Tensor

TEACHER_WEIGHT = 0.5  # the labels get the rest


def soften(label_loss: Tensor, logits: Tensor, probabilities: Tensor, class_dim: int) -> Tensor:
    """Cross-entropy with the mean of the labels and a teacher's probabilities.

    Args:
        label_loss: (B, ...) cross-entropy with the labels alone.
        logits: (B, ..., C, ...) of the student.
        probabilities: the teacher's, same shape; where all are zero, only the labels count.
        class_dim: dimension of the classes.

    Returns:
        (B, ...), each at least 0.
    """
    teacher_loss = -(probabilities * logits.log_softmax(class_dim)).sum(class_dim)
    weight = TEACHER_WEIGHT * probabilities.sum(class_dim)
    return torch.lerp(label_loss, teacher_loss, weight)
