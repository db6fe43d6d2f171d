"""A process that dies before any step of what it does: what was acknowledged is there, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.systems import POSIX


@POSIX
def test_whatever_step_a_process_dies_at(tmp_path: Path) -> None:
    tree = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.queue.crashing", tmp_path / "q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
