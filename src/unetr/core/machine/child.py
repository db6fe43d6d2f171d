"""Python processes that this one starts: the same interpreter, on the safe path, so that no file of the folder that a
person happens to be in is taken for a module."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from unetr.core.machine.system import ended
from unetr.errors import StoppedError

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. code: of its exit, the negative signal where one ended it. peak_mb: the most memory that it
    held (resident), in 10^6 bytes; None where the system does not tell."""

    code: int
    peak_mb: float | None


def python_module(module: str, *arguments: object) -> list[str]:
    """The command line that runs a module of this package in a fresh interpreter; for subprocess, without a shell."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def child_environment() -> dict[str, str]:
    """This process's environment; its children keep to the safe path, and PYTHONPATH names no current folder."""
    environment = dict(os.environ) | {"PYTHONSAFEPATH": "1"}
    # An empty entry is the current folder, and `PYTHONPATH=$PYTHONPATH:/somewhere` makes one.
    paths = [path for path in environment.pop("PYTHONPATH", "").split(os.pathsep) if Path(path).is_absolute()]
    return environment | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def start_talking(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a command that is talked with over its standard streams; what it says on the third goes nowhere.

    It sees the end of its input when this process ends, however that ends. It yields to others where both have work.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
        creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),  # Windows; others: `lower_priority`
    )


def own_stream(number: int) -> TextIO:
    """Standard output (1) or error (2) for the caller alone; for all others both then lead nowhere."""
    own = os.fdopen(os.dup(number), "w", encoding="utf-8", errors="backslashreplace")
    nowhere = open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115
    for other in (1, 2):
        os.dup2(nowhere.fileno(), other)
    sys.stdout = sys.stderr = nowhere
    return own


def run_child(command: Sequence[str], said: IO[bytes], should_stop: Callable[[], bool]) -> Ended:
    """Runs a command to its end. What it says goes to the file `said`.

    When this process is stopped meanwhile, or should_stop() says so, the child is asked to end (SIGTERM), and is waited
    for. Raises StoppedError then.
    """
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=child_environment())
    try:
        while (found := ended(child)) is None:
            if should_stop():
                raise StoppedError("stopped, and the process that was started as well; start it again to go on")
            time.sleep(_POLL_S)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    code, peak_bytes = found
    return Ended(code, None if peak_bytes is None else peak_bytes / 1e6)
