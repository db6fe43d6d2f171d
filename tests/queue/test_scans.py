"""What comes in: forms told by content, names of our own, DICOM and its results, corrections."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from tests.io.dicom import dicom_maker as maker
from tests.queue.conftest import MODEL, SCAN, ended, kept

from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.io import write_volume
from unetr.queue.record import JobState, Settings
from unetr.queue.service import Service

VOXELS = np.asarray(nibabel.load(SCAN).dataobj).astype(np.int16)
NAME = "Mustermann"


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The shipped scan as a series of a patient, whose name its files and description have, too."""
    folder = tmp_path_factory.mktemp("dicom")
    names = [f"{NAME}-{z}.dcm" for z in range(VOXELS.shape[2])]
    maker.write_series(folder, VOXELS, names=names, SeriesDescription=f'{NAME}") says', PatientID=NAME)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def archive(dicom: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "scan"
    with zipfile.ZipFile(path, "w") as made:
        for file in dicom:
            made.write(file, f"{NAME}: x/{file.name}")
    return path


def volume(path: Path, suffix: str) -> Path:
    """The same voxels in another format, under a name that says nothing."""
    made = path / f"scan{suffix}"
    write_volume(made, Volume(VOXELS[None], np.eye(4)))
    return made.rename(path / f"as{suffix.replace('.', '-')}")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_form_is_told_by_content_alone(service: Service, tmp_path: Path, suffix: str) -> None:
    scan = kept(service, [volume(tmp_path, suffix)])
    assert scan.files == (f"scan{suffix}",)
    facts = service.describe(scan.id)
    assert (facts["kind"], facts["shape"]) == (suffix.split(".")[1].replace("nii", "nifti"), list(VOXELS.shape))
    assert service.source(scan.id) == service.folder.source(scan.id) / f"scan{suffix}"


def test_dicom_and_a_zip_of_it_are_one_kind(service: Service, dicom: list[Path], archive: Path) -> None:
    scan = kept(service, [*reversed(dicom), dicom[0]])
    assert scan.files == tuple(f"{n + 1:05}.dcm" for n in range(len(dicom))), "what comes twice counts once"
    assert kept(service, dicom).id == scan.id, "slices come in any order"
    packed = kept(service, [archive])
    assert packed.files == ("scan.zip",)
    for one in (scan, packed):
        facts = service.describe(one.id)
        assert (facts["kind"], facts["modality"], facts["shape"]) == ("dicom", "MR", list(VOXELS.shape))
        assert NAME not in str(facts)
    assert service.source(scan.id) == service.folder.source(scan.id)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([], "no file came"),
        ([b""], "is empty"),
        ([b"hello"], "is no scan"),
        ([b"\x1f\x8b\x08 damaged"], "is no scan"),
        ([SCAN.read_bytes(), b"hello"], "is no scan"),
        ([b"PK\x03\x04", SCAN.read_bytes()], "one archive alone"),
    ],
)
def test_anything_else_is_refused_in_words(service: Service, tmp_path: Path, contents: list[bytes], words: str) -> None:
    files = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        kept(service, files)


def test_two_volumes_are_channels_in_their_order(service: Service, tmp_path: Path) -> None:
    first, second = volume(tmp_path, ".nii"), tmp_path / "second"
    write_volume(tmp_path / "x.nii", Volume(2 * VOXELS[None], np.eye(4)))
    (tmp_path / "x.nii").rename(second)
    scan, other = kept(service, [first, second]), kept(service, [second, first])
    assert scan.id != other.id and scan.files == ("scan-1.nii", "scan-2.nii")
    assert service.describe(scan.id)["channels"] == 2
    job = ended(service, service.submit(scan.id, MODEL))
    assert job.error is not None and "has 2 channels; the model expects 1" in job.error.message


def test_results_in_dicom_are_the_same_whenever_they_are_asked_for(service: Service, dicom: list[Path]) -> None:
    scan = kept(service, dicom)
    with pytest.raises(InputError, match="form nonsense"):
        service.submit(scan.id, MODEL, Settings(forms=("nonsense",)))
    early = ended(service, service.submit(scan.id, MODEL, Settings(forms=("rtstruct", "dicom-seg"))))
    assert early.state == JobState.WRITTEN, early.error
    late = ended(service, service.submit(scan.id, MODEL))
    for form in ("dicom-seg", "rtstruct"):
        paths = [service.result(job.id, form) for job in (early, late, late)]
        assert paths[1] == paths[2]
        found = [pydicom.dcmread(path) for path in paths]
        assert str(found[0].PatientName) == maker.PATIENT_NAME
        assert found[0].SOPInstanceUID != found[1].SOPInstanceUID, "two jobs are two objects"
    colours = [tuple(map(int, roi.ROIDisplayColor)) for roi in found[0].ROIContourSequence]
    assert colours == list(service.models[MODEL].colours.values()), "as the page shows them"
    one = next(one for one in service.store.job(late.id).results if one.form == "dicom-seg")
    assert hashlib.sha256(service.result(late.id, "dicom-seg").read_bytes()).hexdigest() == one.sha256
    segments = pydicom.dcmread(service.result(early.id, "dicom-seg"))
    assert [each.SegmentLabel for each in segments.SegmentSequence] == ["Anterior", "Posterior"]


