"""For a moment: a service without an engine, until the queue's own is there."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unetr.core.files.digest import size_and_sha256
from unetr.errors import InputError
from unetr.queue.folder import open_folder
from unetr.queue.record import JobRecord, JobSpec, JobState, ResultFile, ScanRecord, Settings, scan_id
from unetr.queue.store import JobStore
from unetr.serve.service import Health, OfferedModel, Progress, Received

_PLAIN = Settings()


class FakeService:
    """Keeps scans and jobs as the real one does; a job is written when `finish` says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = open_folder(folder)
        self.store = JobStore(self.folder.database)
        model = OfferedModel(
            name="fake",
            sha256="0" * 64,
            title="Fake",
            labels={"background": 0, "ball": 1},
            colours={"ball": (255, 0, 0)},
            channels=("MRI",),
            regions={},
            spacing_mm=(1.0, 1.0, 1.0),
            licence="Apache-2.0",
            metrics={},
        )
        self.models = {"fake": model}
        self._progress: dict[str, Progress] = {}
        self._changed = threading.Condition()
        self._version = 0

    def new_incoming(self) -> Path:
        path = self.folder.incoming / secrets.token_hex(8)
        path.mkdir(0o700)
        return path

    def keep_scan(self, files: Sequence[Received]) -> ScanRecord:
        found = scan_id([one.sha256 for one in files], ordered=False)
        source = self.folder.source(found)
        source.mkdir(parents=True, exist_ok=True)
        names = tuple(f"{number:05}.dcm" for number in range(1, len(files) + 1))
        for one, name in zip(files, names, strict=True):
            one.path.replace(source / name)
        total = sum(one.bytes for one in files)
        return self.store.add_scan(ScanRecord(id=found, files=names, bytes=total, created_s=time.time()))

    def source(self, scan: str) -> Path:
        return self.folder.source(scan)

    def describe(self, scan: str, timeout_s: float = 60) -> Mapping[str, Any]:
        if b"scan" not in (self.folder.source(scan) / "00001.dcm").read_bytes()[:10]:
            raise InputError(f"{self.folder.source(scan)}: is no scan")
        facts = {"kind": "nifti", "shape": [4, 4, 4]}
        self.store.describe_scan(scan, facts)
        return facts

    def view(self, scan: str, series: Sequence[str] = ()) -> Path:
        path = self.folder.view(scan)
        shutil.copyfile(self.folder.source(scan) / "00001.dcm", path)
        return path

    def submit(
        self, scan: str, model: str, settings: Settings = _PLAIN, origin: Mapping[str, Any] | None = None
    ) -> JobRecord:
        if model not in self.models:
            raise InputError("no such model")
        spec = JobSpec(scan=scan, model=model, model_sha256=self.models[model].sha256, settings=settings)
        job = self.store.submit(spec, origin=origin, most_waiting=2)
        self.store.make_ready(job.id)
        self._tell()
        return self.store.job(job.id)

    def run(self, job: str, done: int) -> None:
        """The job is claimed, and has done so many of 10 windows."""
        if self.store.job(job).state is JobState.READY:
            self.store.claim("fake", 60)
        self._progress[job] = Progress(done=done, of=10)
        self._tell()

    def finish(self, job: str, content: bytes = b"labels") -> None:
        folder = self.folder.job(job)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "labels.nii.gz"
        path.write_bytes(content)
        size, digest = size_and_sha256(path)
        result = ResultFile(form="labels", name=path.name, bytes=size, sha256=digest)
        self.run(job, 10)
        self._progress.pop(job)
        assert self.store.make_written(job, "fake", (result,), {"volumes_ml": {"ball": 1.5}})
        self._tell()

    def progress(self, job: str) -> Progress | None:
        return self._progress.get(job)

    def wait(self, job: str, seen: int, timeout_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._version > seen, timeout_s)
            return self._version

    def _tell(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def cancel(self, job: str) -> JobRecord:
        record = self.store.cancel(job)
        self._tell()
        return record

    def result(self, job: str, form: str) -> Path:
        record = self.store.job(job)
        for one in record.results:
            if one.form == form:
                return self.folder.job(job) / one.name
        raise InputError(f"the job has no {form}")

    def correct(self, job: str, labels: Path, meant: Sequence[int] = ()) -> int:
        target = self.folder.job(job) / "corrections"
        target.mkdir(exist_ok=True)
        labels.replace(target / "0001.nii.gz")
        return 1

    def correction(self, job: str, number: int, form: str) -> Path:
        return self.folder.job(job) / "corrections" / f"{number:04}.nii.gz"

    def health(self) -> Health:
        counts = self.store.counts()
        waiting = counts[JobState.RECEIVED] + counts[JobState.READY]
        return Health(
            engine_alive=True,
            engine_restarts=0,
            waiting=waiting,
            oldest_waiting_s=None,
            free_bytes=shutil.disk_usage(self.folder.path).free,
        )

    def told(self, job: str) -> dict[str, Any]:
        return asdict(self.store.job(job))
