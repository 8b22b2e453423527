"""Errors. The command line shows their text as one line, and exits 1."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

# Characters of what came that a message repeats.
_SHOWN = 200


class BlitzNetError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(BlitzNetError, ValueError):
    """Something the user gave is wrong; the text says what came, what was wanted and what to do."""


class ImageError(InputError):
    """An image that cannot be read."""


class CheckpointError(InputError):
    """A file that is not a usable network, or a model name that does not exist."""


class LabelError(InputError):
    """An annotation or a data description that cannot be used."""


class RecipeError(InputError):
    """A training recipe or one of its overrides that cannot be used."""


class WorkerError(BlitzNetError, RuntimeError):
    """A worker process died, for example because memory ran out."""


class DivergenceError(BlitzNetError, ArithmeticError):
    """A loss or a gradient became infinite or NaN."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise InputError for an OSError while a file or folder is written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def require_numbers(least: float, most: float = math.inf, **numbers: float | None) -> None:
    """Raise InputError for an argument out of range, infinite or NaN; None passes."""
    for name, number in numbers.items():
        if number is not None and not (least <= number <= most and number < math.inf):
            wanted = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g}"
            raise InputError(f"{name} is a number {wanted}, got {number}")


def shown(value: object) -> str:
    """What came, for a message: its `repr`, cut at 200 characters."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits, or very deep
        return f"a {type(value).__name__} too large to show"


def cut(text: str) -> str:
    """At most 200 characters of a text that came from outside."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."


def one_line(error: BaseException) -> str:
    """What an error from elsewhere says, as one line of at most 200 characters."""
    return cut(" ".join(str(error).split()) or type(error).__name__)


def first_problem(error: "ValidationError") -> str:
    """The first finding of pydantic as one short line: where, what was wanted, what came."""
    problem = error.errors()[0]
    where = cut(".".join(str(part) for part in problem["loc"]))
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text}, got {shown(problem['input'])}" if where else text
