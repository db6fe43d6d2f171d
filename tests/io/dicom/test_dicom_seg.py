"""DICOM Segmentations: dciodvfy finds no error, highdicom reads the labels back, by position in the patient."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest

from unetr.core.space.volume import Volume
from unetr.errors import InputError, MachineError
from unetr.io.dicom.results.seg import write_dicom_seg
from unetr.io.dicom.volume import read_dicom

highdicom = pytest.importorskip("highdicom")
Errors = Callable[[Path], list[str]]
BY = {"algorithm": "unetr liver.safetensors", "algorithm_version": "1.2.3"}
SHAPE = (13, 10, 7)
SPACING_MM = (0.8, 0.9, 2.5)
REAL = ["hippocampus_crop_T1", "brain_T1post", "brain_FLAIR"]


def labels_of(shape: tuple[int, ...], count: int, dtype: str = "uint8", seed: int = 0) -> Any:
    """[1, X, Y, Z]: background and 1..count at random, each of them somewhere."""
    flat = np.random.default_rng(seed).integers(0, count + 1, int(np.prod(shape)))
    flat[: count + 1] = np.arange(count + 1)
    return flat.reshape(1, *shape).astype(dtype)


def by_highdicom(path: Path, affine: Any, shape: tuple[int, ...]) -> Any:
    """Label values [X, Y, Z] on the grid of an RAS affine, each voxel put where highdicom says it is."""
    seg = highdicom.seg.segread(path)
    values = np.zeros(seg.number_of_segments + 1, np.int64)
    for number in seg.segment_numbers:
        matched = re.fullmatch(r"label value (\d+)", seg.get_segment_description(number).SegmentDescription)
        assert matched is not None
        values[number] = int(matched[1])
    volume = seg.get_volume(combine_segments=True, dtype=np.uint16, allow_missing_positions=True)
    # segread puts the first axis along the slices; get its indices to patient coordinates and back to ours.
    indices = np.argwhere(volume.array > 0)
    ras = volume.map_indices_to_reference(indices) * (-1, -1, 1)
    ours = (ras - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    whole = np.rint(ours).astype(int)
    assert np.abs(ours - whole).max(initial=0) < 1e-3
    found = np.zeros(shape, np.int64)
    found[tuple(whole.T)] = values[volume.array[tuple(indices.T)]]
    return found


def source(maker: ModuleType, folder: Path, orientation: Any = "axial", kind: str = "series", **tags: Any) -> Any:
    """A series of SHAPE in a folder: the volume as read, and the RAS affine that was written."""
    voxels = np.random.default_rng(1).integers(0, 900, SHAPE, dtype=np.int16)
    if kind == "series":
        tags.setdefault("names", [f"{(index * 5) % SHAPE[2]}.dcm" for index in range(SHAPE[2])])
        affine = maker.write_series(folder, voxels, spacing_mm=SPACING_MM, orientation=orientation, **tags)
    else:
        path = folder / "enhanced.dcm"
        order = [3, 0, 6, 1, 5, 2, 4]
        affine = maker.write_enhanced(path, voxels, spacing_mm=SPACING_MM, orientation=orientation, order=order, **tags)
    return read_dicom(folder), affine


@pytest.mark.parametrize("kind", ["series", "enhanced"])
@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal", "oblique"])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_reads_back_with_highdicom(
    tmp_path: Path, maker: ModuleType, dicom_errors: Errors, orientation: str, kind: str, modality: str
) -> None:
    scan, affine = source(maker, tmp_path / "in", orientation, kind, modality=modality)
    labels = scan.with_data(labels_of(SHAPE, 3), label_names={1: "liver", 2: "kidney_left", 3: "odd thing"})
    labels.data[0, :, :, 2] = 0  # an empty slice
    path = tmp_path / "out.dcm"
    write_dicom_seg(path, labels, **BY)
    assert dicom_errors(path) == []
    np.testing.assert_array_equal(by_highdicom(path, affine, SHAPE), labels.data[0])


@pytest.mark.parametrize("name", REAL)
def test_real_series(shared_data: Path, tmp_path: Path, dicom_errors: Errors, name: str) -> None:
    scan = read_dicom(shared_data / "dicom" / name)
    limits = np.quantile(scan.data, (0.5, 0.9, 0.99))
    labels = scan.with_data(np.digitize(scan.data, limits).astype(np.uint8), label_names={1: "a", 2: "b", 3: "c"})
    path = tmp_path / "out.dcm"
    write_dicom_seg(path, labels, **BY)
    assert dicom_errors(path) == []
    np.testing.assert_array_equal(by_highdicom(path, scan.affine, scan.shape), labels.data[0])


@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_many_classes_and_large_values(
    tmp_path: Path, maker: ModuleType, dicom_errors: Errors, orientation: str
) -> None:
    scan, affine = source(maker, tmp_path / "in", orientation)
    data = labels_of(SHAPE, 117, "uint16")
    data[data > 0] *= 560  # up to 65520, with gaps
    path = tmp_path / "out.dcm"
    write_dicom_seg(path, scan.with_data(data), **BY)
    assert dicom_errors(path) == []
    assert len(pydicom.dcmread(path).SegmentSequence) == 117
    np.testing.assert_array_equal(by_highdicom(path, affine, SHAPE), data[0])


def test_more_than_255_segments(tmp_path: Path, maker: ModuleType) -> None:
    scan, affine = source(maker, tmp_path / "in")
    data = labels_of(SHAPE, 300, "int32")
    write_dicom_seg(tmp_path / "out.dcm", scan.with_data(data), **BY)
    np.testing.assert_array_equal(by_highdicom(tmp_path / "out.dcm", affine, SHAPE), data[0])


def test_what_it_says_of_itself(tmp_path: Path, maker: ModuleType) -> None:
    scan, _ = source(maker, tmp_path / "in", StudyDate="20230405")
    names = {1: "liver", 2: "kidney_left", 5: "odd thing", 7: "spleen"}  # no spleen found
    labels = scan.with_data(labels_of(SHAPE, 2), label_names=names)
    labels.data[labels.data == 0] = 5
    write_dicom_seg(tmp_path / "out.dcm", labels, **BY)
    seg, header = pydicom.dcmread(tmp_path / "out.dcm"), scan.source[0].headers[0]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[keyword].value == header[keyword].value
    assert seg.StudyDate == "20230405" and seg.SegmentationType == "BINARY"
    assert seg.SeriesInstanceUID != header.SeriesInstanceUID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == header.SeriesInstanceUID
    referenced = {each.ReferencedSOPInstanceUID for each in series.ReferencedInstanceSequence}
    assert referenced == {each.SOPInstanceUID for each in scan.source[0].headers}
    assert [each.SegmentLabel for each in seg.SegmentSequence] == list(names.values())
    types = [each.SegmentedPropertyTypeCodeSequence[0] for each in seg.SegmentSequence]
    assert [each.CodingSchemeDesignator for each in types] == ["SCT", "SCT", "99UNETR", "SCT"]
    assert [each.CodeValue for each in types][:2] == ["10200004", "64033007"]
    assert types[1].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert types[2].CodeMeaning == "odd thing"
    for each in seg.SegmentSequence:
        assert each.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = each.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == tuple(BY.values())
    assert len({tuple(each.RecommendedDisplayCIELabValue) for each in seg.SegmentSequence}) == 4


def test_labels_without_a_voxel(tmp_path: Path, maker: ModuleType, dicom_errors: Errors) -> None:
    for kind in ("series", "enhanced"):
        scan, _ = source(maker, tmp_path / kind, kind=kind)
        labels = scan.with_data(np.zeros((1, *SHAPE), np.uint8), label_names={1: "liver", 2: "tumour"})
        path = tmp_path / f"{kind}.dcm"
        write_dicom_seg(path, labels, **BY)
        assert dicom_errors(path) == []
        seg = highdicom.seg.segread(path)
        assert seg.number_of_segments == 2 and not seg.pixel_array.any()
        with pytest.raises(InputError, match=r"out\.dcm: the labels have neither names nor voxels"):
            write_dicom_seg(tmp_path / "out.dcm", scan.with_data(labels.data), **BY)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Größe 肝臓 ❤", "Größe 肝臓 ❤"),
        ("the \"left\" 'one'", "the \"left\" 'one'"),
        ("n" * 90, "n" * 64),
        ("肝" * 90, "肝" * 21),
        ("a\\b\n\tc\0", "a/bc"),
        ("^=~", "^=~"),
        ("  ", "label 1"),
    ],
)
def test_any_name(tmp_path: Path, maker: ModuleType, dicom_errors: Errors, name: str, written: str) -> None:
    scan, affine = source(maker, tmp_path / "in")
    labels = scan.with_data(labels_of(SHAPE, 2), label_names={1: name, 2: name})
    write_dicom_seg(tmp_path / "out.dcm", labels, **BY)
    assert dicom_errors(tmp_path / "out.dcm") == []
    read = pydicom.dcmread(tmp_path / "out.dcm")
    assert read.SegmentSequence[0].SegmentLabel == written
    np.testing.assert_array_equal(by_highdicom(tmp_path / "out.dcm", affine, SHAPE), labels.data[0])


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, maker: ModuleType) -> None:
    scan, _ = source(maker, tmp_path / "in")
    names = {1: "liver", 2: "b"}
    labels = scan.with_data(labels_of(SHAPE, 2), label_names=names)
    changed = labels.data.copy()
    changed[0, 3, 3, 3] = 2 - changed[0, 3, 3, 3] // 2
    variants: list[tuple[Volume, dict[str, str]]] = [
        (labels, BY),
        (read_dicom(tmp_path / "in").with_data(labels.data.astype("int16"), label_names=names), BY),
        (labels.with_data(changed), BY),
        (labels, {**BY, "algorithm_version": "2"}),
    ]
    written, uids = [], []
    for index, (each, by) in enumerate(variants):
        path = tmp_path / f"{index}.dcm"
        write_dicom_seg(path, each, **by)
        written.append(path.read_bytes())
        uids.append(pydicom.dcmread(path).SOPInstanceUID)
    assert written[0] == written[1]
    assert len(set(uids)) == 3


def test_names_of_patients_stay_in_the_file(
    tmp_path: Path, maker: ModuleType, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    scan, _ = source(maker, tmp_path / "in", PatientName="Doe^Jane", PatientID="SECRET-7")
    labels = scan.with_data(labels_of(SHAPE, 2))
    write_dicom_seg(tmp_path / "out.dcm", labels, **BY)
    shown = caplog.text + "".join(capfd.readouterr()) + repr(scan) + repr(scan.source) + repr(labels)
    assert "Doe" not in shown and "SECRET" not in shown and scan.source[0].series_uid in repr(scan.source)


def test_labels_that_do_not_belong_to_a_dicom_series(tmp_path: Path, maker: ModuleType) -> None:
    scan, _ = source(maker, tmp_path / "in")
    data = labels_of(SHAPE, 2)
    moved = scan.affine.copy()
    moved[0, 3] += 1
    refused = {
        "needs a DICOM input": scan.with_data(data, source=None),
        "13×10×6 voxels": scan.with_data(data[..., :6]),
        "affine is up to 1 mm away": scan.with_data(data, affine=moved),
        "label values -1": scan.with_data(data.astype(np.int16) - 1),
        r"label values 1\.\.70000": scan.with_data(np.where(data == 2, 70000, data.astype(np.int32))),
    }
    for message, labels in refused.items():
        with pytest.raises(InputError, match=rf"out\.dcm: .*{message}"):
            write_dicom_seg(tmp_path / "out.dcm", labels, **BY)
    scan, _ = source(maker, tmp_path / "bare", FrameOfReferenceUID=...)
    with pytest.raises(InputError, match="has no FrameOfReferenceUID"):
        write_dicom_seg(tmp_path / "out.dcm", scan.with_data(data), **BY)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bare", "in"]


def test_missing_highdicom_is_the_machine(tmp_path: Path, maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, _ = source(maker, tmp_path / "in")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MachineError, match=r"pip install 'unetr\[dicom\]'"):
        write_dicom_seg(tmp_path / "out.dcm", scan.with_data(labels_of(SHAPE, 2)), **BY)


@pytest.mark.parametrize("fault", ["full", "cut", "other bit"])
def test_a_failure_while_writing_leaves_what_was_there(
    tmp_path: Path, maker: ModuleType, saving_fails: Callable[..., None], fault: str
) -> None:
    scan, _ = source(maker, tmp_path / "in")
    path = tmp_path / "out.dcm"
    path.write_bytes(b"before")
    saving_fails(fault, lambda dataset, content: content.index(bytes(dataset.PixelData)))
    message = "the disk is full" if fault == "full" else r"check the disk"
    with pytest.raises(MachineError, match=rf"out\.dcm: .*{message}"):
        write_dicom_seg(path, scan.with_data(labels_of(SHAPE, 2)), **BY)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "out.dcm"]
    assert path.read_bytes() == b"before"
