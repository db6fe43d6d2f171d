"""Slices that cannot be one volume's: other number formats or units, or several stacks told apart by an attribute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from unetr.errors import InputError
from unetr.io.dicom.volume import read_dicom

VOXELS = np.random.default_rng(0).integers(0, 1000, (9, 8, 6), dtype=np.uint16)


def odd(wanted: int, other: Any, usual: Any) -> Callable[[int], Any]:
    return lambda z: other if z == wanted else usual


def in_turn(first: Any, second: Any) -> Callable[[int], Any]:
    return lambda z: second if z % 2 else first


def blocks(first: Any, second: Any) -> Callable[[int], Any]:
    return lambda z: second if z >= 3 else first


FORMATS: dict[str, tuple[dict[str, Any], str]] = {
    "signed": ({"PixelRepresentation": odd(2, 1, 0)}, "0002.*PixelRepresentation"),
    "shifted": ({"BitsStored": odd(2, 12, 16)}, "0002.*BitsStored or HighBit"),
    "too few bits": ({"BitsStored": odd(2, 8, 16), "HighBit": odd(2, 7, 15)}, "0002.*says that it uses 8 bits"),
    "signed bits": (
        {"PixelRepresentation": 1, "BitsStored": odd(2, 12, 16), "HighBit": odd(2, 11, 15)},
        "0002.*BitsStored or HighBit",
    ),
    "display": ({"PhotometricInterpretation": odd(2, "MONOCHROME1", "MONOCHROME2")}, "0002.*Photometric"),
    "look-up table": ({"PresentationLUTShape": odd(2, "INVERSE", "IDENTITY")}, "0002.*PresentationLUTShape"),
    "samples": ({"SamplesPerPixel": odd(2, 3, 1)}, "0002.*3 values per pixel"),
    "slope": (
        {"RescaleSlope": odd(2, ..., "2"), "RescaleIntercept": odd(2, ..., "0")},
        "0002.*rescaling differs",
    ),
    "units": (
        {"RescaleSlope": "2", "RescaleIntercept": "0", "RescaleType": odd(2, "OD", "HU")},
        "0002.*numbers are in OD, other slices' in HU",
    ),
}


@pytest.mark.fault("slices of other number formats")
@pytest.mark.parametrize("fault", FORMATS)
def test_other_number_format(tmp_path: Path, maker: ModuleType, fault: str) -> None:
    overrides, message = FORMATS[fault]
    maker.write_series(tmp_path, VOXELS, **overrides)
    with pytest.raises(InputError, match=message):
        read_dicom(tmp_path)


@pytest.mark.fault("slices of other number formats")
def test_eight_bits_among_sixteen(tmp_path: Path, maker: ModuleType) -> None:
    for z, dataset in enumerate(maker.make_series(VOXELS, SeriesInstanceUID="1.2.3")):
        if z == 4:
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            dataset.PixelData = bytes(72)
        maker.save(tmp_path / f"{z}.dcm", dataset)
    with pytest.raises(InputError, match=r"4\.dcm: its BitsAllocated differs"):
        read_dicom(tmp_path)


def test_fewer_bits_that_are_enough_are_sound(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path, VOXELS, BitsStored=odd(2, 12, 16), HighBit=odd(2, 11, 15))
    np.testing.assert_array_equal(read_dicom(tmp_path).data[0], VOXELS)


SETTINGS: dict[str, tuple[Any, Any]] = {
    "EchoTime": ("5", "80"),
    "EchoNumbers": (1, 2),
    "ImageType": (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]),
    "TemporalPositionIdentifier": (1, 2),
    "FlipAngle": ("5", "25"),
    "InversionTime": (..., "900"),
    "DiffusionBValue": (0.0, 1000.0),
    "SequenceName": ("*ep_b0", "*ep_b1000#1"),
    "ContrastBolusAgent": (..., "gadolinium"),
    "KVP": ("80", "140"),
    "ConvolutionKernel": ("B30f", "B70f"),
    "TriggerTime": ("0", "400"),
    "NominalPercentageOfCardiacPhase": (30.0, 75.0),
}


@pytest.mark.fault("several stacks in one series")
@pytest.mark.parametrize("keyword", SETTINGS)
@pytest.mark.parametrize(("order", "said"), [(in_turn, "alternating from slice to slice"), (blocks, "one block below")])
def test_two_stacks(tmp_path: Path, maker: ModuleType, keyword: str, order: Any, said: str) -> None:
    modality = "CT" if keyword in ("KVP", "ConvolutionKernel") else "MR"
    maker.write_series(tmp_path, VOXELS, modality=modality, **{keyword: order(*SETTINGS[keyword])})
    with pytest.raises(InputError, match=rf"2 stacks: their {keyword} is .* \(3 slices\), .*{said}") as raised:
        read_dicom(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.fault("several stacks in one series")
def test_one_slice_of_another_stack(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path, VOXELS, EchoTime=odd(4, "80", "5"))
    with pytest.raises(InputError, match=r"0004\.dcm: .*EchoTime is 5 \(5 slices\), 80 \(1 slices\), mixed"):
        read_dicom(tmp_path)


def test_what_may_differ_within_a_volume(tmp_path: Path, maker: ModuleType) -> None:
    """Gated slices have trigger times of their own, a head CT is acquired piece by piece, echo times are rounded."""
    sound = {
        "TriggerTime": lambda z: str(17 * z + 3),
        "AcquisitionNumber": blocks(1, 2),
        "EchoTime": in_turn("5.01", "5.02"),
        "ImageType": in_turn(["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "M", ""]),
        "WindowCenter": lambda z: str(z),
        "InversionTime": "900",
        "AcquisitionTime": lambda z: f"10111{z}",
    }
    maker.write_series(tmp_path, VOXELS, **sound)
    found = read_dicom(tmp_path)
    np.testing.assert_array_equal(found.data[0], VOXELS)
    assert found.notes == found.doubts == ()


@pytest.mark.fault("several stacks in one series")
def test_alternating_acquisitions_are_a_doubt(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_series(tmp_path, VOXELS, AcquisitionNumber=in_turn(1, 2))
    (note,) = read_dicom(tmp_path).doubts
    assert "AcquisitionNumber is 1 (3 slices), 2 (3 slices), alternating" in note


def macro(sequence: str, keyword: str, first: Any, second: Any) -> Callable[[int, Dataset], None]:
    def put(index: int, group: Dataset) -> None:
        part = group[sequence].value[0] if sequence in group else Dataset()
        setattr(part, keyword, second if index % 2 else first)
        setattr(group, sequence, Items([part]))

    return put


FRAMES = {
    "EffectiveEchoTime": macro("MREchoSequence", "EffectiveEchoTime", 5.0, 80.0),
    "FrameType": macro("MRImageFrameTypeSequence", "FrameType", ["ORIGINAL", "M"], ["ORIGINAL", "P"]),
    "TemporalPositionIndex": macro("FrameContentSequence", "TemporalPositionIndex", 1, 2),
    "StackID": macro("FrameContentSequence", "StackID", "1", "2"),
    "DiffusionBValue": macro("MRDiffusionSequence", "DiffusionBValue", 0.0, 1000.0),
    "NominalCardiacTriggerDelayTime": macro(
        "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 0.0, 400.0
    ),
    "dimension TemporalPositionTimeOffset": macro("FrameContentSequence", "DimensionIndexValues", [1, 1], [1, 2]),
}


@pytest.mark.fault("several stacks in one series")
@pytest.mark.parametrize("what", FRAMES)
def test_two_stacks_of_frames(tmp_path: Path, maker: ModuleType, what: str) -> None:
    import pydicom

    maker.write_enhanced(tmp_path / "e.dcm", VOXELS)
    dataset = pydicom.dcmread(tmp_path / "e.dcm")
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        FRAMES[what](index, group)
    if what.startswith("dimension"):
        pointers = [Dataset(), Dataset()]
        pointers[0].DimensionIndexPointer = pydicom.tag.Tag("ImagePositionPatient")
        pointers[1].DimensionIndexPointer = pydicom.tag.Tag("TemporalPositionTimeOffset")
        dataset.DimensionIndexSequence = pointers
    dataset.save_as(tmp_path / "e.dcm")
    with pytest.raises(InputError, match=rf"e\.dcm, frame \d: .*2 stacks: their {what} is .*alternating"):
        read_dicom(tmp_path)
