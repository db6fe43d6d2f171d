"""Folders of scans in several forms, what reading doubts, and `unetr info` of DICOM, through the command."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest

Command = Callable[..., Any]
FilesIn = Callable[[Path], list[str]]


def pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


@pytest.mark.fault("folders of scans in several forms")
def test_every_form_is_predicted_or_named(
    unetr: Command, maker: ModuleType, tiny_model: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    voxels = np.random.default_rng(0).integers(0, 1000, (24, 20, 18), dtype=np.int16)
    scans, out = tmp_path / "scans", tmp_path / "out"
    affine = maker.write_series(scans / "b", voxels, ImagesInAcquisition="99")
    pack(scans / "b", scans / "c.zip")
    nibabel.save(nibabel.Nifti1Image(voxels, affine), scans / "a.nii.gz")
    (scans / "d").mkdir()
    nibabel.save(nibabel.Nifti1Image(voxels, affine), scans / "d" / "scan.nii.gz")
    (scans / "e.mgz").write_bytes(b"x")
    outcome = unetr("predict", tiny_model, scans, "-o", out)
    assert outcome.code == 3 and "e.mgz: is a FreeSurfer scan" in outcome.err
    assert files_in(out) == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz", "report.json"]
    first = np.asarray(nibabel.load(out / "a.nii.gz").dataobj)
    for name in "bcd":
        np.testing.assert_array_equal(np.asarray(nibabel.load(out / f"{name}.nii.gz").dataobj), first)
    cases = {case["id"]: case for case in json.loads((out / "report.json").read_text())["cases"]}
    assert [cases[name]["state"] for name in sorted(cases)] == ["done"] * 4 + ["failed"]
    for name in "bc":
        assert any("ImagesInAcquisition 99, 18 are there" in each for each in cases[name]["warnings"])
    assert "ImagesInAcquisition 99, 18 are there" in outcome.err
    strict = unetr("predict", tiny_model, scans / "b", "-o", tmp_path / "x.nii.gz", "--strict")
    assert strict.code == 2 and "ImagesInAcquisition 99" in strict.err and not (tmp_path / "x.nii.gz").exists()


@pytest.mark.fault("info of DICOM")
@pytest.mark.parametrize("form", ["file", "folder", "zip"])
def test_info_of_dicom(unetr: Command, maker: ModuleType, tmp_path: Path, form: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 1000, (9, 8, 6), dtype=np.uint16)
    path = tmp_path / "series"
    if form == "file":
        path = tmp_path / "e.dcm"
        maker.write_enhanced(path, voxels, spacing_mm=(1, 2, 3))
    else:
        maker.write_series(path, voxels, spacing_mm=(1, 2, 3))
    if form == "zip":
        pack(path, tmp_path / "series.zip")
        path = tmp_path / "series.zip"
    outcome = unetr("info", path, "--json")
    (series,) = json.loads(outcome.out)["series"]
    assert (series["modality"], series["slices"], series["shape"]) == ("MR", 6, [9, 8, 6])
    assert series["spacing_mm"] == [1, 2, 3] and series["remarks"] == []
    table = unetr("info", path)
    assert table.code == 0 and "Synthetic MR" in table.out
    for shown in (outcome, table):
        assert not any(word in shown.out + shown.err for word in ("Mustermann", "P-1"))


@pytest.mark.fault("info of DICOM")
def test_info_of_other_archives_and_folders(unetr: Command, maker: ModuleType, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("main.py", "pass")
    outcome = unetr("info", tmp_path / "code.zip")
    assert outcome.code == 2 and "is an archive without DICOM" in outcome.err and "pickle" not in outcome.err
    scans = tmp_path / "scans"
    maker.write_series(scans / "b", np.zeros((9, 8, 6), np.uint16))
    (scans / "a.nii.gz").write_bytes(b"x")
    (scans / "c.mgz").write_bytes(b"x")
    facts = json.loads(unetr("info", scans, "--json").out)
    assert list(facts["scans"]) == ["a", "b"] and list(facts["problems"]) == ["c.mgz"]
    assert "DICOM" in unetr("info", scans).out
