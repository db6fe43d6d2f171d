"""unetr plan: the fingerprint of a dataset and the plan made from it, to be read and edited by a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unetr.app.options import Overwrite, Preset, ReadingLimit, TransformName, bytes_of, finite, transform_named
from unetr.app.printing import say, write_out
from unetr.app.views.progress import progress
from unetr.app.views.training import TrainingView
from unetr.errors import InputError


def plan(
    dataset: Annotated[Path | None, typer.Argument(help="A dataset.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write plan.yaml and fingerprint.json here.")] = None,
    preset: Preset = "auto",
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Plan for a training of this length on this machine, as train does.", min=0.01, callback=finite
        ),
    ] = None,
    overwrite: Overwrite = False,
    transform: TransformName = None,
    memory_limit: ReadingLimit = None,
    template: Annotated[bool, typer.Option("--template", help="Print a plan to fill in by hand, and stop.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a plan, and stop.")] = False,
) -> None:
    """Measure a dataset and write a plan, each choice with its reason. Without -o the plan is printed.

    Example: unetr plan Task04_Hippocampus -o hippocampus
    """
    from unetr.core.plan.file import plan_to_yaml, schema_text
    from unetr.jobs.data.plan_dataset import PlanRequest, plan_dataset, try_plan
    from unetr.prepare.planning.template import template_plan

    if template or schema:
        write_out(template_plan() if template else schema_text())
        return
    if dataset is None:
        raise InputError("plan needs a dataset, or --template; see unetr plan --help")
    request = PlanRequest(
        dataset=dataset,
        out=out,
        preset=preset,
        minutes=minutes,
        transform=transform_named(transform),
        overwrite=overwrite,
        memory_limit_bytes=bytes_of(memory_limit),
    )
    with progress() as bar:
        planned = plan_dataset(request, TrainingView(bar))
    if out is None:
        write_out(plan_to_yaml(planned.plan))
    else:
        say(f"wrote {' and '.join(map(str, request.files))}; edit the plan, then: unetr train --plan ...")
    with progress() as bar:
        warnings = try_plan(planned, TrainingView(bar))
    for warning in warnings:
        say(f"warning: {warning}")
