"""The same scan twice is found however it was written; different scans are not taken for one."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr.core.space.volume import Volume
from unetr.io import write_volume
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.checks.duplicates import compare, find_twins, traits_of
from unetr.prepare.datasets.cases import open_dataset

DUPLICATE = pytest.mark.fault("duplicate scan")
SHAPE = (14, 12, 10)


def scan(seed: int = 5) -> np.ndarray:
    """Whole numbers of 12 bits, as scanners write them."""
    return np.random.default_rng(seed).integers(0, 4096, SHAPE).astype(np.int16)


def label(seed: int = 0) -> np.ndarray:
    found = np.zeros(SHAPE, np.uint8)
    found[2 + seed : 5 + seed, 3:6, 2:5], found[9:12, 7:10, 4:7] = 1, 2
    return found


def as_type(dtype):
    return lambda path, data: nibabel.save(nibabel.Nifti1Image(data.astype(dtype), np.eye(4)), path)


def turned(path: Path, data: np.ndarray) -> None:
    """The same places in the world with the axes in another order and one of them reversed."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 1, -1, 1, 1
    affine[0, 3] = SHAPE[0] - 1
    nibabel.save(nibabel.Nifti1Image(data[::-1].transpose(2, 0, 1), affine), path)


def itk(path: Path, data: np.ndarray) -> None:
    image = SimpleITK.GetImageFromArray(data.transpose(2, 1, 0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, str(path), useCompression=path.suffix != ".nii")


WAYS = {
    **{f"as {t}": (".nii.gz", as_type(t)) for t in ("uint16", "int32", "uint32", "float32", "float64", ">i2", ">f4")},
    "not compressed": (".nii", as_type("int16")),
    "as NRRD": (".nrrd", itk),
    "as MHA": (".mha", itk),
    "another orientation": (".nii.gz", turned),
    "moved": (".nii.gz", lambda path, data: nibabel.save(nibabel.Nifti1Image(data, np.diag([2.0, 2, 3, 1])), path)),
}


def table_of(folder: Path, rows: list[str], columns: str = "image,label,id,subject") -> Path:
    (folder / "t.labels.json").write_text('{"a": 1, "b": 2}')
    (folder / "t.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder / "t.csv"


def problems(path: Path, *codes: str) -> list[tuple[str | None, str, str]]:
    found = check_dataset(open_dataset(path)).problems
    return [(p.case, p.severity, p.message) for p in found if p.code in (codes or ("duplicate_image",))]


@pytest.fixture
def cases(tmp_path, save_scan):
    """Five different scans with labels; and the rows of their table."""
    for i in range(5):
        save_scan(tmp_path / f"{i}.nii.gz", scan(i))
        save_scan(tmp_path / f"{i}_label.nii.gz", label(i % 3))
    return tmp_path, [f"{i}.nii.gz,{i}_label.nii.gz,c{i},s{i}" for i in range(5)]


@DUPLICATE
@pytest.mark.parametrize(("suffix", "write"), WAYS.values(), ids=WAYS)
def test_it_is_found_however_it_was_written(cases, suffix, write):
    folder, rows = cases
    write(folder / f"again{suffix}", scan(2))
    found = problems(table_of(folder, [*rows, f"again{suffix},,zz,s9"]))
    assert [(case, severity) for case, severity, _ in found] == [("zz", "error")]
    assert "case 'c2' of another subject" in found[0][2]


@DUPLICATE
@pytest.mark.parametrize(("slope", "inter"), [(0.1, 0), (0.001, -7), (1 / 3, 1e-3), (np.pi, 100)])
def test_a_slope_in_the_header_rounds(cases, slope, inter):
    """The values come from slope * stored + intercept in one file, and are stored as float32 in the other."""
    folder, rows = cases
    image = nibabel.Nifti1Image(scan(7), np.eye(4))
    nibabel.save(image, folder / "x.nii.gz")
    raw = bytearray(gzip.decompress((folder / "x.nii.gz").read_bytes()))
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()
    (folder / "x.nii").write_bytes(raw)
    values = (scan(7) * np.float64(np.float32(slope)) + np.float64(np.float32(inter))).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "y.nii.gz")
    ((case, severity, _),) = problems(table_of(folder, [*rows, "x.nii,,x,sx", "y.nii.gz,,y,sy"]))
    assert (case, severity) == ("y", "error")


@DUPLICATE
@pytest.mark.parametrize("change", [lambda x: x / 4096, lambda x: x * 10 - 1024, np.sqrt], ids=["0..1", "HU", "root"])
def test_another_scale_is_a_warning(cases, change):
    folder, rows = cases
    as_type("float32")(folder / "again.nii.gz", change(scan(3).astype(np.float64)))
    ((case, severity, message),) = problems(table_of(folder, [*rows, "again.nii.gz,,zz,s9"]))
    assert (case, severity) == ("zz", "warning")
    assert "in another scale the same scan as case 'c3'" in message


@DUPLICATE
def test_the_same_scan_with_another_label(cases, save_scan):
    folder, rows = cases
    save_scan(folder / "other_label.nii.gz", label(3))
    ((_, _, message),) = problems(table_of(folder, [*rows, "1.nii.gz,other_label.nii.gz,zz,s9"]))
    assert "and another label" in message
    shutil.copy(folder / "1_label.nii.gz", folder / "same_label.nii.gz")
    ((_, _, message),) = problems(table_of(folder, [*rows, "1.nii.gz,same_label.nii.gz,zz,s9"]))
    assert "another label" not in message


@DUPLICATE
@pytest.mark.parametrize(
    ("subject", "fold", "severity"), [("s9", 0, "error"), ("s9", 1, "warning"), ("s1", 1, "warning")]
)
def test_what_stays_in_one_fold_is_no_leak(cases, subject, fold, severity):
    folder, rows = cases
    rows = [f"{row},{i % 2}" for i, row in enumerate(rows)] + [f"1.nii.gz,1_label.nii.gz,zz,{subject},{fold}"]
    found = problems(table_of(folder, rows, "image,label,id,subject,fold"))
    assert [(case, how) for case, how, _ in found] == [("zz", severity)]


@DUPLICATE
def test_one_label_for_two_scans(cases):
    folder, rows = cases
    found = problems(table_of(folder, [*rows[:4], "4.nii.gz,3_label.nii.gz,c4,s4"]), "shared_label")
    assert [(case, severity) for case, severity, _ in found] == [("c4", "warning")]


@DUPLICATE
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16"])
def test_an_image_that_is_a_copy_of_its_label(cases, dtype):
    folder, rows = cases
    as_type(dtype)(folder / "2.nii.gz", label(2))
    found = problems(table_of(folder, rows), "image_is_label")
    assert [(case, severity) for case, severity, _ in found] == [("c2", "error")]


@DUPLICATE
@pytest.mark.parametrize("layout", ["decathlon", "nnunet"])
def test_a_scan_for_testing_that_is_learned_from(make_dataset, edit_json, layout):
    root = make_dataset(layout, 5)
    suffix = "_0000" if layout == "nnunet" else ""
    (root / "imagesTs").mkdir()
    source = nibabel.load(root / f"imagesTr/case_03{suffix}.nii.gz")
    for name, data in (("copy", np.asarray(source.dataobj, np.float64)), ("new", scan(50))):
        nibabel.save(nibabel.Nifti1Image(data, source.affine), root / f"imagesTs/{name}{suffix}.nii.gz")
    if layout == "decathlon":
        edit_json(root / "dataset.json", test=["./imagesTs/copy.nii.gz", "imagesTs/new.nii.gz", "imagesTs/not.nii.gz"])
    report = check_dataset(open_dataset(root))
    assert [(p.case, p.severity, p.code) for p in report.problems] == [("copy", "warning", "test_scan")]
    assert "case_03" in report.problems[0].message
    assert check_dataset(open_dataset(root), held_out=False).problems == ()


@DUPLICATE
def test_nobody_is_taken_for_a_twin(tmp_path):
    """Scans that agree nearly everywhere: one lesion elsewhere, padding that outweighs all, two noisy repetitions."""
    rng = np.random.default_rng(0)
    empty = np.zeros((40, 40, 40), np.float32)
    here, there = empty.copy(), empty.copy()
    here[3:6, 3:6, 3:6], there[30:33, 3:6, 3:6] = 1000, 1000
    body = rng.normal(0, 200, (40, 40, 40))
    other = rng.normal(0, 200, (40, 40, 40))
    outside = ((np.indices((40, 40)) - 19.5) ** 2).sum(0) > 15**2
    body[outside], other[outside] = -32000, -32000
    anatomy = np.cumsum(rng.normal(0, 1, (40, 40, 40)), axis=0) * 100
    first, second = (anatomy + rng.normal(0, 10, anatomy.shape) for _ in range(2))
    scans = [Volume(data.astype(np.float32)[None], np.eye(4)) for data in (here, there, body, other, first, second)]
    assert find_twins([traits_of(volume) for volume in scans], scans.__getitem__) == []


@DUPLICATE
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_voxel_makes_another_digest(data):
    """Two scans have one digest if and only if all their values are equal as float32."""
    shape = (2, 3, 2)
    values = st.lists(st.integers(-300, 300), min_size=12, max_size=12)
    first = np.array(data.draw(values)).reshape(shape)
    second = first.copy() if data.draw(st.booleans()) else np.array(data.draw(values)).reshape(shape)
    types = [np.int16, np.int32, np.float32, np.float64]
    one, other = (Volume(array.astype(data.draw(st.sampled_from(types)))[None], np.eye(4)) for array in (first, second))
    assert (traits_of(one).digest == traits_of(other).digest) == np.array_equal(first, second)


@DUPLICATE
def test_zero_has_no_sign():
    one, other = (Volume(np.full((1, 2, 2, 2), zero, np.float32), np.eye(4)) for zero in (0.0, -0.0))
    assert traits_of(one).digest == traits_of(other).digest
    assert compare(one, other) == "rounded"


@DUPLICATE
def test_every_format_of_our_own(cases):
    folder, rows = cases
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        write_volume(folder / f"again{suffix}", Volume(scan(4)[None], np.eye(4)))
        ((case, severity, _),) = problems(table_of(folder, [*rows, f"again{suffix},,zz,s9"]))
        assert (case, severity) == ("zz", "error")


@DUPLICATE
def test_the_real_hearts_that_are_there_twice(shared_data):
    """Patients 074 and 076 of the ACDC are the same scans, labelled twice (shared/data/README.md)."""
    dataset = open_dataset(shared_data / "ACDC/acdc.csv")
    found = [p for p in check_dataset(dataset).problems if p.code == "duplicate_image"]
    assert [p.case for p in found] == ["patient076_frame01", "patient076_frame02"]
    assert all(p.severity == "warning" and "another label" in p.message for p in found)
