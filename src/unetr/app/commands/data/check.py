"""unetr check: everything that is wrong with a dataset, before a training is spent on it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.hints import hinted
from unetr.app.options import DatasetPath, Json, TransformName, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.views.progress import progress
from unetr.core.space.frames import taking
from unetr.core.text.numbers import counted
from unetr.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from unetr.prepare.checks.problems import Problem
    from unetr.prepare.datasets.dataset import Dataset


def check(
    dataset: DatasetPath,
    transform: TransformName = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--errors-only", help="Leave out warnings and notes.")] = False,
) -> None:
    """List every problem of a dataset. Exit code 2 when training would be wrong.

    Example: unetr check Task04_Hippocampus
    """
    from unetr.prepare.checks.check import check_dataset
    from unetr.prepare.datasets.cases import open_dataset

    with taking(transform_named(transform)), progress() as bar:
        opened = open_dataset(dataset)
        task = bar.add_task("checking", total=len(opened.cases), note="")
        report = check_dataset(opened, lambda done, of: bar.update(task, completed=done, total=of))
        if not report.errors:
            report = replace(report, problems=(*report.problems, *_prepared(opened, bar)))
    shown = report.errors if quiet else report.problems
    if as_json:
        print_json(json.loads(report.to_json()))
    elif shown:
        rows = [
            (problem.case or "(dataset)", problem.severity, problem.code, hinted(problem.message, problem.hint))
            for problem in shown
        ]
        title = f"{report.dataset}: {counted(len(shown), 'finding')}"
        print_table(title, ("case", "severity", "code", "problem"), rows)
    if report.errors:
        found = f"{counted(len(report.errors), 'error')} in {counted(report.cases, 'case')}"
        first = report.errors[0]
        raise InputError(f"{dataset}: {found}; training would be wrong; first: {first.message}", hint=first.hint)
    say(f"{dataset}: {counted(report.cases, 'case')}, no errors, warnings or notes: {len(report.problems)}")


def _prepared(opened: Dataset, bar: Progress) -> list[Problem]:
    """What the plan that `unetr plan` and `train` make would do to the cases."""
    from unetr.prepare.measure.fingerprint import measure_fingerprint
    from unetr.prepare.planning.planner import make_plan
    from unetr.prepare.prepared import prepared_problems

    measuring, preparing = (bar.add_task(name, total=None, note="") for name in ("measuring", "preparing"))
    fingerprint = measure_fingerprint(opened, lambda done, of: bar.update(measuring, completed=done, total=of))
    plan = make_plan(opened, fingerprint)
    return prepared_problems(opened, plan, lambda done, of: bar.update(preparing, completed=done, total=of))
