"""Starts what the image `service` starts, asks it as the image's health check does, and ends it.

`run_service.py FOLDER`, with the Python of the environment that holds the package. As root, the server is another
user's process, without a home, that can write to its own folders alone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
USER = 65532


def told(word: str) -> str:
    """What Containerfile says behind a word in its stage `service`."""
    text = (TREE / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stage = text.partition(" AS service\n")[2].partition("\nFROM ")[0]
    found = re.search(rf"^{word} +(.*)$", stage, re.MULTILINE)
    assert found is not None, word
    return found[1]


def another_user() -> dict[str, Any]:
    """How a process becomes the images' user, where this one may do that and that one may run this Python."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    python = Path(sys.executable).resolve()
    if not all(folder.stat().st_mode & 1 for folder in (python, *python.parents)):
        print("service: runs as root, since other users cannot run this Python")
        return {}
    return {"user": USER, "group": USER, "extra_groups": []}


def main() -> int:
    work = Path(sys.argv[1])
    folders = {name: work / name for name in ("queue", "cache")}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    words = json.loads(told("CMD"))
    words[words.index("/queue")] = str(folders["queue"])
    words[words.index("8000")] = port
    other = another_user()
    for folder in folders.values() if other else ():
        os.chown(folder, USER, USER)
    environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(folders["cache"])}
    if sys.platform == "win32":
        environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP")}
    command = [sys.executable, "-P", "-m", "unetr", *words]
    own = {"env": environment, "cwd": folders["queue"], **other}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **own)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address == f"http://127.0.0.1:{port}/", address
        check = json.loads(told("HEALTHCHECK").partition("CMD ")[2])
        command = [sys.executable, *(word.replace("8000", port) for word in check[1:])]
        begun = time.monotonic()
        subprocess.run(command, check=True, timeout=20, **own)
        print(f"service: answers at {address}, healthy after {time.monotonic() - begun:.1f} s")
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(30)
    assert sys.platform == "win32" or code == 143, code
    print(f"service: ended with {code} {sorted(path.name for path in folders['queue'].iterdir())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
