"""The queue's figures: a warm request, cancelling, kills of the engine, memory over many jobs, an idle service.

    uv run python benchmarks/queue_service.py [--kills 10] [--minutes 1] [--only first,warm,cancel,kills,soak,idle]

With the shipped model and scan. A warm request goes from `submit` to written, beside `Segmenter.predict` in this
process with the same engine, threads and priority. The first view is that of a scan which comes as soon as a service
has started, or some seconds later. Kills come in each state of a job: waiting, claimed, between its
windows, its result being written. The soak submits copies of the scan that differ in one voxel; an hour of it is
`--only soak --minutes 60`. What is left after its time is counted at its end.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np

import unetr
from unetr.core.machine import system
from unetr.queue.record import ENDED, JobRecord, JobState, ScanRecord, Settings
from unetr.queue.service import QueueFullError, Received, Service

MODEL = "hippocampus"
SCAN = Path(str(files("unetr.jobs.demo") / "scan" / "scan.nii.gz"))
SETTINGS = [
    Settings(strict=strict, assume_affine=assume, tta=tta) for tta in (False, True) for strict in (False, True)
    for assume in (False, True)
]  # fmt: skip


def main() -> None:
    asked = arguments()
    parts: dict[str, Callable[[Service], None]] = {
        "warm": lambda service: warm(service, asked.requests),
        "cancel": lambda service: cancel(service, asked.repetitions),
        "kills": lambda service: kills(service, asked.kills),
        "idle": idle,
        "soak": lambda service: soak(service, asked.minutes),
    }
    print("| what | figure |\n|---|---|")
    for name in asked.only.split(","):
        if name == "first":
            first(asked.repetitions)
            continue
        with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "q", [MODEL]) as service:
            finished(service, service.submit(kept(service, SCAN.read_bytes()).id, MODEL))
            parts[name](service)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", default="first,warm,cancel,kills,idle,soak")
    return parser.parse_args()


def told(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


def kept(service: Service, data: bytes) -> ScanRecord:
    path = service.new_incoming() / "scan"
    path.write_bytes(data)
    scan = service.keep_scan([Received(path, hashlib.sha256(data).hexdigest(), len(data))])
    service.describe(scan.id)
    return scan


def scans(count: int) -> list[bytes]:
    """The shipped scan with one voxel changed, as many times."""
    image = nibabel.load(SCAN)
    made = []
    for number in range(count):
        voxels = np.asarray(image.dataobj).copy()
        voxels.flat[number] += 1
        made.append(gzip.compress(nibabel.Nifti1Image(voxels, image.affine).to_bytes(), mtime=0))
    return made


def slow_scan() -> bytes:
    """Noise of many windows."""
    voxels = np.random.default_rng(0).integers(0, 1000, (256, 256, 160)).astype(np.int16)
    return gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes(), 1, mtime=0)


def finished(service: Service, job: JobRecord) -> JobRecord:
    seen = 0
    while (found := service.store.job(job.id)).state not in ENDED:
        seen = service.wait(job.id, seen, 60)
    return found


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.005)


def first(count: int) -> None:
    for wait_s in (0, 4):
        took = []
        for _ in range(count):
            with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "q", [MODEL]) as service:
                time.sleep(wait_s)
                started = time.perf_counter()
                service.view(kept(service, SCAN.read_bytes()).id)
                took.append(time.perf_counter() - started)
        told(f"first describe and view, {wait_s} s after the start, median", f"{statistics.median(took):.2f} s")


def warm(service: Service, count: int) -> None:
    segmenter = unetr.load(MODEL)
    alone, whole = [], []
    for data in [*scans(count)]:
        scan = kept(service, data)
        source = service.source(scan.id)
        started = time.perf_counter()
        segmenter.predict(source)
        alone.append(time.perf_counter() - started)
        started = time.perf_counter()
        done = finished(service, service.submit(scan.id, MODEL))
        whole.append(time.perf_counter() - started)
        assert done.state == JobState.WRITTEN
    over = sorted(b - a for a, b in zip(alone[2:], whole[2:], strict=True))
    told("the network alone, median", f"{statistics.median(alone[2:]):.3f} s")
    told("warm request, median", f"{statistics.median(whole[2:]):.3f} s")
    told("over the network's own time, median and largest", f"{statistics.median(over):.3f} s, {over[-1]:.3f} s")


def cancel(service: Service, count: int) -> None:
    scan, small = kept(service, slow_scan()), [kept(service, data) for data in scans(count)]
    stopped, started = [], []
    for number in range(count):
        job = service.submit(scan.id, MODEL, Settings(tta=True))
        until(lambda job=job: (found := service.progress(job.id)) is not None and found.done > 2)
        follower = service.submit(small[number].id, MODEL)
        asked_s = time.perf_counter()
        service.cancel(job.id)
        until(lambda job=job: service.store.job(job.id).state == JobState.CANCELLED)
        stopped.append(time.perf_counter() - asked_s)
        until(lambda follower=follower: service.progress(follower.id) or service.store.job(follower.id).state in ENDED)
        started.append(time.perf_counter() - asked_s)
        finished(service, follower)
    told(f"cancel stops the job, {count} times, largest", f"{max(stopped):.2f} s")
    told("the next job's first window, largest", f"{max(started):.2f} s")


def kills(service: Service, count: int) -> None:
    """kill -9 of the engine at a moment of each kind; every job must end as written, once."""
    big = slow_scan()
    moments: dict[str, Callable[[str], object]] = {
        "waiting": lambda job: True,
        "claimed": lambda job: service.store.job(job).state == JobState.RUNNING,
        "between windows": lambda job: (found := service.progress(job)) is not None and found.done > 0,
        "writing": lambda job: (service.folder.job(job) / "labels.nii.gz").exists(),
    }
    small = scans(len(moments) * count)
    lost = twice = 0
    for index, (name, moment) in enumerate(moments.items()):
        for number in range(count):
            scan = kept(service, big if name == "between windows" else small[index * count + number])
            job = service.submit(scan.id, MODEL, Settings())
            until(lambda job=job, moment=moment: moment(job.id) or service.store.job(job.id).state in ENDED)
            os.kill(service.engine_pid, signal.SIGKILL)
            done = service.store.job(job.id) if name == "between windows" else finished(service, job)
            if name == "between windows":  # a whole sweep of the noise tells no more
                until(lambda job=job: service.store.job(job.id).attempts == 2 and service.progress(job.id))
                service.cancel(job.id)
                done = finished(service, job)
                lost += done.attempts != 2
                service.store.forget(job.id)
                continue
            lost += done.state != JobState.WRITTEN
            written = [event for event in service.store.events(job.id) if event.state == JobState.WRITTEN]
            twice += len(written) > 1
            for one in done.results:
                data = service.result(job.id, one.form).read_bytes()
                lost += hashlib.sha256(data).hexdigest() != one.sha256
    told(f"kill -9 of the engine in {len(moments)} states × {count}", f"{lost} lost, {twice} twice")


def idle(service: Service) -> None:
    seconds = 20
    pids = [os.getpid(), service.engine_pid, service.reader_pid]
    before = [processor_s(pid) for pid in pids]
    time.sleep(seconds)
    used = [processor_s(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    told(f"processor in {seconds} s of waiting: server, engine, reader", ", ".join(f"{each:.2f} s" for each in used))


def soak(service: Service, minutes: float) -> None:
    ends_s, jobs, refused = time.monotonic() + 60 * minutes, 0, 0
    random.seed(0)
    service.options = replace(service.options, retention_s=60.0)
    sizes: list[tuple[int, int, int, int]] = []
    base = np.asarray(nibabel.load(SCAN).dataobj)
    while time.monotonic() < ends_s:
        voxels = base.copy()
        voxels.flat[random.randrange(voxels.size)] += 1 + jobs
        data = gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes(), 1, mtime=0)
        try:
            assert finished(service, service.submit(kept(service, data).id, MODEL)).state == JobState.WRITTEN
        except QueueFullError:
            refused += 1
        jobs += 1
        if jobs % 10 == 0:
            sizes.append((jobs, *(resident(pid) for pid in (os.getpid(), service.engine_pid, service.reader_pid))))
    tail = sizes[len(sizes) // 3 :]  # the first third fills caches
    told(f"jobs in {minutes:g} minutes; refused", f"{jobs}; {refused}")
    for column, name in enumerate(("server", "engine", "reader"), 1):
        told(f"growth of the {name} per 100 jobs, fitted", f"{slope(tail, column) / 1e6:.2f} MB")
    service.options = replace(service.options, retention_s=0.0)
    service.remove_old()
    rooms = [service.folder.path / room for room in ("scans", "jobs", "incoming")]
    told("files left after their time", str(sum(path.is_file() for room in rooms for path in room.rglob("*"))))


def slope(sizes: Sequence[tuple[int, int, int, int]], column: int) -> float:
    """Bytes per 100 jobs, by least squares."""
    if len(sizes) < 3:
        return float("nan")
    jobs, bytes_ = np.array([(one[0], one[column]) for one in sizes], float).T
    return float(100 * np.polyfit(jobs, bytes_, 1)[0])


def resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return 1024 * int(fields[fields.index("VmRSS:") + 1])


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    system.lower_priority()  # as the engine does, so that a busy machine is as slow for both
    print(f"{system.available_cores()} cores, load {os.getloadavg()[0]:.1f}")
    main()
