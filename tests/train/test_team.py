"""Several processes train as one would: the same losses, one checkpoint, and an end when one of them is gone."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train.conftest import make_cache, make_plan

from unetr.core.plan.schema import LossPlan, NetworkPlan, TrainingPlan

ROOT = Path(__file__).parents[2]
STEPS = 6
LAST = f"run/checkpoints/step-{STEPS:08d}.safetensors"
NETWORK = NetworkPlan(
    preset="test",
    decoder="stem",
    patch=8,
    width=16,
    depth=2,
    heads=2,
    mlp_width=32,
    taps=(2,),
    feature_size=4,
    norm="instance_affine",
    layer_scale=0.1,
)


def scenario(processes: int = 1, *, training: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A batch has five windows, which no number of processes but one or five divides.

    The learning rate is as in a real training's warm-up: Adam's first steps are all of that size, also along gradients
    that are rounding only, and so make more of its differences than later steps do.
    """
    chosen = TrainingPlan(batch_size=5, learning_rate=1e-4, precision="fp32", **(training or {}))
    plan = make_plan(network=NETWORK, training=chosen).model_dump(mode="json")
    return {"processes": processes, "sharded": False, "steps": STEPS, "plan": plan} | changes


OVER_BATCH = {"loss": LossPlan(dice_over_batch=True, class_weights=(1, 2, 3))}
MUON = {"optimiser": "muon"}
SCENARIOS = {
    "one": scenario(),
    "two": scenario(2),
    "four": scenario(4),
    "sharded": scenario(2, sharded=True),
    "one-over-batch": scenario(training=OVER_BATCH),
    "two-over-batch": scenario(2, training=OVER_BATCH),
    "one-muon": scenario(training=MUON),
    "two-muon": scenario(2, training=MUON),
    "sharded-muon": scenario(2, sharded=True, training=MUON),
    "two-killed": scenario(2, kills_after=5),
    "two-resumed": scenario(2, copy_of="two-killed"),
    "sharded-killed": scenario(2, sharded=True, kills_after=5),
    "sharded-resumed": scenario(2, sharded=True, copy_of="sharded-killed"),
    "sharded-then-one": scenario(copy_of="sharded", without=[LAST]),
    "six": scenario(6),
    "one-sharded": scenario(sharded=True),
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a folder for each scenario. All are played at once, since importing torch takes so long."""
    folder = tmp_path_factory.mktemp("team")
    cache = make_cache(tmp_path_factory.mktemp("cache") / "cache")
    file = folder / "scenarios.json"
    file.write_text(json.dumps(SCENARIOS))
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])))
    command = [sys.executable, Path(__file__).with_name("team_run.py"), file, cache.folder]
    subprocess.run(command, check=True, timeout=280, env=os.environ | {"PYTHONPATH": path})
    return folder


def codes(folder: Path) -> list[int]:
    found = json.loads((folder / "codes.json").read_text())
    assert isinstance(found, list)
    return found


def said(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("said*")))


def log(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "run" / "log.csv").read_text().splitlines()))


def digests(folder: Path) -> dict[str, str]:
    """Everything of a run that training decides."""
    files = [folder / "weights.npz", *(folder / "run").glob("checkpoints/*"), folder / "run" / "log.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("two", "one"),
        ("four", "one"),
        ("sharded", "one"),
        ("two-over-batch", "one-over-batch"),
        ("two-muon", "one-muon"),
        ("sharded-muon", "one-muon"),
    ],
)
def test_the_losses_are_those_of_one_process(played: Path, name: str, alone: str) -> None:
    assert codes(played / name) == [0] * SCENARIOS[name]["processes"], said(played / name)
    expected, found = log(played / alone), log(played / name)
    assert len({row["loss"] for row in expected}) == len(found) == STEPS  # it does train
    for one, several in zip(expected, found, strict=True):
        for term in ("loss", "dice_loss", "cross_entropy"):
            assert float(several[term]) == pytest.approx(float(one[term]), abs=1e-5), (one["step"], term)
        assert float(several["gradient_norm"]) == pytest.approx(float(one["gradient_norm"]), rel=1e-3)


@pytest.mark.parametrize("name", ["two", "four", "sharded"])
def test_the_weights_and_validations_are_those_of_one_process(played: Path, name: str) -> None:
    expected, found = (np.load(played / each / "weights.npz") for each in ("one", name))
    assert set(expected.files) == set(found.files)
    for weight in expected.files:
        np.testing.assert_allclose(found[weight], expected[weight], atol=2e-4, err_msg=weight)
    validated = [(played / each / "run" / "validation.csv").read_text().split() for each in ("one", name)]
    assert len(validated[0]) == len(validated[1]) > 2


@pytest.mark.parametrize("name", ["two", "sharded"])
def test_a_killed_process_stops_all_and_what_is_resumed_is_bit_identical(played: Path, name: str) -> None:
    killed = played / f"{name}-killed"
    assert codes(killed) == [4, -9]
    assert "another one of this training has ended" in said(killed)
    kept = sorted(path.name for path in (killed / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000002.safetensors", "step-00000004.safetensors"]
    resumed = played / f"{name}-resumed"
    assert codes(resumed) == [0, 0], said(resumed)
    assert digests(resumed) == digests(played / name)


def test_one_process_resumes_what_several_have_shared_out(played: Path) -> None:
    before, after = log(played / "sharded"), log(played / "sharded-then-one")
    assert codes(played / "sharded-then-one") == [0]
    assert [row["step"] for row in after] == [row["step"] for row in before]
    for one, other in zip(after, before, strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), abs=1e-5)


def test_more_processes_than_windows_are_refused(played: Path) -> None:
    assert codes(played / "six") == [2] * 6
    assert "6 processes cannot share a batch of 5" in said(played / "six")


def test_a_single_process_shares_nothing_out(played: Path) -> None:
    assert codes(played / "one-sharded") == [2]
    assert "start several with torchrun" in said(played / "one-sharded")
