"""unetr report on the folder of a cross-validation: a page for each fold, one for all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.fault("report on all folds")


@pytest.fixture(scope="module")
def folds(unetr: Any, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of six cases, two steps each."""
    out = tmp_path_factory.mktemp("runs") / "all"
    done = unetr("train", dataset, "-o", out, "--preset", "tiny", "--steps", "2", "--folds", "all:2", "--no-rules")
    assert done.code == 0, done
    return out


def test_a_page_for_each_and_for_all(unetr: Any, folds: Path) -> None:
    outcome = unetr("report", folds)
    assert outcome.code == 0, outcome
    pages = [folds / "fold0/report.html", folds / "fold1/report.html", folds / "report.html"]
    assert outcome.err.splitlines() == [f"wrote {page}" for page in pages]
    text = pages[-1].read_text()
    results = json.loads((folds / "results.json").read_text())
    assert len({score["case"] for score in results["scores"]}) == 6
    for case in {score["case"] for score in results["scores"]}:
        assert case in text
    for fold in (0, 1):
        own = json.loads((folds / f"fold{fold}/settings.json").read_text())["validation_cases"]
        dice = [score["dice"] for score in results["scores"] if score["case"] in own]
        assert f"mean Dice {sum(dice) / len(dice):.4f} of 3 cases" in text
        assert f"fold{fold}/report.html" in text
    assert len(list((folds / "out_of_fold").glob("*.png"))) == 5 and text.count("data:image/png") > 5


def test_folds_that_are_not_all_trained(unetr: Any, folds: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(folds / "fold0", part / "fold0")
    outcome = unetr("report", part)
    assert outcome.code == 0 and f"wrote {part / 'fold0/report.html'}" in outcome.err
    assert "not all trained" in outcome.err and not (part / "report.html").exists()
