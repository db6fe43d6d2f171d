"""What every command promises: help with an example, quick start, JSON for machines, quiet when piped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import unetr as package
from unetr.app.cli import app
from unetr.core.plan.file import read_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan

Command = Callable[..., Any]

COMMANDS = ["demo", "check", "plan", "recipe", "train", "pretrain", "compare", "ablate", "profile"]
COMMANDS += ["predict", "evaluate", "report", "models", "info", "export", "convert"]
COMMANDS += ["serve", "node", "mcp"]
HELP_SECONDS = 0.5


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


def test_no_command_is_left_out() -> None:
    assert [command.name for command in app.registered_commands] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_an_example(command: str, option: str, unetr: Command) -> None:
    outcome = unetr(command, option)
    assert outcome.code == 0 and outcome.err == ""
    assert f"unetr {command} " in outcome.out.partition("Example: ")[2].replace("\n", " ")
    assert max(map(len, outcome.out.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_command(arguments: list[str], unetr: Command) -> None:
    outcome = unetr(*arguments)
    assert outcome.code == 0 and outcome.err == ""
    assert all(f"\n  {command} " in outcome.out for command in COMMANDS)


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        done = python("-m", "unetr", "--help")
        seconds.append(time.perf_counter() - before)
        assert done.returncode == 0 and "Usage: unetr" in done.stdout
    assert min(seconds) <= HELP_SECONDS, seconds


HEAVY = "torch nibabel SimpleITK matplotlib scipy pydantic yaml rich numpy lightning_fabric safetensors edt cc3d typer"


def test_importing_the_package_imports_nothing_heavy() -> None:
    done = python("-c", "import sys, unetr; print(*sys.modules)")
    assert set(done.stdout.split()) & set(HEAVY.split()) == set()
    assert "unetr" in done.stdout.split()


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, unetr.app.cli as c; sys.argv = ['unetr', 'train', '--help']\ntry: c.main()\n"
    code += "finally: print('MODULES', *sys.modules)"
    modules = python("-c", code).stdout.partition("MODULES")[2].split()
    assert set(modules) & (set(HEAVY.split()) - {"typer", "pydantic"}) == set()  # typer uses pydantic
    assert "typer" in modules


def test_the_public_names_are_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["lightning_fabric"] = None
from unetr.app.cli import main
for line in {commands!r}:
    sys.argv = ["unetr", *line]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (line, ended.code)
print("ALL DONE")
"""


def test_what_needs_no_network_works_without_torch(dataset: Path, run: Path, tiny_model: Path, tmp_path: Path) -> None:
    label = str(dataset / "labels/case_00.nii.gz")
    commands = [
        ["check", str(dataset)],
        ["plan", str(dataset)],
        ["plan", "--template"],
        ["evaluate", label, label, "-o", str(tmp_path / "scores")],
        ["info", str(tiny_model)],
        ["info", label],
        ["report", str(run)],
    ]
    done = python("-c", WITHOUT_TORCH.format(commands=commands))
    assert done.returncode == 0 and done.stdout.endswith("ALL DONE\n"), done


# ---------------------------------------------------------------------------------------------------------------------
# plan


def test_the_template_is_a_plan(unetr: Command, tmp_path: Path) -> None:
    outcome = unetr("plan", "--template")
    assert outcome.code == 0 and outcome.err == ""
    (tmp_path / "plan.yaml").write_text(outcome.out)
    assert read_plan(tmp_path / "plan.yaml").network.preset == "paper"


@pytest.mark.parametrize("layout", ["decathlon", "nnunet", "folders", "csv"])
def test_plan_writes_what_reads_back(layout: str, unetr: Command, make_dataset: Any, tmp_path: Path) -> None:
    root = make_dataset(layout, kind="balls")
    outcome = unetr("plan", root, "-o", tmp_path / "planned")
    assert outcome.code == 0 and outcome.out == ""
    plan = read_plan(tmp_path / "planned/plan.yaml")
    assert plan.labels == {"background": 0, "ball": 1, "shell": 2}
    assert plan.spacing_mm == pytest.approx((1.1, 0.9, 1.3), rel=0.1)
    fingerprint = Fingerprint.model_validate_json((tmp_path / "planned/fingerprint.json").read_text())
    assert fingerprint.cases == 6
    printed = unetr("plan", root)
    (tmp_path / "printed.yaml").write_text(printed.out)
    assert read_plan(tmp_path / "printed.yaml") == plan


