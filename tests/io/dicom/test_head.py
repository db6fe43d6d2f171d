"""The first attributes of files that somebody sent, against pydicom's own reading of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless
from tests.io.dicom.dicom_maker import write_series

from unetr.errors import InputError
from unetr.io.dicom.series.head import read_head, read_traits

VOXELS = np.arange(8 * 6 * 2, dtype=np.int16).reshape(8, 6, 2)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_a_head_says_what_pydicom_says(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    write_series(tmp_path, VOXELS, transfer_syntax=syntax, BodyPartExamined="BRAIN", modality="CT")
    path = tmp_path / "0000.dcm"
    head, oracle = read_head(path), pydicom.dcmread(path)
    assert (head.sop_class, head.instance) == (oracle.SOPClassUID, oracle.SOPInstanceUID)
    assert (head.study, head.series) == (oracle.StudyInstanceUID, oracle.SeriesInstanceUID)
    assert head.transfer_syntax == syntax and head.is_image
    # 132 bytes of preamble and magic, 12 of the length of the group, and the group.
    assert head.starts == 144 + oracle.file_meta.FileMetaInformationGroupLength
    traits = read_traits(path)
    assert (traits["Modality"], traits["BodyPartExamined"], traits["Columns"]) == ("CT", "BRAIN", "8")
    assert "PatientName" not in traits and not any("Mustermann" in value for value in traits.values())


def test_what_is_cut_damaged_or_incomplete_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "whole", VOXELS)
    data = (tmp_path / "whole" / "0000.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    for end in (0, 100, 140, 200, 400):
        path.write_bytes(data[:end])
        with pytest.raises(InputError):
            read_head(path)
    write_series(tmp_path / "bad", VOXELS, SeriesInstanceUID="../../etc/passwd")
    with pytest.raises(InputError, match="SeriesInstanceUID is missing or is no UID") as told:
        read_head(tmp_path / "bad" / "0000.dcm")
    assert "passwd" not in str(told.value)


def test_a_header_without_end_takes_no_memory(tmp_path: Path) -> None:
    write_series(tmp_path / "whole", VOXELS)
    data = (tmp_path / "whole" / "0000.dcm").read_bytes()
    starts = read_head(tmp_path / "whole" / "0000.dcm").starts
    long = b"\x08\x00\x04\x00UN\x00\x00\x00\x00\x00\x7f"  # claims 2 GB, before the other attributes
    path = tmp_path / "long.dcm"
    path.write_bytes(data[:starts] + long + b"x" * (6 << 20) + data[starts:])
    with pytest.raises(InputError):
        read_head(path)
