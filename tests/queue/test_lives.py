"""Processes that die, hang or are asked to stop: no job is lost, and the next one is done."""

from __future__ import annotations

import errno
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.queue.conftest import MODEL, SCAN, ended, kept, until
from tests.systems import POSIX

from unetr.core.machine.child import python_module, start_talking
from unetr.errors import InputError, MachineError
from unetr.queue import store
from unetr.queue.children import child, reader
from unetr.queue.record import JobState, Settings
from unetr.queue.service import Service, ServiceOptions
from unetr.queue.store import JobStore
from unetr.queue.tasks.reading import Source

pytestmark = POSIX
QUICK = ServiceOptions(cancel_s=1.0, lease_s=3.0)


@pytest.fixture(scope="module")
def slow_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that takes many windows."""
    path = tmp_path_factory.mktemp("slow") / "scan.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 1000, (128, 128, 96)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests: each leaves it as good as new."""
    with Service(tmp_path_factory.mktemp("queue") / "q", [MODEL], QUICK) as started:
        yield started


@pytest.fixture(autouse=True)
def _nothing_left(service: Service) -> Iterator[None]:
    yield
    for job in service.store.jobs():
        service.cancel(job.id)
        ended(service, job)
        service.store.forget(job.id)


def running(service: Service, path: Path) -> str:
    """A job whose first windows are done."""
    scan = kept(service, [path])
    service.describe(scan.id)
    job = service.submit(scan.id, MODEL, Settings(tta=True)).id
    until(lambda: (found := service.progress(job)) is not None and found.done > 0)
    return job


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def test_a_cancelled_job_stops_and_the_next_one_starts(service: Service, slow_scan: Path) -> None:
    job = running(service, slow_scan)
    follower = service.submit(kept(service, [SCAN]).id, MODEL)
    engine, asked_s = service.engine_pid, time.monotonic()
    assert service.cancel(job).cancelling
    until(lambda: service.store.job(job).state == JobState.CANCELLED)
    stopped_s = time.monotonic() - asked_s
    assert ended(service, follower).state == JobState.WRITTEN
    assert stopped_s <= 2 and time.monotonic() - asked_s <= 5 + 2
    assert service.engine_pid == engine, "it obeyed, and so lives on"
    assert not list(service.folder.job(job).glob("labels*"))


def test_an_engine_that_does_not_stop_is_ended(service: Service, slow_scan: Path) -> None:
    job = running(service, slow_scan)
    os.kill(service.engine_pid, signal.SIGSTOP)
    service.cancel(job)
    until(lambda: service.store.job(job).state == JobState.CANCELLED, 10)
    assert ended(service, service.submit(kept(service, [SCAN]).id, MODEL)).state == JobState.WRITTEN
    assert service.health().engine and service.health().restarts > 0


def test_a_job_outlives_its_engine_until_its_attempts_are_used_up(
    service: Service, slow_scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_ATTEMPTS", 2)
    small = service.submit(kept(service, [SCAN]).id, MODEL)
    job = running(service, slow_scan)
    for attempt, end in ((1, signal.SIGSTOP), (2, signal.SIGKILL)):
        until(lambda: (found := service.progress(job)) is not None and found.done > 0)
        assert service.store.job(job).attempts == attempt
        monkeypatch.setattr(child, "_SILENT_S", 2.0 if end == signal.SIGSTOP else 60.0)
        os.kill(service.engine_pid, end)  # one that is stopped gives no sign of life
        until(lambda: service.progress(job) is None)
    failed = service.store.job(job)
    assert failed.state == JobState.FAILED and failed.error is not None
    assert failed.error.message == "the engine ended with -9 before it had answered; it was tried 2 times"
    assert ended(service, small).attempts == 1
    states = [event.state for event in service.store.events(job)]
    assert states.count(JobState.RUNNING) == 2 and states[-1] == JobState.FAILED


def test_a_reader_that_dies_takes_one_description_with_it(service: Service, tmp_path: Path) -> None:
    other = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4)), other)
    os.kill(service.reader_pid, signal.SIGKILL)
    assert service.describe(kept(service, [SCAN.with_name("truth.nii.gz")]).id)["kind"] == "nifti"
    os.kill(service.reader_pid, signal.SIGSTOP)
    with pytest.raises(Exception, match=r"the process that reads it took longer than 1 s"):
        service.describe(kept(service, [other]).id, timeout_s=1)
    assert service.describe(kept(service, [other]).id)["shape"] == [4, 5, 6]


