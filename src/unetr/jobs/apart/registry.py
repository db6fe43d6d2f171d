"""The jobs that a process of its own can be asked for. A new one is a request, a function and a line in JOBS.

Each imports what it needs when it runs, so that a process has nothing else in memory.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from unetr.core.observer import Observer
from unetr.core.space.frames import Transform
from unetr.jobs.apart.job import Job
from unetr.jobs.data.plan_dataset import PlanRequest, plan_dataset, try_plan
from unetr.jobs.models.profile import ProfileRequest, profile_networks
from unetr.train.observer import TrainingObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitsRequest:
    """The logits of one seeded window by an exported model. out: the .npy file to write them to."""

    model: Path
    engine: str
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What `unetr.jobs.training.request.training_request` is given, as plain data; the fields are explained there."""

    dataset: Path
    out: Path
    plan: Path | None = None
    start: Path | None = None
    preset: str = "auto"
    fold: int | Literal["every"] | None = 0
    folds: int = 5
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    checkpoint_steps: int | None = None
    transform: Transform | None = None
    rules: bool = True
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """model: as `unetr.load` takes it. mean_dice: of the validation cases; None where there are none."""

    model: Path
    mean_dice: float | None


def _logits(request: LogitsRequest, _observer: Observer) -> None:
    import numpy as np

    from unetr.jobs.models.logits import seeded_logits
    from unetr.model.open_model import open_model

    np.save(request.out, seeded_logits(open_model(request.model), request.engine))


def _train(request: TrainRequest, observer: TrainingObserver) -> Trained:
    from unetr.jobs.training.request import training_request
    from unetr.jobs.training.train_model import train_model

    asked = {field.name: getattr(request, field.name) for field in fields(request)}
    done = train_model(training_request(**asked), observer)
    dice = math.nan if done.results is None else done.results.mean_dice
    return Trained(done.model, None if math.isnan(dice) else dice)


def _plan(request: PlanRequest, observer: Observer) -> list[str]:
    return try_plan(plan_dataset(request, observer), observer)


def _profile(request: ProfileRequest, observer: Observer) -> dict[str, dict[str, Any]]:
    return {name: asdict(cost) for name, cost in profile_networks(request, observer).items()}


LOGITS = Job("logits", LogitsRequest, TypeAdapter(type(None)), _logits)
TRAIN = Job("train", TrainRequest, TypeAdapter(Trained), _train, asks=True)
PLAN = Job("plan", PlanRequest, TypeAdapter(list[str]), _plan)  # what to be warned of
PROFILE = Job("profile", ProfileRequest, TypeAdapter(dict[str, dict[str, Any]]), _profile)

JOBS: dict[str, Job[Any, Any]] = {job.name: job for job in (LOGITS, TRAIN, PLAN, PROFILE)}