def test_nothing_but_dicom_has_results_in_dicom(service: Service) -> None:
    scan = kept(service, [SCAN])
    service.describe(scan.id)
    with pytest.raises(InputError, match=r"scan\.nii\.gz: is no DICOM"):
        service.submit(scan.id, MODEL, Settings(forms=("dicom-seg",)))


def test_a_correction_is_checked_and_numbered(service: Service, dicom: list[Path], tmp_path: Path) -> None:
    job = ended(service, service.submit(kept(service, dicom).id, MODEL))
    labels = nibabel.load(service.result(job.id, "labels"))
    voxels = np.asarray(labels.dataobj).copy()
    voxels[0, 0, 0] = 2

    def correct(changed: np.ndarray, affine: np.ndarray = labels.affine) -> int:
        path = service.new_incoming() / "drawn.nii.gz"
        nibabel.save(nibabel.Nifti1Image(changed, affine), path)
        return service.correct(job.id, path.rename(path.with_name("drawn")))

    assert (correct(voxels), correct(voxels)) == (1, 2) and service.corrections(job.id) == [1, 2]
    np.testing.assert_array_equal(np.asarray(nibabel.load(service.correction(job.id, 2, "labels")).dataobj), voxels)
    assert "corrected" in pydicom.dcmread(service.correction(job.id, 1, "dicom-seg")).SeriesDescription
    unknown = voxels.copy()
    unknown[0, 0, 0] = 3
    with pytest.raises(InputError, match="unknown label values 3"):
        correct(unknown)
    with pytest.raises(InputError, match=r"the same grid|places voxels"):
        correct(voxels, labels.affine + np.diag([0.5, 0, 0, 0]))
    with pytest.raises(InputError, match="no correction 3"):
        service.correction(job.id, 3, "labels")


def test_a_list_of_series_has_all_of_them_and_none_of_their_names(service: Service, tmp_path: Path) -> None:
    uids = ["1.2.840.1", "1.2.840.2", "1.2.840.3"]
    described = {"CT": f'{NAME}") (CT "', "MR": f"a ({NAME}", "": NAME}
    for uid, (modality, words) in zip(uids, described.items(), strict=True):
        tags = {"SeriesInstanceUID": uid, "SeriesDescription": words, "Modality": modality}
        maker.write_series(tmp_path / uid, VOXELS[:8, :8, :6], **tags)
    scan = kept(service, sorted(path for path in tmp_path.rglob("*.dcm")))
    with pytest.raises(InputError) as asked:
        service.view(scan.id)
    assert NAME not in str(asked.value)
    assert all(f"{uid} ({name}), 6 slices" in str(asked.value) for uid, name in zip(uids, described, strict=True))


def test_a_scan_that_is_being_removed_is_kept_whole_when_it_comes_again(service: Service, tmp_path: Path) -> None:
    path = volume(tmp_path, ".nii")
    scan = kept(service, [path])
    service.folder.view(scan.id).touch()
    (service.folder.source(scan.id) / "scan.nii").unlink()  # and then there was a power cut
    again = kept(service, [path])
    assert again.id == scan.id
    assert (service.folder.source(scan.id) / "scan.nii").read_bytes() == path.read_bytes()


def test_no_name_is_outside_of_dicom(service: Service, dicom: list[Path], archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(archive.read_bytes().replace(b"Erika", b"Erikb", 1))
    lone = kept(service, dicom[:1])
    for scan in (kept(service, [broken]), lone, kept(service, [archive])):
        job = ended(service, service.submit(scan.id, MODEL, Settings(forms=("dicom-seg",))))
        if job.error is not None:
            assert NAME not in job.error.message and "/" not in job.error.message
    assert service.store.job(job.id).state == JobState.WRITTEN
    for path in service.folder.path.rglob("*"):
        assert NAME not in path.name
        if path.is_file() and path.suffix not in (".dcm", ".zip"):
            assert NAME.encode() not in path.read_bytes(), path
