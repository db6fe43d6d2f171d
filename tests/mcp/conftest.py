"""Folders for the tools, and the server as a program of its own that the SDK's client talks to."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import unetr.jobs.demo as demo

pytest.importorskip("mcp")
from mcp import Client, StdioServerParameters, stdio_client

SCAN = Path(demo.__file__).parent / "scan" / "scan.nii.gz"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """scans/ may be read, results/ is written to, secret/ is neither."""
    for name in ("scans", "results", "secret"):
        (tmp_path / name).mkdir()
    shutil.copy(SCAN, tmp_path / "scans" / "scan.nii.gz")
    shutil.copy(SCAN, tmp_path / "secret" / "other.nii.gz")
    return tmp_path


Talk = Callable[[Client], Awaitable[Any]]


@pytest.fixture
def talk(room: Path) -> Callable[..., Any]:
    """talk(conversation, *options) starts `unetr mcp` and returns what the conversation with its client returns."""

    def run(conversation: Talk, *options: str) -> Any:
        arguments = ["-P", "-m", "unetr", "mcp", "--allow", str(room / "scans"), "--out", str(room / "results")]
        program = StdioServerParameters(
            command=sys.executable, args=[*arguments, *options], env=dict(os.environ), cwd=room
        )

        async def connected() -> Any:
            with anyio.fail_after(120):
                async with Client(stdio_client(program)) as client:
                    return await conversation(client)

        return anyio.run(connected)

    return run
