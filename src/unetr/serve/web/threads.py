"""Where calls that block run, so that the event loop answers at once whatever the disk or the reader does.

Each kind of call has its own bound: those who wait for a reader never keep a quick one from its turn. The bounds are
small, because threads of one process share one processor's time. Waiting for a job takes no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import ParamSpec, TypeVar

import anyio
from anyio import to_thread

from unetr.queue.service import Service

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads:
    """The threads of one server. To be used from within its event loop."""

    @cached_property
    def _quick(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(6)

    @cached_property
    def _reader(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(8)

    @cached_property
    def _disk(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(6)

    async def quick(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For what takes milliseconds: the database."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._quick)

    async def reader(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For what takes seconds, because a scan has to be read."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._reader)

    async def disk(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For writing what arrives."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._disk)


class Waits:
    """Those who wait for jobs of one service, hundreds of them. To be used from within the server's event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bells: dict[str, set[anyio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: Callable[[], None] | None = None

    async def change(self, job: str, seen: int, timeout_s: float) -> int:
        """As `Service.wait`: returns once anything about the job is newer than `seen`, or after timeout_s."""
        bell = anyio.Event()
        self._add(job, bell)
        try:
            if self._service.wait(job, seen, 0) == seen:
                with anyio.move_on_after(timeout_s):
                    await bell.wait()
        finally:
            self._remove(job, bell)
        return self._service.wait(job, seen, 0)

    def _add(self, job: str, bell: anyio.Event) -> None:
        self._bells.setdefault(job, set()).add(bell)
        if self._leave is None:
            self._loop = asyncio.get_running_loop()
            self._leave = self._service.listen(self._hear)

    def _remove(self, job: str, bell: anyio.Event) -> None:
        self._bells[job].discard(bell)
        if not self._bells[job]:
            del self._bells[job]
        if not self._bells and self._leave is not None:
            self._leave()
            self._leave = None

    def _hear(self, job: str) -> None:
        """Called from any thread."""
        if job in self._bells and self._loop is not None:
            with suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._ring, job)

    def _ring(self, job: str) -> None:
        for bell in self._bells.get(job, ()):
            bell.set()
