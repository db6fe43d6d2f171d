"""A run: one folder with everything about one training. Names its files and refuses to mix two trainings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unetr.core.files.atomic import is_own, write_text
from unetr.core.files.digest import size_and_sha256
from unetr.core.files.outputs import Advice, claim
from unetr.core.plan.file import read_plan, write_plan
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.text.reading import read_json
from unetr.core.text.records import Record, record_from
from unetr.errors import InputError
from unetr.prepare.datasets.cases import Dataset
from unetr.prepare.datasets.digests import DataDigest, case_digests, cases_difference, data_difference

SHARED_CACHE = "shared_cache"
CACHE = "cache"
# What a training adds to its settings once it has measured its pace.
_FIXED_LATER = ("schedule_steps", "schedule_from", "validations", "first_steps", "first_from", "again_at")
# What is compared by other means than being equal.
_COMPARED_APART = ("dataset", "data", "plan_digest")
_LONGEST_VALUE = 60


class Settings(Record):
    """What was asked for, apart from the plan, and what it came to.

    fold: the fold that validates, None when all cases train. steps, minutes: the budget, one of them.
    schedule_steps: the number of optimiser steps, fixed once it is known. schedule_from: the steps that were made
    without knowing it, and are made so again after a kill. validations: how many are made within a budget in minutes,
    None for all. again_at: the step at which the number of steps is measured once more, None for not any more;
    first_steps, first_from: what was known before that. licence, reference: of the data.
    start_digest: SHA-256 of the model file that training starts from, empty for fresh weights.
    dataset: where the data lay when the run was last begun or resumed, seen from the run's folder; only its content
    (data) says whether it is the same. plan_digest: SHA-256 of the run's plan as it was written. data and plan_digest
    are empty in runs of versions that kept no digests.
    """

    dataset: str
    preset: str
    fold: int | None
    folds: int
    seed: int
    steps: int | None
    minutes: float | None
    training_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    schedule_steps: int | None = None
    schedule_from: int = 0
    validations: int | None = None
    first_steps: int | None = None
    first_from: int = 0
    again_at: int | None = None
    licence: str = ""
    reference: str = ""
    start_digest: str = ""
    plan_digest: str = ""
    data: DataDigest | None = None

    def steps_known_at(self, step: int) -> int | None:
        """The number of optimiser steps, None where the run that was left alone did not know it yet."""
        if step >= self.schedule_from:
            return self.schedule_steps
        return self.first_steps if step >= self.first_from else None


@dataclass(frozen=True, slots=True)
class Run:
    """The files of a run."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The plan that the run trains by."""
        return self.folder / "plan.yaml"

    @property
    def settings(self) -> Path:
        """What was asked for."""
        return self.folder / "settings.json"

    @property
    def fingerprint(self) -> Path:
        """Measured facts of the dataset."""
        return self.folder / "fingerprint.json"

    @property
    def cache(self) -> Path:
        """Prepared cases; the folds of a cross-validation share one, in the folder above, or two above for several."""
        return next((path for path in shared_caches(self.folder) if path.is_dir()), self.folder / CACHE)

    @property
    def checkpoints(self) -> Path:
        """The resumable training state."""
        return self.folder / "checkpoints"

    @property
    def log(self) -> Path:
        """One row per step: step, loss, dice_loss, cross_entropy, learning_rate, gradient_norm.

        A pretraining has no dice_loss and no cross_entropy.
        """
        return self.folder / "log.csv"

    @property
    def timing(self) -> Path:
        """One row per step: step, seconds, wait_seconds. Apart from the log, which is the same for equal runs."""
        return self.folder / "timing.csv"

    @property
    def validation_log(self) -> Path:
        """One row per validation: step, mean_dice, dice_<class>."""
        return self.folder / "validation.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard events."""
        return self.folder / "tensorboard"

    @property
    def best(self) -> Path:
        """Model file with the weights that did best in a validation during training."""
        return self.folder / "best.safetensors"

    @property
    def model(self) -> Path:
        """Model file with the final weights: the result."""
        return self.folder / "model.safetensors"

    @property
    def predictions(self) -> Path:
        """Label files predicted for the validation cases with the final weights, and their results."""
        return self.folder / "validation"


def shared_caches(folder: Path) -> tuple[Path, Path]:
    """Where a cache may lie that the run in `folder` shares with other runs, the widest first."""
    absolute = folder.absolute()
    return absolute.parent.parent / SHARED_CACHE, absolute.parent / SHARED_CACHE


