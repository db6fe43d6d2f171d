"""The audit log: one line of JSON for each action. Ids and kinds alone, so that it holds nothing of a patient."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

from unetr.core.files.atomic import machine_error
from unetr.core.machine.system import BINARY, NO_FOLLOW

_MOST_BYTES = 16 << 20


class Audit:
    """Appends to a file, which is set aside as `<name>.1` when it has grown; that one's predecessor is removed."""

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._path = path
        self._most = most_bytes
        self._guard = threading.Lock()

    def note(self, action: str, *, job: str = "", model: str = "", actor: str = "", outcome: str = "") -> None:
        """Returns when the line would outlast a power cut. actor: who asked for it, such as a token's
        name; nobody for what the queue does by itself. Raises MachineError."""
        told = {"at": round(time.time(), 3), "action": action, "job": job, "model": model, "actor": actor}
        line = json.dumps({name: value for name, value in (told | {"outcome": outcome}).items() if value != ""})
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW | BINARY
        with self._guard:
            try:
                handle = os.open(self._path, flags, 0o600)
                try:
                    _append(handle, line.encode() + b"\n")
                    os.fsync(handle)
                    full = os.fstat(handle).st_size >= self._most
                finally:
                    os.close(handle)
                if full:
                    self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            except OSError as error:
                raise machine_error(Path(self._path.name), error) from error


def _append(handle: int, line: bytes) -> None:
    """All of the line or nothing, so that a disk that fills up leaves no half line for the next one to go on with."""
    before = os.fstat(handle).st_size
    if os.write(handle, line) < len(line):
        os.ftruncate(handle, before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
