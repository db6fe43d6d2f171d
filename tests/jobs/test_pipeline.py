"""The pipeline of a folder of scans: order, errors and interruptions against a plain loop."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.jobs.pipeline_line import Line

from unetr.core.machine.allowance import DoesNotFitError
from unetr.errors import CancelledError, InputError, MachineError, StoppedError
from unetr.jobs.predict.pipeline import Outcome, run_pipeline

WAIT_SECONDS = 20.0
STAGES = ("read", "compute", "write")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.dictionaries(st.integers(0, 6), st.sampled_from(STAGES)))
def test_the_outcomes_are_those_of_a_plain_loop(cases: int, bad: dict[int, str]) -> None:
    line = Line({(stage, case): InputError(f"{stage} {case}") for case, stage in bad.items()})
    line.run(cases)
    expected = [
        (case, f"{bad[case]} {case}" if case in bad else f"file of result of scan {case}") for case in range(cases)
    ]
    assert line.summary == expected
    for stage in STAGES:
        begun = [case for name, case in line.begun if name == stage]
        late = STAGES.index(stage)
        assert begun == [c for c in range(cases) if c not in bad or STAGES.index(bad[c]) >= late]


@pytest.mark.fault("decompression bombs")
def test_what_does_not_fit_beside_others_is_read_again_alone() -> None:
    line = Line(
        {("read", 0): DoesNotFitError("0"), ("read", 2): DoesNotFitError("2"), ("read", 3): DoesNotFitError("3")}
    )
    again: list[tuple[int, list[int]]] = []

    def alone(case: int) -> str:
        again.append((case, [outcome.case for outcome in line.told]))
        if case == 3:
            raise DoesNotFitError("3 alone")
        return f"scan {case}"

    run_pipeline(range(5), line.read, line.compute, line.write, line.told.append, alone)
    # The first was alone; the others wait until all before them are told.
    assert again == [(2, [0, 1]), (3, [0, 1, 2])]
    assert line.summary == [
        (0, "0"),
        (1, "file of result of scan 1"),
        (2, "file of result of scan 2"),
        (3, "3 alone"),
        (4, "file of result of scan 4"),
    ]


@pytest.mark.fault("decompression bombs")
def test_a_case_that_failed_is_in_no_memory_while_the_next_is_read() -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def read(case: int) -> int:
        voxels = np.zeros(8)
        if case == 0:
            held.append(weakref.ref(voxels))
            raise InputError("bad")
        return case

    def compute(case: int, scan: int) -> int:
        assert held[0]() is None
        return case + scan

    run_pipeline(range(2), read, compute, lambda _, result: result, lambda _: None)


def test_the_stages_of_neighbours_overlap() -> None:
    """Each stage of the middle case's moment waits for the others to have begun: one after another would hang."""
    reading, writing, computing = threading.Event(), threading.Event(), threading.Event()

    def read(case: int) -> int:
        if case == 2:
            reading.set()
            assert computing.wait(WAIT_SECONDS)
        return case

    def compute(case: int, scan: int) -> int:
        if case == 1:
            computing.set()
            assert reading.wait(WAIT_SECONDS) and writing.wait(WAIT_SECONDS)
        return scan

    def write(case: int, result: int) -> int:
        if case == 0:
            writing.set()
            assert computing.wait(WAIT_SECONDS)
        return result

    told: list[Outcome[int, int]] = []
    run_pipeline(range(3), read, compute, write, told.append)
    assert [outcome.written for outcome in told] == [0, 1, 2]


class _Held:
    """Something that takes memory."""


def test_at_most_one_ahead_and_one_behind() -> None:
    lock = threading.Lock()
    active = dict.fromkeys(STAGES, 0)
    most = dict(active)
    begun, done = [0], [0]
    most_cases = [0]

    @contextmanager
    def busy(stage: str) -> Iterator[None]:
        with lock:
            active[stage] += 1
            most[stage] = max(most[stage], active[stage])
            most_cases[0] = max(most_cases[0], begun[0] - done[0])
        time.sleep({"read": 0.001, "compute": 0.004, "write": 0.009}[stage])
        yield
        with lock:
            active[stage] -= 1

    def read(case: int) -> int:
        begun[0] += 1
        with busy("read"):
            return case

    def compute(case: int, scan: int) -> int:
        with busy("compute"):
            return scan

    def write(case: int, result: int) -> int:
        with busy("write"):
            done[0] += 1
            return result

    run_pipeline(range(20), read, compute, write, lambda _: None)
    assert most == {"read": 1, "compute": 1, "write": 1}
    assert most_cases[0] <= 3 and done[0] == 20


