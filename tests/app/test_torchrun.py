"""`unetr train` as torchrun starts it: one run, made by two processes, as one process would have made it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def under_torchrun(tmp_path_factory: pytest.TempPathFactory, dataset: Path, edited_plan: Path) -> tuple[Path, str, str]:
    """The run's folder, and what was printed and said."""
    run = tmp_path_factory.mktemp("torchrun") / "run"
    scripts = Path(sys.executable).parent
    launcher = [scripts / "torchrun", "--standalone", "--nproc-per-node=2", "--no-python", scripts / "unetr"]
    # Modules in the folder that a person is in are not taken for those of the same name.
    current = tmp_path_factory.mktemp("current")
    for name in ("unetr", "torch", "yaml", "typing"):
        (current / f"{name}.py").write_text(f"open({str(current / 'ran')!r}, 'a').write({name!r})\n")
    options = ["--plan", edited_plan, "--steps", "3", "--json"]
    path = os.pathsep.join((str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])))
    outcome = subprocess.run(
        [*launcher, "train", dataset, "-o", run, *options],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        cwd=current,
    )
    assert not (current / "ran").exists()
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return run, outcome.stdout, outcome.stderr


def test_one_result_is_printed(under_torchrun: tuple[Path, str, str]) -> None:
    run, out, err = under_torchrun
    assert json.loads(out)["model"] == str(run / "model.safetensors")
    assert err.count("model: ") == 1


def test_the_run_is_that_of_one_process(
    unetr: Command, under_torchrun: tuple[Path, str, str], dataset: Path, edited_plan: Path, tmp_path: Path
) -> None:
    run, *_ = under_torchrun
    alone = tmp_path / "alone"
    assert unetr("train", dataset, "-o", alone, "--plan", edited_plan, "--steps", "3").code == 0
    logs = [list(csv.DictReader((folder / "log.csv").read_text().splitlines())) for folder in (alone, run)]
    assert len(logs[0]) == len(logs[1]) == 3
    # The same weights, samples and loss. Later steps: a value that rounding moves over a rectifier's kink changes the
    # gradient by more than rounding, and Adam's first steps make more of it; test_team.py follows them closely.
    assert float(logs[1][0]["loss"]) == pytest.approx(float(logs[0][0]["loss"]), abs=1e-6)
    for one, two in zip(*logs, strict=True):
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), abs=1e-3)
    scores = [json.loads((folder / "validation" / "results.json").read_text()) for folder in (alone, run)]
    rows = [[(row["case"], row["label"], row["truth_ml"]) for row in found["scores"]] for found in scores]
    assert rows[0] == rows[1] != []
    # Started by hand on what both have made, one process finds it finished.
    assert unetr("train", dataset, "-o", run, "--plan", edited_plan, "--steps", "3").code == 0
