"""The entry point: registers the commands and turns expected errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from unetr.app.commands import (
    check,
    convert,
    demo,
    evaluate,
    info,
    plan,
    predict,
    report,
    train,
)
from unetr.errors import CancelledError, MachineError, StoppedError, UnetrError

app = typer.Typer(
    name="unetr",
    help="Segment 3D medical images: prepare, train, predict, evaluate and report with UNETR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (check, plan, train, predict, evaluate, report, convert, info, demo):
    name = command.__name__.rpartition(".")[2]
    app.command(name)(getattr(command, name))

_INSTALL = {
    "torch": "unetr[train]",
    "lightning_fabric": "unetr[train]",
    "tensorboard": "unetr[train]",
    "nilearn": "unetr[demo]",
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def main() -> None:
    """Runs the command line. Exit codes are in the README and in unetr.errors."""
    signal.signal(signal.SIGINT, _cancel)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except UnetrError as error:
        _end(error)
    except ModuleNotFoundError as error:
        extra = _INSTALL.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _end(MachineError(f"this command needs {error.name}, which is not installed; run: pip install '{extra}'"))
    except MemoryError:
        _end(MachineError("not enough memory; close other programs, or use a smaller window or batch in the plan"))
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: nothing is wrong, and nothing is to be flushed again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _end(MachineError(f"{error.filename or 'a file'}: {error.strerror}; free space or choose another folder"))


def _end(error: UnetrError) -> NoReturn:
    print(f"unetr: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _cancel(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise CancelledError("stopped by Ctrl-C; nothing half-written is left")


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise StoppedError("stopped by SIGTERM; nothing half-written is left")