def test_what_is_no_longer_needed_is_let_go() -> None:
    scans: list[weakref.ref[_Held]] = []
    results: list[weakref.ref[_Held]] = []
    alive = []

    def held(refs: list[weakref.ref[_Held]]) -> _Held:
        thing = _Held()
        refs.append(weakref.ref(thing))
        return thing

    def compute(case: int, scan: _Held) -> _Held:
        end = time.monotonic() + WAIT_SECONDS
        # The writer's thread may need a moment more to let go of the last but one.
        while sum(ref() is not None for ref in results) > 1 and time.monotonic() < end:
            time.sleep(0.001)
        alive.append((sum(r() is not None for r in scans), sum(r() is not None for r in results)))
        return held(results)

    run_pipeline(range(6), lambda _: held(scans), compute, lambda case, _: case, lambda _: None)
    assert max(n for n, _ in alive) <= 2 and max(n for _, n in alive) <= 1


@pytest.mark.parametrize("error", [CancelledError("ctrl"), StoppedError("term"), KeyboardInterrupt(), SystemExit(1)])
def test_an_interruption_lets_the_previous_case_be_written_and_told(error: BaseException) -> None:
    line = Line({("compute", 2): error})  # type: ignore[dict-item]
    slow = line.write

    def write(case: int, result: str) -> str:
        time.sleep(0.05)
        return slow(case, result)

    line.write = write  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        line.run(9)
    assert [case for case, _ in line.summary] == [0, 1]
    assert line.summary[1][1] == "file of result of scan 1"
    assert ("read", 4) not in line.begun


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_while_the_main_thread_waits(stage: str) -> None:
    """The handler raises in the main thread, wherever that is."""

    def stop(*_: object) -> None:
        raise StoppedError("stopped")

    line = Line()
    sent = threading.Event()

    def slow(case: int) -> None:
        if case == 1:
            time.sleep(0.1)  # so that the main thread waits for this stage by now
            try:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            finally:
                sent.set()
            time.sleep(0.1)

    kept = signal.signal(signal.SIGTERM, stop)
    original = getattr(line, stage)

    def wrapped(case: int, *rest: str) -> str:
        slow(case)
        return str(original(case, *rest))

    setattr(line, stage, wrapped)
    try:
        with pytest.raises(StoppedError):
            line.run(3 if stage != "write" else 2)
    finally:
        # Where the test fails before it, a signal that comes later would end all tests without a word.
        sent.wait(5)
        signal.signal(signal.SIGTERM, kept)
    # What was computed has been written and told; what was not has left nothing.
    told = [case for case, _ in line.summary]
    assert told == ([0, 1] if stage == "write" else [0])
    assert {case for name, case in line.begun if name == "write"} == set(told)


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_of_the_machine_ends_the_run_and_is_told(stage: str) -> None:
    line = Line({(stage, 2): MachineError("disk full")})
    with pytest.raises(MachineError, match="disk full"):
        line.run(9)
    assert line.summary == [
        (0, "file of result of scan 0"),
        (1, "file of result of scan 1"),
        (2, "disk full"),
    ]
    assert max(case for name, case in line.begun if name == "write") <= 2


@pytest.mark.parametrize("stage", STAGES)
def test_a_defect_is_raised_after_the_previous_case_was_told(stage: str) -> None:
    line = Line({(stage, 2): ZeroDivisionError("ours")})
    with pytest.raises(ZeroDivisionError, match="ours"):
        line.run(5)
    assert [case for case, _ in line.summary] == [0, 1]


def test_an_error_of_telling_ends_the_run() -> None:
    line = Line()

    def finished(outcome: Outcome[int, str]) -> None:
        line.told.append(outcome)
        if outcome.case == 1:
            raise MachineError("no room for the report")

    with pytest.raises(MachineError, match="no room"):
        run_pipeline(range(9), line.read, line.compute, line.write, finished)
    # Case 2 was being computed, not written.
    assert [case for case, _ in line.summary] == [0, 1]


def test_seconds_are_those_of_the_stages() -> None:
    took = {"read": 0.03, "compute": 0.06, "write": 0.09}

    def stage(name: str) -> None:
        time.sleep(took[name])

    told: list[Outcome[int, None]] = []
    run_pipeline(range(2), lambda _: stage("read"), lambda *_: stage("compute"), lambda *_: stage("write"), told.append)
    for outcome in told:
        for name, seconds in took.items():
            assert seconds * 0.9 <= getattr(outcome.seconds, name) < seconds + 1
