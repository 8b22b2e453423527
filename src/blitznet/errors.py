"""Exceptions. The command line prints their text as one line and exits with 1."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

# Maximum number of characters that a message quotes from a value.
_SHOWN = 200


class BlitzNetError(Exception):
    """Base class of all errors that this package raises on purpose."""


class InputError(BlitzNetError, ValueError):
    """Invalid input from the user; the text says what was given, what was expected and the fix."""


class ImageError(InputError):
    """An image that cannot be read."""


class ImageFormatError(ImageError):
    """A file that is not an image, or in a format that is not read."""


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
def file_errors(path: Path, action: str = "written") -> Iterator[None]:
    """Convert an OSError raised while `path` is being written, or `action`, to an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be {action} ({error.strerror or error})") from error


def require_numbers(low: float, high: float = math.inf, **numbers: float | None) -> None:
    """Raise InputError for values that are not finite numbers in a range; None passes."""
    for name, number in numbers.items():
        if not isinstance(number, Real | None):
            raise InputError(f"{name} must be a number, got {shown(number)}")
        if number is not None and not (low <= number <= high and number < math.inf):
            wanted = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            finite = "" if math.isfinite(number) else " and finite"
            raise InputError(f"{name} must be {wanted}{finite}, got {number}")


def shown(value: object) -> str:
    """Format a value for an error message: its `repr`, cut to 200 characters."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits, or deep nesting
        return f"a {type(value).__name__} too large to show"


def cut(text: str) -> str:
    """Cut text from untrusted input to 200 characters."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."


def count_of(number: int, what: str) -> str:
    """A number with its noun: "1 error", "2 errors", "3 classes", "4 boxes"."""
    plural = "" if number == 1 else "es" if what.endswith(("s", "x")) else "s"
    return f"{number} {what}{plural}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` may be a misspelling, the beginning or a continuation of."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.75) or [
        one
        for one in get_close_matches(name, names)
        if name.startswith(one) or one.startswith(name)
    ]
    return near[0] if near else None


def one_line(error: BaseException) -> str:
    """Format an error from another library as one line of at most 200 characters."""
    return cut(" ".join(str(error).split()) or type(error).__name__)


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location))


def first_problem(
    error: "ValidationError", name_place: Callable[[Sequence[int | str]], str] = _dotted
) -> str:
    """Format pydantic's first error as one short line: location, message, value if it is simple."""
    problem = error.errors()[0]
    where = cut(name_place(problem["loc"])) if problem["loc"] else ""
    text = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f", got {shown(problem['input'])}"
    return f"{where}: {text}{got}" if where else text
