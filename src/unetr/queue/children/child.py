"""One child process, and one task of it at a time. What ends it is told as a ChildLostError; a next one is the caller's
to start."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from subprocess import TimeoutExpired
from typing import IO, Any

from unetr.core.machine.child import python_module, start_talking
from unetr.core.machine.memory import gigabytes
from unetr.core.machine.system import resident_bytes_of
from unetr.errors import MachineError
from unetr.jobs.apart.job import error_told
from unetr.queue.tasks.registry import asked

MODULE = "unetr.queue.tasks"
# Between two looks at a child's memory while it works.
_LOOK_S = 0.5
# A child that works says that it lives every second; a machine that swaps takes longer.
_SILENT_S = 60.0
_WAIT_S = 5.0


class ChildLostError(MachineError):
    """The child ended, or was ended, before it had answered. The message says why, as the end of "it …".

    begun: whether it had begun with the task, so that the task may be why. by_itself: whether it died, or was killed by
    others, and was not ended here.
    """

    def __init__(self, message: str, *, begun: bool = True, by_itself: bool = False) -> None:
        super().__init__(message)
        self.begun = begun
        self.by_itself = by_itself


class NoChildError(MachineError):
    """The machine starts no process, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is looked at while a task runs.

    on_windows: hears of progress. stop_asked_s: the moment (monotonic) at which somebody asked to stop, or None; a
    child that has not answered `stop_s` later is ended. on_look: called twice a second; an error that one of them
    raises ends the child.
    """

    timeout_s: float | None = None
    memory_limit_bytes: int | None = None
    stop_s: float = 10.0
    on_windows: Callable[[int, int], None] = lambda done, of: None
    stop_asked_s: Callable[[], float | None] = lambda: None
    on_look: Callable[[], None] = lambda: None


class Child:
    """A process that does the tasks of `unetr.queue.tasks`, started at once. `ask` is for one thread at a time.

    Raises NoChildError where the machine starts none."""

    def __init__(self) -> None:
        try:
            self._process = start_talking(python_module(MODULE))
        except OSError as error:
            raise NoChildError(f"no process can be started: {error.strerror or error}; end others") from error
        self._said: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._number = 0
        self._resident = 0
        self._begun = False
        self._sending = threading.Lock()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, task: str, request: object, watch: Watch) -> Mapping[str, Any]:
        """The task's answer. Raises the UnetrError that it ended with, ChildLostError."""
        self._number += 1
        self._begun = False
        self._send({"number": self._number, "task": task, "request": asked(task, request)})
        try:
            said = self._last_word(watch)
        except BaseException:
            self.kill()
            raise
        if "error" in said:
            raise error_told(said["error"])
        return dict(said["answer"])

    def poke(self) -> None:
        """Has `ask` look at once whether it was asked to stop. From any thread."""
        self._said.put({})

    def kill(self) -> None:
        """Ends the process and waits for its end. From any thread."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        with suppress(OSError), self._sending:
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _last_word(self, watch: Watch) -> Mapping[str, Any]:
        """What ends the task: an answer or an error."""
        started = heard = time.monotonic()
        told_to_stop = False
        while True:
            said = self._next()
            now = time.monotonic()
            if said.get("number") == self._number:
                heard, self._begun = now, True
                if "answer" in said or "error" in said:
                    return said
                if "windows" in said:
                    watch.on_windows(*said["windows"])
                self._resident = said.get("alive", self._resident)
            watch.on_look()
            asked_s = watch.stop_asked_s()
            if asked_s is not None and not told_to_stop:
                told_to_stop = True
                self._send({"stop": self._number})
            self._judge(watch, now - heard, now - started, 0.0 if asked_s is None else now - asked_s)

    def _judge(self, watch: Watch, silent_s: float, took_s: float, stopping_s: float) -> None:
        """Raises ChildLostError for a child that must be ended."""
        if stopping_s > watch.stop_s:
            raise ChildLostError(f"did not stop within {watch.stop_s:g} s")
        if silent_s > _SILENT_S:
            raise ChildLostError(f"gave no sign of life for {_SILENT_S:g} s")
        if watch.timeout_s is not None and took_s > watch.timeout_s:
            raise ChildLostError(f"took longer than {watch.timeout_s:g} s")
        limit = watch.memory_limit_bytes
        if limit is not None and (resident_bytes_of(self._process) or self._resident) > limit:
            raise ChildLostError(f"took more memory than its limit of {gigabytes(limit)}")

    def _next(self) -> Mapping[str, Any]:
        """What it says next, nothing after a while. Raises ChildLostError at its end."""
        try:
            said = self._said.get(timeout=_LOOK_S)
        except Empty:
            return {}
        if "ended" in said:
            try:
                code = self._process.wait(_WAIT_S)
            except TimeoutExpired:
                raise ChildLostError("says nothing any more", begun=self._begun, by_itself=True) from None
            raise ChildLostError(f"ended with {code} before it had answered", begun=self._begun, by_itself=True)
        return said

    def _send(self, message: Mapping[str, Any]) -> None:
        stream = self._process.stdin
        with self._sending, suppress(OSError, ValueError):  # of one that has ended, `_next` tells
            if stream is not None:
                stream.write(json.dumps(message).encode() + b"\n")
                stream.flush()

    def _listen(self, stream: IO[bytes] | None) -> None:
        with suppress(OSError, ValueError):
            for line in stream or ():
                self._said.put(json.loads(line))
        self._said.put({"ended": True})
        if stream is not None:
            stream.close()
