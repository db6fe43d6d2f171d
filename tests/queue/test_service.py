"""The service from scan to result, with the shipped model, in its own two processes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.queue.conftest import MODEL, SCAN, ended, kept

import unetr
from unetr.errors import InputError
from unetr.queue.record import JobState, Settings
from unetr.queue.service import Service


def test_a_result_is_what_python_predicts_and_its_digests_are_those_of_its_files(service: Service) -> None:
    scan = kept(service, [SCAN])
    job = ended(service, service.submit(scan.id, MODEL, Settings(uncertainty=True)))
    assert job.state == JobState.WRITTEN and job.error is None
    for one in job.results:
        data = service.result(job.id, one.form).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one.bytes, one.sha256)
    assert {one.form for one in job.results} == {"labels", "preview", "uncertainty", "stats"}
    found = nibabel.load(service.result(job.id, "labels"))
    expected = unetr.load(MODEL).predict(SCAN)
    np.testing.assert_array_equal(np.asarray(found.dataobj), expected.labels.data[0])
    np.testing.assert_allclose(found.affine, nibabel.load(SCAN).affine)
    stats = json.loads(service.result(job.id, "stats").read_text())
    assert stats == job.summary
    assert stats["volumes_ml"] == pytest.approx(expected.volumes_ml)
    assert stats["voxels"] == {
        "Anterior": int((found.dataobj[:] == 1).sum()),
        "Posterior": int((found.dataobj[:] == 2).sum()),
    }


def test_the_same_work_is_one_job(service: Service) -> None:
    scan, again = kept(service, [SCAN]), kept(service, [SCAN])
    assert scan.id == again.id
    first = service.submit(scan.id, MODEL, Settings(strict=True))
    done = ended(service, first)
    assert service.submit(scan.id, MODEL, Settings(strict=True)) == done
    assert done.attempts == 1


def test_a_view_has_the_voxels_and_the_place_of_the_scan(service: Service) -> None:
    scan = kept(service, [SCAN])
    facts = service.describe(scan.id)
    view, source = nibabel.load(service.view(scan.id)), nibabel.load(SCAN)
    assert facts["kind"] == "nifti" and facts["shape"] == list(source.shape)
    np.testing.assert_array_equal(view.get_fdata(), source.get_fdata())
    np.testing.assert_allclose(view.affine, source.affine)


def test_what_is_no_scan_fails_in_words_without_places(service: Service, tmp_path: Path) -> None:
    broken = tmp_path / "Mustermann.nii.gz"
    broken.write_bytes(SCAN.read_bytes()[:-2000])
    scan = kept(service, [broken])
    with pytest.raises(InputError, match=r"^scan\.nii\.gz: .*truncated"):
        service.describe(scan.id)
    job = ended(service, service.submit(scan.id, MODEL))
    assert job.state == JobState.FAILED and job.error is not None
    assert job.error.message.startswith("scan.nii.gz: ") and str(service.folder.path) not in job.error.message
