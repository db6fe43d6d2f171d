"""What a PACS may change of an object leaves its digest as it is; what it may not, does not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from unetr.errors import InputError
from unetr.io.dicom.exchange import content_digest, identity_of
from unetr.io.dicom.volume import read_dicom
from unetr.io.results import write_result

FORMS = {"dicom-seg": ".seg.dcm", "rtstruct": ".rtstruct.dcm"}


@pytest.fixture(params=sorted(FORMS))
def written(request: pytest.FixtureRequest, tmp_path: Path, maker: ModuleType) -> Path:
    # 7 rows of 9 columns: an odd number of bytes of bits, which is padded.
    maker.write_series(tmp_path / "in", np.arange(7 * 9 * 5, dtype=np.int16).reshape(7, 9, 5))
    scan = read_dicom(tmp_path / "in")
    labels = scan.with_data((scan.data % 3).astype(np.uint8), label_names={1: "liver", 2: "wörd"})
    path = tmp_path / f"labels{FORMS[request.param]}"
    write_result(path, labels, request.param, "test", "a job's key")
    return path


def changed(path: Path, change: Callable[[Dataset], object]) -> io.BytesIO:
    dataset = pydicom.dcmread(path)
    change(dataset)
    stream = io.BytesIO()
    dataset.save_as(stream)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_another_transfer_syntax_is_the_same(written: Path, tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    dataset = pydicom.dcmread(written)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.ImplementationVersionName = "SOMEBODY_ELSE"
    dataset.save_as(tmp_path / "other.dcm", implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert (tmp_path / "other.dcm").read_bytes() != written.read_bytes()
    assert content_digest(tmp_path / "other.dcm") == content_digest(written)


def test_lengths_for_delimiters_are_the_same(written: Path) -> None:
    def delimit(dataset: Dataset) -> None:
        for element in dataset:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
                    delimit(item)

    stream = changed(written, delimit)
    assert stream.getvalue() != written.read_bytes()
    assert content_digest(stream) == content_digest(written)


@pytest.mark.parametrize(
    "change",
    [
        lambda dataset: setattr(dataset, "PatientID", "another"),
        lambda dataset: setattr(dataset, "InstitutionName", "added"),
        lambda dataset: delattr(dataset, "StudyID"),
        lambda dataset: dataset.add_new(0x00090010, "LO", "private"),
    ],
)
def test_another_value_is_another_object(written: Path, change: Callable[[Dataset], object]) -> None:
    assert content_digest(changed(written, change)) != content_digest(written)


def test_every_bit_of_a_value_counts(written: Path) -> None:
    whole, expected = written.read_bytes(), content_digest(written)
    dataset, rng = pydicom.dcmread(written), np.random.default_rng(0)
    values = [str(dataset[name].value).encode() for name in ("SOPInstanceUID", "PatientName", "SeriesDescription")]
    if "PixelData" in dataset:
        values.append(dataset.PixelData)
    else:
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        values.append(contour.get_item("ContourData").value)
    for value in values:
        start = whole.rindex(value) if value in whole else None
        for at in rng.integers(0, len(value), 30) if start is not None else ():
            flipped = bytearray(whole)
            flipped[start + at] ^= 1 << rng.integers(5)  # a digit does not become the space that pads
            assert content_digest(io.BytesIO(bytes(flipped))) != expected
    assert sum(value in whole for value in values) >= 4


def test_what_is_cut_is_no_object(written: Path) -> None:
    whole, expected = written.read_bytes(), content_digest(written)
    for end in np.random.default_rng(0).integers(0, len(whole) - 1, 30):
        try:
            assert content_digest(io.BytesIO(whole[:end])) != expected
        except InputError:
            continue


def test_identity_is_the_headers(written: Path, tmp_path: Path) -> None:
    dataset, found = pydicom.dcmread(written), identity_of(written)
    assert found.instance == dataset.SOPInstanceUID
    assert (found.study, found.series) == (dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    assert (found.sop_class, found.transfer_syntax) == (dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    (tmp_path / "no.dcm").write_bytes(b"no")
    with pytest.raises(InputError, match="expected a result"):
        identity_of(tmp_path / "no.dcm")


def test_uids_follow_from_the_identity_alone(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path / "in", np.arange(7 * 9 * 5, dtype=np.int16).reshape(7, 9, 5))
    scan = read_dicom(tmp_path / "in")

    def uids(values: int, identity: str, form: str) -> tuple[str, str]:
        labels = scan.with_data((scan.data % values).astype(np.uint8), label_names={1: "liver"})
        path = tmp_path / f"labels{FORMS[form]}"
        write_result(path, labels, form, "test", identity)
        found = identity_of(path)
        return found.instance, found.series

    for form in FORMS:
        assert uids(2, "one", form) == uids(3, "one", form) != uids(2, "two", form)
        assert uids(2, "", form) == uids(2, "", form) != uids(3, "", form)
    assert uids(2, "one", "dicom-seg") != uids(2, "one", "rtstruct")
