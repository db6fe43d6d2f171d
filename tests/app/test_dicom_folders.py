"""DICOM folders, series and results of `unetr predict`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.app.folder_reports import states

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]
FilesIn = Callable[[Path], list[str]]


def write_dicom(maker: ModuleType, folder: Path, seed: int = 0, **tags: Any) -> Path:
    """A series of 24x20x18 voxels with the name of a patient."""
    voxels = np.random.default_rng(seed).integers(0, 1000, (24, 20, 18), dtype=np.int16)
    maker.write_series(folder, voxels, PatientName="Doe^Jane", PatientID="SECRET-7", **tags)
    return folder


def test_a_folder_of_dicom_is_one_case(
    unetr: Command, maker: ModuleType, tiny_model: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    import nibabel
    import SimpleITK

    folder = write_dicom(maker, tmp_path / "study 1")
    outcome = unetr("predict", tiny_model, folder, "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome
    assert files_in(tmp_path / "out") == ["study 1.nii.gz"]
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    scan, label = reader.Execute(), SimpleITK.ReadImage(str(tmp_path / "out/study 1.nii.gz"))
    for position in ((0, 0, 0), (23, 19, 17), (5, 0, 11)):
        theirs, ours = (image.TransformIndexToPhysicalPoint(position) for image in (scan, label))
        assert np.allclose(theirs, ours, atol=1e-4)
    # The zip and the file name of our choice give the same labels.
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    assert unetr("predict", tiny_model, tmp_path / "packed.zip", "-o", tmp_path / "own.nii.gz").code == 0
    first, second = (nibabel.load(tmp_path / name).get_fdata() for name in ("out/study 1.nii.gz", "own.nii.gz"))
    assert np.array_equal(first, second) and len(np.unique(first)) > 1
    from unetr import read_volume

    assert np.array_equal(read_volume(folder).data, read_volume(tmp_path / "packed.zip").data)


def test_a_folder_of_dicom_folders(
    unetr: Command, maker: ModuleType, tiny_model: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    for seed, name in enumerate(("a", "b", "gap")):
        write_dicom(maker, scans / name, seed)
    middle = sorted((scans / "gap").iterdir())[7]
    middle.unlink()
    (scans / "none").mkdir()
    (scans / "none/readme.txt").write_text("nothing")
    command = ["predict", tiny_model, scans, "-o", out, "--continue"]
    outcome = unetr(*command)
    assert outcome.code == 3
    assert states(out) == {"a": "done", "b": "done", "gap": "failed", "none": "failed"}
    assert files_in(out) == ["a.nii.gz", "b.nii.gz", "report.json"]
    everything = (out / "report.json").read_text() + outcome.out + outcome.err
    assert "Doe" not in everything and "SECRET" not in everything
    assert unetr(*command).code == 3
    assert states(out) == {"a": "skipped", "b": "skipped", "gap": "failed", "none": "failed"}
    shutil.rmtree(scans / "a")
    write_dicom(maker, scans / "a", 9)
    assert unetr(*command).code == 3
    assert states(out) == {"a": "done", "b": "skipped", "gap": "failed", "none": "failed"}


def test_outputs_never_lie_among_the_dicom_files(
    unetr: Command, assert_refused: Refused, maker: ModuleType, tiny_model: Path, tmp_path: Path
) -> None:
    scans = write_dicom(maker, tmp_path / "scans/a").parent
    for source, out in ((scans, scans / "out"), (scans / "a", scans / "a"), (scans / "a", scans / "a/x.nii.gz")):
        assert_refused(unetr("predict", tiny_model, source, "-o", out), 2, "among the DICOM files")


def test_series_are_channels(
    unetr: Command, assert_refused: Refused, maker: ModuleType, tiny_model: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    frame = {"StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    for seed, uid in enumerate(("1.2.3.1", "1.2.3.2")):
        write_dicom(maker, study / f"s{seed}", seed, SeriesInstanceUID=uid, **frame)
    out = tmp_path / "out.nii.gz"
    assert unetr("predict", tiny_model, study, "-o", out, "--series", "1.2.3.2").code == 0
    assert unetr("predict", tiny_model, study / "s1", "-o", tmp_path / "same.nii.gz").code == 0
    assert out.read_bytes() == (tmp_path / "same.nii.gz").read_bytes()
    both = ["--series", "1.2.3.1", "--series", "1.2.3.2"]
    assert_refused(unetr("predict", tiny_model, study, "-o", out, *both), 2, study, "has 2 channels", "expects 1")
    assert_refused(unetr("predict", tiny_model, study, "-o", out, "--series", "9.9"), 2, study, "9.9")


@pytest.mark.parametrize("result_format", ["dicom-seg", "rtstruct"])
def test_dicom_results(
    result_format: str,
    unetr: Command,
    assert_refused: Refused,
    maker: ModuleType,
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    files_in: FilesIn,
) -> None:
    import pydicom

    option = ["--format", result_format]
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out", *option)
    assert_refused(outcome, 2, sound_scan, f"format {result_format}", "expected DICOM", "--format nifti")
    folder = write_dicom(maker, tmp_path / "study")
    outcome = unetr("predict", tiny_model, folder, "-o", tmp_path / "out.nii.gz", *option)
    assert_refused(outcome, 2, "out.nii.gz", "expected a name ending in .dcm")
    pytest.importorskip(
        {"dicom-seg": "unetr.io.dicom.results.seg", "rtstruct": "unetr.io.dicom.results.rtstruct"}[result_format]
    )
    kind = {"dicom-seg": "seg", "rtstruct": "rtstruct"}[result_format]
    assert unetr("predict", tiny_model, folder, "-o", tmp_path / "out", *option).code == 0
    assert unetr("predict", tiny_model, folder, "-o", tmp_path / "one.dcm", *option).code == 0
    assert files_in(tmp_path / "out") == [f"study.{kind}.dcm"]
    for path in (tmp_path / f"out/study.{kind}.dcm", tmp_path / "one.dcm"):
        assert pydicom.dcmread(path).Modality == {"seg": "SEG", "rtstruct": "RTSTRUCT"}[kind]


def test_an_unknown_format(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path, "--format", "jpeg")
    assert_refused(outcome, 2, "format jpeg", "nifti, dicom-seg, rtstruct")
