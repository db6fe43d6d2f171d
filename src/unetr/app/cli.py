"""The entry point: registers the commands and turns expected errors into one line and an exit code."""

from __future__ import annotations

import io
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from unetr.app.commands.data import check, plan, recipe
from unetr.app.commands.models import convert, export, info, models
from unetr.app.commands.scans import demo, evaluate, predict, report
from unetr.app.commands.service import mcp, node, serve
from unetr.app.commands.training import ablate, compare, pretrain, profile, train
from unetr.app.help import GroupedHelp
from unetr.app.hints import hint_for, with_hint
from unetr.app.printing import write_line
from unetr.app.streams import only_own_words
from unetr.core.machine.offline import keep_to_given_folders
from unetr.core.machine.system import STOP_SIGNALS
from unetr.core.version import __version__
from unetr.errors import CancelledError, InputError, StoppedError, UnetrError, expected_error
from unetr.printable import printable, printable_lines

# How errors are shown, and whether libraries may speak, as the options before the command say.
_shown = {"traceback": False}


def _alone(run: Callable[..., None]) -> Callable[..., None]:
    """The command, with nothing of what its libraries say to the terminal unless --debug asks for it."""

    @wraps(run)
    def command(**options: Any) -> None:
        hint_for(run)
        with only_own_words(shown=_shown["traceback"]):
            run(**options)

    return command


app = typer.Typer(
    name="unetr",
    help="Segment 3D medical images with UNETR. First steps: unetr demo. About a command: unetr COMMAND --help",
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help is three times quicker than help drawn by rich, and can be searched and copied.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    cls=GroupedHelp,
)
_COMMANDS = {
    "Start": (demo,),
    "Data": (check, plan, recipe),
    "Training": (train, pretrain, compare, ablate, profile),
    "Scans": (predict, evaluate, report),
    "Models": (models, info, export, convert),
    "Service": (serve, node, mcp),
}
for group, modules in _COMMANDS.items():
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        app.command(name, rich_help_panel=group)(_alone(getattr(module, name)))


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"unetr {__version__}")
        raise typer.Exit


@app.callback()
def _before_the_command(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and what libraries say.")] = False,
) -> None:
    _shown["traceback"] = debug


def main() -> None:
    """Runs the command line and exits. Exit codes are in the README and in unetr.errors."""
    signal.signal(signal.SIGINT, _cancel)
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal cannot show must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    keep_to_given_folders()
    _quieten()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="unetr", standalone_mode=False)
    except typer.TyperException as error:
        _end(_usage_error(error))
    except Exception as error:
        told = expected_error(error)
        if told is None:
            raise
        _end(told)
    sys.exit(code)


def _quieten() -> None:
    """What libraries, and Python itself, would print is left out or made safe to show: it may quote a file."""
    logging.disable(logging.INFO)  # libraries announce themselves at this level
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_SafeFormatter())
    warnings.formatwarning = lambda message, category, *_, **__: printable(f"{category.__name__}: {message}") + "\n"
    sys.excepthook = lambda kind, error, trace: print(
        printable_lines("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end=""
    )


class _SafeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _usage_error(error: typer.TyperException) -> InputError:
    """A wrong option or argument, in one line instead of typer's box."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "unetr"
    return InputError(f"{error.format_message().rstrip('.')}; see {command} --help")


def _end(error: UnetrError) -> NoReturn:
    if _shown["traceback"]:
        print(printable_lines("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    print(f"unetr: {with_hint(error)}", file=sys.stderr)
    sys.exit(error.exit_code)


def _cancel(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise CancelledError("stopped by Ctrl-C; nothing half-written is left")


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise StoppedError(f"stopped by {signal.Signals(number).name}; nothing half-written is left")
