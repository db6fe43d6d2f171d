"""Options and arguments that make no sense: exit code 2, one line that names them, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
Refused = Callable[..., None]
FilesIn = Callable[[Path], list[str]]


def wrong_options(model: Path, scan: Path, data: Path, out: Path) -> dict[str, tuple[list[object], list[str]]]:
    """Name -> the command, and words that its line must have."""
    predict, train = ["predict", model, scan, "-o", out], ["train", data, "-o", out]
    return {
        "preset": ([*train, "--steps", 2, "--preset", "huge"], ["'huge'", "paper, small, medium, large, tiny"]),
        "plan preset": (["plan", data, "--preset", "huge"], ["'huge'"]),
        "fold word": ([*train, "--steps", 2, "--fold", "first"], ["--fold first", "all-data"]),
        "fold too large": ([*train, "--steps", 2, "--fold", "5"], ["fold 5", "0 to 4"]),
        "fold negative": ([*train, "--steps", 2, "--fold", "-1"], ["--fold -1"]),
        "folds": ([*train, "--steps", 2, "--folds", "1"], ["--folds"]),
        "both budgets": ([*train, "--steps", 2, "--minutes", 2], ["--minutes and --steps"]),
        "no steps": ([*train, "--steps", 0], ["--steps"]),
        "steps of no number": ([*train, "--steps", "many"], ["--steps", "see unetr train --help"]),
        "minutes of no number": ([*train, "--minutes", "nan"], ["--minutes"]),
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
        "tolerance": (["evaluate", scan, scan, "--tolerance-mm", "nan"], ["--tolerance-mm"]),
        "endless tolerance": (["evaluate", scan, scan, "--tolerance-mm", "inf"], ["--tolerance-mm inf"]),
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
    files_in: FilesIn,
) -> None:
    before = files_in(sound_scan.parent)
    arguments, words = wrong_options(tiny_model, sound_scan, dataset, tmp_path / "out")[name]
    outcome = unetr(*arguments)
    assert_refused(outcome, 2, *words)
    assert outcome.out == ""
    assert files_in(tmp_path) == [] and files_in(sound_scan.parent) == before
