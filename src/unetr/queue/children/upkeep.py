"""The thread that removes what is older than its time, now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

_EVERY_S = 60.0


class Upkeep:
    """Calls `work` at once and then every minute until it is closed. What `work` raises is for its next time."""

    def __init__(self, work: Callable[[], None], every_s: float = _EVERY_S) -> None:
        self._work_once = work
        self._every_s = every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with suppress(Exception):  # a full disk, say; nor may a defect end the thread
                self._work_once()
            if self._closing.wait(self._every_s):
                return
