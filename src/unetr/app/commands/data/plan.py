"""unetr plan: the fingerprint of a dataset and the plan made from it, to be read and edited by a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr.app.options import Overwrite, TransformName, finite, opened_dataset, transform_named
from unetr.app.printing import say, write_out
from unetr.app.progress import progress
from unetr.core.space.frames import taking
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.core.plan.fingerprint import Fingerprint
    from unetr.core.plan.schema import Plan
    from unetr.prepare.datasets.dataset import Dataset


def plan(
    dataset: Annotated[Path | None, typer.Argument(help="A dataset.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write plan.yaml and fingerprint.json here.")] = None,
    preset: Annotated[str, typer.Option(help="auto, paper, small, medium, large or tiny.")] = "auto",
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Plan for a training of this length on this machine, as train does.", min=0.01, callback=finite
        ),
    ] = None,
    overwrite: Overwrite = False,
    transform: TransformName = None,
    template: Annotated[bool, typer.Option("--template", help="Print a plan to fill in by hand, and stop.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a plan, and stop.")] = False,
) -> None:
    """Measure a dataset and write a plan, each choice with its reason; without -o the plan is printed.

    Example: unetr plan Task04_Hippocampus -o hippocampus
    """
    from unetr.core.files.atomic import write_text
    from unetr.core.files.outputs import claim
    from unetr.core.plan.file import plan_to_yaml, schema_text, write_plan
    from unetr.prepare.planning.template import template_plan

    if template or schema:
        write_out(template_plan() if template else schema_text())
        return
    if dataset is None:
        raise InputError("plan needs a dataset, or --template; see unetr plan --help")
    with taking(transform_named(transform)):
        opened = opened_dataset(dataset)
        if out is not None:
            claim([out / "plan.yaml", out / "fingerprint.json"], {"of the dataset": opened.files}, overwrite=overwrite)
        made, fingerprint = _measured(opened, preset, minutes)
        if out is None:
            write_out(plan_to_yaml(made))
        else:
            write_plan(out / "plan.yaml", made)
            write_text(out / "fingerprint.json", fingerprint.model_dump_json(indent=1), private=False)
            say(
                f"wrote {out / 'plan.yaml'} and {out / 'fingerprint.json'}; edit the plan, then: unetr train --plan ..."
            )
        _try_it(opened, made)


def _try_it(opened: Dataset, made: Plan) -> None:
    """Says what preparation by the plan would do to the cases. Raises InputError where training would be wrong."""
    from unetr.prepare.prepared import prepared_problems, refuse

    with progress() as bar:
        task = bar.add_task("trying it", total=len(opened.cases), note="")
        problems = prepared_problems(opened, made, lambda done, of: bar.update(task, completed=done, total=of))
    for warning in refuse(problems, opened):
        say(f"warning: {warning}")


def _measured(opened: Dataset, preset: str, minutes: float | None) -> tuple[Plan, Fingerprint]:
    from unetr.prepare.measure.fingerprint import measure_fingerprint
    from unetr.prepare.planning.planner import make_plan

    with progress() as bar:
        task = bar.add_task("measuring", total=len(opened.cases), note="")
        fingerprint = measure_fingerprint(opened, lambda done, of: bar.update(task, completed=done, total=of))
    if minutes is None:
        return make_plan(opened, fingerprint, preset=preset), fingerprint
    from unetr.jobs.training.fit import Request, plan_for

    return plan_for(opened, fingerprint, Request(preset=preset, minutes=minutes)), fingerprint
