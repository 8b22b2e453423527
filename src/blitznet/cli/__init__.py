"""The command line: one file per verb with a short handler; heavy imports are inside handlers."""

# Each import adds its verb to the program, in the order of `blitznet --help`.
from blitznet.cli import (  # noqa: F401  # isort: skip
    predict, batch, train, recipe, evaluate, export, check_data, refine_masks, models, table, bench,
    serve,
)  # fmt: skip
from blitznet.cli.app import main as main  # isort: skip
