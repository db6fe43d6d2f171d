"""What a training is asked for, and what comes of it. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypedDict, Unpack

from unetr.core.plan.file import read_plan
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import Transform
from unetr.evaluation.results import Results
from unetr.model.file.model_file import ModelFile, read_model
from unetr.model.shipped import find_model
from unetr.prepare.planning.planner import without_labels
from unetr.train.team import Launch

EVERY: Final = "every"
Fold = int | Literal["every"] | None
"""The fold that validates, from 0; "every" for a training of each fold in turn; None to train on all cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How a network is trained.

    preset: a name, or auto. plan: in place of the planner's own. plan_file: where it was read from, if it was; that
    file is not written over. start: a model to start from; its network, window and grid are used where no plan is
    given. fold: see `Fold`. folds: how many there are. seed: of folds, weights and samples. steps, minutes: the budget
    of each training, one of them. checkpoint_steps: save so often instead of every few minutes. transform: which affine
    of a NIfTI counts where its two disagree. launch: the processes that train together, each of which asks for the
    same. rules: whether a training of every fold looks for rules that clean up predictions. overwrite: whether files
    that a person made or edited may be replaced.
    """

    preset: str = "auto"
    plan: Plan | None = None
    plan_file: Path | None = None
    start: ModelFile | None = None
    fold: Fold = 0
    folds: int = 5
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    checkpoint_steps: int | None = None
    transform: Transform | None = None
    launch: Launch = field(default_factory=Launch)
    rules: bool = True
    overwrite: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process, of those that train together, writes the files and says what happens."""
        return self.launch.rank == 0


class PretrainingKeywords(TypedDict, total=False):
    """The options of `TrainingOptions` that a pretraining has, too, for calls by keyword."""

    preset: str
    seed: int
    steps: int | None
    minutes: float | None
    checkpoint_steps: int | None
    transform: Transform | None
    launch: Launch
    overwrite: bool


class TrainingKeywords(PretrainingKeywords, total=False):
    """The options of `TrainingOptions` but plan and start, for calls by keyword."""

    fold: Fold
    folds: int
    rules: bool


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A training: the dataset, the run's folder (of each fold's, for every fold), and how."""

    dataset: Path
    out: Path
    options: TrainingOptions


@dataclass(frozen=True, slots=True)
class PretrainingRequest:
    """A pretraining: a folder of scans or a dataset, the run's folder, the channels' names (those found, if none)."""

    scans: Path
    out: Path
    channels: tuple[str, ...]
    options: TrainingOptions


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a training left behind.

    model: what `unetr.load` takes: a model file, or the folder of every fold's run. results: scores of the cases that
    were not trained on, by the fold that did not see them; None where all cases train, and in processes that do not
    lead.
    """

    model: Path
    results: Results | None


@dataclass(frozen=True, slots=True)
class PretrainingOutcome:
    """What a pretraining left behind.

    model: a model file to start a training from. first_loss, last_loss: mean squared error of hidden voxels over the
    first and the last tenth of the steps.
    """

    model: Path
    steps: int
    first_loss: float
    last_loss: float


def training_request(
    dataset: Path | str,
    out: Path | str,
    *,
    plan: Plan | Path | str | None = None,
    start: ModelFile | Path | str | None = None,
    **options: Unpack[TrainingKeywords],
) -> TrainingRequest:
    """A request with its files read. plan, start: or the file; start may be the name of a model of the package.

    Raises InputError for a file that cannot be used.
    """
    known, file = _plan(plan)
    given = start if start is None or isinstance(start, ModelFile) else read_model(find_model(Path(start)))
    return TrainingRequest(
        Path(dataset), Path(out), TrainingOptions(**options, plan=known, plan_file=file, start=given)
    )


def pretraining_request(
    scans: Path | str,
    out: Path | str,
    *,
    channels: Sequence[str] = (),
    plan: Plan | Path | str | None = None,
    **options: Unpack[PretrainingKeywords],
) -> PretrainingRequest:
    """A request with its plan read, of which network, grid and normalisation are used. Raises InputError."""
    known, file = _plan(plan)
    without = None if known is None else without_labels(known, str(file or "the plan"))
    made = TrainingOptions(**options, plan=without, plan_file=file, fold=None)
    return PretrainingRequest(Path(scans), Path(out), tuple(channels), made)


def _plan(given: Plan | Path | str | None) -> tuple[Plan | None, Path | None]:
    """The plan, and the file that it was read from."""
    if given is None or isinstance(given, Plan):
        return given, None
    return read_plan(Path(given)), Path(given)
