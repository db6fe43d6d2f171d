"""What the trainings of a comparison left behind, gathered network by network."""

from __future__ import annotations

import math
from typing import Any

from unetr.core.observer import Observer
from unetr.core.plan.schema import Plan
from unetr.errors import UnetrError
from unetr.evaluation.results import Results, read_results, summarise
from unetr.jobs.apart.registry import PROFILE
from unetr.jobs.apart.run_apart import attempt_apart
from unetr.jobs.compare.request import CompareRequest
from unetr.jobs.compare.trainings import is_done, peak_mb
from unetr.jobs.models.profile import ProfileRequest
from unetr.report.comparison import Contestant
from unetr.report.plots import read_log
from unetr.train.run.folder import Run


def gather(request: CompareRequest, base: Plan, observer: Observer) -> tuple[Contestant, ...]:
    """The networks all of whose folds are trained. Raises InputError, MachineError."""
    done = tuple(name for name in request.networks if is_done(request, name))
    costs = _costs(base, done, observer) if done else {}
    return tuple(_contestant(request, name, costs[name]) for name in done)


def _costs(base: Plan, names: tuple[str, ...], observer: Observer) -> dict[str, dict[str, Any]]:
    """What the networks cost, by a process that has nothing else in memory."""
    sizes = ProfileRequest(networks=names, window=base.window, channels=base.in_channels, classes=max(2, base.outputs))
    found = attempt_apart(PROFILE, sizes, observer)
    if isinstance(found, UnetrError):
        raise type(found)(f"the networks cannot be measured: {found}", hint=found.hint)
    return found.result


def _contestant(request: CompareRequest, name: str, cost: dict[str, Any]) -> Contestant:
    runs = [Run(request.run_of(name, fold)) for fold in range(request.folds)]
    results = [read_results(run.predictions / "results.json") for run in runs]
    curves = [_curve(run, result) for run, result in zip(runs, results, strict=True)]
    peaks = [peak_mb(request.record_of(name, fold)) for fold in range(request.folds)]
    return Contestant(
        name=name,
        results=summarise([score for result in results for score in result.scores], results[0].tolerance_mm),
        curve=tuple(curves),
        minutes=sum(curve[-1][0] for curve in curves) / len(runs),
        steps=sum(len(read_log(run.timing)["seconds"]) for run in runs) / len(runs),
        peak_mb=max((peak for peak in peaks if peak is not None), default=math.nan),
        **{key: cost[key] for key in ("parameters", "flops", "latency_s")},
    )


def _curve(run: Run, results: Results) -> tuple[tuple[float, float], ...]:
    """(minutes of training, Dice) of each validation during it, and of the final scores last."""
    passed = read_log(run.timing)["seconds"].cumsum() / 60
    validations = read_log(run.validation_log)
    points = zip(validations.get("step", ()), validations.get("mean_dice", ()), strict=True)
    end = (float(passed[-1]), results.mean_dice)
    return (*((float(passed[int(step) - 1]), float(dice)) for step, dice in points), end)