def test_a_plan_for_minutes_is_what_this_machine_can_do_in_them(unetr: Command, dataset: Path, tmp_path: Path) -> None:
    """The plan gives what can be seen in the minutes as a reason, which a plan without a limit cannot."""
    done = unetr("plan", dataset, "-o", tmp_path / "short", "--preset", "tiny", "--minutes", "0.01")
    assert done.code == 0, done
    short = read_plan(tmp_path / "short/plan.yaml")
    assert "0.01 minutes are about" in short.reasons["training.augment"]
    assert "training.augment" not in yaml.safe_load(unetr("plan", dataset, "--preset", "tiny").out)["reasons"]


def test_each_reason_of_a_plan_has_its_own_line(unetr: Command, dataset: Path) -> None:
    lines = unetr("plan", dataset).out.partition("\nreasons:\n")[2].splitlines()
    for key in ("network", "orientation", "spacing_mm", "window", "mirror_axes", "training.batch_size"):
        assert sum(line.startswith(f"  {key}: ") for line in lines) == 1, key


# ---------------------------------------------------------------------------------------------------------------------
# JSON, and nothing else, on standard output


def test_check_json(unetr: Command, make_dataset: Any) -> None:
    root = make_dataset("nnunet", 5)
    outcome = unetr("check", root, "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert (report["cases"], report["errors"]) == (5, 0)
    label = root / "labelsTr/case_03.nii.gz"
    label.write_bytes(label.read_bytes()[:-3])
    outcome = unetr("check", root, "--json")
    assert outcome.code == 2
    (error,) = [p for p in json.loads(outcome.out)["problems"] if p["severity"] == "error"]
    assert (error["case"], error["code"]) == ("case_03", "unreadable_label")
    table = unetr("check", root)
    assert table.code == 2 and "case_03" in table.out and "unreadable_label" in table.out


def test_errors_only(unetr: Command, make_dataset: Any) -> None:
    root = make_dataset("nnunet", 4)
    assert "few_cases" in unetr("check", root).out
    assert unetr("check", root, "--errors-only").out == ""


def test_evaluate_json(unetr: Command, dataset: Path, tmp_path: Path) -> None:
    outcome = unetr("evaluate", dataset / "labels", dataset / "labels", "-o", tmp_path, "--json")
    assert outcome.code == 0
    results = json.loads(outcome.out)
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert results["mean_dice"] == 1.0 and len(results["scores"]) == 12


def test_evaluate_prints_undefined_scores_as_null(unetr: Command, save_scan: Any, tmp_path: Path) -> None:
    empty = save_scan(tmp_path / "empty.nii.gz", np.zeros((9, 9, 9), np.uint8))
    some = save_scan(tmp_path / "some.nii.gz", np.pad(np.ones((3, 3, 3), np.uint8), 3))
    results = json.loads(unetr("evaluate", empty, some, "-o", tmp_path / "scores", "--json").out)
    (score,) = results["scores"]
    assert (score["dice"], score["hd95_mm"]) == (0.0, None)
    table = unetr("evaluate", empty, some, "-o", tmp_path / "scores", "--per-case").out
    assert "nan" not in table and ["label", "1", "0.000", "-", "-"] in [row.split() for row in table.splitlines()]


def test_info_json_of_a_model(unetr: Command, tiny_model: Path, tiny_plan: Plan) -> None:
    outcome = unetr("info", tiny_model, "--json")
    assert outcome.code == 0 and outcome.err == ""
    facts = json.loads(outcome.out)
    assert facts["labels"] == tiny_plan.labels
    assert facts["metrics"] == {"mean_dice": 0.5}
    assert len(facts["sha256"]) == 64 and facts["parameters"] > 10_000
    table = unetr("info", tiny_model).out
    assert "background: 0; ball: 1; shell: 2" in table and "16 × 16 × 16" in table


def test_info_json_of_a_scan(unetr: Command, sound_scan: Path) -> None:
    facts = json.loads(unetr("info", sound_scan, "--json").out)
    assert facts["shape"] == [20, 24, 18] and facts["orientation"] == "LAS" and facts["type"] == "int16"
    assert facts["spacing_mm"] == pytest.approx([1.1, 0.9, 1.3], abs=1e-5)


def test_predict_json(unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path) -> None:
    outcome = unetr("predict", tiny_model, sound_scan, "-o", tmp_path, "--json")
    assert outcome.code == 0 and outcome.err == ""
    said = json.loads(outcome.out)
    assert said["files"] == {"scan": str(tmp_path / "scan.nii.gz")} and said["failed"] == {}
    assert set(said["volumes_ml"]["scan"]) == {"ball", "shell"}


@pytest.mark.fault("one bad pair among good ones")
def test_evaluate_names_every_bad_pair(unetr: Command, save_scan: Any, tmp_path: Path) -> None:
    """Turned ones are scored and said; others are named with the reason, exit 3, and what can be scored is."""
    label = np.pad(np.ones((3, 4, 5), np.uint8), 3)
    las = np.diag([-1.0, 1, 1, 1])
    las[0, 3] = len(label) - 1
    elsewhere = np.diag([1.0, 1, 1, 1])
    elsewhere[1, 3] = 0.5
    for case in ("a", "b", "c", "d"):
        save_scan(tmp_path / "truth" / f"{case}.nii.gz", label)
    save_scan(tmp_path / "found" / "a.nii.gz", label)
    save_scan(tmp_path / "found" / "b.nii.gz", label[::-1], las)
    save_scan(tmp_path / "found" / "c.nii.gz", label, elsewhere)
    save_scan(tmp_path / "found" / "d.nii.gz", label[1:])
    outcome = unetr("evaluate", tmp_path / "found", tmp_path / "truth", "--json")
    assert outcome.code == 3
    assert json.loads(outcome.out) == json.loads((tmp_path / "found/results.json").read_text())
    results = json.loads(outcome.out)
    assert [score["case"] for score in results["scores"]] == ["a", "b"] and results["mean_dice"] == 1
    assert set(results["failed"]) == {"c", "d"}
    for words in ("b.nii.gz: is stored as LAS", "not scored: c: ", "not scored: d: ", "2 of 4 cases"):
        assert words in outcome.err
    for case in ("a", "b"):
        (tmp_path / "found" / f"{case}.nii.gz").unlink()
    outcome = unetr("evaluate", tmp_path / "found", tmp_path / "truth", "--only-predicted")
    assert outcome.code == 3 and "2 of 2 cases" in outcome.err


@pytest.mark.fault("scores that cannot be written")
@pytest.mark.parametrize("form", [[], ["--json"], ["--per-case"]])
def test_evaluate_prints_scores_that_it_cannot_write(
    unetr: Command, save_scan: Any, tmp_path: Path, form: list[str]
) -> None:
    label = save_scan(tmp_path / "label.nii.gz", np.pad(np.ones((3, 3, 3), np.uint8), 3))
    (tmp_path / "file").write_text("mine")
    outcome = unetr("evaluate", label, label, "-o", tmp_path / "file/scores", *form)
    assert outcome.code == 4 and "part of the path is a file" in outcome.err
    assert "1.0" in outcome.out and "wrote" not in outcome.err


@pytest.mark.fault("scores that cannot be written")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_predict_prints_volumes_that_it_cannot_write(
    unetr: Command, tiny_model: Path, sound_scan: Path, tmp_path: Path, form: list[str]
) -> None:
    (tmp_path / "stats.csv" / "in the way").mkdir(parents=True)
    out = tmp_path / "out.nii.gz"
    outcome = unetr("predict", tiny_model, sound_scan, "-o", out, "--stats", tmp_path / "stats.csv", *form)
    assert outcome.code == 4 and "stats.csv" in outcome.err
    assert "ml" in outcome.out and out.exists()


@pytest.mark.fault("scores that cannot be written")
def test_train_prints_scores_that_it_cannot_write(unetr: Command, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["-o", run, "--preset", "tiny", "--steps", "1"]
    assert unetr("train", dataset, *options).code == 0
    for name in ("results.json", "results.csv"):
        (run / "validation" / name).unlink()
    (run / "validation" / "results.csv" / "in the way").mkdir(parents=True)
    for form, words in (([], "Dice"), (["--json"], '"mean_dice"')):
        outcome = unetr("train", dataset, *options, *form)
        assert outcome.code == 4 and "results.csv" in outcome.err, outcome
        assert words in outcome.out
        (run / "validation" / "results.json").unlink()
