"""For a moment: a service that predicts in this process, until the queue's own is there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.serve.fake import FakeService

import unetr
from unetr.queue.record import JobRecord, JobState, ScanRecord, Settings
from unetr.serve.service import OfferedModel, Received

_PLAIN = Settings()


class PredictingService(FakeService):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._segmenter = unetr.load("hippocampus")
        plan = self._segmenter.plan
        self.models = {
            "hippocampus": OfferedModel(
                name="hippocampus",
                sha256="1" * 64,
                title="Hippocampus",
                labels=plan.written_values,
                colours={},
                channels=("MRI",),
                regions={},
                spacing_mm=plan.spacing_mm,
                licence="",
                metrics={},
            )
        }

    def keep_scan(self, files: Sequence[Received]) -> ScanRecord:
        head = files[0].path.open("rb").read(132)
        record = super().keep_scan(files)
        if head[128:] != b"DICM":
            suffix = ".nii.gz" if head[:2] == b"\x1f\x8b" else ".nrrd" if head[:4] == b"NRRD" else ".nii"
            (self.folder.source(record.id) / "00001.dcm").rename(self.folder.source(record.id) / f"scan{suffix}")
        return record

    def _path(self, scan: str) -> Path:
        found = sorted(self.folder.source(scan).iterdir())
        return found[0] if len(found) == 1 else self.folder.source(scan)

    def submit(
        self, scan: str, model: str, settings: Settings = _PLAIN, origin: Mapping[str, Any] | None = None
    ) -> JobRecord:
        record = super().submit(scan, model, settings, origin)
        if record.state is JobState.READY:
            threading.Thread(target=self._predict, args=(record,)).start()
        return record

    def _predict(self, record: JobRecord) -> None:
        out = self.folder.job(record.id)
        out.mkdir(parents=True, exist_ok=True)
        self._segmenter.predict(self._path(record.spec.scan)).save(out / "labels.nii.gz")
        self.finish(record.id, (out / "labels.nii.gz").read_bytes())

    def view(self, scan: str, series: Sequence[str] = ()) -> Path:
        unetr.io.write_volume(self.folder.view(scan), unetr.read_volume(self._path(scan)))
        return self.folder.view(scan)
