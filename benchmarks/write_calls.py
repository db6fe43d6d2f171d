"""Every call that writes below a folder, told before it happens: where to kill a process, or to refuse the call.

Watched are opening a file to write, each write (before it, and when half of it is on disk), flushing to disk, renaming
and removing. Functions of `os`, `io` and `builtins` are replaced in this process only, and only while it is watching.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn
from unittest import mock

Kind = Literal["open", "write", "half written", "flush", "rename", "remove", "removed"]


@dataclass(frozen=True, slots=True)
class Call:
    """What is about to happen to a file; "half written" and "removed" are past. A rename's path is the new name."""

    kind: Kind
    path: Path


Before = Callable[[Call], None]


_open, _fsync, _unlink, _replace = open, os.fsync, os.unlink, os.replace


@dataclass(frozen=True, slots=True)
class Watch:
    """The calls that write, each told before it is made where it is below `top`."""

    top: Path
    before: Before

    def tell(self, kind: Kind, path: Any) -> None:
        place = Path(os.path.abspath(path))  # noqa: PTH100
        if place == self.top or self.top in place.parents:
            self.before(Call(kind, place))

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return _open(file, mode, buffering, *rest, **named)
        self.tell("open", file)
        raw = WatchedFile(file, mode.replace("b", "").replace("t", ""), self)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

    def fsync(self, handle: int) -> None:
        self.tell("flush", Path(f"/proc/self/fd/{handle}").readlink())
        _fsync(handle)

    def unlink(self, path: Any, **named: Any) -> None:
        there = os.path.lexists(path)
        if there:
            self.tell("remove", path)
        _unlink(path, **named)
        if there:
            self.tell("removed", path)

    def replace(self, source: Any, target: Any, **named: Any) -> None:
        self.tell("rename", target)
        _replace(source, target, **named)


class WatchedFile(io.FileIO):
    """Each write in two halves."""

    def __init__(self, file: Any, mode: str, watch: Watch) -> None:
        super().__init__(file, mode)
        self.watch = watch

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        middle = len(view) // 2
        self.watch.tell("write", self.name)
        done = super().write(view[:middle])
        self.watch.tell("half written", self.name)
        return done + super().write(view[middle:])


@contextmanager
def watching(folder: Path, before: Before) -> Iterator[None]:
    """Meanwhile `before` is called before each call that writes to something in `folder`; it may raise OSError."""
    watch = Watch(Path(os.path.abspath(folder)), before)  # noqa: PTH100
    of_os = {"fsync": watch.fsync, "unlink": watch.unlink, "remove": watch.unlink}
    of_os |= {"replace": watch.replace, "rename": watch.replace}
    with ExitStack() as stack:
        for module in (io, builtins):
            stack.enter_context(mock.patch.object(module, "open", watch.open))
        for name, function in of_os.items():
            stack.enter_context(mock.patch.object(os, name, function))
        yield


@dataclass(slots=True)
class Nth:
    """Does something at the n-th call (from 1) of those that are `wanted`. seen: how many there have been."""

    n: int
    wanted: Callable[[Call], bool]
    act: Callable[[Call], None]
    seen: int = 0

    def __call__(self, call: Call) -> None:
        if self.wanted(call):
            self.seen += 1
            if self.seen == self.n:
                self.act(call)


def kill(_: Call) -> NoReturn:
    """As the system kills a process, which cannot do anything about it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def refuse(number: int) -> Callable[[Call], NoReturn]:
    """The operating system's refusal, once: errno.EIO of a disk that is going."""

    def act(call: Call) -> NoReturn:
        raise OSError(number, os.strerror(number), str(call.path) if call.kind == "open" else None)

    return act


@dataclass(slots=True)
class DiskFull:
    """Refuses the n-th wanted call, and from then on all that need room; removing gives none back."""

    n: int
    wanted: Callable[[Call], bool]
    seen: int = 0

    def __call__(self, call: Call) -> None:
        self.seen += self.wanted(call)
        first = self.seen == self.n and self.wanted(call)
        if first or (self.seen >= self.n and call.kind in ("open", "write", "half written")):
            refuse(errno.ENOSPC)(call)
