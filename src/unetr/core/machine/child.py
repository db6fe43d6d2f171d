"""Python processes that this one starts: the same interpreter, on the safe path, so that no file of the folder that a
person happens to be in is taken for a module."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def python_module(module: str, *arguments: object) -> list[str]:
    """The command line that runs a module of this package in a fresh interpreter; for subprocess, without a shell."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def child_environment() -> dict[str, str]:
    """This process's environment; its children keep to the safe path, and PYTHONPATH names no current folder."""
    environment = dict(os.environ) | {"PYTHONSAFEPATH": "1"}
    # An empty entry is the current folder, and `PYTHONPATH=$PYTHONPATH:/somewhere` makes one.
    paths = [path for path in environment.pop("PYTHONPATH", "").split(os.pathsep) if Path(path).is_absolute()]
    return environment | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})