@pytest.mark.parametrize("times", [1, 2])
def test_a_scan_is_read_again_once_where_its_reader_was_killed(service: Service, tmp_path: Path, times: int) -> None:
    other = tmp_path / "scan.nii.gz"
    voxels = np.random.default_rng(times).integers(0, 1000, (128, 128, 96)).astype(np.int16)
    other.write_bytes(gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes(), 1))
    scan, told = kept(service, [other]), list[object]()
    left = service.folder.scan(scan.id) / ".unetr-0123456789ab.nii"  # as of a reader that was killed while it wrote
    left.touch()
    reads = service._reader
    until(lambda: not reads._turn.locked())
    restarts = reads.restarts
    os.kill(reads.pid, signal.SIGKILL)  # a fresh one has to import first, which takes a while
    until(lambda: not reads._child.alive)

    def view() -> None:
        try:
            told.append(service.view(scan.id))
        except InputError as error:
            told.append(error)

    asking = threading.Thread(target=view)
    asking.start()
    for time_ in range(1, times + 1):
        until(lambda time_=time_: reads.restarts == restarts + time_ and reads._child._begun, 30)
        os.kill(reads.pid, signal.SIGKILL)
    asking.join(60)
    if times == 1:
        np.testing.assert_array_equal(np.asarray(nibabel.load(service.folder.view(scan.id)).dataobj), voxels)
    else:
        expected = (
            "the scan: the process that reads it ended with -9 before it had answered; is it damaged, or too large?"
        )
        assert [str(one) for one in told] == [expected]
    assert not left.exists()
    assert service.describe(scan.id)["shape"] == [128, 128, 96], "it was not the scan"


def test_a_child_over_its_memory_is_ended() -> None:
    lost = child.Child()
    with pytest.raises(child.ChildLostError, match=r"took more memory than its limit of 0.00 GB"):
        lost.ask("describe", Source(files=(SCAN,)), child.Watch(memory_limit_bytes=1 << 20))
    assert not lost.alive


PARENT = """
import sys, time
from pathlib import Path
from tests.queue.conftest import MODEL, kept
from unetr.queue.record import Settings
from unetr.queue.service import Service
service = Service(Path(sys.argv[1]), [MODEL])
job = service.submit(kept(service, [Path(sys.argv[2])]).id, MODEL, Settings(tta=True))
while (found := service.progress(job.id)) is None or not found.done:
    time.sleep(0.02)
print(job.id, service.engine_pid, service.reader_pid, flush=True)
time.sleep(600)
"""


def test_a_killed_server_leaves_no_process_and_no_job_behind(tmp_path: Path, slow_scan: Path) -> None:
    tree = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path / "q", slow_scan], stdout=subprocess.PIPE, text=True, cwd=tree
    )
    assert parent.stdout is not None
    job, engine, reader = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    until(lambda: gone(int(engine)) and gone(int(reader)), 5)
    with Service(tmp_path / "q", [MODEL]) as service:
        until(lambda: service.progress(job) is not None)
        assert service.store.job(job).attempts == 2
    store = JobStore(service.folder.database)  # a service that is closed gives its job back, as no attempt
    assert (store.job(job).state, store.job(job).attempts) == (JobState.READY, 1)
    store.close()


def test_a_child_ends_with_its_parent_also_in_the_middle_of_a_line() -> None:
    talking = start_talking(python_module(child.MODULE))
    assert talking.stdin is not None
    talking.stdin.write(b'{"number": 1, "task"')
    talking.stdin.close()
    try:
        talking.wait(20)
    finally:
        talking.kill()


def test_a_machine_that_starts_no_process_now_does_so_later(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), other)
    with monkeypatch.context() as patch:

        def none(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(child, "start_talking", none)
        for pid in (service.engine_pid, service.reader_pid):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not service.health().engine)
        with pytest.raises(MachineError, match="Too many open files"):
            service.describe(kept(service, [other]).id)
        job = service.submit(kept(service, [SCAN]).id, MODEL)  # its scan's facts are known
        until(lambda: service.health().last_error == "NoChildError")
    assert ended(service, job).state == JobState.WRITTEN


def test_whoever_asks_while_another_scan_is_read_is_told_so(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, other = kept(service, [SCAN]), tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)), other)
    scan = kept(service, [other])
    made = service.view(known.id)
    monkeypatch.setattr(reader, "_PATIENCE_S", 0.2)
    os.kill(service.reader_pid, signal.SIGSTOP)
    slow = threading.Thread(target=lambda: service.view(scan.id))
    slow.start()
    try:
        until(lambda: service._forms._making.locked() and service._reader._turn.locked())
        for asks in (service.describe, service.view):
            with pytest.raises(reader.ReaderBusyError, match="another scan is being read still; try again"):
                asks(scan.id)
        assert service.view(known.id) == made, "what is there already waits for nobody"
        job = service.submit(scan.id, MODEL)
        time.sleep(0.5)
        assert service.store.job(job.id).state == JobState.RECEIVED, "a job waits for its turn"
    finally:
        os.kill(service.reader_pid, signal.SIGCONT)
        slow.join(30)
    assert ended(service, job).error is None or service.store.job(job.id).error.kind == "InputError"
