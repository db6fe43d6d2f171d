"""The reader: a child of its own for whatever was sent in by others, so that a description never waits for an engine.

What damages it is that scan's error, in words, and the next one finds a fresh reader. One that is killed says nothing
of the scan yet: it is read once more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from unetr.errors import InputError, MachineError, UnetrError
from unetr.queue.children.child import Child, ChildLostError, NoChildError, Watch
from unetr.queue.tasks.reading import ReadyRequest

# Whoever asks over a door waits so long for what another one asked for before.
_PATIENCE_S = 30.0


class ClosedError(MachineError):
    """The service is being closed."""


class ReaderBusyError(MachineError):
    """The reader has a scan of somebody else still; the caller tries again later."""


@contextmanager
def turn(lock: threading.Lock, patience_s: float | None = None) -> Iterator[None]:
    """Holds the lock. patience_s: at most so long is waited for it, as long as a person does where it is not told.

    Raises ReaderBusyError."""
    if not lock.acquire(timeout=_PATIENCE_S if patience_s is None else patience_s):
        raise ReaderBusyError("another scan is being read still; try again in a minute")
    try:
        yield
    finally:
        lock.release()


class Reader:
    """Safe to use from several threads, which wait for each other. memory_limit_bytes: of the process."""

    def __init__(self, memory_limit_bytes: int | None) -> None:
        self._limit = memory_limit_bytes
        self._turn = threading.Lock()
        self._child = Child()
        self._closed = False
        self.restarts = 0
        threading.Thread(target=self._be_ready, name="reader", daemon=True).start()

    def ask(self, task: str, request: object, timeout_s: float, patience_s: float | None = None) -> Mapping[str, Any]:
        """The answer of the task. timeout_s: from when it begins. patience_s: until it begins, see `turn`.

        A task has no effects but its answer and whole files, so that one whose process dies is done once more. Raises
        InputError where the scan is at fault, also where reading it ended the process twice; ReaderBusyError,
        NoChildError, MachineError.
        """
        watch = Watch(timeout_s=timeout_s, memory_limit_bytes=self._limit)
        with turn(self._turn, patience_s):
            try:
                return self._asked_twice(task, request, watch)
            except ChildLostError as error:
                if self._closed:
                    raise ClosedError("the server is being stopped; try again later") from None
                if not error.begun:
                    raise NoChildError(f"the process that reads scans {error}; see whether it can be started") from None
                raise InputError(f"the scan: the process that reads it {error}; is it damaged, or too large?") from None

    def _asked_twice(self, task: str, request: object, watch: Watch) -> Mapping[str, Any]:
        """What took too long or too much memory would do so again, unlike what was killed from elsewhere."""
        try:
            return self._ready().ask(task, request, watch)
        except ChildLostError as error:
            if not error.by_itself:
                raise
        return self._ready().ask(task, request, watch)

    def _be_ready(self) -> None:
        """So that the first scan after the start is read as fast as any."""
        with suppress(UnetrError), turn(self._turn):
            self._ready().ask("ready", ReadyRequest(), Watch())

    def close(self) -> None:
        """Ends the process."""
        self._closed = True
        self._child.kill()

    @property
    def pid(self) -> int:
        """Of the process that reads, or that read last."""
        return self._child.pid

    def _ready(self) -> Child:
        if self._closed:
            raise ClosedError("the server is being stopped; try again later")
        if not self._child.alive:
            self._child = Child()
            self.restarts += 1
        return self._child
