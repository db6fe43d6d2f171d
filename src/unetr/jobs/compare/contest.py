"""A comparison: every network is trained in a process of its own, fold by fold; what they left behind is gathered."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr.core.files.atomic import write_text
from unetr.core.files.digest import size_and_sha256
from unetr.core.machine.child import child_environment, python_module, run_child
from unetr.core.observer import Observer
from unetr.core.space.frames import taken
from unetr.core.text.reading import read_json
from unetr.errors import InputError, MachineError

if TYPE_CHECKING:
    from unetr.core.plan.schema import Plan
    from unetr.prepare.datasets.digests import DataDigest
    from unetr.report.comparison import Contestant


@dataclass(frozen=True, slots=True)
class Contest:
    """What is the same for all networks. preset: whose plan they follow. folds: those that are run, of so many."""

    dataset: Path
    out: Path
    preset: str
    networks: tuple[str, ...]
    minutes: float
    folds: tuple[int, ...]
    of: int
    seed: int
    overwrite: bool = False


def open_contest(contest: Contest, observer: Observer) -> Plan:
    """The plan all networks follow: OUT/plan.yaml, which the first call writes for these minutes on this machine.

    It is made in a process of its own, which keeps what it takes out of the memory measured of the trainings. Raises
    InputError, MachineError where it cannot be made; InputError for the folder of another comparison.
    """
    from unetr.core.plan.file import read_plan
    from unetr.prepare.datasets.cases import open_dataset
    from unetr.prepare.datasets.digests import data_digest

    record, plan = contest.out / "contest.json", contest.out / "plan.yaml"
    data = data_digest(open_dataset(contest.dataset))
    asked = {"preset": contest.preset, "minutes": contest.minutes, "of": contest.of, "seed": contest.seed}
    if record.exists():
        _refuse_other_contest(contest, record, asked, data, observer)
    else:
        how = ["-o", str(contest.out), "--preset", contest.preset, "--minutes", str(contest.minutes)]
        chosen = taken()
        how += [] if chosen is None else ["--transform", chosen]
        how += ["--overwrite"] if contest.overwrite else []
        observer.on_stage("measuring", 0, None)
        _said_by("plan", str(contest.dataset), *how)
        digest = size_and_sha256(plan)[1]
        write_text(record, json.dumps(asked | {"plan": digest, "data": data.model_dump(mode="json")}, indent=1))
    return read_plan(plan)


def _refuse_other_contest(
    contest: Contest, record: Path, asked: dict[str, Any], data: DataDigest, observer: Observer
) -> None:
    """Raises InputError where the folder is of a comparison that was asked for otherwise, or on other data.

    One of a version that kept no digests names its dataset by path.
    """
    from unetr.prepare.datasets.digests import DataDigest, data_difference

    try:
        there = read_json(record, "what a comparison was asked for (JSON)")
        before = DataDigest.model_validate(there["data"]) if "data" in there else None
        same = all(there[name] == value for name, value in asked.items())
        same &= before is not None or there["dataset"] == str(contest.dataset.resolve())
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{record}: is damaged; choose another output folder") from None
    if not same:
        raise InputError(f"{record}: is another comparison's; expected {asked}; choose another output folder")
    if "plan" in there and there["plan"] != size_and_sha256(record.with_name("plan.yaml"))[1]:
        raise InputError(
            f"{record.with_name('plan.yaml')}: was edited since the comparison began; put it back, or choose another "
            "output folder"
        )
    if before is None:
        observer.on_note(f"{record}: is of a version that kept no digests of the data; it may have changed since")
    elif difference := data_difference(before, data):
        raise InputError(
            f"{record}: is a comparison on other data: {difference}; put the data back, or choose another output folder"
        )


def write_plans(contest: Contest, base: Plan) -> None:
    """OUT/<network>/plan.yaml for each: the base plan with another network.

    Raises InputError where a plan is there that is another, so that no two comparisons are mixed.
    """
    from unetr.core.plan.file import read_plan, write_plan
    from unetr.prepare.planning.presets import network_named

    for name in contest.networks:
        path = contest.out / name / "plan.yaml"
        made = base.model_copy(update={"network": network_named(name)})
        if path.exists() and read_plan(path) != made:
            raise InputError(f"{path}: is the plan of another comparison; choose another output folder")
        if not path.exists():
            write_plan(path, made)


def run_contest(contest: Contest, observer: Observer) -> list[str]:
    """Trains what is not trained yet. Returns a line for each training that failed; the others go on.

    Raises what stops this process; the training that runs is stopped with it and saves its state.
    """
    failed = []
    for fold in contest.folds:
        for name in contest.networks:
            record = _record(contest, name, fold)
            if record.exists():
                continue
            observer.on_note(f"{name}, fold {fold}: training")
            code, peak_mb = _train(contest, name, fold)
            if code:
                log = record.with_suffix(".log")
                lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                failed.append(
                    f"{name}, fold {fold}: ended with {code}: {lines[-1] if lines else 'no message'}; see {log}"
                )
                observer.on_note(failed[-1])
                continue
            write_text(record, json.dumps({"peak_mb": peak_mb}))
    return failed


def _peak_mb(record: Path) -> float:
    """Of a training that is done. Raises InputError for a record that is not whole."""
    found = read_json(record, "what a training took of memory")
    if not isinstance(found, dict) or not isinstance(found.get("peak_mb"), int | float):
        raise InputError(f"{record}: has no peak_mb; remove it to train this network again")
    return float(found["peak_mb"])


def gather(contest: Contest, base: Plan) -> list[Contestant]:
    """The networks all of whose folds are trained."""
    done = [n for n in contest.networks if all(_record(contest, n, fold).exists() for fold in contest.folds)]
    costs = _profiles(base, done) if done else {}
    return [_contestant(contest, name, costs[name]) for name in done]


def _record(contest: Contest, name: str, fold: int) -> Path:
    return contest.out / name / f"fold{fold}.json"


def _train(contest: Contest, name: str, fold: int) -> tuple[int, float]:
    """Exit code, and peak resident memory in MB."""
    folder = contest.out / name
    what = [str(contest.dataset), "-o", str(folder / f"fold{fold}"), "--plan", str(folder / "plan.yaml")]
    how = ["--minutes", contest.minutes, "--fold", fold, "--folds", contest.of, "--seed", contest.seed]
    handle = os.open(folder / f"fold{fold}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it may name patients
    with os.fdopen(handle, "wb") as log:
        ended = run_child(python_module("unetr", "train", *what, *how), log, lambda: False)
    return ended.code, ended.peak_mb or 0


def _profiles(base: Plan, names: Sequence[str]) -> dict[str, Any]:
    """What `unetr profile` says, from a process that has nothing else in memory."""
    window = "x".join(map(str, base.window))
    sizes = [
        "--window",
        window,
        "--channels",
        str(base.in_channels),
        "--classes",
        str(max(2, base.outputs)),
        "--json",
    ]
    found: dict[str, Any] = json.loads(_said_by("profile", *names, *sizes, failed="the networks cannot be measured: "))
    return found


def _said_by(*command: str, failed: str = "") -> str:
    """What a command of unetr prints, in a process of its own. Raises its error as one of this process."""
    done = subprocess.run(python_module("unetr", *command), capture_output=True, text=True, env=child_environment())
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        error = MachineError if done.returncode == MachineError.exit_code else InputError
        raise error(failed + lines[-1].removeprefix("unetr: "))
    return done.stdout


def _contestant(contest: Contest, name: str, cost: dict[str, Any]) -> Contestant:
    from unetr.evaluation.results import read_results, summarise
    from unetr.report.comparison import Contestant
    from unetr.report.plots import read_log
    from unetr.train.run.folder import Run

    runs = [Run(contest.out / name / f"fold{fold}") for fold in contest.folds]
    results = [read_results(run.predictions / "results.json") for run in runs]
    curves, minutes, steps = [], [], []
    for run, result in zip(runs, results, strict=True):
        passed = read_log(run.timing)["seconds"].cumsum() / 60
        validations = read_log(run.validation_log)
        points = zip(validations.get("step", ()), validations.get("mean_dice", ()), strict=True)
        end = (float(passed[-1]), result.mean_dice)
        curves.append((*((float(passed[int(step) - 1]), float(dice)) for step, dice in points), end))
        minutes.append(float(passed[-1]))
        steps.append(len(passed))
    return Contestant(
        name=name,
        results=summarise([score for result in results for score in result.scores], results[0].tolerance_mm),
        curve=tuple(curves),
        minutes=sum(minutes) / len(runs),
        steps=sum(steps) / len(runs),
        peak_mb=max(_peak_mb(_record(contest, name, fold)) for fold in contest.folds),
        **{key: cost[key] for key in ("parameters", "flops", "latency_s")},
    )


def conditions(contest: Contest, base: Plan) -> dict[str, Any]:
    """What was the same for all, for the document."""
    training = base.training.model_dump(mode="json")
    same = {key: value for key, value in asdict(contest).items() if key not in ("out", "dataset", "overwrite")}
    return same | {"dataset": base.dataset, "window": base.window, "spacing_mm": base.spacing_mm, "training": training}
