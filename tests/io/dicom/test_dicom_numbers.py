"""What stored numbers mean: rescaling wherever it is said, against SimpleITK; grey values that are upside down."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset

from unetr.errors import InputError
from unetr.io.dicom.volume import read_dicom

VOXELS = np.random.default_rng(0).integers(0, 1000, (9, 8, 6), dtype=np.uint16)


def changed(path: Path, change: Any) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def rescaling(slope: float, intercept: float) -> Dataset:
    part = Dataset()
    part.RescaleSlope, part.RescaleIntercept, part.RescaleType = str(slope), str(intercept), "HU"
    return part


@pytest.mark.fault("rescaling of enhanced objects")
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, 0), (0.5, -10)])
def test_top_level_rescaling(tmp_path: Path, maker: ModuleType, slope: float, intercept: float) -> None:
    path = tmp_path / "ct.dcm"
    maker.write_enhanced(path, VOXELS, modality="CT", RescaleSlope=str(slope), RescaleIntercept=str(intercept))
    found = read_dicom(path)
    np.testing.assert_allclose(found.data[0], VOXELS * float(slope) + intercept)
    oracle = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T
    np.testing.assert_allclose(found.data[0], oracle)
    assert found.notes == found.doubts == ()


@pytest.mark.fault("rescaling of enhanced objects")
@pytest.mark.parametrize("where", ["shared", "per frame"])
def test_functional_groups_come_first(tmp_path: Path, maker: ModuleType, where: str) -> None:
    path = tmp_path / "ct.dcm"
    rescale = [(2.0, -1000.0)] * (1 if where == "shared" else 6)
    maker.write_enhanced(path, VOXELS, modality="CT", rescale=rescale, RescaleIntercept="-1024")
    found = read_dicom(path)
    np.testing.assert_allclose(found.data[0], VOXELS * 2.0 - 1000)
    (note,) = found.doubts
    assert "slope 2, intercept -1000" in note and "slope 1, intercept -1024" in note


@pytest.mark.fault("rescaling of enhanced objects")
@pytest.mark.parametrize("where", ["top", "shared", "per frame", "classic"])
def test_look_up_tables_are_refused(tmp_path: Path, maker: ModuleType, where: str) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTExplanation, table.ModalityLUTType = [1000, 0, 16], "", "HU"
    table.LUTData = bytes(2000)
    if where == "classic":
        maker.write_series(tmp_path, VOXELS)
        for path in tmp_path.iterdir():
            changed(path, lambda dataset: setattr(dataset, "ModalityLUTSequence", [table]))
    else:
        maker.write_enhanced(tmp_path / "e.dcm", VOXELS, rescale=[(1.0, 0.0)] * (1 if where == "shared" else 6))

        def put(dataset: Dataset) -> None:
            group = dataset.SharedFunctionalGroupsSequence[0]
            group = dataset.PerFrameFunctionalGroupsSequence[3] if where == "per frame" else group
            part = dataset if where == "top" else group.PixelValueTransformationSequence[0]
            part.ModalityLUTSequence = [table]

        changed(tmp_path / "e.dcm", put)
    with pytest.raises(InputError, match="modality look-up table"):
        read_dicom(tmp_path)


def real_world(slope: float, intercept: float) -> Dataset:
    units, mapping = Dataset(), Dataset()
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = "[hnsf'U]", "UCUM", "Hounsfield unit"
    mapping.MeasurementUnitsCodeSequence = [units]
    mapping.LUTExplanation, mapping.LUTLabel = "HU", "HU"
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, intercept
    mapping.add_new("RealWorldValueFirstValueMapped", "US", 0)
    mapping.add_new("RealWorldValueLastValueMapped", "US", 65535)
    return mapping


@pytest.mark.fault("rescaling of enhanced objects")
@pytest.mark.parametrize("where", ["top", "shared"])
def test_real_world_values_where_there_is_no_rescaling(tmp_path: Path, maker: ModuleType, where: str) -> None:
    path = tmp_path / "e.dcm"
    none = {"RescaleSlope": ..., "RescaleIntercept": ..., "RescaleType": ...}
    maker.write_enhanced(path, VOXELS, modality="CT", **none)
    (note,) = read_dicom(path).doubts
    assert "no RescaleSlope" in note

    def put(dataset: Dataset) -> None:
        part = dataset if where == "top" else dataset.SharedFunctionalGroupsSequence[0]
        part.RealWorldValueMappingSequence = [real_world(1.0, -1024.0)]

    changed(path, put)
    found = read_dicom(path)
    np.testing.assert_array_equal(found.data[0], VOXELS.astype(int) - 1024)
    assert found.notes == found.doubts == ()
    maker.write_enhanced(path, VOXELS, modality="CT", RescaleIntercept="-1000")
    changed(path, put)
    np.testing.assert_array_equal(read_dicom(path).data[0], VOXELS.astype(int) - 1000)


@pytest.mark.fault("grey values upside down")
@pytest.mark.parametrize("said", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("enhanced", [False, True])
def test_the_same_picture(tmp_path: Path, maker: ModuleType, said: dict[str, str], dtype: str, enhanced: bool) -> None:
    limits = np.iinfo(dtype)
    shown = np.random.default_rng(0).integers(limits.min, limits.max, (9, 8, 6), dtype=dtype, endpoint=True)
    shown[0, 0, 0], shown[1, 0, 0] = limits.min, limits.max
    stored = (int(limits.max) + int(limits.min) - shown.astype(int)).astype(dtype)
    if enhanced:
        maker.write_enhanced(tmp_path / "e.dcm", stored, **said)
    else:
        maker.write_series(tmp_path, stored, **said)
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], shown)
    (note,) = found.doubts
    assert "turned over" in note and next(iter(said.values())) in note


@pytest.mark.fault("grey values upside down")
def test_hounsfield_units_are_never_turned_over(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(
        tmp_path, VOXELS, modality="CT", RescaleIntercept="-1024", PhotometricInterpretation="MONOCHROME1"
    )
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], VOXELS.astype(int) - 1024)
    (note,) = found.notes
    assert not found.doubts and "MONOCHROME1" in note
