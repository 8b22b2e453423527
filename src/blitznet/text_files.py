"""Text, YAML and JSON files: read with one line of error, written whole."""

import json
from pathlib import Path
from typing import Any

from blitznet.errors import InputError
from blitznet.result_folder import ensure_folder
from blitznet.whole_file import whole_file


def read_text(path: Path, error: type[InputError] = InputError) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: or the given kind, if the file is missing, unreadable or no such text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror or problem})") from None
    except UnicodeDecodeError:
        raise error(f"{path} is no text in UTF-8; save it as UTF-8") from None


def read_yaml(path: Path, error: type[InputError] = InputError) -> Any:
    """What a YAML file holds.

    Raises:
        InputError: or the given kind, if the file cannot be read or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(read_text(path, error))
    except InputError:
        raise
    except (ValueError, yaml.YAMLError, RecursionError) as problem:  # ValueError: no such date
        line = " ".join(str(problem).split())[:300]
        raise error(f"{path} cannot be read as YAML: {line}") from None


def describe_non_text(value: object) -> str:
    """What to say of a name that YAML has read as something else."""
    if value is True or value is False:
        return f'{value} is no text: YAML reads on, off, yes, no, true and false so; write "on"'
    return f'{value!r} is no text; write it in quotes, as "{value}"'


def read_json(path: Path, error: type[InputError] = InputError) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: or the given kind, if the file cannot be read or is no JSON.
    """
    try:
        return json.loads(read_text(path, error))
    except InputError:
        raise
    except (ValueError, RecursionError) as problem:
        raise error(f"{path} cannot be read as JSON: {problem}") from None


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write a file in UTF-8 whole or not at all, into a folder that is made if it is not there.

    Args:
        path: replaced if it exists.
        text: content.
        errors: what happens to what is no valid text, as of `str.encode`.

    Raises:
        InputError: if it cannot be written.
    """
    ensure_folder(path.parent)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: Path, content: object) -> None:
    """As `write_text`."""
    write_text(path, json.dumps(content, indent=2) + "\n")
