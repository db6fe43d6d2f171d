"""Results to deliver: a queue's database with written jobs, whose files are made here from synthetic series."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.io.dicom import dicom_maker

from unetr.core.files.digest import size_and_sha256
from unetr.core.space.volume import Volume
from unetr.io.dicom.volume import read_dicom
from unetr.io.results import RESULT_FORMATS, write_result
from unetr.node.delivery.destination import wanted
from unetr.queue.folder import QueueFolder, open_folder
from unetr.queue.record import JobSpec, JobState, ResultFile, ScanRecord, scan_id
from unetr.queue.store import JobStore

SHAPE = (16, 12, 9)
FORMS = ("dicom-seg", "rtstruct")
NAMES = {1: "liver", 2: "odd thing", 3: "kidney_left"}


@dataclass(frozen=True)
class MadeResults:
    """What the outbox needs of a service: a store, and files that are written already."""

    folder: QueueFolder
    store: JobStore

    def result(self, job_id: str, form: str) -> Path:
        job = self.store.job(job_id)
        name = next(one.name for one in job.results if one.form == form)
        return self.folder.job(job_id) / name


def labels_of(series: Path) -> Volume:
    """Labels on the grid of a series in a folder, unlike along every axis."""
    scan = read_dicom(series)
    values = np.random.default_rng(0).integers(0, 4, scan.shape).astype(np.uint8)
    values[:, :, :2] = 0
    return scan.with_data(values[None], label_names=NAMES)


def results_in(folder: Path) -> MadeResults:
    """An empty queue's folder."""
    opened = open_folder(folder)
    return MadeResults(opened, JobStore(opened.database))


def written_job(
    results: MadeResults, series: Path, deliveries: dict[str, tuple[str, ...]], supersedes: str = "", **tags: Any
) -> str:
    """A job in the state written, its files made from a synthetic series in `series`; its id."""
    if not series.exists():
        voxels = np.random.default_rng(len(supersedes)).integers(0, 900, SHAPE, dtype=np.int16)
        dicom_maker.write_series(series, voxels, spacing_mm=(0.8, 0.9, 2.5), **tags)
    scan = scan_id([size_and_sha256(path)[1] for path in sorted(series.iterdir())], ordered=False)
    results.store.add_scan(ScanRecord(id=scan, files=(), bytes=0, created_s=0.0))
    spec = JobSpec(scan=scan, model="test", model_sha256="0" * 64)
    origin = wanted(deliveries) | ({"supersedes": [supersedes]} if supersedes else {})
    results.store.submit(spec, state=JobState.READY, origin=origin, most_waiting=1000)
    results.store.claim("test", 60)
    labels, files = labels_of(series), []
    for form in FORMS:
        name = f"labels{RESULT_FORMATS[form].ending}"
        path = results.folder.job(spec.id) / name
        write_result(path, labels, form, "test", spec.key)
        size, sha256 = size_and_sha256(path)
        files.append(ResultFile(form=form, name=name, bytes=size, sha256=sha256))
    assert results.store.make_written(spec.id, "test", files, {})
    return spec.id
