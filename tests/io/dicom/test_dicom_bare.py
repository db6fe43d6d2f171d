"""DICOM without preamble and file meta header, and text of other character sets inside sequences."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from unetr.errors import InputError
from unetr.io.dicom.results.rtstruct import write_rtstruct
from unetr.io.dicom.results.seg import write_dicom_seg
from unetr.io.dicom.volume import is_dicom, read_dicom

VOXELS = np.random.default_rng(0).integers(0, 1000, (9, 8, 6), dtype=np.uint16)


@pytest.mark.fault("DICOM without preamble")
@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("packed", [False, True])
def test_bare_data_sets(tmp_path: Path, maker: ModuleType, implicit: bool, packed: bool) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for z, dataset in enumerate(maker.make_series(VOXELS, SeriesInstanceUID="1.2.3")):
        dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / f"{z}", implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    path = folder
    if packed:
        path = tmp_path / "series.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
    assert is_dicom(path)
    np.testing.assert_array_equal(read_dicom(path).data[0], VOXELS)


@pytest.mark.fault("DICOM without preamble")
def test_meta_header_without_preamble(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path, VOXELS)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], VOXELS)


@pytest.mark.fault("DICOM without preamble")
@pytest.mark.parametrize("kept", [140, 400, -30])
def test_bare_data_sets_that_are_cut_off(tmp_path: Path, maker: ModuleType, kept: int) -> None:
    maker.write_series(tmp_path, VOXELS)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    (tmp_path / "0003.dcm").write_bytes((tmp_path / "0003.dcm").read_bytes()[:kept])
    with pytest.raises(InputError, match=r"0003\.dcm"):
        read_dicom(tmp_path)


def test_other_files_are_not_bare_dicom(tmp_path: Path) -> None:
    for number, content in enumerate([b"\x08\x00" + b"x" * 400, bytes(400), b"MZ" * 200, b"\x02\x00\x00\x00" * 99]):
        (tmp_path / f"{number}").write_bytes(content)
        assert not is_dicom(tmp_path / f"{number}")


@pytest.mark.fault("character sets inside sequences")
@pytest.mark.parametrize("write", [write_dicom_seg, write_rtstruct])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("outer", "inner", "text"),
    [
        ("ISO_IR 100", None, "Zürich Für"),
        ("ISO_IR 144", None, "Иван"),
        ("ISO_IR 192", "ISO_IR 100", "Zürich"),
        ("ISO_IR 100", "ISO_IR 144", "Петров"),
    ],
)
def test_text_in_sequences(
    tmp_path: Path, maker: ModuleType, write: Callable[..., None], syntax: Any, outer: str, inner: str | None, text: str
) -> None:
    item, code, deeper = Dataset(), Dataset(), Dataset()
    if inner:
        item.SpecificCharacterSet = inner
    item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = text, text, "TEXT"
    deeper.CodeMeaning = text
    item.IssuerOfPatientIDQualifiersSequence = [deeper]
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "plain" if inner else text
    maker.write_series(
        tmp_path / "s",
        VOXELS,
        transfer_syntax=syntax,
        SpecificCharacterSet=outer,
        OtherPatientIDsSequence=[item],
        DeidentificationMethodCodeSequence=[code],
    )
    scan = read_dicom(tmp_path / "s")
    labels = np.zeros((1, *scan.shape), np.uint8)
    labels[0, 2:5, 2:5, 2:4] = 1
    write(tmp_path / "r.dcm", scan.with_data(labels, label_names={1: "x"}), algorithm="a", algorithm_version="1")
    found = pydicom.dcmread(tmp_path / "r.dcm")
    (other,) = found.OtherPatientIDsSequence
    assert (str(other.PatientID), str(other.IssuerOfPatientID)) == (text, text)
    assert str(other.IssuerOfPatientIDQualifiersSequence[0].CodeMeaning) == text
    assert str(found.DeidentificationMethodCodeSequence[0].CodeMeaning) == ("plain" if inner else text)
    assert found.SpecificCharacterSet == "ISO_IR 192" and "SpecificCharacterSet" not in other
    assert text.encode() in (tmp_path / "r.dcm").read_bytes()
