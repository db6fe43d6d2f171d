"""Runs a command and measures its wall time and peak memory, as a library and as the small process it is done in.

The kernel's peak of a child (ru_maxrss) starts at what its parent had in memory when it was made, so a benchmark that
has loaded torch would measure itself. Between the two stands this file, run without site packages: some 10 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple


class Measured(NamedTuple):
    """Exit code, wall time, peak resident memory (1 MB = 10^6 bytes), and what it wrote."""

    code: int
    wall_s: float
    peak_mb: float
    stdout: str
    stderr: str


def measure(command: list[str], must_succeed: bool = True) -> Measured:
    """Runs a command to its end; where it must succeed, a failure ends the benchmark."""
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        tempfile.NamedTemporaryFile("r") as result,
    ):
        small = [sys.executable, "-I", "-S", __file__, result.name, *command]
        subprocess.run(small, stdout=out, stderr=err, check=True)
        out.seek(0)
        err.seek(0)
        code, wall_s, peak_mb = json.load(result)
        done = Measured(code, wall_s, peak_mb, out.read(), err.read())
    if done.code and must_succeed:
        raise SystemExit(f"{' '.join(command)}: ended with {done.code}: {done.stderr[-2000:]}")
    return done


def main() -> None:
    result, *command = sys.argv[1:]
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    Path(result).write_text(json.dumps([child.returncode, wall, usage.ru_maxrss * 1024 / 1e6]))


if __name__ == "__main__":
    main()
