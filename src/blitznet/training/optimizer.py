"""The optimizer, and the learning rate as a pure function of the step."""

import math

import torch
from torch.optim import Optimizer

from blitznet.model.blitznet import BlitzNet
from blitznet.training.recipe import Recipe


def build_optimizer(network: BlitzNet, recipe: Recipe) -> Optimizer:
    """Build section 4.2's Adam, or AdamW without weight decay on biases and batch norms.

    Every group has an `lr_scale`, see `set_learning_rate`.
    """
    backbone = [p for p in network.backbone.parameters() if p.requires_grad]
    in_backbone = {id(p) for p in backbone}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in in_backbone]
    parts = [(backbone, recipe.backbone_lr_scale), (others, 1.0)]
    if recipe.optimizer == "adam":
        groups = [{"params": params, "lr_scale": lr_scale} for params, lr_scale in parts]
        return torch.optim.Adam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    groups = []
    for params, lr_scale in parts:
        weights, rest = [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]
        decay = recipe.weight_decay
        groups.append({"params": weights, "lr_scale": lr_scale, "weight_decay": decay})
        groups.append({"params": rest, "lr_scale": lr_scale, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=recipe.lr)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group, times its `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of `step`, counted from 0."""
    warmup_steps = recipe.fitted_warmup_steps
    if step < warmup_steps:
        return recipe.lr * (step + 1) / warmup_steps
    if recipe.schedule == "drops":
        return recipe.lr * math.pow(0.1, sum(step >= drop for drop in recipe.lr_drops))
    progress = (step - warmup_steps) / max(recipe.steps - warmup_steps, 1)
    return recipe.lr * (1 + math.cos(math.pi * progress)) / 2
