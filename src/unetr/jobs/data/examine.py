"""A dataset examined before a training is spent on it: its files, and what preparation would make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unetr.core.machine.allowance import memory_limit
from unetr.core.observer import Observer, staged
from unetr.core.space.frames import Transform, taking
from unetr.prepare.checks.check import CheckResult, check_dataset
from unetr.prepare.checks.problems import Problem
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.datasets.dataset import Dataset
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.planner import make_plan
from unetr.prepare.prepared import prepared_problems


def examine(
    path: Path, observer: Observer, *, transform: Transform | None = None, memory_limit_bytes: int | None = None
) -> CheckResult:
    """Every problem of every case; where none is an error, also what the plan that is made would do to the cases.

    transform: which affine of a NIfTI counts where its two disagree. memory_limit_bytes: of the whole process; a file
    whose reading would take more is a problem. Raises InputError for what is no dataset, StoppedError.
    """
    with taking(transform), memory_limit(memory_limit_bytes):
        dataset = open_dataset(path)
        report = check_dataset(dataset, staged(observer, "checking"))
        if report.errors:
            return report
        return replace(report, problems=(*report.problems, *_when_prepared(dataset, observer)))


def _when_prepared(dataset: Dataset, observer: Observer) -> list[Problem]:
    fingerprint = measure_fingerprint(dataset, staged(observer, "measuring"))
    return prepared_problems(dataset, make_plan(dataset, fingerprint), staged(observer, "preparing"))
