"""unetr check: everything that is wrong with a dataset, before a training is spent on it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from unetr.app.options import DatasetPath, Json, print_json, print_table, progress, say
from unetr.errors import InputError


def check(
    dataset: DatasetPath,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--errors-only", help="Leave out warnings and notes.")] = False,
) -> None:
    """List every problem of every case. Exit code 2 when training would be wrong.

    Example: unetr check Task04_Hippocampus
    """
    from unetr.prepare.cases import open_dataset
    from unetr.prepare.check import check_dataset

    opened = open_dataset(dataset)
    with progress() as bar:
        task = bar.add_task("checking", total=len(opened.cases), note="")
        report = check_dataset(opened, lambda done, of: bar.update(task, completed=done, total=of))
    shown = report.errors if quiet else report.problems
    if as_json:
        print_json(json.loads(report.to_json()))
    elif shown:
        rows = [(problem.case or "(dataset)", problem.severity, problem.code, problem.message) for problem in shown]
        print_table(f"{report.dataset}: {len(shown)} findings", ("case", "severity", "code", "problem"), rows)
    if report.errors:
        raise InputError(f"{dataset}: {len(report.errors)} errors in {report.cases} cases; training would be wrong")
    say(f"{dataset}: {report.cases} cases, no errors, {len(report.problems)} warnings and notes")
