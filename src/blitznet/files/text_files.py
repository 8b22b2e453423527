"""Text, YAML and JSON files: opened here, within limits, with one line of error; written whole."""

import json
import re
from pathlib import Path
from typing import Any

from blitznet.errors import InputError, cut, one_line, shown
from blitznet.files.atomic_write import atomic_write
from blitznet.files.regular_file import MEGABYTE, read_regular
from blitznet.files.result_folder import ensure_folder

MAX_TEXT = 256 * MEGABYTE
_MAX_LINES = 3_000_000  # of text; one takes a hundred bytes of memory and more
_LINE_ENDS = [mark.encode() for mark in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"]  # of str.splitlines
MAX_JSON = 2048 * MEGABYTE  # train2017's instances take 450 MB
_MAX_YAML = MEGABYTE

# Of `\ud800` and the like in JSON: an escaped half of a surrogate pair, without the other half and
# outside the range that stands for the bytes of file names that are no UTF-8; and the null.
_NO_TEXT = re.compile(
    r"(?<!\\)(?:\\\\)*\\u(?:[dD][89abAB]..(?!\\u[dD][c-fC-F])|"
    r"(?<!\\u[dD][89abAB]..\\u)[dD](?:[cC][0-7]|[d-fD-F])|0000)"
)


def read_text(path: Path, error: type[InputError] = InputError, limit: int = MAX_TEXT) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Args:
        path: of a regular file.
        error: what is raised.
        limit: maximum size, bytes.

    Raises:
        InputError: or the given kind, if the file is missing, unreadable, too large or no such
            text.
    """
    try:
        content = read_regular(path, limit)
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror or problem})") from None
    if limit == MAX_TEXT and sum(map(content.count, _LINE_ENDS)) > _MAX_LINES:
        raise error(f"{path} has more than {_MAX_LINES} lines; split it")
    try:
        if b"\0" in content[:1024]:
            raise ValueError
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except ValueError:
        raise error(f"{path} is not UTF-8 text; save it as UTF-8") from None


def read_yaml(path: Path, error: type[InputError] = InputError) -> Any:
    """What a YAML file holds; see `parse_yaml`.

    Raises:
        InputError: or the given kind, if the file cannot be read or is no YAML.
    """
    text = read_text(path, error, _MAX_YAML)
    try:
        return parse_yaml(text)
    except ValueError as problem:
        raise error(f"{path} cannot be read as YAML: {problem}") from None


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text, bounded in depth and number; see `BoundedLoader`.

    Raises:
        ValueError: with one line.
    """
    import yaml

    from blitznet.files.bounded_yaml import BoundedLoader

    try:
        return yaml.load(text, BoundedLoader)
    # PyYAML raises the others for tags whose values do not fit.
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as problem:
        raise ValueError(one_line(problem)) from None
    except (yaml.YAMLError, RecursionError) as problem:
        raise ValueError(one_line(problem)) from None


def describe_non_text(value: object) -> str:
    """What to say of a name that YAML has read as something else."""
    if value is True or value is False:
        return (
            f'{value} is not text: YAML reads on, off, yes, no, true and false as flags; write "on"'
        )
    return f'{shown(value)} is not text; write it in quotes, as "{cut(str(value))}"'


def read_json(path: Path, error: type[InputError] = InputError) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: or the given kind, if the file cannot be read or is no JSON.
    """
    return parse_json(read_text(path, error, MAX_JSON), path, error)


def parse_json(
    text: str, path: Path, error: type[InputError] = InputError, object_hook: Any = None
) -> Any:
    """What a JSON text holds.

    Args:
        text: of a file, or of a part of it.
        path: of the file.
        error: what is raised.
        object_hook: as of `json.loads`.

    Raises:
        InputError: or the given kind, if it is not JSON, is too deep, or holds invalid text.
    """
    if "\\u" in text and _NO_TEXT.search(text):
        raise error(f"{path} cannot be read as JSON: it holds half of a surrogate pair or a null")
    try:
        return json.loads(text, object_hook=object_hook)
    except RecursionError:
        raise error(f"{path} cannot be read as JSON: too deeply nested") from None
    except ValueError as problem:
        raise error(f"{path} cannot be read as JSON: {one_line(problem)}") from None


def write_text(path: Path, text: str, errors: str = "strict", sync: bool = True) -> None:
    """Write a file in UTF-8 whole or not at all, into a folder that is made if it is not there.

    Args:
        path: replaced if it exists.
        text: content.
        errors: what happens to what is no valid text, as of `str.encode`.
        sync: as of `atomic_write`.

    Raises:
        InputError: if it cannot be written.
    """
    ensure_folder(path.parent)
    with atomic_write(path, sync) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: Path, content: object) -> None:
    """As `write_text`."""
    write_text(path, json.dumps(content, indent=2) + "\n")
