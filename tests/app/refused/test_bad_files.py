"""Model files, plans, runs and weights that cannot be used as they are: exit code 2, one line, no code executed."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from unetr.core.plan.file import write_plan
from unetr.core.plan.schema import Plan

Command = Callable[..., Any]
Refused = Callable[..., None]
FilesIn = Callable[[Path], list[str]]

FLIPPED_BITS = 60


# ---------------------------------------------------------------------------------------------------------------------
# Model files


def test_files_that_are_no_model(
    unetr: Command,
    assert_refused: Refused,
    tiny_model: Path,
    sound_scan: Path,
    finished_run: Path,
    tmp_path: Path,
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
    "code, in JSON": (lambda text: '{"!!python/name:os.system": 1}', "(and 5 more)"),
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
    files_in: FilesIn,
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
    files_in: FilesIn,
) -> None:
    data = yaml.safe_load(edited_plan.read_text())
    for key, value in change.items():
        data[key] = data[key] | value if key == "network" else value
    plan = tmp_path / "other.yaml"
    plan.write_text(yaml.safe_dump(data))
    assert_refused(unetr("train", dataset, "-o", tmp_path / "run", "--plan", plan, "--steps", 2), 2, words)
    assert files_in(tmp_path) == ["other.yaml"]


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
    files_in: FilesIn,
) -> None:
    before = {name: (run / name).read_bytes() for name in files_in(run) if (run / name).is_file()}
    outcome = unetr("train", dataset, "-o", run, *train_options, *options)
    assert_refused(outcome, 2, run, difference)
    assert {name: (run / name).read_bytes() for name in files_in(run) if (run / name).is_file()} == before


def test_a_folder_with_other_things_is_no_place_for_a_run(
    unetr: Command,
    assert_refused: Refused,
    dataset: Path,
    train_options: list[object],
    tmp_path: Path,
    files_in: FilesIn,
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
    files_in: FilesIn,
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
