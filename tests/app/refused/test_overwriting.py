"""Of every command and every option that names an output: inputs and a person's files stay; patients stay private."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.systems import LINKS

from unetr.model.file.model_file import read_model

Unetr = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def place(
    tmp_path: Path, make_dataset: Callable[..., Path], tiny_model: Path, tiny_plan: Any, sound_scan: Path
) -> Path:
    """A folder with data, a model, a plan, a scan and two label files."""
    from unetr.core.plan.file import write_plan

    folder = tmp_path / "place"
    (folder / "scans").mkdir(parents=True)
    shutil.copy(sound_scan, folder / "scans/scan.nii.gz")
    shutil.copy(tiny_model, folder / "model.safetensors")
    write_plan(folder / "own plan.yaml", tiny_plan)
    make_dataset().rename(folder / "data")
    for name in ("predicted", "true"):
        (folder / name).mkdir()
        shutil.copy(folder / "data/labelsTr/case_00.nii.gz", folder / name / "a.nii.gz")
    return folder


PREDICT = ("predict", "model.safetensors", "scans")
# A command, and the files that it writes.
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plan": (("plan", "data", "-o", "out"), ("out/plan.yaml", "out/fingerprint.json")),
    "evaluate": (("evaluate", "predicted", "true", "-o", "out"), ("out/results.json", "out/results.csv")),
    "evaluate beside": (("evaluate", "predicted", "true"), ("predicted/results.json", "predicted/results.csv")),
    "predict": ((*PREDICT, "-o", "out"), ("out/scan.nii.gz",)),
    "extras": (
        (*PREDICT, "-o", "out", "--probabilities", "--uncertainty", "--preview"),
        ("out/scan_probabilities.nii.gz", "out/scan_uncertainty.nii.gz", "out/scan.png", "out/scan.nii.gz"),
    ),
    "tables": ((*PREDICT, "-o", "out", "--stats", "s.csv", "--report", "r.json"), ("s.csv",)),
    "one scan": (("predict", "model.safetensors", "scans/scan.nii.gz", "-o", "x.nii.gz"), ("x.nii.gz",)),
    "onnx": (("export", "model.safetensors", "--to", "onnx"), ("model.onnx",)),
    "openvino": (("export", "model.safetensors", "--to", "openvino", "-o", "m.xml"), ("m.xml", "m.bin")),
}


@pytest.mark.fault("overwriting")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_persons_files_stay_unless_they_may_be_overwritten(
    unetr: Unetr, assert_refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(place)
    arguments, files = COMMANDS[command]
    for name in files:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("mine")
        before = sorted(Path.cwd().rglob("*"))
        assert_refused(unetr(*arguments), 2, name, "was not written by unetr", "--overwrite")
        assert Path(name).read_text() == "mine" and sorted(Path.cwd().rglob("*")) == before
        Path(name).unlink()
    assert unetr(*arguments).code == 0
    assert unetr(*arguments).code == 0  # its own
    for name in files:
        kept = Path(name).read_bytes()
        Path(name).write_bytes(kept + b" ")
        assert_refused(unetr(*arguments), 2, name, "was changed since unetr wrote it", "--overwrite")
        assert Path(name).read_bytes() == kept + b" "
        Path(name).write_bytes(kept)
    Path(files[-1]).write_text("mine")
    assert unetr(*arguments, "--overwrite").code == 0
    assert Path(files[-1]).read_bytes() != b"mine"


@pytest.mark.fault("overwriting")
def test_label_that_a_person_corrected_stays_when_a_batch_goes_on(
    unetr: Unetr, assert_refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert unetr(*PREDICT, "-o", "out").code == 0
    corrected = b"corrected " + Path("out/scan.nii.gz").read_bytes()
    Path("out/scan.nii.gz").write_bytes(corrected)
    for options in ((), ("--continue",), ("--continue", "--tta")):
        assert_refused(unetr(*PREDICT, "-o", "out", *options), 2, "out/scan.nii.gz", "was changed")
    assert Path("out/scan.nii.gz").read_bytes() == corrected


@pytest.mark.fault("overwriting")
def test_results_of_a_version_without_lists_are_known_by_their_report(
    unetr: Unetr, assert_refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert unetr(*PREDICT, "-o", "out").code == 0
    Path("out/.unetr_outputs").unlink()
    assert unetr(*PREDICT, "-o", "out").code == 0
    Path("out/.unetr_outputs").unlink()
    Path("out/scan.nii.gz").write_bytes(b"mine")
    assert_refused(unetr(*PREDICT, "-o", "out"), 2, "out/scan.nii.gz", "was changed")


INPUTS: dict[str, tuple[tuple[str, ...], str]] = {
    "stats on the model": ((*PREDICT, "-o", "out", "--stats", "model.safetensors"), "is a model"),
    "report on the scan": ((*PREDICT, "-o", "out", "--report", "scans/scan.nii.gz"), "report of unetr predict"),
    "stats on the scan": ((*PREDICT, "-o", "out", "--stats", "scans/scan.nii.gz"), "is a scan"),
    "stats on the scan in capitals": ((*PREDICT, "-o", "out", "--stats", "scans/SCAN.nii.gz"), "is a scan"),
    "stats on another file there": ((*PREDICT, "-o", "out", "--stats", "scans/other.txt"), "is what is predicted"),
    "stats on the label file": ((*PREDICT, "-o", "out", "--stats", "out/scan.nii.gz"), "two cases or options"),
    "stats on the report": ((*PREDICT, "-o", "out", "--stats", "out/report.json"), "two cases or options"),
    "stats on the report in capitals": ((*PREDICT, "-o", "out", "--stats", "out/Report.json"), "only in case"),
    "label on the scan by a link": (("predict", "model.safetensors", "scans/scan.nii.gz", "-o", "l.nii.gz"), "a scan"),
    "labels on the scans": ((*PREDICT, "-o", "scans"), "is a scan"),
    "evaluate on its plan": (
        ("evaluate", "predicted", "true", "-o", "plans", "--plan", "plans/results.json"),
        "is the plan",
    ),
    "export on its model": (("export", "model.safetensors", "--to", "torch"), "is the model itself"),
    "export on a hard link": (("export", "model.safetensors", "--to", "torch", "-o", "h.safetensors"), "the model"),
    "convert on its plan": (
        ("convert", "monai", "weights.pt", "--plan", "own plan.yaml", "-o", "own plan.yaml"),
        "is the plan",
    ),
    "folds on their plan": (
        ("train", "data", "-o", "plans", "--plan", "plans/plan.yaml", "--folds", "all:2", "--steps", "1"),
        "is the plan itself",
    ),
}


@LINKS
@pytest.mark.fault("output is an input")
@pytest.mark.parametrize("case", INPUTS)
def test_no_option_writes_over_an_input(
    unetr: Unetr, assert_refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(place)
    Path("l.nii.gz").symlink_to("scans/scan.nii.gz")
    os.link("model.safetensors", "h.safetensors")
    Path("plans").mkdir()
    for name in ("results.json", "plan.yaml"):
        shutil.copy("own plan.yaml", Path("plans") / name)
    Path("scans/other.txt").write_text("notes")
    before = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    arguments, complaint = INPUTS[case]
    assert_refused(unetr(*arguments, "--overwrite"), 2, complaint)
    assert {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()} == before


@pytest.mark.fault("names that collide")
@pytest.mark.parametrize("names", [("a", "A"), ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE")])
def test_cases_whose_names_are_one_to_some_machines(
    unetr: Unetr, assert_refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    monkeypatch.chdir(place)
    Path("more").mkdir()
    for name in names:
        shutil.copy("scans/scan.nii.gz", f"more/{name}.nii.gz")
        for kind, first in (("images", "imagesTr/case_00.nii.gz"), ("labels", "labelsTr/case_00.nii.gz")):
            Path(f"pairs/{kind}").mkdir(parents=True, exist_ok=True)
            shutil.copy(f"data/{first}", f"pairs/{kind}/{name}.nii.gz")
    if len(list(Path("more").iterdir())) < 2:
        pytest.skip("this file system takes them for one file itself")
    assert_refused(unetr("predict", "model.safetensors", "more", "-o", "out"), 2, "only in case or Unicode form")
    assert_refused(unetr("plan", "pairs", "-o", "out"), 2, "one file name on many disks")
    assert not Path("out").exists()


@pytest.mark.fault("overwriting")
def test_a_plan_that_was_edited_is_not_lost_to_a_training(
    unetr: Unetr, assert_refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    train = ("train", "data", "-o", "run", "--preset", "tiny", "--steps", "1", "--folds", "2")
    assert unetr("plan", "data", "-o", "run", "--preset", "tiny").code == 0
    made = Path("run/plan.yaml").read_text()
    edited = made.replace("overlap: 0.5", "overlap: 0.25  # mine")
    Path("run/plan.yaml").write_text(edited)
    assert_refused(unetr(*train), 2, "run/plan.yaml", "was changed since", "--plan run/plan.yaml")
    assert unetr(*train, "--plan", "run/plan.yaml").code == 0
    assert Path("run/plan.yaml").read_text() == edited
    assert read_model(Path("run/model.safetensors")).plan.inference.overlap == 0.25
    Path("other").mkdir()
    Path("other/plan.yaml").write_text(made)
    Path("other/notes.txt").write_text("mine")
    assert_refused(unetr(*train[:2], "-o", "other", *train[4:]), 2, "other", "is not empty")


@pytest.mark.fault("readable by others")
def test_patients_are_the_users_alone_and_models_follow_the_umask(
    unetr: Unetr, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    kept = os.umask(0o022)
    try:
        assert (
            unetr(*PREDICT, "-o", "out", "--probabilities", "--uncertainty", "--preview", "--stats", "s.csv").code == 0
        )
        assert unetr("predict", "model.safetensors", "scans/scan.nii.gz", "-o", "alone/x.nii.gz").code == 0
        assert unetr("evaluate", "predicted", "true", "-o", "scores").code == 0
        train = ("train", "data", "-o", "run", "--preset", "tiny", "--steps", "2", "--folds", "2")
        assert unetr(*train).code == 0 and unetr("report", "run").code == 0
    finally:
        os.umask(kept)
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in (*Path().rglob("*"), *Path().rglob(".unetr-*"))}
    public = ("run/plan.yaml", "run/fingerprint.json", "run/model.safetensors", "run/best.safetensors", "run")
    numbers = ("run/log.csv", "run/timing.csv", "run/validation.csv", "run/tensorboard", "run/checkpoints")
    for name, mode in modes.items():
        if name.startswith(("out", "alone", "scores", "run", "s.csv")):
            if name in public or name.startswith(numbers):
                assert mode & 0o044 == 0o044, name
            else:
                assert mode & 0o077 == 0, (name, oct(mode))
    assert "run/cache/case_00.image.npy" in modes and "run/validation/results.json" in modes and "s.csv" in modes
    for path in (Path("run/settings.json"), Path("run/model.safetensors"), Path("run/plan.yaml")):
        assert str(place).encode() not in path.read_bytes()
