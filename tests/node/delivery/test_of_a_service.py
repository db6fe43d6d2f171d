"""From a DICOM series to a PACS: what a service makes of it is in a real Orthanc, voxel for voxel, once."""

from __future__ import annotations

import hashlib
import io
import shutil
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from tests.io.dicom import dicom_maker
from tests.orthanc import Orthanc

from unetr.core.version import __version__
from unetr.node.delivery.destination import Destination, StowService, wanted
from unetr.node.delivery.outbox import Outbox
from unetr.node.delivery.senders import open_senders
from unetr.queue.record import JobState, Settings
from unetr.queue.service import Received, Service

SCAN = Path(str(files("unetr.jobs.demo") / "scan" / "scan.nii.gz"))
FORMS = ("capture", "dicom-seg", "rtstruct")
KINDS = ("SC", "SEG", "RTSTRUCT")
highdicom = pytest.importorskip("highdicom")


def series_of_the_demonstration(folder: Path) -> None:
    """The scan of the demonstration as a DICOM series in the patient's axes."""
    image = nibabel.as_closest_canonical(nibabel.load(SCAN))
    voxels = np.asarray(image.dataobj)[::-1, ::-1]  # RAS -> LPS
    voxels = np.ascontiguousarray(voxels / voxels.max() * 1000).astype(np.int16)
    corner = image.affine @ [image.shape[0] - 1, image.shape[1] - 1, 0, 1]
    origin = (-corner[0], -corner[1], corner[2])
    dicom_maker.write_series(folder, voxels, spacing_mm=nibabel.affines.voxel_sizes(image.affine), origin=origin)


def received(service: Service, folder: Path) -> list[Received]:
    incoming, found = service.new_incoming(), []
    for number, path in enumerate(sorted(folder.iterdir())):
        copy = incoming / str(number)
        shutil.copyfile(path, copy)
        found.append(Received(copy, hashlib.sha256(copy.read_bytes()).hexdigest(), copy.stat().st_size))
    return found


def test_every_form_arrives(tmp_path: Path, orthanc: Orthanc, dicom_errors: Callable[[Path], list[str]]) -> None:
    series_of_the_demonstration(tmp_path / "series")
    destination = Destination(name="pacs", stow=StowService(url=orthanc.dicom_web))
    with Service(tmp_path / "queue", ["hippocampus"]) as service:
        scan = service.keep_scan(received(service, tmp_path / "series"))
        settings = Settings(forms=FORMS)
        job = service.submit(scan.id, "hippocampus", settings, wanted({"pacs": FORMS}))
        with Outbox(service, open_senders([destination])) as outbox:
            end = time.monotonic() + 240
            while service.store.job(job.id).state in (JobState.RECEIVED, JobState.READY, JobState.RUNNING):
                assert time.monotonic() < end
                time.sleep(0.05)
            while service.store.job(job.id).state != JobState.DELIVERED and time.monotonic() < end:
                time.sleep(0.05)
            done = service.store.job(job.id)
            assert done.state == JobState.DELIVERED, [done.error, outbox.letters.open("pacs"), outbox.letters.dead()]
        there = {one["Modality"]: orthanc.file(one["ID"]) for one in orthanc.instances()}
        assert sorted(there) == ["OT", "RTSTRUCT", "SEG"]
        for modality, content in there.items():
            path = tmp_path / f"{modality}.dcm"
            path.write_bytes(content)
            assert dicom_errors(path) == []
        labels = nibabel.load(service.result(job.id, "labels"))
        assert np.array_equal(by_position(there["SEG"], labels), np.asarray(labels.dataobj))
        capture = pydicom.dcmread(io.BytesIO(there["OT"]))
        assert capture.pixel_array.std() > 10
        assert capture.BurnedInAnnotation == "NO"
        again = service.store.job(service.submit(scan.id, "hippocampus", settings).id)
        assert (again.id, again.state) == (job.id, JobState.DELIVERED)
    uids = {pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID for content in there.values()}
    by = (
        f"unetr {pydicom.dcmread(io.BytesIO(there['SEG'])).ManufacturerModelName.removeprefix('unetr ')}",
        __version__,
    )
    assert uids == {pydicom.uid.generate_uid(entropy_srcs=[job.spec.key, kind, *by]) for kind in KINDS}


def by_position(content: bytes, labels: Any) -> Any:
    """The label values of a SEG on the grid of a NIfTI, each voxel where highdicom says that it lies."""
    seg = highdicom.seg.segread(io.BytesIO(content))
    values = np.array([0, *(int(each.SegmentDescription.split()[-1]) for each in seg.SegmentSequence)])
    volume = seg.get_volume(combine_segments=True, dtype=np.uint16, allow_missing_positions=True)
    indices = np.argwhere(volume.array > 0)
    ras = volume.map_indices_to_reference(indices) * (-1, -1, 1)
    ours = np.rint(nibabel.affines.apply_affine(np.linalg.inv(labels.affine), ras)).astype(int)
    found = np.zeros(labels.shape, int)
    found[tuple(ours.T)] = values[volume.array[tuple(indices.T)]]
    return found
