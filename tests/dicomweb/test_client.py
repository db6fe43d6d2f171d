"""A real Orthanc is searched and gives its series back, byte for byte; what is too much or missing is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from tests.orthanc import Orthanc, running_orthanc
from tests.power_cut import Disk

from unetr.dicomweb.address import NotInPacsError, PacsError, is_uid
from unetr.dicomweb.client import SERIES_UID, DicomWeb, FetchLimits, value_of
from unetr.errors import InputError


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as made:
        made.store(sorted((shared_data / "dicom" / "hippocampus_crop_T1").glob("*.dcm")))
        yield made


def test_a_series_comes_back_as_it_is_stored(
    orthanc: Orthanc, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    stored = sorted((shared_data / "dicom" / "hippocampus_crop_T1").glob("*.dcm"))
    header = pydicom.dcmread(stored[0], stop_before_pixels=True)
    with DicomWeb(orthanc.dicom_web) as pacs:
        study = pacs.study_of(header.SeriesInstanceUID)
        assert study == header.StudyInstanceUID
        fetched = pacs.fetch(study, header.SeriesInstanceUID, tmp_path)
        found = pacs.search("series", {"Modality": "MR"})
    assert {each.path.read_bytes() for each in fetched} == {path.read_bytes() for path in stored}
    assert all(hashlib.sha256(each.path.read_bytes()).hexdigest() == each.sha256 for each in fetched)
    assert all(disk.has(each.path) for each in fetched)
    assert [each.path.name for each in fetched][:2] == ["00001.dcm", "00002.dcm"]
    assert [value_of(entry, SERIES_UID) for entry in found] == [header.SeriesInstanceUID]


@pytest.mark.parametrize("limits", [FetchLimits(most_bytes=30_000), FetchLimits(most_files=3)])
def test_too_much_leaves_nothing(orthanc: Orthanc, shared_data: Path, tmp_path: Path, limits: FetchLimits) -> None:
    one = next((shared_data / "dicom" / "hippocampus_crop_T1").glob("*.dcm"))
    header = pydicom.dcmread(one, stop_before_pixels=True)
    with DicomWeb(orthanc.dicom_web) as pacs, pytest.raises(InputError, match="more than"):
        pacs.fetch(header.StudyInstanceUID, header.SeriesInstanceUID, tmp_path, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_told_apart_from_a_pacs_that_is_away(orthanc: Orthanc, tmp_path: Path) -> None:
    with DicomWeb(orthanc.dicom_web) as pacs:
        for unknown in ("1.2.3", "../system", "1.2.3?x=1"):
            with pytest.raises(NotInPacsError):
                pacs.study_of(unknown)
        with pytest.raises((NotInPacsError, PacsError)):
            pacs.fetch("1.2.3", "1.2.4", tmp_path)
        with pytest.raises(NotInPacsError, match="nothing of this kind"):
            pacs.search("nothing")
    with DicomWeb("http://127.0.0.1:9/dicom-web") as away, pytest.raises(PacsError, match="does not answer"):
        away.search("studies", {"PatientName": "Doe^Jane"})


def test_an_address_is_checked_and_its_password_not_repeated() -> None:
    for address in ("ftp://host/x", "host:80", "http://", "http://user:secret@host:99999/x", "http://host/?a=b"):
        with pytest.raises(InputError) as refused:
            DicomWeb(address)
        assert "secret" not in str(refused.value)


def test_uids() -> None:
    assert is_uid("1.2.840.10008") and is_uid("0")
    assert not any(is_uid(text) for text in ("", "1..2", "1.2.", "../1", "1.2\n", "1" * 65, "1.2/3", "%2e"))
