"""RT Structure Sets: dciodvfy finds no error, the contours filled by matplotlib and Pillow are the labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Polygon
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from unetr.errors import InputError, MachineError
from unetr.io.dicom.results.rtstruct import write_rtstruct
from unetr.io.dicom.volume import read_dicom

Errors = Callable[[Path], list[str]]
Fill = Callable[[Any, tuple[int, int]], Any]
BY = {"algorithm": "unetr liver.safetensors", "algorithm_version": "1.2.3"}
SHAPE = (40, 36, 9)
SPACING_MM = (0.8, 0.9, 2.5)
ORIENTATIONS = ["axial", "sagittal", "coronal", "oblique"]


def by_matplotlib(points: Any, shape: tuple[int, int]) -> Any:
    """Whether the pixel centres [columns, rows] are inside a polygon of (column, row), even-odd."""
    mask = np.zeros(shape, bool)
    first = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    box = tuple(slice(low, int(high) + 2) for low, high in zip(first, points.max(axis=0), strict=True))
    grid = np.indices(mask[box].shape).reshape(2, -1).T + first
    mask[box] = Polygon(points, closed=False).contains_points(grid).reshape(mask[box].shape)
    return mask


def by_pillow(points: Any, shape: tuple[int, int]) -> Any:
    """The same on a grid eight times as fine, of which the centres count: Pillow draws the edge too."""
    image = Image.new("1", (shape[0] * 8, shape[1] * 8))
    ImageDraw.Draw(image).polygon([((x + 0.5) * 8, (y + 0.5) * 8) for x, y in points], fill=1)
    return np.asarray(image)[4::8, 4::8].T


def rasterised(path: Path, affine: Any, shape: tuple[int, ...], fill: Fill = by_matplotlib) -> dict[int, Any]:
    """ROI number -> mask [X, Y, Z] on the grid of an RAS affine, read with pydicom only; pieces are joined."""
    masks = {}
    inverse = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    for roi in pydicom.dcmread(path).ROIContourSequence:
        mask = np.zeros(shape, bool)
        for contour in roi.get("ContourSequence", []):
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints >= 3
            columns, rows, slices = (points @ inverse[:3, :3].T + inverse[:3, 3]).T
            z = round(slices.mean())
            assert np.abs(slices - z).max() < 1e-3, "not in a slice"
            mask[:, :, z] |= fill(np.column_stack([columns, rows]), shape[:2])
        masks[int(roi.ReferencedROINumber)] = mask
    return masks


def dice(first: Any, second: Any) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def organs(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Any:
    """[1, X, Y, Z]: 1 a ball with a cavity, in which 2 lies; 3 blobs of noise with holes and islands; 4 a chequerboard
    that touches at corners; 5 single voxels."""
    x, y, z = np.indices(shape)
    radius = np.sqrt((x - 14) ** 2 + (y - 15) ** 2 + (3 * (z - 4)) ** 2)
    labels = np.zeros(shape, np.uint8)
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (1.5, 1.5, 0.5))
    labels[noise > np.quantile(noise, 0.7)] = 3
    labels[radius < 13] = 0
    labels[(radius < 12) & (radius > 6)] = 1
    labels[radius < 4] = 2
    board = (x > 30) & (y > 26) & (z > 5)
    labels[board] = np.where((x + y) % 2, 4, 0)[board]
    labels[35:, :3] = 0
    labels[36, 1, ::2] = 5
    return labels[None]


def source(maker: ModuleType, folder: Path, orientation: Any = "axial", kind: str = "series", **tags: Any) -> Any:
    """A series in a folder: the volume as read, and the RAS affine that was written."""
    voxels = np.random.default_rng(1).integers(0, 900, SHAPE, dtype=np.int16)
    if kind == "series":
        affine = maker.write_series(folder, voxels, spacing_mm=SPACING_MM, orientation=orientation, **tags)
    else:
        order = [3, 0, 6, 1, 5, 2, 4, 8, 7]
        options = {"spacing_mm": SPACING_MM, "orientation": orientation, "order": order, **tags}
        affine = maker.write_enhanced(folder / "enhanced.dcm", voxels, **options)
    return read_dicom(folder), affine


@pytest.mark.parametrize("kind", ["series", "enhanced"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_contours_filled_are_the_labels(
    tmp_path: Path, maker: ModuleType, dicom_errors: Errors, orientation: str, kind: str
) -> None:
    scan, affine = source(maker, tmp_path / "in", orientation, kind)
    labels = scan.with_data(organs(), label_names={1: "liver", 2: "kidney_left", 3: "odd thing", 6: "spleen"})
    path = tmp_path / "out.dcm"
    write_rtstruct(path, labels, **BY)
    assert dicom_errors(path) == []
    found = rasterised(path, affine, SHAPE)
    assert list(found) == [1, 2, 3, 4, 5, 6] and not found[6].any()
    for value, mask in found.items():
        np.testing.assert_array_equal(mask, labels.data[0] == value)
    other = rasterised(path, affine, SHAPE, by_pillow)
    for value in (1, 2, 3):
        assert dice(other[value], labels.data[0] == value) >= 0.98


@pytest.mark.parametrize("name", ["hippocampus_crop_T1", "brain_T1post", "brain_FLAIR"])
def test_real_series(shared_data: Path, tmp_path: Path, dicom_errors: Errors, name: str) -> None:
    scan = read_dicom(shared_data / "dicom" / name)
    smooth = gaussian_filter(scan.data[0].astype(np.float32), 2)
    data = np.digitize(smooth, np.quantile(smooth, (0.6, 0.95))).astype(np.uint8)
    path = tmp_path / "out.dcm"
    write_rtstruct(path, scan.with_data(data[None]), **BY)
    assert dicom_errors(path) == []
    for value, mask in rasterised(path, scan.affine, scan.shape).items():
        assert dice(mask, data == value) > 0.9999


@pytest.mark.parametrize("kind", ["series", "enhanced"])
def test_what_it_says_of_itself(tmp_path: Path, maker: ModuleType, kind: str) -> None:
    scan, _ = source(maker, tmp_path / "in", kind=kind)
    labels = scan.with_data(organs(), label_names={1: "liver", 2: "tumour", 3: "odd thing"})
    write_rtstruct(tmp_path / "out.dcm", labels, **BY)
    found, headers = pydicom.dcmread(tmp_path / "out.dcm"), scan.source[0].headers
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[keyword].value == headers[0][keyword].value
    assert found.Modality == "RTSTRUCT" and found.ApprovalStatus == "UNAPPROVED"
    rois = found.StructureSetROISequence
    assert [each.ROINumber for each in rois] == [1, 2, 3, 4, 5]
    assert [each.ROIName for each in rois] == ["liver", "tumour", "odd thing", "label 4", "label 5"]
    assert {each.ROIGenerationAlgorithm for each in rois} == {"AUTOMATIC"}
    assert {each.ROIGenerationDescription for each in rois} == {"unetr liver.safetensors 1.2.3"}
    kinds = [each.RTROIInterpretedType for each in found.RTROIObservationsSequence]
    assert kinds == ["ORGAN", "", "", "", ""]
    (frame,) = found.ReferencedFrameOfReferenceSequence
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
    images = [each.ReferencedSOPInstanceUID for each in series.ContourImageSequence]
    assert images == [each.SOPInstanceUID for each in headers]
    places = {each.SOPInstanceUID: each for each in headers}
    for roi in found.ROIContourSequence:
        for contour in roi.ContourSequence:
            (image,) = contour.ContourImageSequence
            header = places[image.ReferencedSOPInstanceUID]
            if kind == "enhanced":
                group = header.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
                header = group.PlanePositionSequence[0]
            assert contour.ContourData[2] == pytest.approx(header.ImagePositionPatient[2])


def test_labels_without_a_voxel(tmp_path: Path, maker: ModuleType, dicom_errors: Errors) -> None:
    scan, affine = source(maker, tmp_path / "in")
    labels = scan.with_data(np.zeros((1, *SHAPE), np.uint8), label_names={1: "liver"})
    write_rtstruct(tmp_path / "out.dcm", labels, **BY)
    assert dicom_errors(tmp_path / "out.dcm") == []
    assert not rasterised(tmp_path / "out.dcm", affine, SHAPE)[1].any()


def test_many_classes_large_values_and_odd_names(tmp_path: Path, maker: ModuleType, dicom_errors: Errors) -> None:
    scan, affine = source(maker, tmp_path / "in", "oblique")
    data = np.repeat(np.arange(120, dtype=np.uint16) * 500, 108).reshape(1, *SHAPE)
    names = {500: "肝" * 90, 1000: "a \"b\" \\ 'c'", 1500: "n" * 90}
    write_rtstruct(tmp_path / "out.dcm", scan.with_data(data, label_names=names), **BY)
    assert dicom_errors(tmp_path / "out.dcm") == []
    written = {each.ROINumber: each.ROIName for each in pydicom.dcmread(tmp_path / "out.dcm").StructureSetROISequence}
    assert [written[value] for value in (500, 1000, 1500, 2000)] == [
        "肝" * 21,
        "a \"b\" / 'c'",
        "n" * 64,
        "label 2000",
    ]
    for value, mask in rasterised(tmp_path / "out.dcm", affine, SHAPE).items():
        np.testing.assert_array_equal(mask, data[0] == value)


def test_long_contours(tmp_path: Path, maker: ModuleType, dicom_errors: Errors) -> None:
    """A comb, whose outline is longer than the 65534 bytes that a short value field holds."""
    shape = (200, 200, 2)
    affine = maker.write_series(tmp_path / "in", np.zeros(shape, np.int16), orientation="oblique")
    scan = read_dicom(tmp_path / "in")
    data = np.zeros((1, *shape), np.uint8)
    data[0, ::2] = 1
    data[0, :, 0] = 1
    data[0, 1::2, 100] = 1
    data[0, 1::2, 100:108:2] = 1  # and holes
    write_rtstruct(tmp_path / "out.dcm", scan.with_data(data), **BY)
    read = pydicom.dcmread(tmp_path / "out.dcm").ROIContourSequence[0].ContourSequence
    assert len(read) == 2 and len("\\".join(map(str, read[0].ContourData))) > 65534
    assert dicom_errors(tmp_path / "out.dcm") == []
    np.testing.assert_array_equal(rasterised(tmp_path / "out.dcm", affine, shape)[1], data[0] == 1)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, maker: ModuleType) -> None:
    scan, _ = source(maker, tmp_path / "in")
    changed = organs()
    changed[0, 0, 0, 0] = 2
    variants = [scan.with_data(organs()), read_dicom(tmp_path / "in").with_data(organs()), scan.with_data(changed)]
    written, uids = [], []
    for index, labels in enumerate(variants):
        path = tmp_path / f"{index}.dcm"
        write_rtstruct(path, labels, **BY)
        written.append(path.read_bytes())
        uids.append(pydicom.dcmread(path).SOPInstanceUID)
    assert written[0] == written[1] and len(set(uids)) == 2


def test_labels_that_do_not_belong_to_a_dicom_series(tmp_path: Path, maker: ModuleType) -> None:
    scan, _ = source(maker, tmp_path / "in")
    for message, labels in {
        "needs a DICOM input": scan.with_data(organs(), source=None),
        "40×36×8 voxels": scan.with_data(organs()[..., :8]),
    }.items():
        with pytest.raises(InputError, match=rf"out\.dcm: .*{message}"):
            write_rtstruct(tmp_path / "out.dcm", labels, **BY)


@pytest.mark.parametrize("fault", ["full", "cut", "other digit"])
def test_a_failure_while_writing_leaves_what_was_there(
    tmp_path: Path, maker: ModuleType, saving_fails: Callable[..., None], fault: str
) -> None:
    scan, _ = source(maker, tmp_path / "in", PatientName="Doe^Jane")
    path = tmp_path / "out.dcm"
    path.write_bytes(b"before")
    # behind the tag of the first contour's data
    saving_fails(fault, lambda _, content: content.index(b"\x06\x30\x50\x00") + 9)
    message = "the disk is full" if fault == "full" else "check the disk"
    with pytest.raises(MachineError, match=rf"out\.dcm: .*{message}") as error:
        write_rtstruct(path, scan.with_data(organs()), **BY)
    assert "Doe" not in str(error.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "out.dcm"]
    assert path.read_bytes() == b"before"
