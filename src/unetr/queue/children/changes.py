"""What has changed, for threads that wait to hear of it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# Jobs of which versions are kept; one that is forgotten has version 0.
_MOST = 10_000


class Changes:
    """Versions of jobs, which grow with each change. Safe to use from any thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._last = 0
        self._listeners: dict[object, Callable[[str], None]] = {}
        self._closed = False

    def note(self, job: str) -> None:
        """The job has changed."""
        with self._condition:
            self._last += 1
            self._versions[job] = self._last
            self._versions.move_to_end(job)
            while len(self._versions) > _MOST:
                self._versions.popitem(last=False)
            self._condition.notify_all()
            listeners = tuple(self._listeners.values())
        for hear in listeners:
            hear(job)

    def listen(self, hear: Callable[[str], None]) -> Callable[[], None]:
        """From now on, `hear` is called with each job that has changed, from any thread; it must not block.

        Returns what ends that.
        """
        key = object()
        with self._condition:
            self._listeners[key] = hear

        def leave() -> None:
            with self._condition:
                self._listeners.pop(key, None)

        return leave

    def forget(self, job: str) -> None:
        """The job is gone."""
        with self._condition:
            self._versions.pop(job, None)

    def wait(self, job: str, seen: int, timeout_s: float) -> int:
        """The job's version, as soon as it is another one than `seen`; `seen` after timeout_s."""
        ends_s = time.monotonic() + timeout_s
        with self._condition:
            while not self._closed:
                version = self._versions.get(job, 0)
                left_s = ends_s - time.monotonic()
                if version != seen or left_s <= 0:
                    return version
                self._condition.wait(left_s)
        return seen

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
