"""Where calls that block run, so that the event loop answers at once whatever the disk, the reader or a job does.

Each kind of call has its own bound: those who wait for a reader or a job never keep a quick one from its turn. The
bounds are small, because threads of one process share one processor's time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import ParamSpec, TypeVar

import anyio
from anyio import to_thread

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

    @cached_property
    def _waiting(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(48)

    async def quick(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For what takes milliseconds: the database."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._quick)

    async def reader(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For what takes seconds, because a scan has to be read."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._reader)

    async def disk(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For writing what arrives."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._disk)

    async def waiting(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For waiting until something happens. Whoever stops waiting leaves the thread to end by itself."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._waiting, abandon_on_cancel=True)
