"""Marks of tests that not every operating system can run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest


def _may_link() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (Path(folder) / "link").symlink_to(folder)
        except OSError:  # on Windows, a privilege
            return False
    return True


POSIX = pytest.mark.skipif(os.name != "posix", reason="such signals, pipes, modes and owners are POSIX's")
LINKS = pytest.mark.skipif(not _may_link(), reason="this user may make no symbolic links")
