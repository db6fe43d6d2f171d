"""A service with the shipped model and scan, and a slow model, for the tests of the queue."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import pytest

from unetr.queue.record import ENDED, JobRecord, ScanRecord
from unetr.queue.service import Received, Service

SCAN = Path(str(files("unetr.jobs.demo") / "scan" / "scan.nii.gz"))
MODEL = "hippocampus"
PATIENT = "Mustermann"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that do not break it."""
    with Service(tmp_path_factory.mktemp("queue") / "q", [MODEL]) as started:
        yield started


def kept(service: Service, paths: Sequence[Path]) -> ScanRecord:
    """The files as a door keeps them: copies, under names that say nothing."""
    folder = service.new_incoming()
    received = []
    for number, path in enumerate(paths):
        copy = folder / str(number)
        shutil.copyfile(path, copy)
        data = copy.read_bytes()
        received.append(Received(copy, hashlib.sha256(data).hexdigest(), len(data)))
    return service.keep_scan(received)


def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Waits until it holds."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "took too long"
        time.sleep(0.02)


def ended(service: Service, job: JobRecord, timeout_s: float = 60) -> JobRecord:
    """The job when it has ended, waited for as a door does."""
    ends, seen = time.monotonic() + timeout_s, 0
    while (found := service.store.job(job.id)).state not in ENDED:
        assert time.monotonic() < ends, f"is {found.state} still"
        seen = service.wait(job.id, seen, 1)
    return found
