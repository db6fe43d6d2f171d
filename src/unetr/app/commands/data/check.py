"""unetr check: everything that is wrong with a dataset, before a training is spent on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.hints import hinted
from unetr.app.options import DatasetPath, Json, ReadingLimit, TransformName, bytes_of, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.views.progress import OnScreen, progress
from unetr.core.text.numbers import counted
from unetr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unetr.prepare.checks.problems import Problem


def check(
    dataset: DatasetPath,
    transform: TransformName = None,
    memory_limit: ReadingLimit = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--errors-only", help="Leave out warnings and notes.")] = False,
) -> None:
    """List every problem of a dataset. Exit code 2 when training would be wrong.

    Example: unetr check Task04_Hippocampus
    """
    from unetr.jobs.data.examine import examine

    affine, limit = transform_named(transform), bytes_of(memory_limit)
    with progress() as bar:
        report = examine(dataset, OnScreen(bar), transform=affine, memory_limit_bytes=limit)
    if as_json:
        print_json(json.loads(report.to_json()))
    else:
        _print_problems(report.dataset, report.errors if quiet else report.problems)
    if report.errors:
        found = f"{counted(len(report.errors), 'error')} in {counted(report.cases, 'case')}"
        first = report.errors[0]
        raise InputError(f"{dataset}: {found}; training would be wrong; first: {first.message}", hint=first.hint)
    say(f"{dataset}: {counted(report.cases, 'case')}, no errors, warnings or notes: {len(report.problems)}")


def _print_problems(name: str, problems: Sequence[Problem]) -> None:
    if problems:
        rows = [
            (each.case or "(dataset)", each.severity, each.code, hinted(each.message, each.hint)) for each in problems
        ]
        print_table(f"{name}: {counted(len(rows), 'finding')}", ("case", "severity", "code", "problem"), rows)
