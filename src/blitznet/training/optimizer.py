"""The optimizer, and the learning rate as a pure function of the step."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from blitznet.training.recipe import Recipe


def build_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Section 4.2's Adam, or AdamW that spares biases and batch norms."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """For every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def learning_rate(recipe: Recipe, step: int) -> float:
    """What `step`, counted from 0, is taken with."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "drops":
        return recipe.lr * math.pow(0.1, sum(step >= drop for drop in recipe.lr_drops))
    progress = (step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1)
    return recipe.lr * (1 + math.cos(math.pi * progress)) / 2
