"""Read text, YAML and JSON files within limits and with one-line errors; write them atomically."""

import json
import re
from pathlib import Path
from typing import Any

from blitznet.errors import InputError, cut, one_line, shown
from blitznet.files.atomic_write import atomic_write
from blitznet.files.regular_file import MEGABYTE, read_regular
from blitznet.files.result_folder import ensure_folder

MAX_TEXT = 256 * MEGABYTE
_MAX_LINES = 3_000_000  # a line of text takes at least a hundred bytes of memory
_LINE_ENDS = [mark.encode() for mark in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"]  # of str.splitlines
MAX_JSON = 2048 * MEGABYTE  # train2017's instances take 450 MB
_MAX_YAML = MEGABYTE
# What PyYAML raises for tags with unsuitable values.
_TAG_ERRORS = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError)

# JSON escapes that are not text: the null, and an unpaired surrogate such as `\ud800`, except for
# those that Python uses for bytes of file names that are not UTF-8.
_NO_TEXT = re.compile(
    r"(?<!\\)(?:\\\\)*\\u(?:[dD][89abAB]..(?!\\u[dD][c-fC-F])|"
    r"(?<!\\u[dD][89abAB]..\\u)[dD](?:[cC][0-7]|[d-fD-F])|0000)"
)


def read_text(path: Path, error: type[InputError] = InputError, limit: int = MAX_TEXT) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Args:
        path: a regular file.
        error: exception class to raise.
        limit: maximum size, bytes.

    Raises:
        InputError: or `error`, if the file is missing, unreadable, too large or not UTF-8.
    """
    try:
        content = read_regular(path, limit)
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder; name a file in it") from None
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
    """Read a YAML file; see `parse_yaml`.

    Raises:
        InputError: or `error`, if the file cannot be read or is not YAML.
    """
    text = read_text(path, error, _MAX_YAML)
    try:
        return parse_yaml(text)
    except ValueError as problem:
        raise error(f"{path} cannot be read as YAML: {problem}") from None


def parse_yaml(text: str) -> Any:
    """Parse YAML to plain values, limited in depth and number; see `BoundedLoader`.

    Raises:
        ValueError: if the text is not YAML or exceeds a limit; the message is one line.
    """
    import yaml

    from blitznet.files.bounded_yaml import BoundedLoader

    try:
        return yaml.load(text, BoundedLoader)
    except (yaml.YAMLError, RecursionError, *_TAG_ERRORS) as problem:
        raise ValueError(one_line(problem).replace('in "<unicode string>",', "at")) from None


def describe_non_text(value: object) -> str:
    """Error message for a name that YAML parsed as another type."""
    if value is True or value is False:
        return (
            f'{value} is not text: YAML reads on, off, yes, no, true and false as flags; write "on"'
        )
    return f'{shown(value)} is not text; write it in quotes, as "{cut(str(value))}"'


def read_json(path: Path, error: type[InputError] = InputError) -> Any:
    """Read a JSON file.

    Raises:
        InputError: or `error`, if the file cannot be read or is not JSON.
    """
    return parse_json(read_text(path, error, MAX_JSON), path, error)


def parse_json(
    text: str, path: Path, error: type[InputError] = InputError, object_hook: Any = None
) -> Any:
    """Parse JSON.

    Args:
        text: content of a file, or part of it.
        path: path of the file, for messages.
        error: exception class to raise.
        object_hook: see `json.loads`.

    Raises:
        InputError: or `error`, if the text is not JSON, too deeply nested, or has invalid strings.
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
    """Write a UTF-8 file atomically; creates the folder if missing.

    Args:
        path: replaced if it exists.
        text: content.
        errors: how to handle invalid text; see `str.encode`.
        sync: see `atomic_write`.

    Raises:
        InputError: if it cannot be written.
    """
    ensure_folder(path.parent)
    with atomic_write(path, sync) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: Path, content: object) -> None:
    """Write JSON; see `write_text`."""
    write_text(path, json.dumps(content, indent=2) + "\n")
