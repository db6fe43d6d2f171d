"""One case prepared by a plan, and what preparation did to it: for the cache, and for `check` and `plan` beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.parallel import in_turn
from unetr.core.plan.schema import Plan
from unetr.errors import InputError
from unetr.prepare.checks.guard import Prepared, examine, judge, untrained_labels
from unetr.prepare.checks.problems import Problem
from unetr.prepare.datasets.cases import read_learned
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.datasets.folds import split_folds
from unetr.prepare.preprocess import Image, preprocess_image, preprocess_label


def prepare_case(case: Case, dataset: Dataset, plan: Plan) -> tuple[Image, NDArray[np.int16], Prepared]:
    """Image float32 [C, X, Y, Z] and class indices [X, Y, Z] on the plan's grid, and what became of them.

    Raises InputError for a case that cannot be read or does not fit the plan.
    """
    volume, label_volume = read_learned(case, dataset)
    image, placement = preprocess_image(volume, plan)
    label = preprocess_label(label_volume, plan, placement.crop)
    if image.shape[1:] != label.shape:
        raise InputError(f"{case.label}: becomes {label.shape} voxels where the image becomes {image.shape[1:]}")
    return image, label, examine(case.id, (volume, label_volume), image, label, placement, plan)


def prepared_problems(
    dataset: Dataset, plan: Plan, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Prepares every case to learn from as a training by the plan would, keeps nothing, and lists what went wrong.

    Raises InputError as `prepare_case` does.
    """
    cases = dataset.learned_from
    found = in_turn(lambda case: prepare_case(case, dataset, plan)[2], cases, progress)
    return [*judge(found, plan), *untrained_labels(found, _usual_folds(dataset))]


def _usual_folds(dataset: Dataset) -> dict[int, tuple[str, ...]]:
    """The folds of a training that is asked for no others; none where there cannot be any."""
    try:
        return dict(enumerate(split_folds(dataset)))
    except InputError:  # too few subjects, which `check` and `train` tell
        return {}


def refuse(problems: list[Problem], dataset: Dataset) -> list[str]:
    """The warnings as lines for people. Raises InputError for the first error: training would be wrong."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise InputError(
            f"{dataset.root}: training would be wrong: {errors[0].message}; expected a plan whose spacing_mm and "
            "normalisation keep what is labelled: edit it, or let one be made for this dataset"
        )
    return [f"{problem.case}: {problem.message}" if problem.case else problem.message for problem in problems]
