"""The learning rate as a pure function of the step."""

import math

from blitznet.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """What `step`, counted from 0, is taken with."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "drops":
        return recipe.lr * math.pow(0.1, sum(step >= drop for drop in recipe.lr_drops))
    progress = (step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1)
    return recipe.lr * (1 + math.cos(math.pi * progress)) / 2
