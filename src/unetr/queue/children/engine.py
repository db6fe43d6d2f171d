"""The engine: a thread that takes one job after the other, and the child that does them. It outlives its children."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from unetr.errors import MachineError, NoRoomError, StoppedError, UnetrError
from unetr.queue.children.child import Child, ChildLostError, Watch
from unetr.queue.children.orders import Orders
from unetr.queue.children.room import LOOK_S, Room
from unetr.queue.files.offered import OfferedModel
from unetr.queue.record import WAITING, JobError, JobRecord, ResultFile

# With nothing to do, for leases that a full disk kept from being given back.
_IDLE_S = 10.0
# After an engine that could not be started, or a database that could not be written; doubles up to the last.
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
# A limit that the child reckons with itself is exceeded by this before it is ended.
_BEYOND = 1.1
_ALL = -1  # for SQLite
_NO_ROOM = JobError(
    kind=NoRoomError.__name__,
    message="the server's disk has no room for the result, which is made as soon as there is some; free space there",
)


class _ClosingError(Exception):
    """The service is being closed."""


class Engine:
    """Runs the jobs of a store. owner: of its leases. first: the model that is warm from the start.

    `restarts` counts children after the first; `last_error` is a kind, for `health`."""

    def __init__(self, orders: Orders, owner: str, first: OfferedModel) -> None:
        self._store = orders.store
        self._orders = orders
        self._options = orders.options
        self._owner = owner
        self._first = first
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._running: str | None = None
        self._stop_asked_s: float | None = None
        self._room = Room(orders.folder.path)
        self._child = Child()
        self._is_warm = False
        self.restarts = 0
        self.last_error = ""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child.alive

    @property
    def is_short(self) -> bool:
        """Whether a result, or a word on one, waits for room on the disk."""
        return self._room.is_short

    def wake(self) -> None:
        """A job may be ready."""
        self._wake.set()

    def stop(self, job: str) -> None:
        """Asks the child to stop, if it has this job."""
        with self._guard:
            if self._running == job and self._stop_asked_s is None:
                self._stop_asked_s = time.monotonic()
                self._child.poke()

    def close(self) -> None:
        """Ends thread and child; a job that runs waits for the next start."""
        self._closing.set()
        self._wake.set()
        self._child.poke()
        self._thread.join()
        self._child.kill()

    def _work(self) -> None:
        pause = _PAUSE_S
        while not self._closing.is_set():
            try:
                self._prepare()
                while not self._closing.is_set() and self._next():
                    pause = _PAUSE_S
                self._wake.wait(LOOK_S if self.is_short else _IDLE_S)
                self._wake.clear()
            except _ClosingError:
                return
            except Exception as error:  # noqa: BLE001  # the database, no process; nor may a defect end the thread
                self.last_error = type(error).__name__
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _prepare(self) -> None:
        """A child that lives, with the first model warm where it is fresh."""
        if self._child.alive and self._is_warm:
            return
        if not self._child.alive:
            self._child = Child()
            self.restarts += 1
        self._is_warm = True
        try:
            self._child.ask("warm", self._orders.warm(self._first), Watch(on_look=self._look(lambda: None)))
        except ChildLostError:
            self._is_warm = False
            raise
        except UnetrError as error:  # a job with this model will say it
            self.last_error = type(error).__name__

    def _next(self) -> bool:
        """Does the job that waits longest; whether there was one. Raises UnetrError where the database refuses."""
        if not self._child.alive:
            self._is_warm = False
            self._prepare()
        later = self._room.later(lambda: [job.id for job in self._store.jobs(WAITING, limit=_ALL)])
        job = self._store.claim(self._owner, self._options.lease_s, but=later)
        if job is None:
            self._room.enough()
            return False
        with self._guard:
            self._running, self._stop_asked_s = job.id, None
        try:
            self._do(job)
        finally:
            with self._guard:
                self._running = None
        self._orders.ended(job)
        return True

    def _do(self, job: JobRecord) -> None:
        """Runs a job and notes how it ended; whatever it has written counts for nothing unless it is done."""
        store, owner = self._store, self._owner
        if store.job(job.id).cancelling:  # asked for before `stop` could know of it
            self._settle(lambda: store.make_cancelled(job.id))
            return
        try:
            answer = self._child.ask("segment", self._orders.order(job), self._watch(job))
        except _ClosingError:
            store.give_back(job.id, owner)
            raise
        except UnetrError as error:
            self._orders.discard(job)
            self._settle(self._ending(job, error))
            if isinstance(error, NoRoomError):
                self._room.missing(job.id)
        else:
            results = [ResultFile(**each) for each in answer["results"]]
            self._settle(lambda: store.make_written(job.id, owner, results, answer["summary"]))
            self._room.enough()

    def _ending(self, job: JobRecord, error: UnetrError) -> Callable[[], object]:
        """What notes that a job ended with an error."""
        store, owner = self._store, self._owner
        if isinstance(error, StoppedError):
            return lambda: store.make_cancelled(job.id)
        kind = self.last_error = type(error).__name__
        if isinstance(error, ChildLostError):
            return lambda: store.release(job.id, owner, f"the engine {error}")
        if isinstance(error, NoRoomError):
            return lambda: store.give_back(job.id, owner, _NO_ROOM)
        return lambda: store.fail(job.id, JobError(kind=kind, message=str(error), hint=error.hint))

    def _settle(self, note: Callable[[], object]) -> None:
        """Notes how a job ended, as soon as the database takes it: until then its work is not lost."""
        while True:
            try:
                note()
                return
            except MachineError as error:
                self.last_error = type(error).__name__
                self._room.is_short |= isinstance(error, NoRoomError)
                if self._closing.wait(LOOK_S):
                    raise _ClosingError from None

    def _watch(self, job: JobRecord) -> Watch:
        limit = self._options.memory_limit_bytes
        renewed_s = time.monotonic()

        def renew() -> None:
            nonlocal renewed_s
            if (now := time.monotonic()) > renewed_s + self._options.lease_s / 3:
                renewed_s = now
                self._renew(job)

        return Watch(
            memory_limit_bytes=None if limit is None else int(_BEYOND * limit),
            stop_s=self._options.cancel_s,
            on_windows=lambda done, of: self._orders.progressed(job, done, of),
            stop_asked_s=lambda: self._stop_asked_s,
            on_look=self._look(renew),
        )

    def _renew(self, job: JobRecord) -> None:
        """A database that cannot be written now may be when the result is."""
        with suppress(MachineError):
            if not self._store.renew(job.id, self._owner, self._options.lease_s):
                self.stop(job.id)  # another has it

    def _look(self, more: Callable[[], Any]) -> Callable[[], None]:
        def look() -> None:
            if self._closing.is_set():
                raise _ClosingError
            more()

        return look
