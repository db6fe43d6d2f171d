"""Reading the next case and writing the previous one while the current one is computed. Knows no scans and no files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from unetr.core.machine.allowance import DoesNotFitError
from unetr.errors import CancelledError, InputError, StoppedError, UnetrError

CaseT = TypeVar("CaseT")
ReadT = TypeVar("ReadT")
ComputedT = TypeVar("ComputedT")
WrittenT = TypeVar("WrittenT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall time of a case's three stages, 0 for a stage not reached. Stages of neighbouring cases overlap."""

    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome(Generic[CaseT, WrittenT]):
    """How a case ended: `written` is what `write` returned, None where one of the stages raised `error`."""

    case: CaseT
    written: WrittenT | None
    error: UnetrError | None
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class _Done(Generic[ValueT]):
    """How one stage ended: what it returned, or the expected error that it raised."""

    value: ValueT | UnetrError
    seconds: float


def run_pipeline(
    cases: Sequence[CaseT],
    read: Callable[[CaseT], ReadT],
    compute: Callable[[CaseT, ReadT], ComputedT],
    write: Callable[[CaseT, ComputedT], WrittenT],
    finished: Callable[[Outcome[CaseT, WrittenT]], None],
    alone: Callable[[CaseT], ReadT] | None = None,
) -> None:
    """Takes every case through read, compute and write, and tells `finished` about each, in the cases' order.

    While a case is computed, the next is read and the previous written, each in a thread of its own. Nothing else is
    in flight, so at most three cases are in memory. `compute` and `finished` run in the calling thread.
    An InputError of a stage is that case's outcome. Any other error ends the work: what is being written is finished
    and told first. A MachineError is told as its case's outcome too; Ctrl-C and SIGTERM, which the calling thread
    gets as CancelledError and StoppedError, are nobody's outcome.
    alone: reads a case again that did not fit in memory beside the others, once they are finished.
    """
    coming: Future[_Done[ReadT]] | None = None
    writer = _Writer(write, finished)
    try:
        for index, case in enumerate(cases):
            # An interrupted read leaves nothing behind, so the process need not wait for it to end.
            scan = (coming or _start(read, case, daemon=True)).result()
            if isinstance(scan.value, UnetrError) and len(cases) > 1:
                _let_go(scan.value)
            if alone is not None and index > 0 and isinstance(scan.value, DoesNotFitError):
                writer.settle()
                scan = _start(alone, case, daemon=True).result()
            coming = _start(read, cases[index + 1], daemon=True) if index + 1 < len(cases) else None
            result = _compute(compute, case, scan)
            seconds = Seconds(scan.seconds, result.seconds)
            del scan  # two others are in memory
            writer.settle()
            if isinstance(result.value, UnetrError):
                _tell(Outcome(case, None, result.value, seconds), finished)
            else:
                writer.start(case, result.value, seconds)
            del result
        writer.settle()
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            writer.settle()
        raise


class _Writer(Generic[CaseT, ComputedT, WrittenT]):
    """Writes at most one case at a time, in a thread of its own, and tells how it ended."""

    def __init__(
        self, write: Callable[[CaseT, ComputedT], WrittenT], finished: Callable[[Outcome[CaseT, WrittenT]], None]
    ) -> None:
        self._write = write
        self._finished = finished
        self._wait: Callable[[], Outcome[CaseT, WrittenT]] | None = None

    def start(self, case: CaseT, result: ComputedT, seconds: Seconds) -> None:
        """Starts to write. The case before must be settled."""
        # The interpreter does not exit before this thread has ended, so a file is whole or not there.
        future = _start(lambda value: self._write(case, value), result, daemon=False)

        def wait() -> Outcome[CaseT, WrittenT]:
            done = future.result()
            whole = Seconds(seconds.read, seconds.compute, done.seconds)
            if isinstance(done.value, UnetrError):
                return Outcome(case, None, done.value, whole)
            return Outcome(case, done.value, None, whole)

        self._wait = wait

    def settle(self) -> None:
        """Waits for what is being written, if anything is, and tells it. Raises errors that end the work.

        Interrupted while it waits, it can be called again.
        """
        if self._wait is not None:
            outcome = self._wait()
            self._wait = None
            _tell(outcome, self._finished)


def _let_go(error: BaseException | None) -> None:
    """Drops what the error remembers of where it was raised: it would keep a scan in memory while the next is read."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _compute(compute: Callable[[CaseT, ReadT], ComputedT], case: CaseT, scan: _Done[ReadT]) -> _Done[ComputedT]:
    """The result, or the error of reading passed on."""
    value = scan.value
    if isinstance(value, UnetrError):
        return _Done(value, 0.0)
    return _timed(lambda: compute(case, value))


def _tell(outcome: Outcome[CaseT, WrittenT], finished: Callable[[Outcome[CaseT, WrittenT]], None]) -> None:
    finished(outcome)
    if outcome.error is not None and not isinstance(outcome.error, InputError):
        raise outcome.error


def _timed(work: Callable[[], ValueT]) -> _Done[ValueT]:
    start = time.perf_counter()
    try:
        value = work()
        return _Done(value, time.perf_counter() - start)
    except (CancelledError, StoppedError):
        raise
    except UnetrError as error:
        return _Done(error, time.perf_counter() - start)


def _start(work: Callable[[CaseT], ValueT], item: CaseT, *, daemon: bool) -> Future[_Done[ValueT]]:
    """Runs `work` on the item in a new thread. The future raises what is no UnetrError."""
    future: Future[_Done[ValueT]] = Future()

    def run() -> None:
        try:
            future.set_result(_timed(lambda: work(item)))
        except BaseException as error:  # noqa: BLE001  # raised again where the future is waited for
            future.set_exception(error)

    threading.Thread(target=run, daemon=daemon).start()
    return future
