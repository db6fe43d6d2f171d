"""What is wrong with the input ends the command with one line and its exit code, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from unetr.core.plan import Plan, write_plan

Command = Callable[..., Any]
Refused = Callable[..., None]
Save = Callable[..., Path]

MALFORMED = 190
FLIPPED_BITS = 60


def files_in(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


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
    tmp_path_factory: pytest.TempPathFactory, malformed: ModuleType, unetr: Command, tiny_model: Path, tiny_plan: Plan
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
    malformed: ModuleType, unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path
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
    assert files_in(tmp_path / "out") == sorted(path.name for path in good)
    said = json.loads(outcome.out)
    assert set(said["failed"]) == set(bad) and set(said["volumes_ml"]) == {"good 1", "zz good 2"}


# ---------------------------------------------------------------------------------------------------------------------
# Scans that are sound as files


def test_constant_image(
    unetr: Command, assert_refused: Refused, tiny_model: Path, save_scan: Save, tmp_path: Path
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
    assert_refused(outcome, 2, "case_02.nii.gz", "1 more, see unetr check")
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


def test_unicode_and_spaces_in_paths_work(unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path) -> None:
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


# ---------------------------------------------------------------------------------------------------------------------
# Model files


def test_files_that_are_no_model(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, finished_run: Path, tmp_path: Path
) -> None:
    content = tiny_model.read_bytes()
    checkpoint = sorted((finished_run / "checkpoints").iterdir())[-1]
    models: dict[str, bytes] = {
        "empty": b"",
        "text": b"this is a model, honestly\n" * 40,
        "pickle": pickle.dumps({"weights": [1.0, 2.0]}),
        "checkpoint": checkpoint.read_bytes(),
        "one byte more": content + b"\0",
        "gigantic header": (2**62).to_bytes(8, "little") + content[8:],
    }
    models |= {f"cut at {share}": content[: int(len(content) * share)] for share in (0.001, 0.01, 0.3, 0.9, 0.9999)}
    for name, data in models.items():
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "torch.pt")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "foreign.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    paths = [*tmp_path.iterdir(), tmp_path / "missing.safetensors"]
    assert len(paths) == len(models) + 4
    for path in paths:
        for arguments in (["predict", path, sound_scan, "-o", tmp_path / "out.nii.gz"], ["info", path]):
            assert_refused(unetr(*arguments), 2, path)
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_model_with_one_flipped_bit(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    content = tiny_model.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(5)
    positions = [rng.randrange(header) for _ in range(FLIPPED_BITS // 2)]
    positions += [rng.randrange(header, len(content)) for _ in range(FLIPPED_BITS // 2)]
    model = tmp_path / "flipped.safetensors"
    for position in [0, 7, 8, header - 1, header, len(content) - 1, *positions]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << rng.randrange(8)
        model.write_bytes(flipped)
        assert_refused(unetr("predict", model, sound_scan, "-o", tmp_path / "out.nii.gz"), 2, model)
    assert not (tmp_path / "out.nii.gz").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Plans

BAD_PLANS: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown key": (lambda text: text + "\nwindw: [1, 2, 3]\n", "windw: unknown key"),
    "unknown key deeper": (lambda text: text.replace("patch:", "patches:"), "network.patches: unknown key"),
    "wrong type": (lambda text: text.replace("depth: 3", "depth: many"), "network.depth"),
    "impossible value": (lambda text: text.replace("depth: 3", "depth: -3"), "network.depth"),
    "not a mapping": (lambda text: "[1, 2, 3]", "not a plan"),
    "empty": (lambda text: "", "not a plan"),
    "not YAML": (lambda text: "{a: [1, 2", "is not YAML"),
    "two values of one line": (lambda text: "a: b: c", "is not YAML"),
    "a day that never was": (lambda text: text.replace("dataset: balls", "dataset: 2023-02-30"), "is not YAML"),
    "endless nesting": (lambda text: "[" * 100_000, "is not YAML"),
    "bytes": (lambda text: "\0\1\2", "is not YAML"),
    "code, applied": (lambda text: text + '\nx: !!python/object/apply:os.system ["touch executed"]\n', "is not YAML"),
    "code, a module": (lambda text: "!!python/module:os", "is not YAML"),
    "code, in JSON": (lambda text: '{"!!python/name:os.system": 1}', "unknown key"),
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_bad_plans(
    name: str,
    unetr: Command,
    assert_refused: Refused,
    tiny_plan: Plan,
    sound_scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = tmp_path / "plan.yaml"
    write_plan(plan, tiny_plan)
    change, words = BAD_PLANS[name]
    text = change(plan.read_text())
    assert text != plan.read_text()
    plan.write_text(text)
    assert_refused(unetr("evaluate", sound_scan, sound_scan, "--plan", plan), 2, plan, words)
    assert files_in(tmp_path) == ["plan.yaml"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"background": 0, "ball": 1, "moon": 2}}, "use a plan made for this dataset"),
        ({"labels": {"background": 0, "ball": 1}}, "use a plan made for this dataset"),
        ({"channels": [{"name": "T1"}, {"name": "T2"}]}, "has 1 channels, the plan has 2"),
        ({"network": {"taps": [1, 2], "depth": 3}}, "last tap"),
        ({"network": {"decoder": "unknown"}}, "decoder"),
        ({"network": {"patch": 7}}, "patch"),
    ],
)
def test_a_plan_that_cannot_train_this_dataset(
    change: dict[str, Any],
    words: str,
    unetr: Command,
    assert_refused: Refused,
    dataset: Path,
    edited_plan: Path,
    tmp_path: Path,
) -> None:
    data = yaml.safe_load(edited_plan.read_text())
    for key, value in change.items():
        data[key] = data[key] | value if key == "network" else value
    plan = tmp_path / "other.yaml"
    plan.write_text(yaml.safe_dump(data))
    assert_refused(unetr("train", dataset, "-o", tmp_path / "run", "--plan", plan, "--steps", 2), 2, words)
    assert files_in(tmp_path) == ["other.yaml"]


# ---------------------------------------------------------------------------------------------------------------------
# Outputs


@pytest.fixture
def large_scan(tmp_path: Path, save_scan: Save) -> Path:
    """Its label file, uncompressed, is larger than the tiny disk."""
    return save_scan(tmp_path / "large.nii", np.random.default_rng(0).normal(size=(48, 48, 48)).astype(np.float32))


def test_disk_full(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, large_scan: Path, tiny_disk: Path
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
    unetr: Command, assert_refused: Refused, dataset: Path, train_options: list[object], tiny_disk: Path
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
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file/out.nii.gz", "file/deeper/out.nii.gz", "file"):
        outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / out)
        assert_refused(outcome, 4, tmp_path / out, "part of the path is a file")
    assert files_in(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["out.png", "out.img", "out.nii.zip", "out.dcm"])
def test_an_output_of_unknown_format(
    name: str, unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / name)
    assert_refused(outcome, 2, tmp_path / name, ".nii.gz, .nii, .nrrd, .mha")
    assert files_in(tmp_path) == []


def test_scans_are_never_overwritten(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    scan = Path(shutil.copy(sound_scan, tmp_path))
    (tmp_path / "link").symlink_to(tmp_path)
    for source, out in ((scan, scan), (scan, tmp_path), (tmp_path, tmp_path), (scan, tmp_path / "link" / scan.name)):
        assert_refused(unetr("predict", tiny_model, source, "-o", out), 2, scan.name, "is a scan")
    assert scan.read_bytes() == sound_scan.read_bytes()


def test_a_folder_of_scans_needs_a_folder(
    unetr: Command, assert_refused: Refused, tiny_model: Path, sound_scan: Path, tmp_path: Path
) -> None:
    outcome = unetr("predict", tiny_model, sound_scan.parent, "-o", tmp_path / "out.nii.gz")
    assert_refused(outcome, 2, tmp_path / "out.nii.gz", "expected a folder")


# ---------------------------------------------------------------------------------------------------------------------
# Options and arguments


def wrong_options(model: Path, scan: Path, data: Path, out: Path) -> dict[str, tuple[list[object], list[str]]]:
    """Name -> the command, and words that its line must have."""
    predict, train = ["predict", model, scan, "-o", out], ["train", data, "-o", out]
    return {
        "preset": ([*train, "--steps", 2, "--preset", "huge"], ["'huge'", "paper, small, tiny"]),
        "plan preset": (["plan", data, "--preset", "huge"], ["'huge'"]),
        "fold word": ([*train, "--steps", 2, "--fold", "first"], ["--fold first", "all-data"]),
        "fold too large": ([*train, "--steps", 2, "--fold", "5"], ["fold 5", "0 to 4"]),
        "fold negative": ([*train, "--steps", 2, "--fold", "-1"], ["--fold -1"]),
        "folds": ([*train, "--steps", 2, "--folds", "1"], ["--folds"]),
        "more folds than cases": ([*train, "--steps", 2, "--folds", "7"], ["7"]),
        "both budgets": ([*train, "--steps", 2, "--minutes", 2], ["--minutes and --steps"]),
        "no steps": ([*train, "--steps", 0], ["--steps"]),
        "steps of no number": ([*train, "--steps", "many"], ["--steps", "see unetr train --help"]),
        "minutes of no number": ([*train, "--minutes", "nan"], ["--minutes nan"]),
        "minutes without end": ([*train, "--minutes", "inf"], ["--minutes inf"]),
        "engine": ([*predict, "--engine", "steam"], ["engine steam", "torch"]),
        "precision": ([*predict, "--precision", "fp8"], ["precision fp8", "bf16"]),
        "device": ([*predict, "--device", "abacus"], ["device abacus", "cpu"]),
        "device without memory": ([*predict, "--device", "meta"], ["device meta"]),
        "no dataset": (["check", out], [str(out), "expected a dataset"]),
        "no dataset to train": (["train", out, "-o", out, "--steps", 2], [str(out), "expected a dataset"]),
        "a scan as dataset": (["check", scan], [str(scan), "is not a dataset"]),
        "plan without dataset": (["plan"], ["--template"]),
        "no scan": (["predict", model, out, "-o", out], [str(out), "no such file"]),
        "a name that is too long": (["predict", model, "n" * 5000, "-o", out], ["nnnn", "too long"]),
        "info on nothing": (["info", out], [str(out), "no such file"]),
        "info on no scan": (["info", f"{out}.nii.gz"], [f"{out}.nii.gz", "no such file"]),
        "evaluate nothing": (["evaluate", out, out], [str(out), "no such file"]),
        "evaluate without scans": (["evaluate", data, data], [str(data), "holds no scan"]),
        "tolerance": (["evaluate", scan, scan, "--tolerance-mm", "nan"], ["--tolerance-mm nan"]),
        "negative tolerance": (["evaluate", scan, scan, "--tolerance-mm", "-1"], ["--tolerance-mm"]),
        "report on nothing": (["report", out], [str(out), "unetr train"]),
        "report on no run": (["report", data], [str(data), "unetr train"]),
        "convert from elsewhere": (["convert", "nnunet", model, "--plan", scan, "-o", out], ["nnunet", "monai"]),
        "unknown option": ([*predict, "--fast"], ["--fast", "see unetr predict --help"]),
        "unknown command": (["segment", scan], ["segment", "see unetr --help"]),
        "missing argument": (["predict", model], ["see unetr predict --help"]),
        "missing output": (["predict", model, scan], ["--out", "see unetr predict --help"]),
        "one argument too many": (["check", data, data], ["see unetr check --help"]),
    }


OPTIONS = list(wrong_options(Path("model"), Path("scan"), Path("data"), Path("out")))


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options(
    name: str,
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    sound_scan: Path,
    dataset: Path,
    tmp_path: Path,
) -> None:
    before = files_in(sound_scan.parent)
    arguments, words = wrong_options(tiny_model, sound_scan, dataset, tmp_path / "out")[name]
    outcome = unetr(*arguments)
    assert_refused(outcome, 2, *words)
    assert outcome.out == ""
    assert files_in(tmp_path) == [] and files_in(sound_scan.parent) == before


# ---------------------------------------------------------------------------------------------------------------------
# Runs and weights of others


@pytest.mark.parametrize("name", ["settings.json", "plan.yaml", "fingerprint.json", "validation/results.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}'])
def test_report_on_a_damaged_run(name: str, content: str, unetr: Command, assert_refused: Refused, run: Path) -> None:
    (run / name).write_text(content)
    assert_refused(unetr("report", run), 2, run / name)
    assert not (run / "report.html").exists()


def test_a_run_whose_checkpoints_are_all_damaged(
    unetr: Command, assert_refused: Refused, run: Path, dataset: Path, train_options: list[object]
) -> None:
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    before = (run / "model.safetensors").read_bytes()
    outcome = unetr("train", dataset, "-o", run, *train_options)
    assert_refused(outcome, 2, ".safetensors")
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "difference"),
    [(["--seed", 1], "seed: there 0, asked for 1"), (["--fold", 1], "fold: there 0, asked for 1")],
)
def test_another_training_in_the_same_folder(
    options: list[object],
    difference: str,
    unetr: Command,
    assert_refused: Refused,
    run: Path,
    dataset: Path,
    train_options: list[object],
) -> None:
    before = {name: (run / name).read_bytes() for name in files_in(run) if (run / name).is_file()}
    outcome = unetr("train", dataset, "-o", run, *train_options, *options)
    assert_refused(outcome, 2, run, difference)
    assert {name: (run / name).read_bytes() for name in files_in(run) if (run / name).is_file()} == before


def test_a_folder_with_other_things_is_no_place_for_a_run(
    unetr: Command, assert_refused: Refused, dataset: Path, train_options: list[object], tmp_path: Path
) -> None:
    (tmp_path / "holiday.jpg").write_text("sun")
    assert_refused(unetr("train", dataset, "-o", tmp_path, *train_options), 2, tmp_path, "not empty")
    assert files_in(tmp_path) == ["holiday.jpg"]


class Malicious:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def test_convert_runs_no_code_and_keeps_the_source(
    unetr: Command,
    assert_refused: Refused,
    tiny_plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_plan(tmp_path / "plan.yaml", tiny_plan)
    torch.save({"model": Malicious()}, tmp_path / "bad.pt")
    (tmp_path / "text.pt").write_text("no weights")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    before = files_in(tmp_path)
    for name in ("bad.pt", "text.pt", "other.safetensors", "missing.pt"):
        out = tmp_path / "model.safetensors"
        assert_refused(unetr("convert", "monai", tmp_path / name, "--plan", tmp_path / "plan.yaml", "-o", out), 2, name)
    source = tmp_path / "other.safetensors"
    outcome = unetr("convert", "monai", source, "--plan", tmp_path / "plan.yaml", "-o", source)
    assert_refused(outcome, 2, source, "overwritten")
    assert files_in(tmp_path) == before


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
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("unetr.infer.predict.sliding_window", refuse)
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out.nii.gz")
    assert_refused(outcome, 4, "not enough memory")
    assert files_in(tmp_path) == []


def test_a_defect_of_ours_shows_its_traceback(
    unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("unetr.infer.predict.sliding_window", refuse)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out.nii.gz")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(("missing", "extra"), [("torch", "unetr[train]"), ("lightning_fabric", "unetr[train]")])
def test_a_missing_package_is_named_with_its_install_line(
    missing: str, extra: str, dataset: Path, tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from unetr.app.cli import main; "
        f"sys.argv = ['unetr', 'train', {str(dataset)!r}, '-o', {str(tmp_path / 'run')!r}, '--steps', '1']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done
    assert f"needs {missing}" in done.stderr and f"pip install '{extra}'" in done.stderr
    assert files_in(tmp_path) == []
