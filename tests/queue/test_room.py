"""A disk without room: jobs wait for it, and lose neither an attempt nor their place; nothing half-written is left."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.queue.conftest import MODEL, SCAN, ended, kept, until
from tests.systems import POSIX

from unetr.core.files.atomic import machine_error, write_text
from unetr.errors import InputError, MachineError, NoRoomError, expected_error
from unetr.jobs.apart.job import error_told, told_error
from unetr.queue.children import engine
from unetr.queue.children.room import Room
from unetr.queue.record import JobRecord, JobState, Settings
from unetr.queue.service import Service
from unetr.queue.store import JobStore

# For the database, not for a result.
LITTLE = 100_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def filled(disk: Path, but: int) -> Iterator[None]:
    """Within it, the disk has room for so many bytes alone."""
    filling = disk / "filling"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    os.truncate(filling, filling.stat().st_size - but)
    yield
    filling.unlink(missing_ok=True)


def waits_for_room(service: Service, job: JobRecord) -> bool:
    found = service.store.job(job.id)
    return found.error is not None and (found.state, found.error.kind) == (JobState.READY, "NoRoomError")


@POSIX
def test_jobs_wait_for_room_through_a_cancel_and_a_new_start_and_then_go_on(disk: Path) -> None:
    with Service(disk / "q", [MODEL]) as service:
        scan, other = kept(service, [SCAN]), kept(service, [SCAN.with_name("truth.nii.gz")])
        service.describe(scan.id)
        service.describe(other.id)
        with filled(disk, LITTLE):
            first, second = (service.submit(scan.id, MODEL, Settings(strict=strict)) for strict in (False, True))
            for job in (first, second):
                until(lambda job=job: waits_for_room(service, job))
                found = service.store.job(job.id)
                assert found.attempts == 0 and found.error is not None
                assert found.error.message.startswith("the server's disk has no room for the result")
                assert not service.folder.job(job.id).exists(), "nothing half-written is left"
            assert service.health().no_room and service.health().engine
            with pytest.raises(NoRoomError, match=r"view\.nii: cannot be written: the disk is full"):
                service.view(other.id)
            assert [path.name for path in service.folder.scan(other.id).iterdir()] == ["source"]
            assert service.cancel(second.id).state == JobState.CANCELLED
            assert service.store.job(second.id).error is None
            service.close()
            store = JobStore(service.folder.database)
            assert (store.job(first.id).state, store.job(first.id).attempts) == (JobState.READY, 0)
            store.close()
            with Service(disk / "q", [MODEL]) as again:
                until(lambda: again.health().no_room)
                until(lambda: waits_for_room(again, first))
                (disk / "filling").unlink()
                done = ended(again, first, 10)
                assert (done.state, done.attempts, done.error) == (JobState.WRITTEN, 1, None), "by itself, at once"
                assert again.store.job(second.id).state == JobState.CANCELLED
                until(lambda: not again.health().no_room)
                with filled(disk, 0), pytest.raises((NoRoomError, OSError)) as told:
                    kept(again, [SCAN.with_name("truth.nii.gz")])
                assert isinstance(expected_error(told.value), NoRoomError)


def test_a_result_that_the_database_has_no_room_for_is_noted_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOOK_S", 0.05)
    scan = kept(service, [SCAN])
    service.describe(scan.id)
    refused = threading.Event()
    written = service.store.make_written

    def full(*args: object) -> bool:
        if refused.is_set():
            return written(*args)  # type: ignore[arg-type]
        with service.store.changing() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
        try:
            with service.store.changing() as connection:
                connection.execute("CREATE TABLE much AS SELECT zeroblob(1000000)")
        finally:
            with service.store.changing() as connection:
                connection.execute("PRAGMA max_page_count = 4294967294")
            if service.health().no_room:
                refused.set()
        return False

    monkeypatch.setattr(service.store, "make_written", full)
    job = ended(service, service.submit(scan.id, MODEL, Settings(strict=True, assume_affine=True)))
    assert refused.is_set() and (job.state, job.attempts) == (JobState.WRITTEN, 1)
    assert service.health().last_error == "NoRoomError"
    assert service.result(job.id, "labels").stat().st_size == job.results[0].bytes


def test_a_scan_that_the_database_has_no_room_for_leaves_no_file(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise NoRoomError("the database of jobs cannot be written: database or disk is full; free space")

    scan = tmp_path / "scan.nrrd"
    scan.write_bytes(b"NRRD0004\n" + bytes(1000))
    monkeypatch.setattr(service.store, "add_scan", full)
    before = set((service.folder.path / "scans").iterdir())
    with pytest.raises(NoRoomError):
        kept(service, [scan])
    assert set((service.folder.path / "scans").iterdir()) == before


def test_a_try_is_worth_it_with_more_room_or_after_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, free = 0.0, 10 << 20
    room = Room(tmp_path, lambda: now)
    monkeypatch.setattr(Room, "_free_bytes", lambda self: free)
    tries = []
    for second in range(1000):
        now = float(second)
        if "a" not in room.later(lambda: ["a"]):
            tries.append(second)
            room.missing("a")
    assert tries == [0, 5, 15, 35, 75, 155, 315, 615, 915], "seldom, where only the quota's owner knows"
    free += 1 << 20
    assert room.later(lambda: ["a"]) == {"a"}, "little more is not worth it, after so many tries"
    free += 1 << 30
    assert not room.later(lambda: ["a"]) and room.is_short
    room.enough()
    assert not room.is_short
    room.missing("a")
    assert room.later(lambda: ["a", "b"]) == {"a"}, "another one may need less"
    assert room.later(lambda: ["b"]) == set(), "it was cancelled"


@POSIX
def test_a_file_that_may_not_grow_is_missing_room(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(NoRoomError, match="larger than a file may be there"):
            write_text(tmp_path / "a.txt", "a" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES])
def test_missing_room_is_one_kind_of_error_wherever_it_is_met(number: int) -> None:
    kind = NoRoomError if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else MachineError
    error = OSError(number, os.strerror(number), "a.nii")
    for told in (machine_error(Path("a.nii"), error), expected_error(error)):
        assert type(told) is kind and type(error_told(told_error(told))) is kind


def test_a_full_database_is_missing_room(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite3")
    with store.changing() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(NoRoomError, match="database of jobs cannot be written"), store.changing() as connection:
        connection.execute("CREATE TABLE much AS SELECT zeroblob(1000000)")
    with pytest.raises(InputError), store.changing():
        raise InputError("other")
    with pytest.raises(MachineError) as told, store.changing() as connection:
        connection.execute("nonsense")
    assert type(told.value) is MachineError and isinstance(told.value.__cause__, sqlite3.OperationalError)
    store.close()
