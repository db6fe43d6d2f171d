"""A picture as a Secondary Capture: dciodvfy finds no error, the pixels are those given, it refers to its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest

from unetr.errors import MachineError
from unetr.io.dicom.results.capture import write_capture
from unetr.io.dicom.volume import read_dicom

Errors = Callable[[Path], list[str]]
BY = {"algorithm": "unetr liver", "algorithm_version": "1.2.3", "description": "Labels over slices. For research."}
SHAPE = (13, 10, 7)


@pytest.mark.parametrize("kind", ["series", "enhanced"])
@pytest.mark.parametrize("size", [(5, 7), (400, 301)])
def test_keeps_the_pixels_and_refers_to_the_source(
    tmp_path: Path, maker: ModuleType, dicom_errors: Errors, kind: str, size: tuple[int, int]
) -> None:
    voxels = np.random.default_rng(1).integers(0, 900, SHAPE, dtype=np.int16)
    if kind == "series":
        maker.write_series(tmp_path / "in", voxels)
    else:
        maker.write_enhanced(tmp_path / "in" / "all.dcm", voxels)
    scan = read_dicom(tmp_path / "in")
    labels = scan.with_data((scan.data % 3).astype(np.uint8), label_names={1: "liver", 2: "spleen"})
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    path = tmp_path / "out.dcm"
    write_capture(path, labels, picture, **BY)
    assert dicom_errors(path) == []
    found, source = pydicom.dcmread(path), pydicom.dcmread(next((tmp_path / "in").iterdir()))
    assert np.array_equal(found.pixel_array, picture)
    assert (found.PatientName, found.StudyInstanceUID) == (source.PatientName, source.StudyInstanceUID)
    assert found.SeriesInstanceUID != source.SeriesInstanceUID
    images = {each.ReferencedSOPInstanceUID for each in found.SourceImageSequence}
    assert images == {pydicom.dcmread(each).SOPInstanceUID for each in (tmp_path / "in").iterdir()}
    if kind == "enhanced":
        assert list(found.SourceImageSequence[0].ReferencedFrameNumber) == list(range(1, SHAPE[2] + 1))
    assert "research" in found.DerivationDescription


def test_a_full_disk_leaves_nothing(tmp_path: Path, maker: ModuleType, saving_fails: Callable[..., None]) -> None:
    maker.write_series(tmp_path / "in", np.zeros(SHAPE, np.int16))
    scan = read_dicom(tmp_path / "in")
    labels = scan.with_data(np.ones_like(scan.data, np.uint8), label_names={1: "liver"})
    saving_fails("full", lambda _, content: len(content) // 2)
    with pytest.raises(MachineError):
        write_capture(tmp_path / "out" / "c.dcm", labels, np.zeros((4, 4, 3), np.uint8), **BY)
    assert list((tmp_path / "out").iterdir()) == []
