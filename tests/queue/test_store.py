"""The store against a model of it: no job is lost, none is done twice, and only the allowed changes of state happen."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from unetr.errors import InputError
from unetr.queue.record import ENDED, JobError, JobSpec, JobState, ResultFile, ScanRecord
from unetr.queue.store import MOST_ATTEMPTS, JobStore, QueueFullError

S = JobState
# Every change that may ever be seen; None: there was no such job.
ALLOWED: dict[JobState | None, set[JobState]] = {
    None: {S.RECEIVED, S.READY},
    S.RECEIVED: {S.READY, S.FAILED, S.CANCELLED},
    S.READY: {S.RUNNING, S.FAILED, S.CANCELLED},
    S.RUNNING: {S.WRITTEN, S.READY, S.FAILED, S.CANCELLED},
    S.WRITTEN: {S.DELIVERED},
    S.DELIVERED: set(),
    S.FAILED: {S.RECEIVED, S.READY},
    S.CANCELLED: {S.RECEIVED, S.READY},
}
LEASE_S = 10.0
MOST_WAITING = 4
RESULT = ResultFile(form="labels", name="labels.nii.gz", bytes=1, sha256="0" * 64)
JOBS = st.integers(0, 6)
OWNERS = st.sampled_from("ab")


def spec(number: int) -> JobSpec:
    return JobSpec(scan=f"{number:032x}", model="m", model_sha256="1" * 64)


@dataclass
class Known:
    """What the model knows of a job."""

    state: JobState
    owner: str = ""
    lease_s: float = 0
    attempts: int = 0
    cancelling: bool = False
    seen: list[JobState] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1000.0
        self.told: list[str] = []
        self.known: dict[int, Known] = {}
        self.open()

    def open(self) -> None:
        self.store = JobStore(Path(self.folder.name) / "jobs", clock=lambda: self.now, on_change=self.told.append)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def became(self, number: int, state: JobState, **changes: object) -> None:
        known = self.known[number]
        assert state in ALLOWED[known.state]
        known.state = state
        known.seen.append(state)
        for name, value in changes.items():
            setattr(known, name, value)

    def time_out(self) -> None:
        """What a claim does first: jobs whose lease has ended wait again, or have ended."""
        for number, known in self.known.items():
            if known.state == S.RUNNING and known.lease_s <= self.now:
                used = known.attempts >= MOST_ATTEMPTS
                to = S.CANCELLED if known.cancelling else S.FAILED if used else S.READY
                self.became(number, to, owner="", cancelling=False)

    @rule(number=JOBS, state=st.sampled_from([S.RECEIVED, S.READY]))
    def submit(self, number: int, state: JobState) -> None:
        self.now += 1
        known = self.known.get(number)
        waiting = sum(each.state in (S.RECEIVED, S.READY) for each in self.known.values())
        if known is not None and known.state not in (S.FAILED, S.CANCELLED):
            assert self.store.submit(spec(number), state=state, most_waiting=MOST_WAITING).state == known.state
        elif waiting >= MOST_WAITING:
            with pytest.raises(QueueFullError):
                self.store.submit(spec(number), state=state, most_waiting=MOST_WAITING)
        else:
            assert self.store.submit(spec(number), state=state, most_waiting=MOST_WAITING).state == state
            seen = [] if known is None else known.seen
            self.known[number] = Known(state, seen=[*seen, state])

    @rule(owner=OWNERS)
    def claim(self, owner: str) -> None:
        self.time_out()
        ready = {number for number, known in self.known.items() if known.state == S.READY}
        job = self.store.claim(owner, LEASE_S)
        assert (job is None) == (not ready)
        if job is not None:
            number = int(job.spec.scan, 16)
            assert number in ready
            known = self.known[number]
            self.became(number, S.RUNNING, owner=owner, lease_s=self.now + LEASE_S, attempts=known.attempts + 1)

    @rule(number=JOBS, owner=OWNERS)
    def write(self, number: int, owner: str) -> None:
        known = self.known.get(number)
        mine = known is not None and known.state == S.RUNNING and known.owner == owner
        assert self.store.make_written(spec(number).id, owner, [RESULT], {"volumes_ml": {}}) == mine
        if mine:
            self.became(number, S.WRITTEN, cancelling=False)

    @rule(number=JOBS, owner=OWNERS)
    def renew(self, number: int, owner: str) -> None:
        known = self.known.get(number)
        mine = known is not None and known.state == S.RUNNING and known.owner == owner
        assert self.store.renew(spec(number).id, owner, LEASE_S) == mine
        if mine and known is not None:
            known.lease_s = self.now + LEASE_S

    @rule(number=JOBS, owner=OWNERS, lost=st.booleans())
    def lose(self, number: int, owner: str, lost: bool) -> None:
        known = self.known.get(number)
        if known is None or known.state != S.RUNNING or known.owner != owner:
            return
        if lost:
            self.store.release(spec(number).id, owner, "it ended")
            known.lease_s = 0
            self.time_out()
        else:
            self.store.give_back(spec(number).id, owner)
            if known.cancelling:
                self.became(number, S.CANCELLED, owner="", cancelling=False)
            else:
                self.became(number, S.READY, owner="", attempts=known.attempts - 1)

    @rule(number=JOBS)
    def cancel(self, number: int) -> None:
        if number in self.known:
            known = self.known[number]
            job = self.store.cancel(spec(number).id)
            if known.state in (S.RECEIVED, S.READY):
                self.became(number, S.CANCELLED)
            known.cancelling = known.state == S.RUNNING
            assert (job.state, job.cancelling) == (known.state, known.cancelling)

    @rule(number=JOBS, how=st.sampled_from(["ready", "fail", "delivered", "cancelled"]))
    def change(self, number: int, how: str) -> None:
        known = self.known.get(number)
        job = spec(number).id
        changes = {
            "ready": (lambda: self.store.make_ready(job), [S.RECEIVED], S.READY),
            "fail": (
                lambda: self.store.fail(job, JobError(kind="k", message="m")),
                [S.RECEIVED, S.READY, S.RUNNING],
                S.FAILED,
            ),
            "delivered": (lambda: self.store.make_delivered(job), [S.WRITTEN], S.DELIVERED),
            "cancelled": (lambda: self.store.make_cancelled(job), [S.RUNNING], S.CANCELLED),
        }
        work, states, to = changes[how]
        may = known is not None and known.state in states
        assert work() == may
        if may:
            self.became(number, to, cancelling=False)

    @rule(number=JOBS)
    def forget(self, number: int) -> None:
        self.store.forget(spec(number).id)
        if number in self.known and self.known[number].state in ENDED:
            del self.known[number]

    @rule(seconds=st.sampled_from([1.0, LEASE_S + 1]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()
        self.store.take_back_all()
        for known in self.known.values():
            known.lease_s = 0
        self.time_out()

    @invariant()
    def agrees(self) -> None:
        found = {int(job.spec.scan, 16): job for job in self.store.jobs()}
        assert {number: job.state for number, job in found.items()} == {n: k.state for n, k in self.known.items()}
        for number, known in self.known.items():
            job = found[number]
            assert job.attempts == known.attempts
            assert (job.error is not None) == (job.state == S.FAILED)
            assert bool(job.results) == (job.state in (S.WRITTEN, S.DELIVERED))
            assert [event.state for event in self.store.events(job.id)] == known.seen
        assert self.store.counts() == {state: Counter(k.state for k in self.known.values())[state] for state in S}


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

CLAIMS = """
import sys
from pathlib import Path
from unetr.queue.store import JobStore
store = JobStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while (job := store.claim(sys.argv[2], 60)) is not None:
    print(job.id, flush=True)
    assert store.make_written(job.id, sys.argv[2], [], {})
