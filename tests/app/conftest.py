"""Fixtures of the command's tests: a dataset, a plan for it, a run made with both, and what a refusal looks like."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

TRAIN_STEPS = 24
CHECKPOINT_STEPS = 5


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For subprocesses that must compute the same bits as this process."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def assert_refused() -> Callable[..., None]:
    """assert_refused(outcome, code, words...): the exit code, and one line without traceback that has the words."""

    def check(outcome: Any, code: int, *words: object) -> None:
        assert (outcome.code, outcome.err.count("\n")) == (code, 1), outcome
        assert outcome.err.startswith("unetr: "), outcome
        for word in words:
            assert str(word) in outcome.err, f"{word!r} is not in {outcome.err!r}"

    return check


@pytest.fixture(scope="session")
def files_in() -> Callable[[Path], list[str]]:
    """files_in(folder) is the name of everything below it, hidden things too, but not the lists of outputs."""

    def names(folder: Path) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".unetr_outputs")

    return names


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, datasets: ModuleType) -> Path:
    """Six cases of 20x24x18 voxels on oblique grids, in folders. Not to be written to."""
    path: Path = datasets.write_dataset("folders", tmp_path_factory.mktemp("data") / "balls", 6, 1, "balls")
    return path


@pytest.fixture(scope="session")
def shrink_plan(tiny_plan: Any) -> Callable[[Path, Path], Path]:
    """shrink_plan(plan, out) is a person's edit: the same plan with a network that trains in a blink."""

    def shrink(plan: Path, out: Path) -> Path:
        data = yaml.safe_load(plan.read_text())
        data["network"] = tiny_plan.network.model_dump(mode="json")
        data["window"] = [16, 16, 16]
        data["training"]["batch_size"] = 2
        out.write_text(yaml.safe_dump(data))
        return out

    return shrink


@pytest.fixture(scope="session")
def edited_plan(
    tmp_path_factory: pytest.TempPathFactory,
    dataset: Path,
    unetr: Callable[..., Any],
    shrink_plan: Callable[[Path, Path], Path],
) -> Path:
    """What `unetr plan` says about the dataset, edited."""
    folder = tmp_path_factory.mktemp("plan")
    outcome = unetr("plan", dataset, "--preset", "tiny", "-o", folder)
    assert outcome.code == 0, outcome
    return shrink_plan(folder / "plan.yaml", folder / "edited.yaml")


@pytest.fixture(scope="session")
def train_options(edited_plan: Path) -> list[object]:
    """Options of the training that the run was made by, all but the output."""
    return ["--plan", edited_plan, "--steps", TRAIN_STEPS, "--checkpoint-steps", CHECKPOINT_STEPS, "--fold", "0"]


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, dataset: Path, unetr: Callable[..., Any], train_options: list[object]
) -> Path:
    """A training that was left alone. Not to be written to: see `run`."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    outcome = unetr("train", dataset, "-o", folder, *train_options)
    assert outcome.code == 0, outcome
    (folder.parent / "said.txt").write_text(outcome.err)
    return folder


@pytest.fixture
def run(tmp_path: Path, finished_run: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def scans(tmp_path: Path, datasets: ModuleType) -> Path:
    """Four good scans."""
    for seed in range(4):
        sample = datasets.KINDS["balls"].make(seed, 1)
        datasets.save_scan(tmp_path / f"scans/case {seed}.nii.gz", sample.channels[0], sample.affine)
    return tmp_path / "scans"


@pytest.fixture
def bad_scans(scans: Path, malformed: ModuleType, save_scan: Callable[..., Path]) -> dict[str, str]:
    """Bad scans beside the good ones: case id -> a word of the reason."""
    good = (scans / "case 0.nii.gz").read_bytes()
    (scans / "truncated.nii.gz").write_bytes(good[:-9])
    (scans / "empty.nii.gz").write_bytes(b"")
    save_scan(scans / "flat.nii.gz", np.full((20, 20, 20), 7, np.int16))
    save_scan(scans / "two channels.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20, 2)).astype(np.float32))
    nan = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    nan[3, 3, 3] = np.nan
    save_scan(scans / "nan.nii.gz", nan)
    shutil.copy(scans / "case 0.nii.gz", scans / "twice.nii.gz")
    (scans / "twice.nii").write_bytes(malformed.nifti(malformed.voxels(np.random.default_rng(0))))
    return {
        "truncated": "truncated",
        "empty": "empty",
        "flat": "constant",
        "two channels": "2 channels",
        "nan": "NaN",
        "twice": "more than once",
    }
