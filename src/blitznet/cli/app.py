"""The Typer program, its error handling and its output."""

import io
import math
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import typer
from typer.core import TyperGroup

from blitznet import __version__
from blitznet.errors import BlitzNetError, closest, cut, one_line
from blitznet.files.plain_names import printable
from blitznet.interruption import handlers_restored, ignore_interruption

if TYPE_CHECKING:
    from rich.table import Table


class _Group(TyperGroup):
    """Command group that hides the metavar of flags in help and requires finite numbers."""

    def get_params(self, ctx: Any) -> Any:
        """Override Typer, for options before the verb."""
        return _adapted(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Override Typer, for a verb's options."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _adapted(command.get_params(ctx))
        return command

    def invoke(self, ctx: Any) -> Any:
        """Override Typer, to suggest options only if they are like the unknown one."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            # Of click's NoSuchOption, which Typer does not export; it compares the dashes, too.
            if possible := getattr(error, "possibilities", None):
                name = getattr(error, "option_name", "").lstrip("-")
                near = closest(name, [one.lstrip("-") for one in possible])
                error.possibilities = [f"--{near}"] if near else []  # type: ignore[attr-defined]
            raise


def _adapted(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.callback is None:
            param.callback = _require_finite
    return params


def _require_finite(_: Any, param: Any, value: object) -> object:
    """Reject nan and inf: ranges let nan pass, and open ranges inf."""
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number", param=param)
    return value


app = typer.Typer(
    cls=_Group,
    help="Boxes and per-pixel classes from one network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: arguments without the program's name; None = those of the process.

    Returns:
        The exit code: 0 success, 1 invalid input, 2 invalid usage, 130 interrupted.
    """
    if arguments is not None:
        with handlers_restored():
            return _run(arguments)
    code = _run(arguments)
    ignore_interruption()  # all output is printed, but Python takes a while to exit
    return code


def _run(arguments: Sequence[str] | None) -> int:
    warnings.filterwarnings("ignore", module=r"PIL\.")  # we print our own line
    # File names may be invalid text: read them unchanged, and escape them in output.
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    try:
        app(arguments, prog_name="blitznet")
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BlitzNetError as error:
        problem = str(error)
    except OSError as error:
        where = f"{cut(str(error.filename))}: " if error.filename else ""
        problem = f"{where}{error.strerror or error}"
    except ImportError as error:  # an installed library is damaged, or there is no memory to map it
        problem = f"a library cannot be loaded ({one_line(error)}); free memory, or reinstall it"
    except MemoryError:
        problem = "out of memory; free some, or use smaller images, batches or networks"
    print_error(problem)
    return 1


def print_error(problem: object) -> None:
    """Print one line to standard error, with control characters escaped."""
    print_line(f"blitznet: {problem}", sys.stderr)


def print_line(line: object, stream: TextIO | None = None) -> None:
    """Print one line, by default to standard output, with control characters escaped."""
    # With `print`, because typer.echo would write into the line of a progress bar.
    print(printable(str(line)), file=stream, flush=True)


def print_table(table: "Table", whole: bool = False) -> None:
    """Print a table at the terminal's width, or at its full width if `whole`."""
    from rich.console import Console

    console = Console(markup=False, emoji=False)
    for column in table.columns:  # class names and file names are untrusted
        column._cells = [printable(c) if isinstance(c, str) else c for c in column._cells]
    if whole:
        console.width = 10_000
    console.print(table)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"blitznet {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", "-V", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options that come before the verb."""