def open_run(
    run: Run, plan: Plan, settings: Settings, fingerprint: Fingerprint | None, overwrite: bool = False
) -> Settings:
    """Starts a run's folder, or checks that the one there is the same training. Returns the settings to go on with.

    Raises InputError with the first difference when the folder holds another training, of other data, or its plan was
    edited.
    """
    if not holds_run(run):
        _start_folder(run, plan, overwrite)
        if fingerprint is not None:
            write_text(run.fingerprint, fingerprint.model_dump_json(indent=1), private=False)
        # The settings come last: a folder without them holds no run yet.
        settings = settings.model_copy(update={"plan_digest": size_and_sha256(run.plan)[1]})
        write_settings(run, settings)
        return settings
    kept = read_settings(run)
    _refuse_other_data(run, kept, settings)
    if kept.plan_digest and kept.plan_digest != size_and_sha256(run.plan)[1]:
        raise InputError(
            f"{run.plan}: was edited since the run began; put it back, or train by it in another folder", hint="plan"
        )
    asked = settings.model_copy(update={name: getattr(kept, name) for name in (*_FIXED_LATER, *_COMPARED_APART)})
    difference = _difference(kept, asked) or _difference(read_plan(run.plan), plan)
    if difference:
        raise InputError(f"{run.folder}: holds a run with other settings: {difference}; choose another output folder")
    if kept.data is not None and kept.dataset != settings.dataset:
        kept = kept.model_copy(update={"dataset": settings.dataset})
        write_settings(run, kept)
    return kept


def _start_folder(run: Run, plan: Plan, overwrite: bool) -> None:
    """Writes the plan into a folder that holds nothing else but what a kill at the start, or `unetr plan`, leaves."""
    mine = {run.plan.name, run.fingerprint.name}
    there = [path for path in run.folder.iterdir() if not is_own(path)] if run.folder.is_dir() else []
    if any(path.name not in mine for path in there):
        raise InputError(f"{run.folder}: is not empty and holds no run; choose another output folder")
    if run.plan.exists() and not overwrite and not _difference(read_plan(run.plan), plan):
        claim([run.fingerprint])  # the plan stays as it is, with a person's remarks
        return
    advice = Advice("train by it, choose another output, or lose it by overwriting", hint="plan")
    claim([run.plan], overwrite=overwrite, advice=advice)
    claim([run.fingerprint], overwrite=overwrite)
    write_plan(run.plan, plan)


def _refuse_other_data(run: Run, kept: Settings, asked: Settings) -> None:
    """Raises InputError where the run in the folder is of other data."""
    if kept.data is None:
        there, here = dataset_folder(run, kept), dataset_folder(run, asked)
        if there.resolve() != here.resolve():
            raise InputError(
                f"{run.folder}: holds a run with other settings: dataset: there {there}, asked for {here}; "
                "choose another output folder"
            )
    elif asked.data is not None:
        _refuse(run, data_difference(kept.data, asked.data))


def refuse_other_cases(runs: Iterable[Run], dataset: Dataset) -> None:
    """Reads all cases; raises InputError where one of the runs was begun with others. Runs without digests pass."""
    now = case_digests(dataset.learned_from)
    for run in runs:
        before = read_settings(run).data if holds_run(run) else None
        _refuse(run, "" if before is None else cases_difference(before.cases, now))


def _refuse(run: Run, difference: str) -> None:
    if difference:
        raise InputError(
            f"{run.folder}: holds a run of other data: {difference}; its model and scores are of the data as it "
            "was; put the data back, or train in another output folder"
        )


def dataset_folder(run: Run, settings: Settings) -> Path:
    """Where the dataset of a run was when the run was last resumed."""
    return run.folder.resolve() / settings.dataset


def path_from(run: Run, path: Path) -> str:
    """A path seen from the run's folder; absolute only where there is no way from one to the other."""
    try:
        return os.path.relpath(path.resolve(), run.folder.resolve())
    except ValueError:  # on another drive
        return str(path.resolve())


def holds_run(run: Run) -> bool:
    """Whether a training was started in this folder."""
    return run.settings.exists()


def write_settings(run: Run, settings: Settings) -> None:
    """Writes the settings, atomically."""
    write_text(run.settings, settings.model_dump_json(indent=1))


def read_settings(run: Run) -> Settings:
    """The settings of a run. Raises InputError when the folder holds none."""
    data = read_json(run.settings, "the settings of a run made by `unetr train`")
    return record_from(Settings, data, str(run.settings))


def read_fingerprint(run: Run) -> Fingerprint | None:
    """The dataset's fingerprint, None where the plan came from elsewhere. Raises InputError when it is damaged."""
    if not run.fingerprint.exists():
        return None
    data = read_json(run.fingerprint, "the fingerprint of a run's dataset")
    return record_from(Fingerprint, data, str(run.fingerprint))


def _difference(there: Record, asked: Record) -> str:
    """The first field in which two records differ, as `key: there 1, asked for 2`; empty when they are equal."""
    first, second = json.loads(there.model_dump_json()), json.loads(asked.model_dump_json())
    for key, value in _flat(first).items():
        other = _flat(second).get(key)
        if value != other and not key.startswith("reasons"):
            return f"{key}: there {_shown(value)}, asked for {_shown(other)}"
    return ""


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _flat(data: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}
