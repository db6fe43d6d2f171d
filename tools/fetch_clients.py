"""Fetches the real clients that tests of the server run: the package monailabel, with its client and its OHIF.

usage: python tools/fetch_clients.py

They are put into `.peers/`, which is no part of the project. Tests that need them are skipped where they are not
there. Nothing of them is installed, and nothing that they depend on is fetched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PEERS = Path(__file__).resolve().parents[1] / ".peers"
VERSION = "0.8.5"
# The parts that tests use: the client, OHIF as it was built for it, and the module for 3D Slicer.
PARTS = ("monailabel/client/", "monailabel/endpoints/static/ohif/", "/data/monailabel/plugins/slicer/MONAILabel/")


def main() -> int:
    """Fetches them unless they are there. Returns the exit code."""
    target = PEERS / f"monailabel-{VERSION}"
    if target.is_dir():
        print(f"{target}: is there")
        return 0
    PEERS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        command = [*_pip(), "download", "--quiet", "--no-deps", "--dest", folder, f"monailabel=={VERSION}"]
        if subprocess.run(command, check=False).returncode:
            print("monailabel could not be fetched; the tests that need it are skipped", file=sys.stderr)
            return 1
        (wheel,) = Path(folder).glob("*.whl")
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked, [name for name in archive.namelist() if any(part in name for part in PARTS)])
        unpacked.rename(target)
    print(target)
    return 0


def _pip() -> list[str]:
    """pip, which a virtual environment of uv does not have."""
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    return [sys.executable, "-m", "pip"]


if __name__ == "__main__":
    sys.exit(main())
