"""Optional dependencies."""

from importlib.util import find_spec

from blitznet.errors import InputError


def require(module: str, extra: str, what: str) -> None:
    """Make sure that an optional package is there before it is imported.

    Args:
        module: its name in an import.
        extra: of this package, that installs it.
        what: is wanted and needs it, for the message.

    Raises:
        InputError: if it is not installed.
    """
    if find_spec(module) is None:
        raise InputError(
            f"{what} needs {module}, which is not installed; run: pip install 'blitznet[{extra}]'"
        )
