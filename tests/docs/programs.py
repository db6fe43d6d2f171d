"""What a page starts and leaves running: `unetr serve`, `unetr node`, Orthanc. Each ends with its page.

The ports that pages name are taken by others where tests run side by side, so each page gets its own in their place.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.orthanc import dcmtk, free_port

PORTS = ("8000", "8042", "4242", "11112")
# Programs of other projects that pages call, which must be there.
OTHERS = ("storescu", "findscu", "echoscu")
_LONGEST_START_S = 120.0
_LONGEST_TRY_S = 240.0  # on a machine with much else to do


class Programs:
    """Runs the lines of one page that start something, or that talk to what was started. Use as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in PORTS}
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def here(self, text: str) -> str:
        """The text with this page's ports."""
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda found: self._ports[found[0]], text)

    def takes(self, line: str) -> bool:
        """Whether `run` is for this line."""
        return line.startswith(("Orthanc ", "curl ", *(f"{name} " for name in OTHERS))) or self._is_door(line)

    def run(self, line: str) -> None:
        """Starts what stays, and runs what ends; what asks another program is tried until that has done its part."""
        words = shlex.split(self.here(line))
        if words[0] == "Orthanc":
            self._orthanc(words)
        elif words[0] == "unetr":
            self._door(words)
        elif words[0] == "curl":
            self._until_it_works(lambda: _bash(self.here(line), self._folder))
        else:
            subprocess.run([dcmtk(words[0]), *words[1:]], cwd=self._folder, check=True, timeout=_LONGEST_START_S)

    def _is_door(self, line: str) -> bool:
        serves = line.startswith("unetr serve") and "--new-token" not in line
        return serves or (
            line.startswith("unetr node ") and Path(line.split()[2]).suffix == ".yaml" and "--" not in line
        )

    def _door(self, words: list[str]) -> None:
        if words[1] == "serve" and "--port" not in words:
            words += ["--port", self._ports["8000"]]
        process = self._start([sys.executable, "-P", "-m", *words])
        assert process.stdout is not None
        told = process.stdout.readline()  # the address, once it answers
        assert re.match(r"(https?|dicom)://", told), f"{words}: said {told!r} and ended with {process.poll()}"

    def _orthanc(self, words: list[str]) -> None:
        program = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("Orthanc is not on this machine")
        self._start([program, *words[1:]])
        settings = json.loads((self._folder / words[1]).read_text())
        address = f"http://127.0.0.1:{settings['HttpPort']}/app/explorer.html"
        self._until_it_works(lambda: urllib.request.urlopen(address, timeout=5).close())

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with (self._folder / "said.log").open("ab") as said:
            process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.PIPE, stderr=said, text=True)
        self._running.append(process)
        return process

    def _until_it_works(self, attempt: Callable[[], None]) -> None:
        end = time.monotonic() + _LONGEST_TRY_S
        while True:
            try:
                return attempt()
            except (OSError, subprocess.CalledProcessError):
                said = (self._folder / "said.log").read_text()[-2000:]
                assert time.monotonic() < end, said
                assert all(process.poll() is None for process in self._running), said
                time.sleep(0.5)


def _bash(line: str, folder: Path) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=folder, check=True, stdout=subprocess.DEVNULL)
