"""What the checks of the given cases share: making an input, running the command, reading what came."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

SECONDS = 600


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended: exit code, all that it printed, wall seconds."""

    code: int
    text: str
    seconds: float

    @property
    def traceback(self) -> bool:
        """Whether it ended as no command may."""
        return "Traceback (most recent call last)" in self.text or self.code not in (0, 2, 3, 4)

    @property
    def refused(self) -> bool:
        """One line and exit code 2."""
        return self.code == 2 and not self.traceback

    def mentions(self, *words: str) -> bool:
        """Whether every word occurs, in whatever case."""
        return all(word.lower() in self.text.lower() for word in words)

    def last(self) -> str:
        """Its last line, shortened."""
        lines = self.text.strip().splitlines()
        return f"exit {self.code}: {lines[-1][:150] if lines else ''}"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one case is tried: the folder of generators, an empty folder, and the models that several cases use."""

    cases: Path
    work: Path
    models: Path

    def make(self, name: str, *arguments: str, cwd: Path | None = None) -> str:
        """Runs a generator; the default argument is the folder `in`."""
        given = arguments or (str(self.work / "in"),)
        path = os.pathsep.join([str((self.cases / name).parent), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, str(self.cases / name), *given],
            cwd=cwd or self.work,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return done.stdout + done.stderr

    def unetr(self, *arguments: str | Path, cwd: Path | None = None) -> Said:
        """Runs the command as a person would."""
        start = time.perf_counter()
        command = [sys.executable, "-P", "-m", "unetr", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=cwd or self.work, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
        return Said(done.returncode, done.stdout + done.stderr, time.perf_counter() - start)

    def predict(self, scan: Path, out: str, *options: str) -> Said:
        """The shipped hippocampus model on a scan."""
        return self.unetr("predict", "hippocampus", scan, "-o", self.work / out, *options)


@dataclass(frozen=True, slots=True)
class Finding:
    """One input of a case: what was tried, whether the outcome is right, what came."""

    tried: str
    right: bool
    came: str


Check = Callable[[Desk], Iterator[Finding]]


def labels(path: Path) -> np.ndarray:
    """The voxels of a label file."""
    return np.asarray(nib.load(path).dataobj)


def same_labels(a: Path, b: Path) -> bool:
    """Whether two label files exist and are equal in every voxel."""
    return a.exists() and b.exists() and np.array_equal(labels(a), labels(b))
