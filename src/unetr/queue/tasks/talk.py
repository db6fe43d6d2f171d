"""A child's side of the talk with its parent: lines of JSON, in on standard input, out on what was standard output.

In: `{"number": 1, "task": "segment", "request": {…}}` and `{"stop": 1}`. The end of the input is the end of the parent,
and of this process. Out, all with the task's number: `windows`, `alive` while a task runs, and in the end one `answer`
or `error`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import IO, Any, TextIO

from unetr.core.machine.memory import resident_bytes
from unetr.infer.sweep.watched import WindowObserver

ALIVE_S = 1.0
# Between two words on windows: a sweep of a small network has hundreds a second.
_WINDOWS_S = 0.1


class Talk(WindowObserver):
    """Hears requests, tells what happens. What it hears is read in a thread of its own, so that a task can be asked to
    stop."""

    def __init__(self, heard: IO[bytes], out: TextIO) -> None:
        self.asked: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._heard = heard
        self._out = out
        self._writing = threading.Lock()
        self._number = 0
        self._stopped = 0
        self._told_s = 0.0
        self._busy = threading.Event()
        for work in (self._listen, self._live):
            threading.Thread(target=work, daemon=True).start()

    def begin(self, number: int) -> None:
        """A task has begun."""
        self._number = number
        self._busy.set()

    def end(self, **told: object) -> None:
        """It has ended, with an `answer` or an `error`."""
        self._busy.clear()
        self._say(**told)

    def should_stop(self) -> bool:
        """Whether the parent has asked the task that runs to stop."""
        return self._stopped == self._number

    def on_windows(self, done: int, of: int) -> None:
        """Tells the parent, a few times a second."""
        now = time.monotonic()
        if done in (0, of) or now >= self._told_s + _WINDOWS_S:
            self._told_s = now
            self._say(windows=[done, of])

    def _say(self, **told: object) -> None:
        with self._writing:
            self._out.write(json.dumps({"number": self._number} | told, allow_nan=False) + "\n")
            self._out.flush()

    def _listen(self) -> None:
        try:
            for line in self._heard:
                heard = json.loads(line)
                if "stop" in heard:
                    self._stopped = heard["stop"]
                else:
                    self.asked.put(heard)
        finally:  # also after half a line, with which a parent that is killed may end
            os._exit(0)  # nobody is left to answer to

    def _live(self) -> None:
        while self._busy.wait():
            self._say(alive=resident_bytes())
            time.sleep(ALIVE_S)
