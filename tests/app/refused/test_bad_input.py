"""What is wrong with a scan ends the command with one line and its exit code, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest

from unetr.core.plan.file import write_plan
from unetr.core.plan.schema import Plan

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]
FilesIn = Callable[[Path], list[str]]

MALFORMED = 190


# ---------------------------------------------------------------------------------------------------------------------
# Malformed scans and labels, each through every command that reads such a file


@dataclass(frozen=True)
class Verdict:
    """How one command took one malformed file. left: files that were not there before."""

    case: str
    command: str
    guilty: str
    reason: str
    outcome: Any
    left: list[str]


@pytest.fixture(scope="module")
def verdicts(
    tmp_path_factory: pytest.TempPathFactory,
    malformed: ModuleType,
    unetr: Command,
    tiny_model: Path,
    tiny_plan: Plan,
    files_in: FilesIn,
) -> list[Verdict]:
    """Every malformed scan through predict; every malformed label through check, train and evaluate."""
    folder = tmp_path_factory.mktemp("malformed")
    write_plan(folder / "plan.yaml", tiny_plan)
    truth = np.random.default_rng(1).integers(0, 3, malformed.SHAPE, dtype=np.uint8)
    (folder / "truth.nii.gz").write_bytes(malformed.compress(malformed.nifti(truth)))
    cases = malformed.malformed_scans(folder / "bad scans ü", 7)
    assert len(cases) == MALFORMED
    found = []

    def take(case: Any, command: str, guilty: Path, *arguments: object) -> None:
        before = set(files_in(folder))
        outcome = unetr(command, *arguments)
        left = sorted(set(files_in(folder)) - before)
        found.append(Verdict(case.name, command, guilty.name, case.reason, outcome, left))

    for case in cases:
        if case.label is None:
            take(case, "predict", case.image, tiny_model, case.image, "-o", folder / "out/label.nii.gz")
            continue
        root = folder / "datasets" / case.name
        for sound in ("a", "b"):
            scan = malformed.voxels(np.random.default_rng(ord(sound)))
            for kind, data in {"images": scan, "labels": truth}.items():
                (root / kind).mkdir(parents=True, exist_ok=True)
                (root / kind / f"{sound}.nii.gz").write_bytes(malformed.compress(malformed.nifti(data)))
        shutil.copy(case.image, root / "images" / case.label.name)
        shutil.copy(case.label, root / "labels" / case.label.name)
        (root / "labels.json").write_text('{"ball": 1, "shell": 2}')
        take(case, "check", case.label, root)
        take(case, "train", case.label, root, "-o", folder / "run", "--preset", "tiny", "--steps", 1, "--folds", 2)
        compare = ["--plan", folder / "plan.yaml", "-o", folder / "scores"]
        take(case, "evaluate", case.label, case.label, folder / "truth.nii.gz", *compare)
        take(case, "evaluate", case.label, folder / "truth.nii.gz", case.label, *compare)
    return found


def test_silent_acceptances_are_zero(verdicts: list[Verdict]) -> None:
    accepted = [(v.command, v.case, v.reason) for v in verdicts if v.outcome.code == 0]
    assert len(accepted) == 0, accepted
    assert len({v.case + v.guilty for v in verdicts}) == MALFORMED
    assert {v.command for v in verdicts} == {"predict", "check", "train", "evaluate"}


def test_every_refusal_is_exit_code_2_and_one_line_that_names_the_file(verdicts: list[Verdict]) -> None:
    wrong = []
    for v in verdicts:
        line = v.outcome.err
        good = line.startswith("unetr: ") and line.count("\n") == 1 and line.endswith("\n") and v.guilty in line
        if v.outcome.code != 2 or not good or len(line) > 700:
            wrong.append((v.command, v.case, v.outcome.code, line))
    assert wrong == []


def test_refusals_leave_no_file(verdicts: list[Verdict]) -> None:
    assert [(v.command, v.case, v.left) for v in verdicts if v.left] == []


def test_what_refuses_them_accepts_sound_ones(
    malformed: ModuleType, unetr: Command, tiny_model: Path, tmp_path: Path
) -> None:
    """Else the tests above could not fail."""
    scan = tmp_path / "sound.nii"
    scan.write_bytes(malformed.nifti(malformed.voxels(np.random.default_rng(0))))
    assert unetr("predict", tiny_model, scan, "-o", tmp_path / "out.nii").code == 0
    label = tmp_path / "label.nii"
    label.write_bytes(malformed.nifti(np.random.default_rng(1).integers(0, 3, malformed.SHAPE, dtype=np.uint8)))
    assert unetr("evaluate", label, label).code == 0


def test_a_folder_with_good_and_bad_scans(
    malformed: ModuleType, unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    scans = tmp_path / "scans"
    cases = [case for case in malformed.malformed_scans(tmp_path / "bad", 3) if case.image.is_file()]
    scans.mkdir()
    bad = {}
    for case in cases[::12]:
        if case.label is None and case.name != "unknown_suffix":
            bad[case.name] = shutil.copy(case.image, scans)
    good = [shutil.copy(sound_scan, scans / f"{name}.nii.gz") for name in ("good 1", "zz good 2")]
    outcome = unetr("predict", tiny_model, scans, "-o", tmp_path / "out", "--json")
    assert outcome.code == 3
    *each, last = outcome.err.splitlines()
    assert len(each) == len(bad) >= 10
    assert all(line.startswith("unetr: ") for line in outcome.err.splitlines())
    for path in bad.values():
        assert sum(Path(path).name in line for line in each) == 1, path
    assert last.startswith(f"unetr: {scans}: {len(bad)} of {len(bad) + 2} scans failed: ")
    assert all(name in last for name in bad)
    assert files_in(tmp_path / "out") == sorted(["report.json", *(Path(path).name for path in good)])
    said = json.loads(outcome.out)
    assert set(said["failed"]) == set(bad) and set(said["volumes_ml"]) == {"good 1", "zz good 2"}


# ---------------------------------------------------------------------------------------------------------------------
# Scans that are sound as files


def test_constant_image(
    unetr: Command, assert_refused: Refused, tiny_model: Path, save_scan: Save, tmp_path: Path, files_in: FilesIn
) -> None:
    scan = save_scan(tmp_path / "flat.nii.gz", np.full((20, 20, 20), 7, np.int16))
    outcome = unetr("predict", tiny_model, scan, "-o", tmp_path / "out.nii.gz")
    assert_refused(outcome, 2, scan, "channel 'MRI' is constant: every voxel is 7")
    assert files_in(tmp_path) == ["flat.nii.gz"]


def test_two_channels_for_a_model_of_one(
    unetr: Command, assert_refused: Refused, tiny_model: Path, save_scan: Save, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(size=(20, 20, 20, 2)).astype(np.float32)
    scan = save_scan(tmp_path / "two.nii.gz", noise)
    outcome = unetr("predict", tiny_model, scan, "-o", tmp_path / "out.nii.gz")
    assert_refused(outcome, 2, scan, "has 2 channels; the model expects 1 (MRI)")


def test_all_empty_foreground(unetr: Command, assert_refused: Refused, make_dataset: Any, tmp_path: Path) -> None:
    root = make_dataset("folders")
    for label in (root / "labels").iterdir():
        image = nibabel.load(label)
        nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), label)
    assert_refused(unetr("check", root), 2, root, "no case has a labelled voxel")
    outcome = unetr("train", root, "-o", tmp_path / "run", "--steps", 2)
    assert_refused(outcome, 2, root, "no case has a labelled voxel", "see unetr check")
    assert not (tmp_path / "run").exists()


def test_train_refuses_a_dataset_with_errors_and_says_the_first(
    unetr: Command, assert_refused: Refused, make_dataset: Any, tmp_path: Path
) -> None:
    root = make_dataset("decathlon")
    for name in ("case_02", "case_04"):
        path = root / f"imagesTr/{name}.nii.gz"
        path.write_bytes(path.read_bytes()[:-20])
    outcome = unetr("train", root, "-o", tmp_path / "run", "--steps", 2)
    assert_refused(outcome, 2, "case_02.nii.gz", "1 more (see unetr check)")
    assert not (tmp_path / "run").exists()
    assert_refused(unetr("check", root, "--json"), 2, "2 errors in 6 cases", "case_02.nii.gz")


def test_a_volume_smaller_than_the_window_works(
    unetr: Command, tiny_model: Path, save_scan: Save, datasets: ModuleType, tmp_path: Path
) -> None:
    affine = datasets.oblique_affine(3)
    scan = save_scan(
        tmp_path / "small.nii", np.random.default_rng(0).normal(size=(5, 30, 3)).astype(np.float32), affine
    )
    assert unetr("predict", tiny_model, scan, "-o", tmp_path / "out.nii.gz").code == 0
    written = nibabel.load(tmp_path / "out.nii.gz")
    assert written.shape == (5, 30, 3)
    assert np.allclose(written.affine, nibabel.load(scan).affine, atol=1e-6)


def test_unicode_and_spaces_in_paths_work(
    unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path, files_in: FilesIn
) -> None:
    folder = tmp_path / "Schädel MRT – 日本 'quoted' $HOME"
    folder.mkdir()
    model = shutil.copy(tiny_model, folder / "mödel 1.safetensors")
    scan = shutil.copy(sound_scan, folder / "søan n°1.nii.gz")
    out = folder / "out put" / "ü.nii.gz"
    outcome = unetr("predict", model, scan, "-o", out, "--preview", "--stats", folder / "stats ü.csv")
    assert outcome.code == 0, outcome
    assert files_in(out.parent) == ["ü.nii.gz", "ü.png"]
    assert (folder / "stats ü.csv").read_text().splitlines()[1].startswith("søan n°1,ball,")


def test_a_name_that_is_no_unicode(unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path) -> None:
    """Names are bytes on Linux. Taken or refused, but in one line."""
    name = tmp_path / os.fsdecode(b"old\xe9.nii.gz")
    try:
        shutil.copy(sound_scan, name)
    except OSError:
        pytest.skip("this file system has Unicode names only")
    outcome = unetr("predict", tiny_model, name, "-o", tmp_path / "out", "--stats", tmp_path / "s.csv", "--json")
    assert outcome.code in (0, 2)
    assert outcome.err.count("\n") == outcome.code // 2
