"""A program for `test_crashes.py`: a scan is kept, becomes a job, is done and removed, and the process that does it
dies before one step; once for each step. Steps are changes of the file system and statements of the database.

Prints how many steps there were. One thread, so that it may fork.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unetr.queue.files.removal import emptied, remove_old, remove_unknown
from unetr.queue.files.scans import Received, Scans
from unetr.queue.folder import QueueFolder, open_folder
from unetr.queue.record import JobSpec, JobState, ResultFile, Settings
from unetr.queue.store import JobStore

FILES = [b"NRRD0004\n" + name * 1000 for name in (b"a", b"b")]
LABELS = b"labels"
RESULT = ResultFile(form="labels", name="labels", bytes=len(LABELS), sha256=hashlib.sha256(LABELS).hexdigest())
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
NEVER = 10**9


@contextmanager
def opened(path: Path) -> Iterator[tuple[QueueFolder, JobStore, Scans]]:
    folder = open_folder(path)
    store = JobStore(folder.database)
    try:
        yield folder, store, Scans(folder, store)
    finally:
        store.close()


def work(path: Path, said: int, dies_at: int) -> None:
    """All of it; each part is told when it is done."""
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        if steps == dies_at:
            os._exit(9)
        steps += 1

    with opened(path) as (folder, store, scans):
        if dies_at < NEVER:
            store._database._connection.set_trace_callback(step)
            sys.addaudithook(lambda event, _: step() if event in CHANGES else None)
        received = []
        (folder.incoming / "here").mkdir()
        for number, data in enumerate(FILES):
            file = folder.incoming / "here" / str(number)
            file.write_bytes(data)
            received.append(Received(file, hashlib.sha256(data).hexdigest(), len(data)))
        scan = scans.keep(received)
        assert [(folder.source(scan.id) / name).read_bytes() for name in scan.files] == FILES
        os.write(said, b"s")
        spec = JobSpec(scan=scan.id, model="m", model_sha256="1" * 64, settings=Settings())
        job = store.submit(spec, state=JobState.READY)
        os.write(said, b"j")
        if job.state == JobState.READY:
            store.claim("engine", 60)
            (emptied(folder.job(job.id)) / RESULT.name).write_bytes(LABELS)
            assert store.make_written(job.id, "engine", [RESULT], {})
        os.write(said, b"w")
        os.write(said, b"r")  # from here on, things may go
        remove_old(folder, store, scans, 1e12, lambda job: False)
        os.write(said, b"e")


def looked_at(path: Path, said: bytes) -> None:
    """After the start: what was told to be there is, whole; nothing lies there that nobody knows."""
    with opened(path) as (folder, store, _):
        store.take_back_all()
        remove_unknown(folder, store)
        assert not list(folder.incoming.iterdir())
        assert {one.name for one in (path / "scans").iterdir()} <= store.scan_ids()
        assert {one.name for one in (path / "jobs").iterdir()} <= store.job_ids()
        if b"r" in said:
            return
        assert len(store.scan_ids()) >= said.count(b"s") and len(store.job_ids()) >= said.count(b"j")
        for scan in store.scan_ids():
            found = [(folder.source(scan) / name).read_bytes() for name in store.scan(scan).files]
            assert found == FILES
        for job in store.jobs():
            assert job.state in (JobState.READY, JobState.WRITTEN)
            assert job.state == JobState.WRITTEN or b"w" not in said
            if job.state == JobState.WRITTEN:
                assert (folder.job(job.id) / RESULT.name).read_bytes() == LABELS


def died(path: Path, dies_at: int) -> tuple[bool, bytes]:
    """Whether the process died at this step, and what it had told before."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        work(path, write, dies_at)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as told:
        said = told.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9, said


def main(path: Path) -> None:
    dies_at = 0
    nowhere = os.open(os.devnull, os.O_WRONLY)
    while True:
        folder = path / str(dies_at)
        dead, said = died(folder, dies_at)
        looked_at(folder, said)
        work(folder, nowhere, NEVER)  # the same comes again
        left = [file for room in ("scans", "jobs", "incoming") for file in (folder / room).iterdir()]
        assert not left, left
        if not dead:
            break
        dies_at += 1
    print(dies_at)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