"""


def test_two_processes_share_the_jobs(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    ids = {store.submit(spec(n), state=S.READY, most_waiting=100).id for n in range(40)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, tmp_path / "jobs", owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for owner in "ab"
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    done = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    assert sorted(done[0] + done[1]) == sorted(ids)
    assert store.counts()[S.WRITTEN] == 40
    store.close()


def test_who_listens_hears_after_the_commit_and_never_of_what_was_undone(tmp_path: Path) -> None:
    seen: list[tuple[str, JobState]] = []
    store = JobStore(tmp_path / "jobs", on_change=lambda job: seen.append((job, store.job(job).state)))
    job = store.submit(spec(1))
    assert seen == [(job.id, S.RECEIVED)]
    with pytest.raises(RuntimeError), store.changing():
        store.make_ready(job.id)
        raise RuntimeError
    assert seen == [(job.id, S.RECEIVED)] and store.job(job.id).state == S.RECEIVED
    with store.changing():
        store.make_ready(job.id)
        assert len(seen) == 1
    assert seen[1:] == [(job.id, S.READY)]
    store.close()


def test_the_same_work_for_two_goes_to_the_places_of_both(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    first = store.submit(spec(1), origin={"actor": "a", "deliver": {"x": ["dicom-seg"], "y": ["rtstruct"]}})
    both = {"actor": "a", "rule": "b", "deliver": {"x": ["dicom-seg", "capture"], "y": ["rtstruct"], "z": ["capture"]}}
    again = store.submit(
        spec(1), origin={"actor": "b", "rule": "b", "deliver": {"x": ["capture", "dicom-seg"], "z": ["capture"]}}
    )
    assert (again.id, again.origin) == (first.id, both) and store.job(first.id).origin == both
    assert store.submit(spec(1)).origin == both
    store.close()


def test_a_stop_that_was_asked_for_outlasts_the_end_of_the_server(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    job = store.submit(spec(1), state=S.READY).id
    store.claim("a", 60)
    assert store.cancel(job).cancelling
    store.give_back(job, "a")
    assert store.job(job).state == S.CANCELLED
    store.close()


def test_a_scan_is_kept_while_a_job_needs_it(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    scan = ScanRecord(id=spec(1).scan, files=("scan.nii.gz",), bytes=1, created_s=1.0)
    store.add_scan(scan)
    job = store.submit(spec(1))
    assert store.idle_scans(before_s=2.0) == [] and not store.forget_scan(scan.id)
    store.cancel(job.id)
    store.forget(job.id)
    assert store.idle_scans(before_s=2.0) == [scan] and store.forget_scan(scan.id)
    with pytest.raises(InputError, match="no such scan"):
        store.scan(scan.id)
    store.close()
