"""Fixtures of the io tests: the generator of malformed scans, volumes of any geometry, and a full disk."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unetr.core.volume import Volume


@pytest.fixture(scope="session")
def malformed() -> ModuleType:
    """tests/malformed.py, which is no package's module."""
    path = Path(__file__).resolve().parents[1] / "malformed.py"
    spec = importlib.util.spec_from_file_location("malformed", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["malformed"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def oblique() -> Volume:
    """A small int16 volume, rotated and anisotropic."""
    rng = np.random.default_rng(5)
    affine = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * (0.7, 0.9, 3.0)
    affine[:3, 3] = (-31.5, 12.25, 100.0)
    return Volume(rng.integers(-1000, 1000, (1, 7, 6, 5), dtype=np.int16), affine)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB; skipped where mounting is not permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs is not permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
