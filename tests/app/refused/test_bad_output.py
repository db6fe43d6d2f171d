"""Outputs that cannot be written and machines that refuse: exit code 4, one line, what was there stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.systems import LINKS

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]
FilesIn = Callable[[Path], list[str]]


# ---------------------------------------------------------------------------------------------------------------------
# Outputs


@pytest.fixture
def large_scan(tmp_path: Path, save_scan: Save) -> Path:
    """Its label file, uncompressed, is larger than the tiny disk."""
    return save_scan(tmp_path / "large.nii", np.random.default_rng(0).normal(size=(48, 48, 48)).astype(np.float32))


def test_disk_full(
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    sound_scan: Path,
    large_scan: Path,
    tiny_disk: Path,
    files_in: FilesIn,
) -> None:
    out = tiny_disk / "label.nii"
    assert unetr("predict", tiny_model, sound_scan, "-o", out).code == 0
    before = out.read_bytes()
    assert_refused(unetr("predict", tiny_model, large_scan, "-o", out), 4, out, "the disk is full")
    assert files_in(tiny_disk) == ["label.nii"] and out.read_bytes() == before
    new = tiny_disk / "new.nii"
    assert_refused(unetr("predict", tiny_model, large_scan, "-o", new), 4, new, "the disk is full")
    assert files_in(tiny_disk) == ["label.nii"]


def test_training_on_a_full_disk(
    unetr: Command,
    assert_refused: Refused,
    dataset: Path,
    train_options: list[object],
    tiny_disk: Path,
    files_in: FilesIn,
) -> None:
    outcome = unetr("train", dataset, "-o", tiny_disk / "run", *train_options)
    assert_refused(outcome, 4, tiny_disk / "run", "the disk is full")
    assert [name for name in files_in(tiny_disk) if ".unetr-" in name] == []


def test_read_only_output(
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    sound_scan: Path,
    dataset: Path,
    train_options: list[object],
    tiny_disk: Path,
    files_in: FilesIn,
) -> None:
    if subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], capture_output=True, check=False).returncode:
        pytest.skip("remounting read-only is not permitted")
    label = dataset / "labels/case_00.nii.gz"
    for arguments in (
        ["predict", tiny_model, sound_scan, "-o", tiny_disk / "label.nii.gz"],
        ["predict", tiny_model, sound_scan, "-o", tiny_disk / "new folder"],
        ["train", dataset, "-o", tiny_disk / "run", *train_options],
        ["plan", dataset, "-o", tiny_disk],
        ["evaluate", label, label, "-o", tiny_disk],
    ):
        assert_refused(unetr(*arguments), 4, tiny_disk, "the file system is read-only")
    assert files_in(tiny_disk) == []


def test_an_output_below_a_file(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file/out.nii.gz", "file/deeper/out.nii.gz", "file"):
        outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / out)
        assert_refused(outcome, 4, tmp_path / out, "part of the path is a file")
    assert files_in(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["out.png", "out.img", "out.nii.zip", "out.dcm"])
def test_an_output_of_unknown_format(
    name: str,
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    files_in: FilesIn,
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / name)
    assert_refused(outcome, 2, tmp_path / name, ".nii.gz, .nii, .nrrd, .mha")
    assert files_in(tmp_path) == []


@LINKS
def test_scans_are_never_overwritten(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    scan = Path(shutil.copy(sound_scan, tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    for source, out in ((scan, scan), (scan, tmp_path), (tmp_path, tmp_path), (scan, tmp_path / "link" / scan.name)):
        assert_refused(unetr("predict", tiny_model, source, "-o", out), 2, scan.name, "is a scan")
    assert scan.read_bytes() == sound_scan.read_bytes()


def test_no_case_overwrites_what_another_wrote(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a", "a_probabilities"):
        shutil.copy(sound_scan, scans / f"{name}.nii.gz")
    outcome = unetr("predict", tiny_model, scans, "-o", tmp_path / "out", "--probabilities")
    assert_refused(outcome, 2, tmp_path / "out/a_probabilities.nii.gz", "two cases")
    assert files_in(tmp_path) == ["scans", "scans/a.nii.gz", "scans/a_probabilities.nii.gz"]


def test_a_folder_of_scans_needs_a_folder(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan.parent, "-o", tmp_path / "out.nii.gz")
    assert_refused(outcome, 2, tmp_path / "out.nii.gz", "expected a folder")


# ---------------------------------------------------------------------------------------------------------------------
# The machine


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_no_memory(
    error: Exception,
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files_in: FilesIn,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("unetr.infer.predict.sweep", refuse)
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out.nii.gz")
    assert_refused(outcome, 4, "not enough memory")
    assert files_in(tmp_path) == []


def test_a_defect_of_ours_shows_its_traceback(
    unetr: Command,
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files_in: FilesIn,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("unetr.infer.predict.sweep", refuse)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out.nii.gz")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(("missing", "extra"), [("torch", "unetr[train]"), ("lightning_fabric", "unetr[train]")])
def test_a_missing_package_is_named_with_its_install_line(
    missing: str, extra: str, dataset: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from unetr.app.cli import main; "
        f"sys.argv = ['unetr', 'train', {str(dataset)!r}, '-o', {str(tmp_path / 'run')!r}, '--steps', '1']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done
    assert f"needs {missing}" in done.stderr and f"pip install '{extra}'" in done.stderr
    assert files_in(tmp_path) == []
