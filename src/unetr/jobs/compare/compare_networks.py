"""A comparison, from a dataset to a ranking: trained alike, resumed where it was stopped."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from unetr.core.files.atomic import atomic_path, write_text
from unetr.core.files.lock import locked
from unetr.core.files.outputs import claim
from unetr.core.observer import Observer
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import taking
from unetr.core.text.numbers import defined
from unetr.errors import MachineError
from unetr.jobs.compare.contestants import gather
from unetr.jobs.compare.request import CompareRequest
from unetr.jobs.compare.shared_plan import shared_plan, write_plans
from unetr.jobs.compare.trainings import train_all
from unetr.prepare.datasets.cases import open_noted
from unetr.report.comparison import Contestant, comparison_document, comparison_png


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    dataset: its name. contestants: the networks all of whose folds are trained; where there is one, the request's
    files are written. document: everything of them as plain data. failed: a line for each training that failed.
    """

    dataset: str
    contestants: tuple[Contestant, ...]
    document: dict[str, Any]
    failed: tuple[str, ...]


class UnwrittenComparisonError(MachineError):
    """What was found and could not be written; what took hours need not be lost."""

    def __init__(self, message: str, comparison: Comparison) -> None:
        super().__init__(message)
        self.comparison = comparison


def compare_networks(request: CompareRequest, observer: Observer) -> Comparison:
    """Trains what is not trained yet, gathers, and writes OUT/comparison.json and OUT/comparison.png.

    Each training is a process of its own; those that fail are told, and the others finish. Raises InputError, also for
    the folder of another comparison; MachineError; StoppedError, with the running training's state saved.
    """
    with taking(request.transform), ExitStack() as held:
        dataset = open_noted(request.dataset, observer)  # refused here, not by each process that is started for it
        held.enter_context(locked(request.out, observer.on_note))
        claim(request.files, overwrite=request.overwrite)
        plan = shared_plan(request, dataset, observer)
        write_plans(request, plan)
        failed = train_all(request, observer)
        contestants = gather(request, plan, observer)
        document = comparison_document(contestants, _conditions(request, plan))
        found = Comparison(plan.dataset, contestants, document, tuple(failed))
        if contestants:
            _write(request, found)
    return found


def _write(request: CompareRequest, found: Comparison) -> None:
    document, picture = request.files
    try:
        write_text(document, json.dumps(defined(found.document), indent=1, allow_nan=False))
        with atomic_path(picture) as temporary:
            temporary.write_bytes(comparison_png(found.contestants))
    except MachineError as error:
        raise UnwrittenComparisonError(str(error), found) from error


def _conditions(request: CompareRequest, plan: Plan) -> dict[str, Any]:
    """What was the same for all, for the document."""
    return {
        "preset": request.preset,
        "networks": request.networks,
        "minutes": request.minutes,
        "folds": tuple(range(request.folds)),
        "of": request.of,
        "seed": request.seed,
        "dataset": plan.dataset,
        "window": plan.window,
        "spacing_mm": plan.spacing_mm,
        "training": plan.training.model_dump(mode="json"),
    }
