"""Jobs that found no room on the disk: when they are worth another try, so that a full disk costs no endless work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

# Between two looks at the disk while jobs wait for room.
LOOK_S = 1.0
# Of a quota the disk's free bytes tell nothing: then time alone counts. Both double with each try that finds no room.
_FIRST_S, _LONGEST_S = 5.0, 300.0
_FIRST_BYTES = 1 << 20
_MOST_DOUBLINGS = 7


class Room:
    """For the engine's thread. folder: on the disk. is_short: whether something waits for room; for all threads."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._jobs: set[str] = set()
        self._tries, self._since_s, self._free = 0, 0.0, 0
        self.is_short = False

    def missing(self, job: str) -> None:
        """The job found too little, and what it had written is gone."""
        self._jobs.add(job)
        self.is_short = True
        self._since_s, self._free = self._clock(), self._free_bytes()

    def later(self, waiting: Callable[[], Collection[str]]) -> Collection[str]:
        """The jobs that are not to be tried yet. waiting: tells which jobs wait still."""
        if self._jobs:
            self._jobs.intersection_update(waiting())
        if self._jobs and self._is_worth_a_try():
            self._jobs.clear()
            self._tries = min(self._tries + 1, _MOST_DOUBLINGS)
        return self._jobs

    def enough(self) -> None:
        """A job was done, or none waits."""
        if not self._jobs:
            self._tries, self.is_short = 0, False

    def _is_worth_a_try(self) -> bool:
        factor = 1 << self._tries
        waited_s, more = self._clock() - self._since_s, self._free_bytes() - self._free
        return more >= factor * _FIRST_BYTES or waited_s >= min(_LONGEST_S, factor * _FIRST_S)

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            return 0
